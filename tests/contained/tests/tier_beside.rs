//! Programs that a person starts beside the agent in tier landlock: behind what the agent is behind.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::fs;
use std::time::Duration;

use ringfence_contained_tests::tier::alone;
use ringfence_contained_tests::{Fixture, Live, Outcome, needs_tier};

const PATIENCE: Duration = Duration::from_secs(60);

fn exec(fixture: &Fixture, script: &str) -> Outcome {
    let words = [fixture.binary().to_str().unwrap(), "exec", "--", "sh", "-c", script];
    Live::start(fixture.job().plain_command(words), b"", PATIENCE).wait()
}

/// Where it starts, what it may read, write and signal, and its code are as the agent's.
#[test]
fn what_is_started_beside_the_agent_is_as_confined() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let home = fixture.home().display().to_string();
    let victim = fixture.root().join("victim");
    fs::write(&victim, "untouched").unwrap();
    let victim = victim.display();
    let tries = [
        ("read", format!("cat {home}/.bashrc > /dev/null")),
        ("list", format!("ls {home} > /dev/null")),
        ("change", format!("echo more >> {victim}")),
        ("mode", format!("chmod 640 {victim}")),
        ("time", format!("touch -d @7 {victim}")),
        ("attribute", format!("chown $(id -u) {victim}")),
        ("signal", format!("kill -0 {}", std::process::id())),
    ];
    let script: String = tries
        .iter()
        .map(|(id, line)| {
            format!("if ( {line} ) 2>/dev/null; then echo '{id}\tDONE'; else echo '{id}\tno'; fi\n")
        })
        .collect();
    let mut live = alone(&fixture).flags(["--workspace", "direct"]).start_sh("echo up; sleep 60");
    live.wait_for("up");
    let inside = exec(&fixture, &format!("{script}echo made > src/beside; exit 7"));
    assert_eq!(inside.code, 7, "{inside:?}");
    assert_eq!(fs::read_to_string(fixture.project().join("src/beside")).unwrap(), "made\n");
    let outside = fixture.unprotected(&script);
    for (id, _) in &tries {
        assert_eq!(outside.answer(id), "DONE", "control group: {id}: {outside:?}");
        assert_eq!(inside.answer(id), "no", "{id}: {inside:?}");
    }
    let status = exec(&fixture, "grep -E '^(NoNewPrivs|Seccomp|CapEff)' /proc/self/status");
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000"] {
        assert!(status.stdout.contains(line), "{line}: {status:?}");
    }
    assert_eq!(fixture.ringfence(&["kill"]).code, 0);
    let _ = live.wait();
    fixture.verify_ledgers();
}

/// A file that an editor has replaced is another one: it stays as it is, and the rest still starts.
#[test]
fn a_file_that_was_replaced_outside_is_not_opened_to_what_starts_later() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let project = fixture.project();
    let mut live = alone(&fixture).flags(["--workspace", "direct"]).start_sh("echo up; sleep 60");
    live.wait_for("up");
    assert_eq!(exec(&fixture, "echo one > README.md").code, 0, "control group");
    fs::write(project.join("new"), "the person's\n").unwrap();
    fs::rename(project.join("new"), project.join("README.md")).unwrap();
    let later = exec(&fixture, "echo work > src/work; echo two > README.md");
    assert_ne!(later.code, 0, "{later:?}");
    assert_eq!(fs::read_to_string(project.join("README.md")).unwrap(), "the person's\n");
    assert_eq!(fs::read_to_string(project.join("src/work")).unwrap(), "work\n");
    assert_eq!(fixture.ringfence(&["kill"]).code, 0);
    let _ = live.wait();
}

/// It ends with the run, whatever it ignores.
#[test]
fn it_ends_with_the_run() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let mut live = alone(&fixture).start_sh("echo up; sleep 60");
    live.wait_for("up");
    let words = [fixture.binary().to_str().unwrap(), "exec", "--", "sh", "-c"];
    let script = "trap '' TERM HUP INT; echo beside; while :; do sleep 1; done";
    let command = fixture.job().plain_command(words.into_iter().chain([script]));
    let mut beside = Live::start(command, b"", PATIENCE);
    beside.wait_for("beside");
    assert_eq!(fixture.ringfence(&["kill"]).code, 0);
    assert_eq!(live.wait().code, 137);
    assert_eq!(beside.wait().code, 137);
}
