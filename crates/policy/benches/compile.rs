//! How long parsing and compiling take: a small project over the `claude-code` profile, and 10,000
//! rules. Prints microseconds; asserts nothing.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use ringfence_policy::{
    CommandLine, DefinitionText, Facts, Found, FoundKind, Host, Inputs, Unresolved, compile,
};
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

struct PlainHost;

impl Host for PlainHost {
    fn resolve(&self, path: &Path) -> Result<Found, Unresolved> {
        Ok(Found { path: path.to_owned(), kind: FoundKind::Directory })
    }
}

const SMALL: &str = "version = 1
profile = \"claude-code\"
[workspace]
mode = \"review\"
[files]
deny = [\".env\", \"secrets/\"]
[network]
allow = [\"api.example.com\", \"*.example.org:8443\", { host = \"registry.corp\", addresses = [\"10.1.0.0/16\"] }]
[limits]
memory = \"4G\"
";

fn measure(name: &str, text: &str, rounds: usize) {
    let facts = Facts {
        home: "/home/ann".into(),
        cwd: "/code/p".into(),
        workspace: "/code/p".into(),
        state: "/home/ann/.local/state/ringfence".into(),
        config: "/home/ann/.config/ringfence".into(),
        binary: "/opt/rf/ringfence".into(),
        memory: 16 << 30,
        now_unix: 1_800_000_000,
    };
    let mut times = Vec::with_capacity(rounds);
    for _ in 0..rounds {
        let start = Instant::now();
        let compiled = compile(&Inputs {
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
        });
        times.push(start.elapsed().as_secs_f64() * 1e6);
        std::hint::black_box(compiled.unwrap());
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{name}: p50 {:.0} us, p99 {:.0} us", at(0.5), at(0.99));
}

fn main() {
    measure("small project + claude-code profile", SMALL, 2000);
    for count in [1000, 10_000] {
        let mut text = String::from("version = 1\n[network]\nallow = [\n");
        for at in 0..count {
            let _ = writeln!(text, "\"h{at}.example.com\",");
        }
        text.push_str("]\n");
        measure(&format!("{count} rules"), &text, 10);
    }
}
