//! What the capture costs a client inside: bulk bytes both ways, and new connections, to a server
//! on the host's loopback, beside the same client outside that dials the server itself.
//!
//! It must never time the start of a sandbox: the client times itself.
#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on stops, and its result is printed"
)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::process::Command;
use std::time::{Duration, Instant};

use support::{INSIDE, Place, durations, headline, inside, median, percentile};

/// Bytes of one bulk copy.
const BULK_BYTES: usize = 1 << 30;
/// Bytes handed to the kernel at once.
const BLOCK_BYTES: usize = 256 * 1024;
/// Turns of each kind, first one side, then the other.
const ROUNDS: usize = 5;
/// New connections in one turn.
const CONNECTIONS: usize = 400;
/// Connections in a turn that are not counted.
const WARM: usize = 20;
/// First byte of a client: what it wants of the server.
const SINK: u8 = 0x80;
const SOURCE: u8 = 0x81;
const ECHO: u8 = 0x82;

fn main() {
    if let Some(arguments) = inside() {
        return client(&arguments);
    }
    let server = serve();
    let place = Place::new();
    headline(&place);
    bulk(&place, server, "up");
    bulk(&place, server, "down");
    connections(&place, server, "connect", "new connection, one byte echoed");
    connections(&place, server, "lookup", "the same, with the name looked up");
}

/// Serves every client as its first byte asks, each on a thread of its own.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

fn answer(mut stream: TcpStream) {
    let mut block = vec![SOURCE; BLOCK_BYTES];
    // A client that is gone ends its thread.
    let mut wish = [0u8; 1];
    if stream.read_exact(&mut wish).is_err() {
        return;
    }
    match wish[0] {
        SOURCE => {
            for _ in 0..BULK_BYTES / BLOCK_BYTES {
                if stream.write_all(&block).is_err() {
                    return;
                }
            }
        }
        SINK => {
            while stream.read(&mut block).is_ok_and(|length| length > 0) {}
            let _ = stream.write_all(&wish);
        }
        _ => {
            let _ = stream.write_all(&wish);
        }
    }
}

/// `KIND HOST:PORT`: prints what each turn took.
fn client(arguments: &[String]) {
    let [kind, server] = arguments else {
        panic!("KIND HOST:PORT");
    };
    let address = resolve(server);
    match kind.as_str() {
        "up" | "down" => println!("{}", copy(address, kind == "up").as_nanos()),
        "connect" | "lookup" => {
            let times: Vec<_> = (0..CONNECTIONS + WARM)
                .map(|_| {
                    let start = Instant::now();
                    let address = if kind == "lookup" { resolve(server) } else { address };
                    round(address);
                    start.elapsed()
                })
                .collect();
            for time in &times[WARM..] {
                println!("{}", time.as_nanos());
            }
        }
        other => panic!("{other}"),
    }
}

fn resolve(server: &str) -> SocketAddr {
    let mut found = server.to_socket_addrs().expect("an address");
    found.find(SocketAddr::is_ipv4).expect("an IPv4 address")
}

fn copy(address: SocketAddr, up: bool) -> Duration {
    let mut block = vec![SINK; BLOCK_BYTES];
    let mut stream = TcpStream::connect(address).expect("connect");
    let start = Instant::now();
    let mut total = 0;
    if up {
        while total < BULK_BYTES {
            stream.write_all(&block).expect("write");
            total += BLOCK_BYTES;
        }
        stream.shutdown(Shutdown::Write).expect("shutdown");
        stream.read_exact(&mut [0u8; 1]).expect("the server's last word");
    } else {
        stream.write_all(&[SOURCE]).expect("write");
        loop {
            match stream.read(&mut block).expect("read") {
                0 => break,
                length => total += length,
            }
        }
        assert_eq!(total, BULK_BYTES, "all bytes");
    }
    start.elapsed()
}

fn round(address: SocketAddr) {
    let mut stream = TcpStream::connect(address).expect("connect");
    stream.write_all(&[ECHO]).expect("write");
    stream.read_exact(&mut [0u8; 1]).expect("echo");
}

/// The client outside, dialling the server itself, and the client inside.
fn both(place: &Place, server: SocketAddr, kind: &str) -> (Command, Command) {
    let project = place.project("networked");
    let mut outside = place.outside(&project, place.tool());
    outside.args([INSIDE, kind, &format!("localhost:{}", server.port())]);
    let host = format!("host.ringfence:{}", server.port());
    let mut contained = place.contained_self(&project, &["--allow", &host]);
    contained.args([kind, &host]);
    (outside, contained)
}

fn bulk(place: &Place, server: SocketAddr, kind: &str) {
    let (mut outside, mut contained) = both(place, server, kind);
    let (mut direct, mut captured) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        direct.extend(durations(&mut outside));
        captured.extend(durations(&mut contained));
    }
    let rate = |time: Duration| BULK_BYTES as f64 * 8e-9 / time.as_secs_f64();
    let (direct, captured) = (median(&direct), median(&captured));
    println!(
        "bulk {kind}: outside {:.1} Gbit/s, inside {:.1} Gbit/s, ratio {:.2}",
        rate(direct),
        rate(captured),
        direct.as_secs_f64() / captured.as_secs_f64()
    );
}

fn connections(place: &Place, server: SocketAddr, kind: &str, what: &str) {
    let (mut outside, mut contained) = both(place, server, kind);
    let (mut direct, mut captured) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        direct.extend(durations(&mut outside));
        captured.extend(durations(&mut contained));
    }
    for percent in [50, 99] {
        let (direct, captured) = (percentile(&direct, percent), percentile(&captured, percent));
        println!(
            "{what}, p{percent}: outside {direct:.0?}, inside {captured:.0?}, added {:.0?}",
            captured.saturating_sub(direct)
        );
    }
}
