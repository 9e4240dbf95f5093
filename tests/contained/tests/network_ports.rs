//! Where a kernel lacks nf_tables: named ports lead to the gateway by listeners of their own, every other
//! port is refused by the kernel itself, and the record says that this is less.
//!
//! The whole test says that it is skipped where connections are redirected; `.ci/kernel` runs it on a
//! kernel before its modules can be loaded.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod support;

use ringfence_contained_tests::skip;
use support::tcp::{LEAK, Sink, greeter};
use support::world::{World, loopback};

const GREETING: &str = "SSH-2.0-ringfence-test\r\n";

/// N01, FH4: what is named is reached, what is not named is not, and `inspect` says `reduced`.
#[test]
fn n01_fh4_without_nf_tables_named_ports_alone_lead_out() {
    let server = greeter("127.0.0.8:0", GREETING);
    let sink = Sink::start("127.0.0.9:0");
    let (named, other) = (server.port(), sink.server.port());
    let names: &[(&str, &[&str])] =
        &[("allowed.test", &["127.0.0.8"]), ("sink.test", &["127.0.0.9"])];
    let world = World::with(names, &[loopback(&format!("allowed.test:{named}"))], &[]);
    let probes = [
        ("named", format!("tcp allowed.test {named} 41")),
        ("other port", format!("tcp allowed.test {other} 41")),
        ("other host", format!("tcp sink.test {named} 41")),
        ("address", format!("tcp 127.0.0.9 {other} 41")),
        ("neither", format!("tcp sink.test {other} 41")),
        ("elsewhere", format!("tcp 192.0.2.1 {other} 41")),
    ];
    let answers = world.probe(&probes);
    let released = world.fixture.ledger().the("released")["controls"].clone();
    let network = released.as_array().unwrap().iter().find(|c| c["name"] == "network").unwrap();
    if network["strength"] == "enforced" {
        return skip("capture by named ports", "this kernel redirects every port");
    }
    assert_eq!(network["strength"], "reduced", "{network}");
    answers.assert_got("named", "SSH-2.0");
    for label in ["other port", "other host", "address", "neither", "elsewhere"] {
        assert!(!answers.get(label).contains(LEAK), "{label}: {}", answers.get(label));
        answers.assert_denied(label);
    }
    sink.assert_untouched("N01");
    world.decisions().assert_denied("sink.test", named, "no-rule");
    let control = world.unprotected(&[("sink", format!("tcp 127.0.0.9 {other} 41"))]);
    control.assert_got("sink", LEAK);
}
