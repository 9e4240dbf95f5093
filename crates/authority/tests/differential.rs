//! The sliced answer, the whole set's answer and a second evaluator, written without Cedar, agree.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::{ask, endpoint, policy};
use proptest::prelude::*;
use ringfence_authority::{Authority, Now};
use ringfence_model::address::{AddressClass, classify, embedded_v4};
use ringfence_model::boundary::Access;
use ringfence_model::decision::{Decision, Reason};
use ringfence_model::host::{HostName, HostPattern, Target};
use ringfence_model::request::{Action, Endpoint, Request, Resource};
use ringfence_policy::{Compiled, Effect, Ends, NetRule};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

const HOSTS: [&str; 8] = [
    "a.example",
    "*.a.example",
    "b.a.example:80",
    "*.example.org:8000-8010",
    "host.ringfence:80",
    "c.corp:*",
    "10.0.0.0/8:80",
    "[fd00::/8]:443",
];
const DENIED: [&str; 8] = [
    "*.a.example:80",
    "b.a.example",
    "10.1.0.0/16",
    "0.0.0.0/0:81",
    "[::/0]:80",
    "10.0.0.1:443",
    "x.example.org",
    "64:ff9b::/96",
];
const RANGES: [&str; 4] = ["10.0.0.0/8", "fd00::/16", "169.254.0.0/16", "192.168.1.0/24"];
const NAMES: [&str; 8] = [
    "",
    "a.example",
    "b.a.example",
    "x.b.a.example",
    "x.example.org",
    "c.corp",
    "host.ringfence",
    "xa.example",
];
const ADDRESSES: [&str; 12] = [
    "",
    "93.184.216.34",
    "10.0.0.1",
    "10.1.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "169.254.1.1",
    "::ffff:10.1.0.1",
    "64:ff9b::a01:1",
    "fd00::1",
    "2606:4700::1111",
    "192.168.1.9",
];
const PORTS: [u16; 6] = [80, 81, 443, 8000, 8010, 22];
const PATHS: [&str; 10] = [
    "/srv",
    "/srv/data",
    "/srv/data/x.pem",
    "/srv/database",
    "/code/p",
    "/code/p/secrets/a",
    "/home/ann/.config/gh/x",
    "/home/ann/.config/y",
    "/opt/out/k",
    "/",
];

/// One `allow` entry: host, ranges, an end.
type Entry = (usize, Vec<usize>, Option<u64>);

fn allow_text(entry: &Entry) -> String {
    let (host, ranges, minutes) = entry;
    let host = HOSTS[*host];
    let named =
        host.starts_with(|c: char| c.is_ascii_digit() || c == '[') || host.starts_with("host.");
    let mut parts = vec![format!("host = \"{host}\"")];
    if !named && !ranges.is_empty() {
        let all: Vec<_> = ranges.iter().map(|at| format!("\"{}\"", RANGES[*at])).collect();
        parts.push(format!("addresses = [{}]", all.join(", ")));
    }
    if let Some(minutes) = minutes {
        parts.push(format!("for = \"{minutes}m\""));
    }
    format!("{{ {} }}", parts.join(", "))
}

fn definitions() -> impl Strategy<Value = String> {
    let entry = (
        0..HOSTS.len(),
        proptest::collection::vec(0..RANGES.len(), 0..3),
        proptest::option::of(1u64..3),
    );
    (
        proptest::collection::vec(entry, 0..6),
        proptest::collection::vec(0..DENIED.len(), 0..4),
        proptest::collection::vec(0..3usize, 0..4),
        any::<[bool; 3]>(),
    )
        .prop_map(|(allow, deny, files, flags)| {
            let allow: Vec<_> = allow.iter().map(allow_text).collect();
            let deny: Vec<_> = deny.iter().map(|at| format!("\"{}\"", DENIED[*at])).collect();
            let read: Vec<_> = files
                .iter()
                .map(|at| ["\"/srv/data\"", "\"/home/ann/.config\"", "{ path = \"/srv/data\", for = \"1m\" }"][*at])
                .collect();
            let write = if flags[0] { "write = [\"/opt/out\"]" } else { "" };
            let hide = if flags[1] { "deny = [\"*.pem\", \"secrets/\"]" } else { "" };
            let mode = if flags[2] { "read-only" } else { "review" };
            format!(
                "[workspace]\nmode = \"{mode}\"\n[network]\nallow = [{}]\ndeny = [{}]\npublish = [80]\n[files]\nread = [{}]\n{write}\n{hide}\n",
                allow.join(", "), deny.join(", "), read.join(", "),
            )
        })
        // A permit that a deny of the same file covers is refused; such a definition is no policy.
        .prop_filter("refused definitions", |body| {
            let text = format!("version = 1\n{body}");
            let text = ringfence_policy::DefinitionText { file: Path::new("x"), bytes: text.as_bytes() };
            ringfence_policy::check(&text, ringfence_model::provenance::Layer::Project).is_ok()
        })
}

fn requests() -> impl Strategy<Value = Request> {
    let place = (0..NAMES.len(), 0..NAMES.len(), 0..ADDRESSES.len(), 0..PORTS.len());
    prop_oneof![
        6 => (place, any::<bool>()).prop_map(|((name, claimed, address, port), connect)| {
            let own = endpoint(NAMES[name], NAMES[claimed], ADDRESSES[address], PORTS[port]);
            let action = if connect { Action::Connect } else { Action::Resolve };
            ask(action, Resource::Endpoint(own))
        }),
        3 => (0..PATHS.len(), any::<bool>()).prop_map(|(path, read)| {
            let action = if read { Action::Read } else { Action::Write };
            ask(action, Resource::Path(PATHS[path].into()))
        }),
        1 => (80u16..82).prop_map(|port| ask(Action::Publish, Resource::Port(port))),
    ]
}

/// The second evaluator: loops over the plain data.
mod naive {
    use super::*;

    fn live(ends: Ends, now: Now) -> bool {
        ends.for_ms.is_none_or(|end| now.elapsed_ms < end)
            && ends.at_unix.is_none_or(|end| now.unix_s < end)
    }

    fn named(pattern: &HostPattern, name: &Option<HostName>) -> bool {
        name.as_ref().is_some_and(|name| pattern.matches(name))
    }

    fn permits(rule: &NetRule, own: &Endpoint) -> bool {
        match &rule.destination.target {
            Target::Name(pattern) => {
                let Some(address) = own.address else {
                    return named(pattern, &own.name);
                };
                let class = classify(address);
                let home = if *pattern == HostPattern::Exact("host.ringfence".parse().unwrap()) {
                    AddressClass::Loopback
                } else {
                    AddressClass::Public
                };
                let listed = rule.addresses.iter().any(|cidr| {
                    cidr.contains(address)
                        && (class != AddressClass::Metadata || cidr.prefix() == 32)
                });
                named(pattern, &own.name) && (class == home || listed)
            }
            Target::Address(cidr) => {
                own.name.is_none()
                    && own.address.is_some_and(|address| {
                        cidr.contains(address)
                            && (classify(address) != AddressClass::Metadata || cidr.prefix() == 32)
                    })
            }
        }
    }

    fn forbids(rule: &NetRule, own: &Endpoint, action: Action) -> bool {
        match &rule.destination.target {
            Target::Name(pattern) => named(pattern, &own.name) || named(pattern, &own.claimed),
            Target::Address(cidr) => match own.address {
                Some(address) => {
                    let inner = match address.to_canonical() {
                        IpAddr::V6(v6) => embedded_v4(v6),
                        IpAddr::V4(_) => None,
                    };
                    cidr.contains(address) || inner.is_some_and(|v4| cidr.contains(IpAddr::V4(v4)))
                }
                None => action == Action::Connect && cidr.prefix() == 0,
            },
        }
    }

    pub fn allows(policy: &Compiled, request: &Request, now: Now) -> bool {
        match &request.resource {
            Resource::Endpoint(own) => {
                let mismatch = request.action == Action::Connect
                    && own.name.is_some()
                    && own.claimed.is_some()
                    && own.name != own.claimed;
                let on_port = |rule: &&NetRule| rule.destination.ports.contains(own.port);
                let mut rules = policy.network.iter().filter(on_port);
                let forbidden = rules.any(|rule| {
                    rule.effect == Effect::Forbid && forbids(rule, own, request.action)
                });
                let mut rules = policy.network.iter().filter(on_port);
                let permitted = rules.any(|rule| {
                    rule.effect == Effect::Permit && live(rule.ends, now) && permits(rule, own)
                });
                permitted && !forbidden && !mismatch
            }
            Resource::Path(path) => {
                let write = request.action == Action::Write;
                let read_only = policy.workspace.mode.as_ref().is_some_and(|mode| {
                    mode.value == ringfence_model::boundary::WorkspaceMode::ReadOnly
                });
                let work = path.starts_with(&policy.workspace.root) && !(write && read_only);
                let granted = policy.files.iter().any(|rule| {
                    path.starts_with(&rule.path)
                        && live(rule.ends, now)
                        && (!write || rule.access == Access::ReadWrite)
                });
                let masked = policy.masks.iter().any(|mask| path.starts_with(&mask.path));
                (work || granted) && !masked && policy.hidden_by(path).is_empty()
            }
            Resource::Port(port) => policy.publish.iter().any(|rule| rule.ports.inside == *port),
            Resource::Variable(name) => policy.pass.iter().any(|rule| rule.name == *name),
        }
    }
}

fn comparable(decision: Decision) -> (bool, Vec<String>, Reason, Option<i64>) {
    let rules = decision.rules.iter().map(|rule| rule.id.clone()).collect();
    (decision.verdict.is_allow(), rules, decision.reason, decision.expires)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// PB2, PB8: the slice decides as the whole does, and Cedar as the plain loops do.
    #[test]
    fn pb2_pb8_three_evaluators_agree(
        body in definitions(),
        questions in proptest::collection::vec(requests(), 1..12),
        elapsed_ms in 0u64..200_000,
    ) {
        let compiled = Arc::new(policy(&body));
        let own = Authority::new(Arc::clone(&compiled), 1);
        let now = Now { unix_s: 1_800_000_000, elapsed_ms };
        for request in questions {
            let sliced = comparable(own.decide(&request, now));
            let whole = comparable(own.decide_by_every_rule(&request, now));
            prop_assert_eq!(&sliced, &whole, "{:?}\n{}", request, body);
            let failed = matches!(sliced.2, Reason::Failed { .. });
            prop_assert!(!failed, "{:?}", sliced);
            prop_assert_eq!(sliced.0, naive::allows(&compiled, &request, now), "{:?} {:?}\n{}", request, sliced, body);
        }
    }
}

/// PB8: what stops at the address is told so, whatever is forbidden of the other family's addresses.
#[test]
fn pb8_a_forbid_of_another_family_does_not_hide_the_reason() {
    let compiled = policy("[network]\nallow = [\"b.example:80\"]\ndeny = [\"[::/0]:80\"]");
    let own = Authority::new(Arc::new(compiled), 1);
    let now = Now { unix_s: 1_800_000_000, elapsed_ms: 0 };
    let request =
        ask(Action::Connect, Resource::Endpoint(endpoint("b.example", "", "10.0.0.1", 80)));
    let sliced = comparable(own.decide(&request, now));
    assert!(matches!(sliced.2, Reason::UnnamedAddress { .. }), "{sliced:?}");
    assert_eq!(comparable(own.decide_by_every_rule(&request, now)), sliced);
}

/// The printed policy, parsed as one file, decides as the rules one by one do.
#[test]
fn the_printed_policy_has_every_rule() {
    let compiled = policy(
        "[network]\nallow = [\"a.example\"]\ndeny = [\"b.example\"]\n[files]\ndeny = [\".env\"]",
    );
    let set: cedar_policy::PolicySet = compiled.cedar().parse().unwrap();
    let mut printed: Vec<_> =
        set.policies().filter_map(|policy| policy.annotation("id").map(str::to_owned)).collect();
    let mut rules: Vec<_> = compiled
        .rules()
        .into_iter()
        .filter_map(|at| compiled.rule_origin(at).map(|origin| origin.0))
        .collect();
    printed.sort();
    rules.sort();
    assert_eq!(printed, rules);
}
