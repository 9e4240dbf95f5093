//! S36: where a layer of the boundary is missing, nothing is started; a weaker boundary is never
//! taken silently. One layer at a time is hidden by a filter that the whole of ringfence inherits.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod support;

use std::process::Command;
use std::time::Duration;

use ringfence_contained_tests::{Fixture, Live, Outcome, needs, skip};
use support::world::{World, probing};

const HIDE: &str = include_str!("fixtures/hide.py");
const ENOSYS: i32 = 38;
const EPERM: i32 = 1;
const EPROTONOSUPPORT: i32 = 93;

/// Numbers of system calls, the same on every architecture since Linux 4.17.
const LANDLOCK_CREATE_RULESET: i64 = 444;
const CLONE3: i64 = 435;

/// `(seccomp, clone, unshare, mount, pivot_root, prctl, socket)` of this architecture.
#[cfg(target_arch = "x86_64")]
const OLD: [i64; 7] = [317, 56, 272, 165, 155, 157, 41];
#[cfg(target_arch = "aarch64")]
const OLD: [i64; 7] = [277, 220, 97, 40, 41, 167, 198];

const CLONE_NEWUSER: i64 = 0x1000_0000;

/// Runs `echo STARTED` in a boundary that has to be made with some calls failing.
fn run_without(fixture: &Fixture, rules: &[String]) -> Outcome {
    run_without_in(fixture, rules, &["sh", "-c", "echo STARTED"])
}

fn run_without_in(fixture: &Fixture, rules: &[String], argv: &[&str]) -> Outcome {
    let inner = fixture.job().command(argv);
    let mut command = Command::new("python3");
    command.args(["-c", HIDE]).args(rules).arg("--");
    command.arg(inner.get_program()).args(inner.get_args());
    fixture.surround(&mut command);
    command.current_dir(fixture.project());
    Live::start(command, b"", Duration::from_secs(60)).wait()
}

/// Fails unless the start was refused with a word about `layer` and about what to do.
fn assert_refused(outcome: &Outcome, layer: &[&str]) {
    assert_eq!(outcome.code, 125, "it must refuse: {outcome:?}");
    assert!(!outcome.stdout.contains("STARTED"), "the agent ran: {outcome:?}");
    let words = outcome.stderr.to_lowercase();
    assert!(
        layer.iter().any(|word| words.contains(word)),
        "none of {layer:?} is named: {outcome:?}"
    );
    assert!(words.contains("ringfence doctor"), "the next command is not named: {outcome:?}");
}

/// The control group: the filter itself is no reason to refuse.
#[test]
fn s36_control_a_filter_that_hides_nothing_changes_nothing() {
    needs!("python3");
    let fixture = Fixture::new();
    let outcome = run_without(&fixture, &[]);
    assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "STARTED\n"), "{outcome:?}");
}

/// S36, C19: without Landlock nothing is started.
#[test]
fn s36_without_landlock_nothing_is_started() {
    needs!("python3");
    let fixture = Fixture::new();
    for errno in [ENOSYS, 95] {
        let outcome = run_without(&fixture, &[format!("{LANDLOCK_CREATE_RULESET}={errno}")]);
        assert_refused(&outcome, &["landlock"]);
    }
}

/// S36: without seccomp filters nothing is started.
#[test]
fn s36_without_seccomp_nothing_is_started() {
    needs!("python3");
    let fixture = Fixture::new();
    let [seccomp, ..] = OLD;
    let outcome = run_without(&fixture, &[format!("{seccomp}={ENOSYS}")]);
    assert_refused(&outcome, &["seccomp"]);
}

/// S36, P24: without user namespaces an ordinary user's run is refused, whichever call is missing.
#[test]
fn s36_without_namespaces_nothing_is_started() {
    needs!("python3");
    let fixture = Fixture::new();
    let [_, clone, unshare, ..] = OLD;
    let rules = [
        format!("{CLONE3}={ENOSYS}"),
        format!("{clone}/{CLONE_NEWUSER}={EPERM}"),
        format!("{unshare}/{CLONE_NEWUSER}={EPERM}"),
    ];
    let outcome = run_without(&fixture, &rules);
    assert_refused(&outcome, &["namespace"]);
}

/// S36: the same where an administrator has set the number of user namespaces to 0.
#[test]
fn s36_with_namespaces_switched_off_nothing_is_started() {
    let fixture = Fixture::new();
    let inner = fixture.job().command(["sh", "-c", "echo STARTED"]);
    let uid = rustix::process::getuid().as_raw().to_string();
    let mut command = Command::new("unshare");
    // Inside the new namespace the limit is its own; the machine's is not touched.
    command.args(["--user", "--map-root-user", "sh", "-c"]);
    command.arg("echo 0 > /proc/sys/user/max_user_namespaces || exit 99; exec \"$0\" \"$@\"");
    command.arg(inner.get_program()).args(inner.get_args());
    fixture.surround(&mut command);
    command.current_dir(fixture.project());
    let outcome = Live::start(command, b"", Duration::from_secs(60)).wait();
    if outcome.code == 99 || outcome.stderr.contains("unshare failed") {
        return skip(
            "namespaces switched off",
            &format!("uid {uid} cannot make the set-up: {outcome:?}"),
        );
    }
    assert_eq!(outcome.code, 125, "{outcome:?}");
    assert!(!outcome.stdout.contains("STARTED"), "{outcome:?}");
    assert!(outcome.stderr.to_lowercase().contains("namespace"), "{outcome:?}");
}

/// S36, FS11: whichever single call of the set-up fails, the agent either starts behind the whole
/// boundary (the call was not needed here) or not at all.
#[test]
fn s36_a_failing_call_never_weakens_the_boundary() {
    needs!("python3");
    let fixture = Fixture::new();
    let [seccomp, _, unshare, mount, pivot_root, prctl, socket] = OLD;
    let set_no_new_privs = format!("{prctl}/0:38");
    let set_filter = format!("{seccomp}/0:1");
    // Numbers from 424 on are the same on every architecture: the mount calls, pidfd_open,
    // close_range, pidfd_getfd, mount_setattr, the three of Landlock.
    let modern = [428, 429, 430, 431, 432, 434, 436, 438, 442, 444, 445, 446];
    let mut calls: Vec<String> = modern.iter().map(ToString::to_string).collect();
    calls.extend([unshare, mount, pivot_root].map(|call| call.to_string()));
    calls.extend([set_no_new_privs, set_filter, format!("{socket}/0:1")]);
    let look = "echo STARTED; grep -h -E 'CapEff|CapBnd|NoNewPrivs|^Seccomp:' /proc/self/status | cut -f2 | tr '\\n' ' '\n\
                echo; cat ~/.ssh/id_rsa ../sibling/secret.txt; (true > /usr/bin/x) 2>/dev/null && echo WRITTEN; true";
    let mut refused = 0;
    for call in &calls {
        let outcome = run_without_in(&fixture, &[format!("{call}={EPERM}")], &["sh", "-c", look]);
        if outcome.stdout.contains("STARTED") {
            let none = "0000000000000000";
            assert!(outcome.stdout.contains(&format!("{none} {none} 1 2")), "{call}: {outcome:?}");
            assert!(!outcome.text().contains("CANARY"), "{call}: {outcome:?}");
            assert!(!outcome.stdout.contains("WRITTEN"), "{call}: {outcome:?}");
        } else {
            assert_eq!(outcome.code, 125, "{call}: {outcome:?}");
            assert!(outcome.stderr.contains("ringfence:"), "{call}: no word of why: {outcome:?}");
            refused += 1;
        }
    }
    assert!(refused >= 6, "the filter hides nothing: {refused} of {} refused", calls.len());
}

/// S36: without routes of its own the sandbox has no network to capture: nothing is started.
#[test]
fn s36_without_routes_nothing_is_started() {
    needs!("python3");
    let fixture = Fixture::new();
    let [.., socket] = OLD;
    let outcome = run_without(&fixture, &[format!("{socket}/0:16={EPROTONOSUPPORT}")]);
    assert_refused(&outcome, &["network", "loopback"]);
}

/// S36: without packet redirection the named ports are captured one by one, which is as closed,
/// and the ledger says so.
#[test]
fn s36_without_redirection_the_network_is_as_closed() {
    needs!("python3");
    let world = World::new(&[("sink.test", &["127.0.0.7"])]);
    let server = support::http::Http::start("127.0.0.5:0", "hello from allowed");
    let port = server.port();
    world.dns.set("allowed.test", &[&["127.0.0.5"]]);
    world.policy(&[support::world::loopback(&format!("allowed.test:{port}"))], &[]);
    let sink = support::tcp::Sink::start("127.0.0.7:0");
    let closed = sink.server.port();
    let [.., socket] = OLD;
    let script = probing(&[
        (
            "named",
            format!(
                "tcp allowed.test {port} {}",
                support::world::get(&format!("allowed.test:{port}"), "/")
            ),
        ),
        ("unnamed", format!("tcp sink.test {closed} 41")),
        ("unnamed port", format!("tcp allowed.test {closed} 41")),
        ("address", format!("tcp 8.8.8.8 {port} 41")),
    ]);
    // NETLINK_NETFILTER is protocol 12; no other socket of ringfence has it.
    let rules = [format!("{socket}/2:12={EPROTONOSUPPORT}")];
    let outcome = run_without_in(&world.fixture, &rules, &["sh", "-c", &script]);
    assert!(outcome.answer("named").contains("hello from allowed"), "{outcome:?}");
    sink.assert_untouched("S36");
    assert!(!outcome.answer("unnamed").starts_with("got"), "{outcome:?}");
    assert!(!outcome.answer("unnamed port").starts_with("got"), "{outcome:?}");
    assert!(!outcome.answer("address").starts_with("got"), "{outcome:?}");
    let released = world.fixture.ledger();
    let controls = released.the("released")["controls"].to_string();
    assert!(controls.contains("ports"), "the fallback is recorded: {controls}");
}
