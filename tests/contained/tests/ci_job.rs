//! A CI job: no terminal, an odd environment, an account without a name. The result is the agent's or a
//! refusal with its reason, never a crash and never a run that nobody asked for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a test stops where it fails, and says what it skips"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use ringfence_contained_tests::{Fixture, Live, Outcome};

const PATIENCE: Duration = Duration::from_secs(60);

/// `ringfence WORDS` with these variables alone, in the project.
fn bare(fixture: &Fixture, variables: &[(&str, &str)], words: &[&str]) -> Outcome {
    let mut command = Command::new(fixture.binary());
    command.args(words).env_clear().envs(variables.iter().copied());
    command.current_dir(fixture.project());
    Live::start(command, b"", PATIENCE).wait()
}

fn text(path: std::path::PathBuf) -> String {
    path.display().to_string()
}

#[test]
fn an_odd_home_is_a_clear_refusal() {
    let fixture = Fixture::new();
    let run = ["run", "--", "echo", "STARTED"];
    let cases: [(&[(&str, &str)], &str); 3] = [
        (&[], "HOME is not set"),
        (&[("HOME", "/nonexistent")], "set HOME to a directory that exists"),
        (&[("HOME", "relative")], "HOME is not set; set it to an absolute path"),
    ];
    for (variables, words) in cases {
        let outcome = bare(&fixture, variables, &run);
        assert_eq!(outcome.code, 125, "{variables:?}: {outcome:?}");
        assert!(outcome.stderr.contains(words), "{variables:?}: {outcome:?}");
        assert!(!outcome.stdout.contains("STARTED"), "{outcome:?}");
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:?}");
    }
}

/// HOME and a place for the state are all that is needed.
#[test]
fn an_empty_environment_is_enough_with_a_home() {
    let fixture = Fixture::new();
    let (home, state) = (text(fixture.home()), text(fixture.state()));
    let variables = [("HOME", home.as_str()), ("XDG_STATE_HOME", state.as_str())];
    for (script, code) in [("exit 0", 0), ("exit 9", 9), ("kill -9 $$", 137), ("kill -15 $$", 143)]
    {
        let outcome = bare(&fixture, &variables, &["run", "--", "sh", "-c", script]);
        assert_eq!(outcome.code, code, "{script}: {outcome:?}");
    }
    assert_eq!(bare(&fixture, &variables, &["run", "--", "no-such-program"]).code, 127);
    assert_eq!(bare(&fixture, &variables, &["run", "--", "/etc/hostname"]).code, 126);
    let limit = bare(&fixture, &variables, &["run", "--limit", "wall=1s", "--", "sleep", "30"]);
    assert_eq!(limit.code, 137, "{limit:?}");
    assert!(limit.stderr.contains("limit wall"), "{limit:?}");
    fixture.verify_ledgers();
}

/// A home that cannot be written is no hindrance where the state has another place, and a clear
/// refusal where it has not.
#[test]
fn a_read_only_home_needs_another_place_for_the_state() {
    let fixture = Fixture::new();
    if rustix::process::getuid().is_root() {
        eprintln!("skipped: nothing is read-only for root");
        return;
    }
    let home = fixture.root().join("fixed");
    fs::create_dir(&home).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o500)).unwrap();
    let (home, state) = (text(home), text(fixture.state()));
    let run = ["run", "--", "sh", "-c", "cd && echo x > f && cat f"];
    let refused = bare(&fixture, &[("HOME", &home)], &run);
    assert_eq!(refused.code, 125, "{refused:?}");
    assert!(refused.stderr.contains("XDG_STATE_HOME"), "{refused:?}");
    let started = bare(&fixture, &[("HOME", &home), ("XDG_STATE_HOME", &state)], &run);
    assert_eq!((started.code, started.stdout.as_str()), (0, "x\n"), "{started:?}");
}

/// Closed standard descriptors change neither the code nor what is recorded.
#[test]
fn closed_standard_descriptors_are_no_hindrance() {
    let fixture = Fixture::new();
    for closed in ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"] {
        let words = fixture.job().words(["sh", "-c", "echo out; echo err >&2; exit 5"]);
        let outcome = fixture.job().behind(&format!("exec {closed}"), words).wait();
        assert_eq!(outcome.code, 5, "{closed}: {outcome:?}");
    }
    fixture.verify_ledgers();
}

/// An account without an entry in `/etc/passwd` is as good as any.
#[test]
fn an_account_without_a_name_can_run() {
    let fixture = Fixture::new();
    if !rustix::process::getuid().is_root() {
        eprintln!("skipped: only root can take another id");
        return;
    }
    let place = fixture.root().join("nobody");
    fs::create_dir_all(place.join("project")).unwrap();
    fs::set_permissions(fixture.root(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = place.join("ringfence");
    ringfence_contained_tests::copy_program(fixture.binary(), &program);
    for path in [&place, &place.join("project")] {
        std::os::unix::fs::chown(path, Some(54_321), Some(54_321)).unwrap();
    }
    for tier in ["process", "landlock"] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "54321", "--regid", "54321", "--clear-groups"]).arg(&program);
        command.args(["run", "--tier", tier, "--", "sh", "-c", "id -u; exit 6"]);
        command.env_clear().env("HOME", &place).env("PATH", "/usr/bin:/bin");
        command.current_dir(place.join("project"));
        let outcome = Live::start(command, b"", PATIENCE).wait();
        if outcome.stderr.contains("stands on ABI 6") {
            continue;
        }
        assert_eq!((outcome.code, outcome.stdout.as_str()), (6, "54321\n"), "{tier}: {outcome:?}");
    }
}
