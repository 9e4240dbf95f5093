//! S36: `ringfence doctor` says before a run what a run would meet: its verdict and the start agree.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::fs;
use std::process::Command;
use std::time::Duration;

use ringfence_contained_tests::{Fixture, Live, Outcome, needs};
use serde_json::Value;

const HIDE: &str = include_str!("fixtures/hide.py");
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs ringfence where some system calls fail as if the kernel lacked them.
fn without(fixture: &Fixture, rules: &[&str], arguments: &[&str]) -> Outcome {
    let mut command = Command::new("python3");
    command.args(["-c", HIDE]).args(rules).arg("--").arg(fixture.binary()).args(arguments);
    fixture.surround(&mut command);
    command.env("TMPDIR", fixture.root()).current_dir(fixture.project());
    Live::start(command, b"", PATIENCE).wait()
}

fn report(outcome: &Outcome) -> Value {
    serde_json::from_str(&outcome.stdout).unwrap_or_else(|error| panic!("{error}: {outcome:?}"))
}

/// The names of the rows that are not there.
fn missing(report: &Value) -> Vec<&str> {
    let rows = report["rows"].as_array().unwrap().iter();
    rows.filter(|row| row["state"] == "missing").map(|row| row["name"].as_str().unwrap()).collect()
}

/// A host on which the whole suite runs has everything; every row says what it looked for.
#[test]
fn s36_doctor_finds_everything_where_runs_start() {
    needs!("python3");
    let fixture = Fixture::new();
    let outcome = without(&fixture, &[], &["doctor", "--json"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let report = report(&outcome);
    assert_eq!(missing(&report), Vec::<&str>::new());
    for row in report["rows"].as_array().unwrap() {
        assert!(!row["found"].as_str().unwrap().is_empty(), "{row}");
        assert!(!row["needed"].as_str().unwrap().is_empty(), "{row}");
        assert_eq!(row["state"] == "ok", row["mend"].is_null(), "{row}");
    }
    assert_eq!(fixture.runs(), Vec::<String>::new(), "its trial is none of the user's runs");
    let text = without(&fixture, &[], &["doctor"]).stdout;
    assert!(text.trim_end().lines().last().unwrap().starts_with("a default run would start"));
}

/// One layer at a time is taken away: doctor names it, exits with 1, and a run is refused.
#[test]
fn s36_doctor_names_the_layer_that_is_missing() {
    needs!("python3");
    let (seccomp, clone) = if cfg!(target_arch = "x86_64") {
        ("317=38", "56/0x10000000=1")
    } else {
        ("277=38", "220/0x10000000=1")
    };
    let cases: [(&[&str], &str); 4] = [
        (&["444=38"], "landlock"),
        (&[seccomp], "seccomp"),
        // clone3 and clone's namespaces, as in a container; fsopen, without which there are no mounts.
        (&["435=38", clone], "namespaces"),
        (&["430=38"], "namespaces"),
    ];
    for (rule, name) in cases {
        let rule_words = rule.join(" ");
        let fixture = Fixture::new();
        let outcome = without(&fixture, rule, &["doctor", "--json"]);
        assert_eq!(outcome.code, 1, "{rule_words}: {outcome:?}");
        let report = report(&outcome);
        let missing = missing(&report);
        assert!(missing.contains(&name), "{rule_words}: {missing:?}");
        assert!(missing.contains(&"trial run"), "{rule_words}: {missing:?}");
        let row =
            report["rows"].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap();
        assert!(row["mend"].is_string(), "{row}");
        let verdict = report["verdict"].as_str().unwrap();
        assert!(verdict.starts_with("a default run would be refused: "), "{verdict}");
        let run = without(&fixture, rule, &["run", "--", "true"]);
        assert_eq!(run.code, 125, "{rule_words}: {run:?}");
    }
}

/// Filters of engines that know only the old call hide `clone3`: by itself that costs nothing.
#[test]
fn s36_a_hidden_clone3_alone_is_no_lack() {
    needs!("python3");
    let fixture = Fixture::new();
    let run = without(&fixture, &["435=38"], &["run", "--", "echo", "STARTED"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, "STARTED\n"), "{run:?}");
}

/// A policy that does not compile is named with its file, and a run is refused for it.
#[test]
fn s36_doctor_reads_the_policy() {
    needs!("python3");
    let fixture = Fixture::new();
    let place = fixture.config().join("ringfence");
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join("policy.toml"), "version = 1\nunheard = true\n").unwrap();
    let outcome = without(&fixture, &[], &["doctor", "--json"]);
    assert_eq!(outcome.code, 1, "{outcome:?}");
    let report = report(&outcome);
    assert_eq!(missing(&report), ["user policy", "trial run"]);
    fs::write(place.join("policy.toml"), "version = 1\n").unwrap();
    assert_eq!(without(&fixture, &[], &["doctor"]).code, 0);
}

/// What others can read is reported, with the command that mends it; it refuses no run.
#[test]
fn s36_doctor_looks_at_the_state_directory() {
    needs!("python3");
    use std::os::unix::fs::PermissionsExt;
    let fixture = Fixture::new();
    let state = fixture.state().join("ringfence");
    fs::create_dir_all(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
    let outcome = without(&fixture, &[], &["doctor", "--json"]);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let report = report(&outcome);
    let rows = report["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == "state directory").unwrap();
    assert_eq!(row["state"], "weaker");
    assert_eq!(row["mend"], format!("chmod 700 {}", state.display()));
}
