//! git in a `pair` workspace: harmless settings of the held repository are written in the agent's
//! place, and nothing else ever reaches them. F10, F15.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;

use ringfence_contained_tests::{Fixture, Job, needs};
use support::tree::{Tree, assert_unchanged, snapshot};

fn pair(fixture: &Fixture) -> Job<'_> {
    fixture.job().flags(["--workspace", "pair"])
}

fn settings(fixture: &Fixture) -> String {
    fs::read_to_string(fixture.project().join(".git/config")).unwrap()
}

/// What `push -u` and `checkout --track` write is written, recorded before, and nothing beside it.
#[test]
fn s04_a_branch_gets_its_upstream() {
    needs!("git");
    let fixture = Fixture::new();
    let before = settings(&fixture);
    let inode = fs::metadata(fixture.project().join(".git/config")).unwrap().ino();
    let remote =
        "git config branch.topic.remote . && git config branch.topic.merge refs/heads/main";
    let mut live = pair(&fixture).start_sh(&format!("{remote} && cat .git/config; echo $?"));
    live.shares_its_project();
    let outcome = live.wait();
    assert!(outcome.stdout.ends_with("0\n"), "{outcome:?}");
    let after = settings(&fixture);
    assert!(after.starts_with(&before) && after.contains("refs/heads/main"), "{after}");
    assert!(outcome.stdout.contains(after.trim_end()), "the agent sees it: {outcome:?}");
    let now = fs::metadata(fixture.project().join(".git/config")).unwrap().ino();
    assert_eq!(now, inode, "the held file itself is written");
    assert!(!fixture.project().join(".git/config.lock").exists());
    let ledger = fixture.ledger();
    let told = ledger.events("sensor");
    let told = told.iter().filter(|event| event.to_string().contains("branch.topic"));
    assert_eq!(told.count(), 2, "{:?}", ledger.events("sensor"));
    fixture.verify_ledgers();
}

/// What was judged is what is written: a text that changes meanwhile changes nothing.
const SWAP: &str = "python3 - <<'END'
import os, threading
good = open('.git/config').read() + '[pull]\\n\\trebase = true\\n'
evil = good + '[core]\\n\\tpager = x\\n'
stop = False
def swap():
    while not stop:
        for text in [evil, good]:
            try:
                with open('.git/config.lock', 'w') as f: f.write(text)
            except OSError: pass
threads = [threading.Thread(target=swap) for _ in range(2)]
for t in threads: t.start()
for _ in range(300):
    try: os.rename('.git/config.lock', '.git/config')
    except OSError: pass
stop = True
for t in threads: t.join()
END";

/// F10, F15: whatever the lock file is and says, no setting that runs a program is written. The first
/// script shows that the move itself is what git does.
#[test]
fn f10_f15_no_setting_that_runs_is_written() {
    needs!("git", "python3");
    let mv = "python3 -c 'import os; os.rename(\".git/config.lock\", \".git/config\")'";
    let scripts = [
        "git config core.hooksPath hooks".to_owned(),
        "git config core.fsmonitor ./x; git config alias.x '!sh'; git remote add evil https://evil.test/x".to_owned(),
        format!("cp .git/config .git/config.lock; printf '[core]\\n\\tfsmonitor = x\\n' >> .git/config.lock; {mv}"),
        format!("printf '[core]\\n\\tsshCommand = x\\n' > x; ln -s ../x .git/config.lock; {mv}"),
        format!("printf '[branch \"a\"]\\n\\tremote = .\\n[core]\\n\\teditor = x' > .git/config.lock; {mv}"),
        format!("mkfifo .git/config.lock; timeout 5 {mv}"),
        format!("head -c 1000000 /dev/zero > .git/config.lock; {mv}"),
        format!("ln .git/config .git/config.lock; {mv}"),
        format!("mkdir .git/config.lock; {mv}"),
        SWAP.to_owned(),
        "echo x >> .git/config; exec 3<>.git/config; echo x > /proc/self/fd/3".to_owned(),
    ];
    for script in scripts {
        let fixture = Fixture::new();
        let before = settings(&fixture);
        let mut live = pair(&fixture).start_sh(&format!("{script}\ntrue"));
        live.shares_its_project();
        let outcome = live.wait();
        let after = settings(&fixture);
        let kept: String = before.lines().map(|line| format!("{line}\n")).collect();
        assert!(after.starts_with(&kept), "{script}: {after}; {outcome:?}");
        let added = after.strip_prefix(&kept).unwrap();
        let harmless = ["", "[pull]\n\trebase = \"true\"\n"];
        assert!(harmless.contains(&added), "{script}: {added}; {outcome:?}");
    }
    let fixture = Fixture::new();
    let outcome = fixture.unprotected("git config core.hooksPath hooks");
    assert!(settings(&fixture).contains("hooksPath"), "control group: {outcome:?}");
}

/// In `direct` nothing of it is written, and the refusal is git's own.
#[test]
fn f10_in_direct_the_settings_are_held_whole() {
    needs!("git");
    let fixture = Fixture::new();
    let before = settings(&fixture);
    let direct = fixture.job().flags(["--workspace", "direct"]);
    let outcome = direct.sh("git config branch.topic.remote .");
    assert_ne!(outcome.code, 0, "{outcome:?}");
    assert_eq!(settings(&fixture), before);
}

/// A linked worktree of the fixture's project beside it, and another one.
fn linked(fixture: &Fixture) -> std::path::PathBuf {
    let project = fixture.project();
    let add = "git worktree add -q ../tree -b tree && git worktree add -q ../other -b other";
    let made = fixture.unprotected(&format!("{add} && mkdir ../tree/hooks-here"));
    assert_eq!(made.code, 0, "{made:?}");
    let config = project.join(".git/config");
    let hooks = fs::read_to_string(&config).unwrap() + "[core]\n\thooksPath = hooks-here\n";
    fs::write(config, hooks).unwrap();
    project.parent().unwrap().join("tree")
}

const PLANT: &str = "
plant() { (echo PLANTED >> \"$1\") 2>/dev/null; (mkdir -p \"$(dirname \"$1\")\"; echo PLANTED > \"$1\") 2>/dev/null; }
common=$(git rev-parse --git-common-dir); own=$(git rev-parse --git-dir)
for name in config config.worktree commondir hooks/post-commit modules/x/config worktrees/other/commondir \
    worktrees/other/gitdir worktrees/other/HEAD worktrees/new/commondir; do plant \"$common/$name\"; done
for name in commondir gitdir config.worktree; do plant \"$own/$name\"; done
plant hooks-here/post-commit; plant .git; mv \"$own\" \"$common/moved\" 2>/dev/null
mv \"$common/worktrees\" \"$common/w\" 2>/dev/null; rm -rf \"$common/worktrees/other\" \"$common/hooks\" 2>/dev/null; true";

/// F10, F15: a linked worktree's repository belongs to the workspace: commits work, what the host runs
/// is held, the other worktrees are out of reach, and all of it is taken back.
#[test]
fn f10_f16_s04_a_linked_worktree_commits_and_plants_nothing() {
    needs!("git");
    for mode in ["pair", "direct", "review"] {
        let fixture = Fixture::new();
        let tree = linked(&fixture);
        let common = fixture.project().join(".git");
        let before = (snapshot(&tree), snapshot(&common));
        let job = fixture.job().directory(&tree).flags(["--workspace", mode]);
        let commit = "echo a > a && git add a && git commit -qm a && git log -1 --format=%s";
        let outcome = job.sh(&format!("{commit}; {PLANT}"));
        let planted = |tree: &Tree| {
            tree.iter().find(|(_, state)| state.contains("80, 76, 65, 78, 84, 69, 68")).is_some()
        };
        assert!(!planted(&snapshot(&common)), "{mode}: {outcome:?}");
        if mode == "review" {
            assert!(outcome.stderr.contains("Read-only"), "{outcome:?}");
            continue;
        }
        assert!(outcome.stdout.contains("a\n"), "{mode}: {outcome:?}");
        assert!(!planted(&snapshot(&tree)), "{mode}: {outcome:?}");
        assert_ne!(snapshot(&common), before.1, "{mode}: it has committed");
        let held = ["hooks", "worktrees/other/HEAD", "worktrees/tree/gitdir", "config"];
        assert!(held.iter().all(|name| common.join(name).exists()), "{mode}: {outcome:?}");
        if mode == "pair" {
            let diff = fixture.job().directory(&tree).verb(&["diff", "--stat"]);
            assert!(diff.stdout.contains("//repository/refs/heads/tree"), "{diff:?}");
            let restored = fixture.job().directory(&tree).verb(&["restore"]);
            assert_eq!(restored.code, 0, "{restored:?}");
            assert_unchanged(&tree, &before.0, "the worktree");
            assert_unchanged(&common, &before.1, "its repository");
        }
    }
    let fixture = Fixture::new();
    let tree = linked(&fixture);
    let control = fixture.job().directory(&tree).unprotected_sh(PLANT);
    let hooks = fs::read_to_string(fixture.project().join(".git/config")).unwrap();
    assert!(hooks.contains("PLANTED"), "control group: {control:?}");
}

/// Names that are missing at the start, and that git on the host would follow once they are there.
const MISSING: &str = "
common=$(git rev-parse --git-common-dir); own=$(git rev-parse --git-dir)
plant() { mkdir -p \"$(dirname \"$1\")\" 2>/dev/null; (echo PLANTED > \"$1\") 2>/dev/null && echo \"planted $1\"; }
plant .husky/_/pre-commit; plant .my-hooks/pre-commit; plant tools/settings; plant more; plant \"$own/hooks-of-mine/pre-commit\"
plant \"$common/remotes/origin\"; plant \"$common/branches/origin\"; plant \"$own/modules/sub/config\"; true";

/// F15: hooks, settings and remotes that the repository's settings lead to are held while they are
/// missing, too: in a new worktree what a tool makes (`.husky/_`) is not there yet.
#[test]
fn f10_f15_f16_what_settings_name_is_held_before_it_is_there() {
    needs!("git");
    let made = |fixture: &Fixture, tree: &str| {
        let project = fixture.project();
        let mine = fixture.home().join(".gitconfig");
        let text = fs::read_to_string(&mine).unwrap() + "[core]\n\thooksPath = .my-hooks\n";
        fs::write(mine, text).unwrap();
        let add =
            fixture.unprotected("git worktree add -q ../tree -b tree; mkdir tools ../tree/tools");
        assert_eq!(add.code, 0, "{add:?}");
        let directory = project.join(tree).canonicalize().unwrap();
        let named = format!(
            "[core]\n\thooksPath = .husky/_\n[extensions]\n\tworktreeConfig = true\n[include]\n\tpath = {}\n",
            directory.join("tools/settings").display()
        );
        let config = settings(fixture) + &named;
        fs::write(project.join(".git/config"), config).unwrap();
        let (own, of_own) = match tree {
            "." => (project.join(".git"), ".git"),
            _ => (project.join(".git/worktrees/tree"), "../project/.git/worktrees/tree"),
        };
        let of_own = format!(
            "[core]\n\thooksPath = {of_own}/hooks-of-mine\n[include]\n\tpath = {}\n",
            directory.join("more").display()
        );
        fs::write(own.join("config.worktree"), of_own).unwrap();
        directory
    };
    for (tree, mode) in [(".", "pair"), (".", "direct"), ("../tree", "pair"), ("../tree", "direct")]
    {
        let fixture = Fixture::new();
        let directory = made(&fixture, tree);
        let before = (snapshot(&directory), snapshot(&fixture.project()));
        let outcome = fixture.job().directory(&directory).flags(["--workspace", mode]).sh(MISSING);
        assert!(!outcome.stdout.contains("planted"), "{tree} {mode}: {outcome:?}");
        assert_unchanged(&directory, &before.0, "the tree, placeholders removed");
        assert_unchanged(&fixture.project(), &before.1, "the repository");
    }
    let fixture = Fixture::new();
    let directory = made(&fixture, "../tree");
    let control = fixture.job().directory(&directory).unprotected_sh(MISSING);
    assert_eq!(control.stdout.matches("planted").count(), 8, "control group: {control:?}");
}

/// F10, F14, F15: a repository that the project's `.git` file leads to within the project is held as
/// `.git` would be: git on the host heeds it.
#[test]
fn f10_f14_f15_a_repository_of_another_name_in_the_project_is_held() {
    needs!("git");
    let script = "git config core.fsmonitor 'touch ../OWNED; false'; mkdir -p .bare/remotes
        for name in config config.worktree hooks/pre-commit remotes/origin; do
            (echo '#PLANTED' >> .bare/$name) 2>/dev/null && echo \"planted $name\"; done
        (mv .bare x && cp -r x .bare && echo PLANTED again) 2>/dev/null; echo a > a
        git add a && git commit -qm a && echo committed";
    let made = || {
        let fixture = Fixture::new();
        let moved =
            fixture.unprotected("mv .git .bare && echo 'gitdir: .bare' > .git && git status");
        assert_eq!(moved.code, 0, "{moved:?}");
        fixture
    };
    let owned = |fixture: &Fixture| {
        let status = fixture.unprotected("git status");
        assert_eq!(status.code, 0, "{status:?}");
        fixture.project().join("../OWNED").exists()
    };
    for mode in ["pair", "direct"] {
        let fixture = made();
        let outcome = fixture.job().flags(["--workspace", mode]).sh(script);
        assert_eq!(outcome.stdout.trim(), "committed", "{mode}: {outcome:?}");
        assert!(!owned(&fixture), "{mode}: {outcome:?}");
    }
    let fixture = made();
    let control = fixture.unprotected(script);
    assert_eq!(control.stdout.matches("planted").count(), 4, "control group: {control:?}");
    assert!(owned(&fixture), "control group: {control:?}");
}
