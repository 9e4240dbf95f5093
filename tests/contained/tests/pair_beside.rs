//! A person's own git beside a running agent: what ringfence holds the project with is not seen.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod support;

use std::fs;

use ringfence_contained_tests::{Fixture, Live, needs};
use rustix::process::Signal;
use support::tree::{Tree, snapshot};

const WAIT: &str = "echo ready; until ls go >/dev/null 2>&1; do sleep 0.02; done";

fn start(fixture: &Fixture) -> Live {
    let mut live = fixture.job().flags(["--workspace", "pair"]).start_sh(WAIT);
    live.shares_its_project();
    live.wait_for("ready");
    live
}

/// FS3: names that are held while they do not exist are in nobody's `git add -A`, in the project and in
/// a linked worktree, and nothing of that is left, with two runs at once or after a kill either.
#[test]
fn fs3_placeholders_are_not_added_by_the_persons_git() {
    needs!("git");
    let fixture = Fixture::new();
    let add = "git commit -q --allow-empty -m x; git worktree add -q ../tree -b tree";
    assert_eq!(fixture.unprotected(add).code, 0);
    let before = snapshot(&fixture.project());
    let look = "git add -A && git status --porcelain && git -C ../tree status --porcelain";
    let mut first = start(&fixture);
    let second = start(&fixture);
    assert!(fixture.project().join(".mcp.json").exists(), "they are there");
    let seen = fixture.unprotected(look);
    assert!(seen.code == 0 && seen.stdout.is_empty(), "{seen:?}");
    // What the person makes is seen.
    fs::write(fixture.project().join("mine"), "").unwrap();
    let seen = fixture.unprotected(look);
    assert_eq!(seen.stdout, "A  mine\n", "{seen:?}");
    fs::remove_file(fixture.project().join("mine")).unwrap();
    let _ = fixture.unprotected("git add -A");
    second.signal(Signal::KILL);
    let _ = second.wait();
    let list = fixture.ringfence(&["ps"]);
    assert_eq!(list.code, 0, "{list:?}");
    let seen = fixture.unprotected(look);
    assert!(seen.code == 0 && seen.stdout.is_empty(), "{seen:?}");
    fs::write(fixture.project().join("go"), "").unwrap();
    while first.runs() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let _ = first.wait();
    fs::remove_file(fixture.project().join("go")).unwrap();
    let exclude = ".git/info/exclude";
    let now = snapshot(&fixture.project());
    assert_eq!(now.get(exclude), before.get(exclude));
    let own = |tree: &Tree| -> Vec<String> {
        tree.keys().filter(|path| !path.starts_with(".git/")).cloned().collect()
    };
    assert_eq!(own(&now), own(&before), "and gone");
}
