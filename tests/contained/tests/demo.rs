//! The demo (S01, S02, S36): what a newcomer sees first must be true, and leave nothing behind.
//!
//! Its temporary directory lies below the fixture, so that the census counts what it started.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::fs;
use std::process::Command;
use std::time::Duration;

use ringfence_contained_tests::{Fixture, Live, Outcome, needs};

const HIDE: &str = include_str!("fixtures/hide.py");
const PATIENCE: Duration = Duration::from_secs(120);
/// `landlock_create_ruleset` on every architecture, and the errno of a call that is not there.
const NO_LANDLOCK: &str = "444=38";

fn demo(fixture: &Fixture, arguments: &[&str]) -> Outcome {
    let mut words = vec!["demo"];
    words.extend(arguments);
    fixture.job().env("TMPDIR", fixture.root()).patience(PATIENCE).verb(&words)
}

fn left(fixture: &Fixture) -> Vec<String> {
    fs::read_dir(fixture.root())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.starts_with("ringfence-"))
        .collect()
}

/// All twenty succeed free and none contained; the real home is not touched.
#[test]
fn s01_the_demo_shows_twenty_attempts_and_contains_them_all() {
    let fixture = Fixture::new();
    let bashrc = fs::read(fixture.home().join(".bashrc")).unwrap();
    let outcome = demo(&fixture, &["--json"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let report: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 20);
    for row in rows {
        assert_eq!(row["succeeded_free"], true, "the control failed: {row}");
        assert_eq!(row["held"], true, "not contained: {row}");
        assert_ne!(row["free"], row["contained"], "{row}");
    }
    assert_eq!(report["passed"], true);
    // Three ways out go through the gateway, which must have said no.
    assert!(report["denials"].as_u64().unwrap() >= 3, "{report}");
    assert!(report["records"].as_u64().is_some(), "its ledger is not whole: {report}");
    assert_eq!(fs::read(fixture.home().join(".bashrc")).unwrap(), bashrc);
    assert_eq!(left(&fixture), Vec::<String>::new());
    assert_eq!(fixture.runs(), Vec::<String>::new(), "the demo's run is none of the user's");
}

/// For people: plain characters without a terminal, and the next step at the end.
#[test]
fn s01_the_demo_prints_a_plain_table() {
    let fixture = Fixture::new();
    let outcome = demo(&fixture, &[]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(outcome.stdout.is_ascii(), "{outcome:?}");
    assert!(!outcome.stdout.contains('\u{1b}'), "colours without a terminal");
    let words = |line: &str| line.split_once("  ").map(|(number, _)| number.trim().to_owned());
    let numbers: Vec<u8> =
        outcome.stdout.lines().filter_map(words).filter_map(|n| n.parse().ok()).collect();
    assert_eq!(numbers, (1..=20).collect::<Vec<u8>>(), "{}", outcome.stdout);
    for words in ["20 of 20 succeeded free, 20 of 20 were contained", "ringfence run"] {
        assert!(outcome.stdout.contains(words), "no `{words}`: {}", outcome.stdout);
    }
}

/// S36: where a run is refused, the demo claims nothing and says why.
#[test]
fn s36_the_demo_does_not_pass_where_nothing_can_be_contained() {
    needs!("python3");
    let fixture = Fixture::new();
    let mut command = Command::new("python3");
    command.args(["-c", HIDE, NO_LANDLOCK, "--"]).arg(fixture.binary()).arg("demo");
    fixture.surround(&mut command);
    command.env("TMPDIR", fixture.root()).current_dir(fixture.project());
    let outcome = Live::start(command, b"", PATIENCE).wait();
    assert_eq!(outcome.code, 1, "{outcome:?}");
    assert_eq!(outcome.stdout.matches("not tried").count(), 20, "{}", outcome.stdout);
    for words in ["Landlock", "ringfence doctor"] {
        assert!(outcome.stdout.contains(words), "no `{words}`: {}", outcome.stdout);
    }
    assert_eq!(left(&fixture), Vec::<String>::new());
}

/// A person may end it at any time; it still cleans up.
#[test]
fn s36_an_interrupted_demo_leaves_nothing() {
    let fixture = Fixture::new();
    let mut command = Command::new(fixture.binary());
    command.arg("demo");
    fixture.surround(&mut command);
    command.env("TMPDIR", fixture.root()).current_dir(fixture.project());
    let live = Live::start(command, b"", PATIENCE);
    while left(&fixture).is_empty() {
        std::thread::yield_now();
    }
    live.signal(rustix::process::Signal::INT);
    let outcome = live.wait();
    assert_eq!(outcome.code, 130, "{outcome:?}");
    assert_eq!(left(&fixture), Vec::<String>::new());
}
