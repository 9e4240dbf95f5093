//! `pair` workspaces in tier landlock: what is changed in the project can be taken back there, too, and
//! nothing is changed by a name outside of it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

mod support;

use std::fs;
use std::io::Write;

use ringfence_contained_tests::tier::alone;
use ringfence_contained_tests::{Fixture, Job, needs, needs_tier, skip};
use rustix::process::{Pid, Signal, kill_process};
use support::tree::{assert_unchanged, snapshot};

fn pair(fixture: &Fixture) -> Job<'_> {
    alone(fixture).flags(["--workspace", "pair"])
}

/// Whether the keeper may read what it must (Yama); root's always may.
fn keeper_reads(fixture: &Fixture) -> bool {
    let outcome = pair(fixture).sh("true");
    let lacks = outcome.code == 125 && outcome.stderr.contains("ptrace_scope");
    if lacks {
        assert!(outcome.stderr.contains("--workspace direct"), "no way out: {outcome:?}");
        skip("pair in tier landlock", &outcome.stderr);
    }
    assert!(lacks || outcome.code == 0, "{outcome:?}");
    !lacks
}

/// S04, and changes of modes and times, which somebody else makes in this tier. Control group:
/// `direct` takes nothing back.
#[test]
fn s04_what_is_changed_in_the_tier_is_taken_back() {
    let work = "set -e; echo changed > README.md; chmod 600 README.md; cd src; echo more >> main.txt
        exec 3< other.txt; echo by-descriptor > /proc/self/fd/3; [ \"$(cat other.txt)\" = by-descriptor ]
        chmod 700 main.txt; touch -d @7 main.txt; mkdir -p deep/er; mv main.txt deep/er/; ln deep/er/main.txt second
        ln -s second link; rm other.txt; echo new > new; chmod 000 deep/er; stat -c %a-%Y second; chmod 700 deep/er";
    for mode in ["direct", "pair"] {
        let fixture = Fixture::new();
        needs_tier!(&fixture);
        if !keeper_reads(&fixture) {
            return;
        }
        let root = fixture.project();
        fs::write(root.join("src/other.txt"), "other\n").unwrap();
        let before = snapshot(&root);
        let outcome = alone(&fixture).flags(["--workspace", mode]).sh(work);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "700-7\n"), "{mode}: {outcome:?}");
        assert_ne!(snapshot(&root), before, "{mode}: nothing was changed");
        let restored = fixture.ringfence(&["restore"]);
        if mode == "direct" {
            assert_eq!(restored.code, 1, "control group: {restored:?}");
            assert_ne!(snapshot(&root), before, "control group");
            continue;
        }
        assert_eq!(restored.code, 0, "{restored:?}");
        assert_unchanged(&root, &before, "after taking back");
        fixture.verify_ledgers();
    }
}

/// What a program outside has open is its own, although nothing tells its process id from the
/// sandbox's here. Control group: what the agent has open.
#[test]
fn what_somebody_outside_has_open_is_not_taken_back() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    if !keeper_reads(&fixture) {
        return;
    }
    let root = fixture.project();
    fs::write(root.join("src/theirs"), "before\n").unwrap();
    let mut theirs = fs::File::options().append(true).open(root.join("src/theirs")).unwrap();
    let script =
        "exec 3>> src/agents; echo one >&3; echo up; until [ -e src/go ]; do sleep 0.02; done
        echo two >&3; echo written; until [ -e src/over ]; do sleep 0.02; done";
    let mut live = pair(&fixture).start_sh(script);
    live.wait_for("up");
    assert_eq!(fixture.ringfence(&["checkpoint", "middle"]).code, 0);
    theirs.write_all(b"after\n").unwrap();
    fs::write(root.join("src/go"), "").unwrap();
    live.wait_for("written");
    let restored = fixture.ringfence(&["restore", "middle"]);
    assert_eq!(restored.code, 0, "{restored:?}");
    assert_eq!(fs::read_to_string(root.join("src/agents")).unwrap(), "one\n", "control group");
    assert_eq!(fs::read_to_string(root.join("src/theirs")).unwrap(), "before\nafter\n");
    fs::write(root.join("src/over"), "").unwrap();
    assert_eq!(live.wait().code, 0);
}

/// F10: taking back touches nothing that the agent could not change, whatever it has tried. Control
/// group: where it could.
#[test]
fn f10_what_is_protected_is_not_taken_back() {
    for unprotected in [false, true] {
        let fixture = Fixture::new();
        needs_tier!(&fixture);
        if !keeper_reads(&fixture) {
            return;
        }
        let root = fixture.project();
        fs::create_dir_all(root.join(".vscode")).unwrap();
        fs::write(root.join(".vscode/tasks.json"), "{}\n").unwrap();
        let flags: &[&str] = if unprotected { &["--unprotect", ".vscode"] } else { &[] };
        let script = "echo x >> .vscode/tasks.json; echo y > .vscode/new; echo up; until [ -e src/over ]; do sleep 0.02; done";
        let mut live = pair(&fixture).flags(flags).start_sh(script);
        live.shares_its_project();
        live.wait_for("up");
        fs::write(root.join(".vscode/tasks.json"), "{\"theirs\":1}\n").unwrap();
        fs::write(root.join("src/over"), "").unwrap();
        assert_eq!(live.wait().code, 0);
        let restored = fixture.ringfence(&["restore"]);
        assert_eq!(restored.code, 0, "{restored:?}");
        let now = fs::read_to_string(root.join(".vscode/tasks.json")).unwrap();
        assert_eq!(now == "{\"theirs\":1}\n", !unprotected, "{now:?} {restored:?}");
    }
}

/// A second name outside of the project would be a way to change it unseen. Control group: `direct`.
#[test]
fn nothing_is_moved_or_linked_out_of_the_project() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    if !keeper_reads(&fixture) {
        return;
    }
    let script = "echo x > src/a; mkdir -p \"$TMPDIR/d\"; echo y > \"$TMPDIR/in\"
        try() { id=$1; shift; if \"$@\" 2>/dev/null; then printf '%s\\tDONE\\n' $id; else printf '%s\\tno\\n' $id; fi; }
        try link-out ln src/a \"$TMPDIR/b\"; try link-home ln src/a ~/b; try link-in ln \"$TMPDIR/in\" src/in
        try move-out mv --no-copy src/a ~/c; try inside ln src/a src/same";
    let job = |mode| alone(&fixture).flags(["--workspace", mode]);
    let (kept, direct) = (job("pair").sh(script), job("direct").sh(script));
    // What a `mv` too old for the flag does not know fails outside, too.
    for id in ["link-out", "link-home", "link-in"] {
        assert_eq!(direct.answer(id), "DONE", "control group: {id}: {direct:?}");
        assert_eq!(kept.answer(id), "no", "{id}: {kept:?}");
    }
    assert_eq!(kept.answer("move-out"), "no", "{kept:?}");
    assert_eq!(kept.answer("inside"), "DONE", "{kept:?}");
}

/// FH1, FH2: without its keeper the run ends, without its init as well; what was changed until then can
/// be taken back.
#[test]
fn fh1_fh2_without_keeper_or_init_the_run_ends_in_the_tier() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    if !keeper_reads(&fixture) {
        return;
    }
    let before = snapshot(&fixture.project());
    for (part, words) in [("ringfence-keep", "keeps what changes replace is gone"), ("", "")] {
        let script =
            "echo x > src/loop; echo ready; while :; do echo x > src/loop; sleep 0.05; done";
        let mut live = pair(&fixture).start_sh(script);
        live.wait_for("ready");
        let list = format!("/proc/{0}/task/{0}/children", live.pid());
        let children = fs::read_to_string(list).unwrap();
        let is_keeper = |pid: &&str| {
            let name = fs::read_to_string(format!("/proc/{pid}/comm"));
            name.is_ok_and(|name| name.trim() == "ringfence-keep")
        };
        let victim = children
            .split_whitespace()
            .find(|pid| is_keeper(pid) != part.is_empty())
            .unwrap_or_else(|| panic!("no {part} among {children}"));
        kill_process(Pid::from_raw(victim.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
        let outcome = live.wait();
        assert_eq!(outcome.code, 137, "{part}: {outcome:?}");
        assert!(outcome.stderr.contains(words), "{outcome:?}");
        assert!(fixture.project().join("src/loop").exists(), "the attack itself");
        let restored = fixture.ringfence(&["restore"]);
        assert_eq!(restored.code, 0, "{part}: {restored:?}");
        assert_unchanged(&fixture.project(), &before, "after taking back");
    }
}

/// At a terminal as well nothing is written in the project unless it is asked for, and it is said how.
#[test]
fn at_a_terminal_the_project_is_read_only_by_default() {
    needs!("script");
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let shown = |job: Job<'_>| {
        let words = job.words(["sh", "-c", "echo x > src/new && echo WRITTEN"]);
        let quoted: Vec<String> = words
            .iter()
            .map(|word| format!("'{}'", word.to_str().unwrap().replace('\'', "'\\''")))
            .collect();
        let line = quoted.join(" ");
        let command = job.plain_command(["script", "-qec", &line, "/dev/null"]);
        let live = ringfence_contained_tests::Live::start(
            command,
            b"",
            std::time::Duration::from_secs(60),
        );
        live.wait().stdout
    };
    let default = shown(alone(&fixture));
    assert!(
        default.contains("the project is read-only, the default of tier landlock"),
        "{default}"
    );
    assert!(default.contains("--workspace pair"), "{default}");
    assert!(!default.contains("WRITTEN") && !fixture.project().join("src/new").exists());
    let direct = shown(alone(&fixture).flags(["--workspace", "direct"]));
    assert!(direct.contains("WRITTEN"), "control group: {direct}");
}
