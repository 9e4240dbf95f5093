//! `pair` workspaces: person and agent work on the same files, and everything that the agent changed
//! can be taken back.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use ringfence_contained_tests::{Fixture, Job};
use rustix::process::{Pid, Signal};
use support::tree::{Tree, assert_unchanged, snapshot};

fn pair(fixture: &Fixture) -> Job<'_> {
    fixture.job().flags(["--workspace", "pair"])
}

/// The project as it is; the agent's changes are compared with it.
fn project(fixture: &Fixture) -> Tree {
    snapshot(&fixture.project())
}

const DESTROY: &str = "
    echo changed > README.md; echo more >> src/main.txt; printf new > 'with space'
    mkdir -p deep/er; mv src deep/er/; ln -s README.md link; ln README.md second; chmod 700 README.md
    python3 -c 'import os; f = os.open(\"run.sh\", os.O_RDWR); os.ftruncate(f, 0); os.truncate(\"data\", 3)'
    rm -f link; sed -i s/a/b/ run.sh; git add -A; git commit -qm agent; rm -rf -- * .git/objects; true";

/// S04: `rm -rf` and everything before it. Control group: without a journal it is gone.
#[test]
fn s04_everything_that_an_agent_did_is_taken_back() {
    for mode in ["direct", "pair"] {
        let fixture = Fixture::new();
        let root = fixture.project();
        fs::write(root.join("run.sh"), "#!/bin/sh\na\n").unwrap();
        fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(root.join("data"), "seven bytes and more").unwrap();
        symlink("README.md", root.join("kept-link")).unwrap();
        let before = project(&fixture);
        let outcome = fixture.job().flags(["--workspace", mode]).sh(DESTROY);
        assert_eq!(outcome.code, 0, "{outcome:?}");
        assert!(!root.join("README.md").exists(), "the attack itself");
        let restored = fixture.ringfence(&["restore"]);
        if mode == "direct" {
            assert_eq!(restored.code, 1, "{restored:?}");
            assert!(restored.stderr.contains("only a `pair` workspace"), "{restored:?}");
            assert!(!root.join("README.md").exists(), "control group");
            continue;
        }
        assert_eq!(restored.code, 0, "{restored:?}");
        assert_unchanged(&fixture.project(), &before, "after taking back");
        // Taking back is a change that can be taken back, too.
        let again = fixture.ringfence(&["restore", "before-restore-1"]);
        assert_eq!(again.code, 0, "{again:?}");
        assert!(!root.join("README.md").exists() && !root.join("src").exists());
        let last = fixture.ringfence(&["restore", "start"]);
        assert_eq!(last.code, 0, "{last:?}");
        assert_unchanged(&fixture.project(), &before, "after taking back");
        fixture.verify_ledgers();
    }
}

/// Both see each other's saves, and a living run can be taken back to a named moment.
#[test]
fn s04_both_see_each_other_and_a_moment_can_be_gone_back_to() {
    let fixture = Fixture::new();
    let root = fixture.project();
    let wait = |name: &str| format!("until [ -e {name} ]; do sleep 0.02; done; cat {name};");
    let script = format!(
        "echo from-the-agent > one; echo ready; {} echo again > one; rm README.md; echo second; {} cat one README.md; echo over",
        wait("go"),
        wait("go-on")
    );
    let mut live = pair(&fixture).start_sh(&script);
    live.wait_for("ready");
    assert_eq!(fs::read_to_string(root.join("one")).unwrap(), "from-the-agent\n");
    let named = fixture.ringfence(&["checkpoint", "middle"]);
    assert_eq!(named.code, 0, "{named:?}");
    let twice = fixture.ringfence(&["checkpoint", "middle"]);
    assert_eq!(twice.code, 1, "{twice:?}");
    fs::write(root.join("go"), "from-the-person\n").unwrap();
    live.wait_for("second");
    assert!(!root.join("README.md").exists(), "the attack itself");
    let diff = fixture.ringfence(&["diff", "--stat", "--since", "middle"]);
    assert!(diff.stdout.contains("M  one") && diff.stdout.contains("D  README.md"), "{diff:?}");
    let restored = fixture.ringfence(&["restore", "middle"]);
    assert_eq!(restored.code, 0, "{restored:?}");
    fs::write(root.join("go-on"), "").unwrap();
    let outcome = live.wait();
    assert!(outcome.stdout.contains("from-the-person"), "{outcome:?}");
    assert!(outcome.stdout.ends_with("from-the-agent\na project\nover\n"), "{outcome:?}");
    let list = fixture.ringfence(&["restore", "--list"]);
    assert!(list.stdout.contains("middle") && list.stdout.contains("start"), "{list:?}");
}

/// FH1: without whoever keeps what changes replace, nothing may change: the run ends.
#[test]
fn fh1_without_its_keeper_a_run_ends() {
    let fixture = Fixture::new();
    let mut live =
        pair(&fixture).start_sh("echo ready; while :; do echo x > loop; sleep 0.05; done");
    live.wait_for("ready");
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", live.pid())).unwrap();
    let keeper = children
        .split_whitespace()
        .find(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|c| c.trim() == "ringfence-keep")
        })
        .expect("a keeper");
    let pid = Pid::from_raw(keeper.parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    let outcome = live.wait();
    assert_eq!(outcome.code, 137, "{outcome:?}");
    assert!(outcome.stderr.contains("keeps what changes replace is gone"), "{outcome:?}");
}

/// F11: odd names, links out of the project and names of open files: what is kept is what is
/// changed, and nothing outside is touched by taking back.
#[test]
fn f11_links_and_odd_names_are_kept_as_what_they_are() {
    let fixture = Fixture::new();
    let root = fixture.project();
    fs::write(fixture.home().join("outside.txt"), "mine\n").unwrap();
    symlink(fixture.home().join("outside.txt"), root.join("out")).unwrap();
    symlink("README.md", root.join("in")).unwrap();
    let before = project(&fixture);
    let script = "
        echo through-a-link > in; echo x > out; printf x > \"$(printf 'a\\nb')\"
        exec 3< src/main.txt; echo by-descriptor > /proc/self/fd/3
        cd src && echo relative >> ../README.md; mv ../in ../moved; true";
    let outcome = pair(&fixture).sh(script);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert_ne!(fs::read_to_string(root.join("README.md")).unwrap(), "a project\n", "the attack");
    assert_eq!(fs::read_to_string(root.join("src/main.txt")).unwrap(), "by-descriptor\n");
    let restored = fixture.ringfence(&["restore"]);
    assert_eq!(restored.code, 0, "{restored:?}");
    assert_unchanged(&fixture.project(), &before, "after taking back");
    assert_eq!(fs::read_to_string(fixture.home().join("outside.txt")).unwrap(), "mine\n");
}
