//! From a person's `ringfence allow` to the first byte that passes: an agent inside asks all the time
//! and is turned away, until it is not. Beside it the cheapest verb that looks at a running sandbox.
//!
//! It must never time the start of a sandbox.
#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on stops, and its result is printed"
)]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use support::{Place, headline, inside, median, milliseconds, percentile};

/// Answers of each kind.
const ANSWERS: usize = 40;
/// How long the agent is turned away before each.
const TURNED_AWAY: Duration = Duration::from_millis(30);
/// A first byte of no protocol that the gateway would wait for more of.
const OPAQUE: u8 = 0x82;
/// What is promised, in milliseconds.
const PROMISED_MS: f64 = 100.0;

/// Ends the sandbox however the benchmark ends.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // Its standard input is what it waits for at the end.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn main() {
    if let Some(ports) = inside() {
        return agent(&ports);
    }
    let place = Place::new();
    headline(&place);
    let project = place.project("answered");
    let bare = bare(&place, &project);
    report("ringfence ps (bare)", &bare, None);
    for (label, scope) in
        [("allow --for 10m", &["--for", "10m"][..]), ("allow, remembered", &["--user"][..])]
    {
        let times = answers(&place, &project, scope);
        report(label, &times, Some(&bare));
        let slowest = milliseconds(percentile(&times, 99));
        println!(
            "  promised: {PROMISED_MS} ms at p99, {}",
            if slowest <= PROMISED_MS { "kept" } else { "NOT kept" }
        );
    }
}

/// Asks for one port after the other until each lets it through, then waits to be told to end.
fn agent(ports: &[String]) {
    for port in ports {
        let server = format!("host.ringfence:{port}");
        while !passes(&server) {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    let _ = std::io::stdin().read(&mut [0]);
}

fn passes(server: &str) -> bool {
    let echo = |mut stream: TcpStream| {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(&[OPAQUE])?;
        stream.read_exact(&mut [0])
    };
    TcpStream::connect(server).and_then(echo).is_ok()
}

/// From the start of each `allow` to the connection that it lets through.
fn answers(place: &Place, project: &Path, scope: &[&str]) -> Vec<Duration> {
    let servers: Vec<TcpListener> =
        (0..ANSWERS).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let ports: Vec<String> = servers
        .iter()
        .map(|server| server.local_addr().expect("its address").port().to_string())
        .collect();
    let mut command = place.contained_self(project, &[]);
    let child = command.args(&ports).stdin(Stdio::piped()).stdout(Stdio::null());
    // The denials that it lists at its end are the point, and not the result.
    child.stderr(Stdio::null());
    let _agent = Agent(child.spawn().expect("a sandbox"));
    // It runs when its supervisor answers.
    while !place.state().join("live").read_dir().is_ok_and(|mut live| live.next().is_some()) {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(300));
    let all = servers.iter().zip(&ports).map(|(server, port)| {
        std::thread::sleep(TURNED_AWAY);
        let start = Instant::now();
        let mut allow = place.ringfence(project);
        allow.args(["allow", &format!("host.ringfence:{port}")]).args(scope);
        let mut allow = allow.stdout(Stdio::null()).spawn().expect("a start");
        let (mut stream, _) = server.accept().expect("the agent");
        let took = start.elapsed();
        let mut byte = [0];
        stream.read_exact(&mut byte).and_then(|()| stream.write_all(&byte)).expect("an echo");
        assert!(allow.wait().expect("an end").success());
        took
    });
    all.collect()
}

fn bare(place: &Place, project: &Path) -> Vec<Duration> {
    let all = (0..ANSWERS).map(|_| {
        let start = Instant::now();
        let done = place.ringfence(project).arg("ps").output().expect("a start");
        assert!(done.status.success(), "{done:?}");
        start.elapsed()
    });
    all.collect()
}

fn report(label: &str, times: &[Duration], bare: Option<&[Duration]>) {
    let middle = median(times);
    let ratio = bare.map_or_else(String::new, |bare| {
        format!(", {:.1} × bare", middle.as_secs_f64() / median(bare).as_secs_f64())
    });
    println!(
        "{label:22} p50 {:7.2} ms  p99 {:7.2} ms{ratio}",
        milliseconds(middle),
        milliseconds(percentile(times, 99))
    );
}
