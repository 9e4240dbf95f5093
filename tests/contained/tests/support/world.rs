//! A fixture with a small internet around it: name servers and a user policy that uses them.
//!
//! Rules are written to the user's own policy file, as a person would; nothing here reaches
//! farther than this machine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ringfence_contained_tests::{Fixture, Job, Ledger, Outcome};
use serde_json::Value;

use super::dns::Dns;

/// The probes, see the file itself.
pub const PROBES: &str = include_str!("../fixtures/net.py");

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(20);

/// A fixture, its name servers and its policy.
pub struct World {
    /// The name servers that the policy names.
    pub dns: Dns,
    /// The host of the test.
    pub fixture: Fixture,
    limits: String,
}

impl World {
    /// A world in which `names` resolve, with nothing allowed yet.
    pub fn new(names: &[(&str, &[&str])]) -> Self {
        let own = Self { dns: Dns::start(names), fixture: Fixture::new(), limits: String::new() };
        fs::write(own.fixture.project().join("net.py"), PROBES).unwrap();
        own.policy(&[], &[]);
        own
    }

    /// A world with one policy.
    pub fn with(names: &[(&str, &[&str])], allow: &[String], deny: &[&str]) -> Self {
        let own = Self::new(names);
        own.policy(allow, deny);
        own
    }

    /// Writes the user's policy: TOML entries for `allow`, texts for `deny`.
    pub fn policy(&self, allow: &[String], deny: &[&str]) {
        let deny: Vec<String> = deny.iter().map(|text| format!("{text:?}")).collect();
        self.policy_text(&format!(
            "[network]\nresolver = \"{}\"\nallow = [{}]\ndeny = [{}]\n{}",
            self.dns.address(),
            allow.join(", "),
            deny.join(", "),
            self.limits
        ));
    }

    /// Writes the user's policy as it stands, but for its version.
    pub fn policy_text(&self, text: &str) {
        let directory = self.fixture.config().join("ringfence");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("policy.toml"), format!("version = 1\n{text}")).unwrap();
    }

    /// A run to be described further.
    pub fn job(&self) -> Job<'_> {
        self.fixture.job()
    }

    /// Runs probes inside, each `(label, words of net.py)`, and gives their answers.
    pub fn probe(&self, probes: &[(&str, String)]) -> Answers {
        Answers::of(&self.job().sh(&probing(probes)))
    }

    /// Runs the same probes without a boundary: the control group.
    pub fn unprotected(&self, probes: &[(&str, String)]) -> Answers {
        Answers::of(&self.fixture.unprotected(&probing(probes)))
    }

    /// The decisions of the latest run.
    pub fn decisions(&self) -> Decisions {
        Decisions::of(&self.fixture.ledger())
    }
}

/// A file by which a test lets a script inside go on: the script sees it through a read-only grant.
pub struct Gate(PathBuf);

impl Gate {
    /// A closed gate.
    pub fn new(fixture: &Fixture) -> Self {
        let directory = fixture.root().join("gate");
        fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }

    /// The flags of a run that looks at it.
    pub fn flags(&self) -> [OsString; 2] {
        ["--ro".into(), self.0.clone().into()]
    }

    /// The shell words that wait for it, a minute at most.
    pub fn wait(&self) -> String {
        let path = self.0.join("open");
        format!(
            "n=0; until [ -e '{}' ] || [ $((n += 1)) -gt 1200 ]; do sleep 0.05; done",
            path.display()
        )
    }

    /// Opens it.
    pub fn open(&self) {
        fs::write(self.0.join("open"), "").unwrap();
    }
}

/// The shell script of some probes.
pub fn probing(probes: &[(&str, String)]) -> String {
    let line = |(label, words): &(&str, String)| {
        format!("printf '%s\\t' '{label}'; python3 net.py {words} 2>&1 | tail -n 1\n")
    };
    probes.iter().map(line).collect()
}

/// Answers of probes by their labels.
#[derive(Debug)]
pub struct Answers {
    by_label: BTreeMap<String, String>,
    outcome: Outcome,
}

impl Answers {
    /// Reads `LABEL<TAB>ANSWER` lines.
    pub fn of(outcome: &Outcome) -> Self {
        let pairs = outcome.answers().into_iter();
        Self {
            by_label: pairs.map(|(label, answer)| (label.to_owned(), answer.to_owned())).collect(),
            outcome: outcome.clone(),
        }
    }

    /// The answer of one probe.
    pub fn get(&self, label: &str) -> &str {
        let answer = self.by_label.get(label).map(String::as_str);
        answer.unwrap_or_else(|| panic!("no answer for `{label}`: {:?}", self.outcome))
    }

    /// Fails unless a probe got bytes with this text back.
    pub fn assert_got(&self, label: &str, text: &str) {
        let answer = self.get(label);
        assert!(answer.contains(text), "`{label}` should have got {text:?}: {answer}");
    }

    /// Fails unless a TCP probe was turned away: reset, closed without a byte, or told so in HTTP
    /// or TLS. A time-out is a failure: a denied client must learn it at once.
    pub fn assert_denied(&self, label: &str) {
        let answer = self.get(label);
        let refused = ["end", "ECONNRESET", "ECONNREFUSED", "EPIPE", "ENETUNREACH", "EHOSTUNREACH"];
        // An alert of the gateway's, not the `handshake_failure` of a server of these tests.
        let alert = answer.starts_with("TLS-ALERT") && !answer.contains("HANDSHAKE_FAILURE");
        let raw_alert = answer.starts_with("got \u{15}\u{3}") && !answer.ends_with('\u{28}');
        let told = answer.starts_with("got HTTP/1.1 4") || alert || raw_alert;
        assert!(refused.contains(&answer) || told, "`{label}` was not turned away: {answer}");
    }

    /// The run itself.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }
}

/// The decisions of one run about the network.
pub struct Decisions(Vec<Value>);

impl Decisions {
    /// Those of a ledger.
    pub fn of(ledger: &Ledger) -> Self {
        Self(ledger.events("decision").into_iter().cloned().collect())
    }

    /// All decisions about a host (name or address) and port; port 0 stands for any.
    pub fn about<'a>(&'a self, host: &'a str, port: u16) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |event| {
            let end = &event["request"]["resource"]["endpoint"];
            let names = end["name"] == host || (end["name"].is_null() && same_address(end, host));
            names && (port == 0 || end["port"] == port)
        })
    }

    /// Fails unless a denial about this end stands in the ledger with this reason.
    pub fn assert_denied(&self, host: &str, port: u16, reason: &str) {
        let found = self.about(host, port).any(|event| {
            event["decision"]["verdict"] == "deny" && event["decision"]["reason"]["code"] == reason
        });
        assert!(found, "no denial of {host}:{port} for `{reason}` in {:#?}", self.0);
    }

    /// Fails unless an allowed connection to this end stands in the ledger.
    pub fn assert_allowed(&self, host: &str, port: u16) {
        let found = self.about(host, port).any(|event| {
            event["decision"]["verdict"] == "allow" && event["request"]["action"] == "connect"
        });
        assert!(found, "no permit of {host}:{port} in {:#?}", self.0);
    }

    /// How many denials of a host the records stand for.
    pub fn denials(&self, host: &str) -> u64 {
        let denied = self.about(host, 0).filter(|event| event["decision"]["verdict"] == "deny");
        denied.map(|event| event["count"].as_u64().unwrap_or(0)).sum()
    }

    /// Addresses that were allowed to be dialled.
    pub fn dialled(&self) -> Vec<String> {
        let allowed = self.0.iter().filter(|event| {
            event["decision"]["verdict"] == "allow" && event["request"]["action"] == "connect"
        });
        let address = |event: &Value| {
            Some(event["request"]["resource"]["endpoint"]["address"].as_str()?.to_owned())
        };
        allowed.filter_map(address).collect()
    }
}

fn same_address(end: &Value, host: &str) -> bool {
    let own = end["address"].as_str().and_then(|text| text.parse::<IpAddr>().ok());
    own.is_some() && own == host.parse().ok()
}

/// An `allow` entry for a name that leads to this machine's loopback.
pub fn loopback(host: &str) -> String {
    addressed(host, &["127.0.0.0/8"])
}

/// An `allow` entry with the ranges that the name may lead to.
pub fn addressed(host: &str, ranges: &[&str]) -> String {
    let ranges: Vec<String> = ranges.iter().map(|range| format!("{range:?}")).collect();
    format!("{{ host = {host:?}, addresses = [{}] }}", ranges.join(", "))
}

/// An `allow` entry as it stands.
pub fn plain(host: &str) -> String {
    format!("{host:?}")
}

/// An address of this machine beside the loopback, if it has one.
///
/// No packet is sent: connecting a datagram socket only asks the routing table.
pub fn machine_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").or_else(|_| socket.connect("10.255.255.1:9")).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// The same for IPv6.
pub fn machine_address6() -> Option<IpAddr> {
    let socket = UdpSocket::bind("[::]:0").ok()?;
    socket.connect("[2001:db8::1]:9").or_else(|_| socket.connect("[fd00::1]:9")).ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then_some(address)
}

/// Waits until `done` is true.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "it never came: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Bytes in hexadecimal, as the probes take them.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A GET request in hexadecimal.
pub fn get(host: &str, path: &str) -> String {
    hex(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
}
