//! `rm` and `prune`: what a run left goes when it is asked for, whatever the agent made of it; a running one
//! and changes that are nowhere else stay; who is killed in the middle leaves it to the next command.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ringfence_contained_tests::{Fixture, Live, Outcome};
use serde_json::Value;

/// A layer that resists: no rights, a path longer than PATH_MAX, names of every kind.
const RESIST: &str = "mkdir -p closed/in ro && echo x > closed/in/x && chmod 000 closed/in closed && chmod 555 ro\n\
    ln -s / out; mkfifo pipe; rm -f README.md; printf x > \"$(printf 'a\\nb')\"\n\
    python3 - <<'END'\n\
    import os\n\
    for _ in range(600):\n\
    \tos.mkdir('d' * 20); os.chdir('d' * 20)\n\
    open('deep', 'w').write('x')\n\
    END\n\
    echo made";

fn state(fixture: &Fixture) -> PathBuf {
    fixture.state().join("ringfence")
}

fn run_dir(fixture: &Fixture, run: &str) -> PathBuf {
    state(fixture).join("runs").join(run)
}

fn review(fixture: &Fixture, script: &str) -> String {
    let outcome = fixture.job().flags(["--workspace", "review"]).sh(script);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    fixture.runs().pop().unwrap()
}

fn rows(outcome: &Outcome) -> Vec<Value> {
    assert_eq!(outcome.code, 0, "{outcome:?}");
    serde_json::from_str(&outcome.stdout).unwrap()
}

/// After the next command nothing is left aside.
fn assert_tidy(fixture: &Fixture) {
    assert_eq!(fixture.ringfence(&["ps", "--all"]).code, 0);
    let aside = fs::read_dir(state(fixture).join("removed"));
    let left: Vec<_> = aside.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// F30: an ended run goes with everything that the agent made to keep it.
#[test]
fn f30_rm_removes_a_run_that_resists() {
    let fixture = Fixture::new();
    let run = review(&fixture, RESIST);
    let refused = fixture.ringfence(&["rm", &run]);
    assert_eq!(refused.code, 1, "{refused:?}");
    for word in [
        "changes that are not in the project",
        "ringfence diff",
        "ringfence apply --run",
        "--force",
    ] {
        assert!(refused.stderr.contains(word), "{word}: {refused:?}");
    }
    assert!(run_dir(&fixture, &run).join("layer/upper/closed").exists(), "nothing was removed");
    let removed = fixture.ringfence(&["rm", "--force", &run[..12]]);
    assert_eq!(removed.code, 0, "{removed:?}");
    assert!(removed.stdout.contains(&run), "{removed:?}");
    assert!(!run_dir(&fixture, &run).exists());
    assert_eq!(fixture.ringfence(&["inspect", &run]).code, 1);
    assert!(fixture.project().join("README.md").exists(), "the project is as it was");
    assert_tidy(&fixture);
}

/// Without changes, or after they were applied or thrown away, nobody is asked; several go at once, or none.
#[test]
fn fh2_rm_takes_several_runs_or_none() {
    let fixture = Fixture::new();
    let plain = review(&fixture, "true");
    let applied = review(&fixture, "echo two >> README.md");
    assert_eq!(fixture.ringfence(&["apply", "--run", &applied]).code, 0);
    let kept = review(&fixture, "echo three >> README.md");
    let all = fixture.ringfence(&["rm", &plain, &applied, &kept]);
    assert_eq!(all.code, 1, "{all:?}");
    assert_eq!(fixture.runs().len(), 3, "one that may not go keeps the others");
    let unknown = fixture.ringfence(&["rm", &plain, "nosuchrun"]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
    assert_eq!(fixture.ringfence(&["rm"]).code, 2, "no run is meant by saying nothing");
    let two = fixture.ringfence(&["rm", &plain, &applied, &plain, "--json"]);
    assert_eq!(rows(&two).len(), 2, "{two:?}");
    assert_eq!(fixture.runs(), std::slice::from_ref(&kept));
    assert_eq!(fixture.ringfence(&["discard", &kept]).code, 0);
    assert_eq!(fixture.ringfence(&["rm", &kept]).code, 0);
    assert_tidy(&fixture);
}

/// FH2: a running one is never touched, by `rm` or by `prune`, whatever is forced.
#[test]
fn fh2_a_running_run_is_never_removed() {
    let fixture = Fixture::new();
    let flags = ["--name", "kept", "--workspace", "review"];
    let mut live: Live = fixture
        .job()
        .flags(flags)
        .start_sh("echo x > \"$HOME/x\"; echo up; sleep 60; cat \"$HOME/x\"");
    live.wait_for("up");
    let run = fixture.runs().pop().unwrap();
    let refused = fixture.ringfence(&["rm", "--force", &run]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains(&format!("ringfence kill {run}")), "{refused:?}");
    std::thread::sleep(Duration::from_millis(1100));
    let pruned = rows(&fixture.ringfence(&[
        "prune",
        "--older-than",
        "0s",
        "--force",
        "--runs",
        "--ledgers",
        "--homes",
        "--json",
    ]));
    assert_eq!(pruned.len(), 2, "{pruned:#?}");
    assert!(pruned.iter().all(|row| row["outcome"] == "kept"), "{pruned:#?}");
    assert!(state(&fixture).join("homes/kept/x").exists());
    assert_eq!(fixture.ringfence(&["kill", &run]).code, 0);
    let _ = live.wait();
    fixture.verify_ledgers();
}

/// Age, kinds, dry runs and sizes: what is not old stays, a record goes only by its name, unapplied changes
/// only by force.
#[test]
fn f30_prune_removes_what_was_not_used_for_long() {
    let fixture = Fixture::new();
    let named = ["--name", "kept", "--workspace", "review"];
    let outcome = fixture
        .job()
        .flags(named)
        .sh("head -c 300000 /dev/zero > \"$HOME/big\"; chmod 000 \"$HOME\"");
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let plain = fixture.runs().pop().unwrap();
    let changed = review(&fixture, "head -c 200000 /dev/zero > big");
    let home = state(&fixture).join("homes/kept");
    let nothing = fixture.ringfence(&["prune"]);
    assert_eq!(
        (nothing.code, nothing.stdout.as_str()),
        (0, "nothing is that old\n"),
        "{nothing:?}"
    );
    let text = fixture.ringfence(&["prune", "--older-than", "1h"]);
    assert_eq!(text.stdout, "nothing is that old\n");
    assert_eq!(fixture.ringfence(&["prune", "--older-than", "soon"]).code, 2);

    // Two months later, as far as the state directory tells.
    let old = std::time::SystemTime::now() - Duration::from_secs(60 * 86_400);
    for file in [
        run_dir(&fixture, &plain).join("ledger.jsonl"),
        run_dir(&fixture, &changed).join("ledger.jsonl"),
        state(&fixture).join("uses/kept"),
    ] {
        fs::File::options().append(true).open(file).unwrap().set_modified(old).unwrap();
    }
    for run in [&plain, &changed] {
        let file = run_dir(&fixture, run).join("run.json");
        let mut info: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        info["started"] = (info["started"].as_i64().unwrap() - 60 * 86_400).into();
        fs::write(&file, info.to_string()).unwrap();
    }
    let dry = rows(&fixture.ringfence(&["prune", "--dry-run", "--json"]));
    let outcome_of = |rows: &[Value], kind: &str, name: &str| {
        let row = rows.iter().find(|row| row["kind"] == kind && row["name"] == name);
        row.map_or(Value::Null, |row| row["outcome"].clone())
    };
    assert_eq!(outcome_of(&dry, "home", "kept"), "would-remove", "{dry:#?}");
    assert_eq!(outcome_of(&dry, "run", &changed), "kept", "{dry:#?}");
    assert_eq!(outcome_of(&dry, "run", &plain), Value::Null, "it left nothing but its record");
    assert!(home.exists());
    let size = dry.iter().find(|row| row["name"] == changed.as_str()).unwrap()["bytes"].as_u64();
    assert!(size.unwrap() >= 200_000, "{dry:#?}");

    let shown = fixture.ringfence(&["prune"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.stdout.contains("changes that are not in the project"), "{shown:?}");
    assert!(!home.exists(), "{shown:?}");
    assert!(run_dir(&fixture, &changed).join("layer/upper/big").exists());
    let forced = rows(&fixture.ringfence(&["prune", "--runs", "--force", "--json"]));
    assert_eq!(outcome_of(&forced, "run", &changed), "removed", "{forced:#?}");
    assert!(!run_dir(&fixture, &changed).join("layer").exists());
    fixture.verify_ledgers();
    assert_eq!(fixture.runs().len(), 2, "the records are still there");
    let records = rows(&fixture.ringfence(&["prune", "--ledgers", "--json"]));
    assert_eq!(records.len(), 2, "{records:#?}");
    assert!(fixture.runs().is_empty());
    assert_tidy(&fixture);
    let again = fixture.job().flags(named).sh("ls -A \"$HOME\"");
    assert_eq!((again.code, again.stdout.contains("big")), (0, false), "a fresh home: {again:?}");
}

/// FH2, F30: killed at any moment, a removal leaves the run whole or out of sight, and the next command
/// finishes it.
#[test]
fn fh2_f30_an_interrupted_removal_is_finished_by_the_next_command() {
    let fixture = Fixture::new();
    let make = "for i in $(seq 30); do mkdir d$i; for j in $(seq 60); do echo x > d$i/f$j; done; done; chmod 000 d1";
    let mut left_aside = 0;
    for round in 0..12_u64 {
        let run = review(&fixture, make);
        let mut command = std::process::Command::new(fixture.binary());
        fixture.surround(&mut command);
        command.args(["rm", "--force", &run]).current_dir(fixture.project());
        let mut live = Live::start(command, b"", Duration::from_secs(30));
        // Half of them as soon as it has begun, the others after a growing pause.
        let begun = std::time::Instant::now();
        while round % 2 == 0
            && live.runs()
            && run_dir(&fixture, &run).exists()
            && begun.elapsed().as_secs() < 10
        {}
        std::thread::sleep(Duration::from_millis(round / 2));
        live.signal(rustix::process::Signal::KILL);
        let _ = live.wait();
        let whole = run_dir(&fixture, &run).join("layer/upper/d30/f60").exists();
        assert_eq!(whole, run_dir(&fixture, &run).exists(), "round {round}: a torn run");
        left_aside += fs::read_dir(state(&fixture).join("removed")).into_iter().flatten().count();
        if whole {
            assert_eq!(fixture.ringfence(&["rm", "--force", &run]).code, 0);
        }
        assert_tidy(&fixture);
        assert!(fixture.runs().is_empty(), "round {round}");
    }
    assert!(left_aside > 0, "it was never interrupted: this test shows nothing");
}
