//! git in a `pair` workspace: harmless settings of the held repository are written in the agent's
//! place, and nothing else ever reaches them. F10, F15.
#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

use std::fs;
use std::os::unix::fs::MetadataExt;

use ringfence_contained_tests::{Fixture, Job, needs};

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
        // What was judged is what is written: a text that changes meanwhile changes nothing.
        format!(
            "python3 - <<'END'
import os, threading
good = open('.git/config').read() + '[push]\\n\\tdefault = simple\\n'
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
END"
        ),
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
        let harmless = ["", "[push]\n\tdefault = \"simple\"\n"];
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
