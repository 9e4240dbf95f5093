//! Bulk bytes and new connections through a confined gateway, side by side with plain loopback.
//!
//! Prints ratios: absolute numbers say more about the machine than about the gateway. The promise
//! is ≥ 90 % of the direct copy and ≤ 0.5 ms added to a new connection (p50).
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on stops, and its result is printed"
)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use support::{Rig, Setup, server, synthetic};

/// Bytes of one bulk copy.
const BULK_BYTES: usize = 1 << 30;
/// Alternations of direct and relayed copies.
const BULK_ROUNDS: usize = 5;
/// New connections of each kind.
const CONNECTIONS: usize = 400;

fn main() {
    // This same program is started again as the gateway.
    support::child();
    bulk();
    connections();
}

fn copy(mut stream: TcpStream) -> Duration {
    let block = vec![0x80u8; 256 * 1024];
    let start = Instant::now();
    for _ in 0..BULK_BYTES / block.len() {
        stream.write_all(&block).expect("write");
    }
    stream.shutdown(Shutdown::Write).expect("shutdown");
    let mut end = [0u8; 1];
    stream.read_exact(&mut end).expect("the sink's last word");
    start.elapsed()
}

fn bulk() {
    let sink = server(|mut stream| {
        let mut buffer = vec![0u8; 256 * 1024];
        while stream.read(&mut buffer).is_ok_and(|length| length > 0) {}
        // The client may be gone.
        let _ = stream.write_all(b"!");
    });
    let rig = rig_to(sink);
    let (mut direct, mut relayed) = (Vec::new(), Vec::new());
    for _ in 0..BULK_ROUNDS {
        direct.push(copy(TcpStream::connect(sink).expect("connect")));
        relayed.push(copy(rig.dial(0)));
    }
    let cpu = cpu_seconds(rig.process.id()) / BULK_ROUNDS as f64;
    let (direct, relayed) = (median(&mut direct), median(&mut relayed));
    let rate = |time: Duration| BULK_BYTES as f64 * 8e-9 / time.as_secs_f64();
    println!(
        "bulk: direct {:.1} Gbit/s, relayed {:.1} Gbit/s, ratio {:.2}, gateway CPU {cpu:.2} s/GiB",
        rate(direct),
        rate(relayed),
        direct.as_secs_f64() / relayed.as_secs_f64()
    );
}

/// Processor time that a process has used: fields 14 and 15 of its stat, in ticks of 10 ms.
fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("stat");
    let after_name = stat.rsplit(')').next().expect("fields");
    let ticks = after_name.split_ascii_whitespace().skip(11).take(2);
    ticks.map(|field| field.parse::<f64>().expect("ticks")).sum::<f64>() / 100.0
}

fn round(stream: TcpStream) {
    let mut stream = stream;
    stream.write_all(&[1]).expect("write");
    stream.read_exact(&mut [0u8; 1]).expect("echo");
}

fn connections() {
    let echo = server(|mut stream| {
        let mut byte = [0u8; 1];
        while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
    });
    let rig = rig_to(echo);
    let (mut direct, mut relayed) = (Vec::new(), Vec::new());
    for _ in 0..CONNECTIONS {
        let start = Instant::now();
        round(TcpStream::connect(echo).expect("connect"));
        direct.push(start.elapsed());
        let start = Instant::now();
        round(rig.dial(0));
        relayed.push(start.elapsed());
    }
    let (direct, relayed) = (median(&mut direct), median(&mut relayed));
    println!(
        "new connection with one byte echoed, p50: direct {direct:?}, relayed {relayed:?}, added {:?}",
        relayed.saturating_sub(direct)
    );
}

fn rig_to(to: SocketAddr) -> Rig {
    Rig::start(Setup {
        names: vec!["host.ringfence"],
        routes: vec![synthetic(0, to.port())],
        ..Setup::default()
    })
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
