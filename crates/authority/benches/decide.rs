//! What one decision costs, with 10, 1,000 and 10,000 rules, beside a bare hash look-up in the same
//! run. Prints microseconds; asserts nothing.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use ringfence_authority::{Authority, Now};
use ringfence_model::request::{Action, Context, Endpoint, Request, Resource};
use ringfence_policy::{
    CommandLine, DefinitionText, Facts, Found, FoundKind, Host, Inputs, Unresolved, compile,
};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const NOW: Now = Now { unix_s: 1_800_000_000, elapsed_ms: 1000 };
const ROUNDS: usize = 20_000;

struct PlainHost;

impl Host for PlainHost {
    fn resolve(&self, path: &Path) -> Result<Found, Unresolved> {
        Ok(Found { path: path.to_owned(), kind: FoundKind::Directory })
    }
}

fn policy(count: usize) -> ringfence_policy::Compiled {
    let mut text = String::from("version = 1\n[network]\nallow = [\n");
    for at in 0..count {
        let _ = writeln!(text, "\"h{at}.example.com\", \"*.d{at}.example.com:8443\",");
    }
    text.push_str("]\ndeny = [\"*.evil.example\", \"10.9.0.0/16\"]\n");
    let facts = Facts {
        home: "/home/ann".into(),
        cwd: "/code/p".into(),
        workspace: "/code/p".into(),
        state: "/home/ann/.local/state/ringfence".into(),
        config: "/home/ann/.config/ringfence".into(),
        binary: "/opt/rf/ringfence".into(),
        memory: 16 << 30,
        now_unix: NOW.unix_s,
    };
    compile(&Inputs {
        organisation: None,
        user: None,
        project: Some(DefinitionText {
            file: Path::new("/code/p/ringfence.toml"),
            bytes: text.as_bytes(),
        }),
        project_trusted: true,
        command_line: &CommandLine::default(),
        facts: &facts,
        host: &PlainHost,
    })
    .unwrap()
}

fn connect(name: &str) -> Request {
    Request {
        action: Action::Connect,
        resource: Resource::Endpoint(Endpoint {
            name: Some(name.parse().unwrap()),
            claimed: Some(name.parse().unwrap()),
            address: Some("93.184.216.34".parse().unwrap()),
            port: 443,
        }),
        context: Context::default(),
    }
}

/// Median and 99th percentile in microseconds.
fn measure(rounds: usize, mut once: impl FnMut(usize)) -> (f64, f64) {
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let start = Instant::now();
        once(round);
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    (times[rounds / 2], times[rounds * 99 / 100])
}

fn main() {
    for count in [10, 1000, 10_000] {
        let compiled = Arc::new(policy(count / 2));
        let start = Instant::now();
        let own = Authority::new(Arc::clone(&compiled), 1);
        let made = start.elapsed().as_secs_f64() * 1e6;
        let requests: Vec<_> =
            (0..count / 2).map(|at| connect(&format!("h{at}.example.com"))).collect();
        let start = Instant::now();
        assert!(own.decide(&requests[0], NOW).verdict.is_allow());
        let first = start.elapsed().as_secs_f64() * 1e6;
        let table: HashMap<String, u16> =
            (0..count).map(|at| (format!("h{at}.example.com"), 443)).collect();
        let (bare, _) = measure(ROUNDS, |_| {
            std::hint::black_box(table.get(std::hint::black_box("h3.example.com")));
        });
        let (same, same99) = measure(ROUNDS, |_| {
            std::hint::black_box(own.decide(&requests[0], NOW));
        });
        let (fresh, fresh99) = measure(requests.len(), |at| {
            std::hint::black_box(own.decide(&requests[at], NOW));
        });
        let (each, each99) = measure(ROUNDS, |round| {
            std::hint::black_box(own.decide(&requests[round % requests.len()], NOW));
        });
        let denied = connect("nobody.example.net");
        let (no, no99) = measure(ROUNDS, |_| {
            std::hint::black_box(own.decide(&denied, NOW));
        });
        let (whole, _) = measure(5, |_| {
            std::hint::black_box(own.decide_by_every_rule(&requests[0], NOW));
        });
        println!("{count} rules: new {made:.0} us, first decision {first:.0} us");
        println!(
            "  allow, same host:  p50 {same:.1} us, p99 {same99:.1} us ({:.0} x a hash look-up)",
            same / bare.max(0.01)
        );
        println!("  allow, first time: p50 {fresh:.1} us, p99 {fresh99:.1} us");
        println!("  allow, every host: p50 {each:.1} us, p99 {each99:.1} us");
        println!("  deny, no rule:     p50 {no:.1} us, p99 {no99:.1} us");
        println!("  by every rule:     p50 {whole:.0} us");
    }
}
