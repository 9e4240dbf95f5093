//! Attacks on what a `pair` workspace keeps: hidden changes, spoiled copies, and a `restore` that is
//! turned against the person. S04, F10, F11, P12.
//!
//! Each begins with the change itself seen to happen: that is the control group. An agent that changes
//! the names behind its own calls is not among them (`RR-PAIR-HIDDEN`).
#![allow(clippy::unwrap_used, reason = "a failed step fails the test, in its helpers too")]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use ringfence_contained_tests::{Fixture, Job, is_root, needs};
use support::tree::{Tree, assert_unchanged, snapshot};

fn pair(fixture: &Fixture) -> Job<'_> {
    fixture.job().flags(["--workspace", "pair"])
}

fn project(fixture: &Fixture) -> Tree {
    snapshot(&fixture.project())
}

/// A shell command that runs a Python script.
fn python(script: &str) -> String {
    format!("python3 - <<'END'\nimport os\n{script}\nEND")
}

/// Waits outside of every watched call.
const WAIT: &str = "echo tried; until ls go >/dev/null 2>&1; do sleep 0.02; done; echo over";

/// Whoever keeps what calls replace has looked by then what they came to.
const LOOKED: Duration = Duration::from_millis(1500);

/// Runs a script, lets a person act when it has tried, and takes everything back.
fn with_person(fixture: &Fixture, script: &str, person: impl FnOnce()) -> String {
    let mut live = pair(fixture).start_sh(&format!("{script}\n{WAIT}"));
    // The person may take protected files away, too.
    live.shares_its_project();
    live.wait_for("tried");
    std::thread::sleep(LOOKED);
    person();
    fs::write(fixture.project().join("go"), "").unwrap();
    live.wait_for("over");
    let outcome = live.wait();
    fs::remove_file(fixture.project().join("go")).unwrap();
    let restored = fixture.ringfence(&["restore"]);
    assert_eq!(restored.code, 0, "{restored:?}; {outcome:?}");
    outcome.text()
}

/// F10: a protected file that could not be moved away is not "moved back" with another in its place.
#[test]
fn f10_a_refused_move_plants_nothing_when_it_is_taken_back() {
    needs!("python3");
    for target in [".git/hooks/pre-commit", ".envrc"] {
        let fixture = Fixture::new();
        let root = fixture.project();
        fs::create_dir_all(root.join(".git/hooks")).unwrap();
        fs::write(root.join(target), "#!/bin/sh\n# mine\n").unwrap();
        let refused = python(&format!(
            "try: os.rename('{target}', 'x')\nexcept OSError as e: print('refused', e)"
        ));
        let script = format!("echo EVIL > x; chmod 755 x\n{refused}");
        let text = with_person(&fixture, &script, || {
            fs::remove_file(root.join(target)).unwrap();
        });
        assert!(text.contains("refused"), "{text}");
        let planted = fs::read_to_string(root.join(target)).unwrap_or_default();
        assert!(!planted.contains("EVIL"), "{target} was planted");
        assert!(!root.join("x").exists(), "the agent's file is taken back");
    }
}

const TRY: &str = "
def tried(call, *args):
    try: call(*args); print('DONE', args)
    except OSError as e: print('refused', args)
if not os.access('sealed', os.W_OK):
    tried(open, 'sealed', 'r+')
    tried(open, 'fixed/new', 'w')
    tried(os.unlink, 'fixed/old')
tried(os.rename, 'empty', 'full')
tried(os.unlink, 'gone')
tried(os.mkdir, 'full/x/y')
tried(os.rename, 'README.md', 'nowhere/README.md')";

/// S04: what an agent tried and failed to change is the person's, whatever they do there since.
#[test]
fn s04_what_was_only_tried_is_not_taken_back() {
    needs!("python3");
    let fixture = Fixture::new();
    let root = fixture.project();
    for directory in ["fixed", "full", "empty", "gone"] {
        fs::create_dir(root.join(directory)).unwrap();
    }
    fs::write(root.join("full/x"), "x").unwrap();
    fs::write(root.join("fixed/old"), "old").unwrap();
    fs::write(root.join("sealed"), "sealed").unwrap();
    let mode = |name: &str, mode| {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    mode("fixed", 0o555);
    mode("sealed", 0o444);
    let text = with_person(&fixture, &python(TRY), || {
        mode("fixed", 0o755);
        mode("sealed", 0o644);
        fs::write(root.join("sealed"), "the person's").unwrap();
        fs::write(root.join("fixed/new"), "the person's").unwrap();
        fs::remove_file(root.join("fixed/old")).unwrap();
        fs::remove_dir_all(root.join("full")).unwrap();
        fs::rename(root.join("empty"), root.join("full")).unwrap();
        fs::remove_dir(root.join("gone")).unwrap();
    });
    assert!(text.contains("refused") && !text.contains("DONE"), "{text}");
    assert_eq!(fs::read_to_string(root.join("sealed")).unwrap(), "the person's", "{text}");
    assert_eq!(fs::read_to_string(root.join("fixed/new")).unwrap(), "the person's", "{text}");
    assert!(!root.join("fixed/old").exists() && !root.join("gone").exists(), "{text}");
    assert!(!root.join("empty").exists() && !root.join("full/x").exists(), "{text}");
    assert_eq!(fs::read_to_string(root.join("README.md")).unwrap(), "a project\n");
}

const SPOIL: &str = "
own = '/proc/%d/fd/%%d' % os.getpid()
for again in ['/proc/self/fd/%d', '/dev/fd/%d', '/proc/thread-self/fd/%d', own]:
    read = os.open('README.md', os.O_RDONLY)
    os.unlink('README.md')
    write = os.open(again % read, os.O_WRONLY | os.O_TRUNC)
    os.write(write, b'SPOILED')
    assert os.read(read, 7) == b'SPOILED'
    with open('README.md', 'w') as f: f.write('again')
os.unlink('README.md')
print('spoiled')";

/// P12: what was kept cannot be spoiled through a descriptor of the deleted file.
#[test]
fn p12_a_deleted_file_that_is_opened_again_spoils_nothing() {
    needs!("python3");
    let fixture = Fixture::new();
    let before = project(&fixture);
    let outcome = pair(&fixture).sh(&python(SPOIL));
    assert!(outcome.stdout.contains("spoiled"), "the attack itself: {outcome:?}");
    let restored = fixture.ringfence(&["restore"]);
    assert_eq!(restored.code, 0, "{restored:?}");
    assert_unchanged(&fixture.project(), &before, "after taking back");
}

/// Ways to name what is changed.
const WAYS: &[(&str, &str)] = &[
    ("its working directory", "write('/proc/self/cwd/README.md')"),
    ("up from it", "os.chdir('src'); write('/proc/self/cwd/../README.md')"),
    ("a thread's own", "write('/proc/thread-self/cwd/README.md')"),
    ("by number", "write('/proc/%d/cwd/README.md' % os.getpid())"),
    ("its root", "write('/proc/self/root' + os.getcwd() + '/README.md')"),
    (
        "a directory's descriptor",
        "d = os.open('src', os.O_RDONLY); write('/proc/self/fd/%d/../README.md' % d)",
    ),
    ("an O_PATH descriptor", "d = os.open('.', os.O_PATH); write('/dev/fd/%d/README.md' % d)"),
    ("a file's", "d = os.open('README.md', os.O_PATH); write('/proc/self/fd/%d' % d)"),
    ("a link to /proc", "os.symlink('/proc/self/cwd', 'src/p'); write('src/p/README.md')"),
    ("dots and slashes", "write('./src//.././/README.md')"),
    (
        "many links",
        "
os.chdir('src')
for i in range(30): os.symlink('l%d' % (i + 1), 'l%d' % i)
os.symlink('../README.md', 'l30'); write('l0')",
    ),
    ("the directory's mode", "os.chdir('src'); os.chmod('.', 0o711)"),
    (
        "mode through a descriptor",
        "d = os.open('README.md', os.O_RDONLY); os.chmod('/proc/self/fd/%d' % d, 0o600)",
    ),
    ("mode of a descriptor", "d = os.open('src', os.O_RDONLY); os.fchmod(d, 0o711)"),
    (
        "removed from elsewhere",
        "d = os.open('src', os.O_PATH); os.unlink('../README.md', dir_fd=d)",
    ),
    (
        "a deleted further name",
        "
os.link('README.md', 'second')
r = os.open('second', os.O_RDONLY); os.unlink('second')
try: write('/proc/self/fd/%d' % r)
except OSError as e: print('refused', e); write('README.md')",
    ),
    (
        "a deep path, step by step",
        "
os.mkdir('deep'); os.chdir('deep')
for _ in range(30):
    try: os.mkdir('x' * 200); os.chdir('x' * 200)
    except OSError as e: print('refused', e); break
os.chdir(top); write('README.md')",
    ),
];

/// F11: whatever a program calls a file, what is changed is kept, or it is not changed.
#[test]
fn f11_every_way_to_name_a_file_is_seen() {
    needs!("python3");
    for (what, way) in WAYS {
        let fixture = Fixture::new();
        let before = project(&fixture);
        let write = "
top = os.getcwd()
def write(path):
    f = os.open(path, os.O_WRONLY | os.O_TRUNC)
    os.write(f, b'CHANGED')";
        let outcome = pair(&fixture).sh(&python(&format!("{write}\n{way}\nprint('went on')")));
        assert!(outcome.stdout.contains("went on"), "{what}: {outcome:?}");
        assert_ne!(project(&fixture), before, "{what}: the attack changed nothing: {outcome:?}");
        let restored = fixture.ringfence(&["restore"]);
        assert_eq!(restored.code, 0, "{what}: {restored:?}");
        assert_unchanged(&fixture.project(), &before, what);
    }
}

const HOLD_OPEN: &str = "
import mmap, time
log = open('log', 'a'); log.write('before\\n'); log.flush()
f = os.open('map', os.O_RDWR); m = mmap.mmap(f, 10); os.close(f); m[0] = ord('B')
print('ready', flush=True)
while not os.path.exists('go'): time.sleep(0.02)
log.write('AFTER\\n'); log.flush(); m[1] = ord('A'); m.flush()
print('over', flush=True)";

/// S04: a file that a program holds open over a moment is at that moment what it was then.
#[test]
fn s04_files_open_over_a_moment_are_kept_as_they_were() {
    needs!("python3");
    let fixture = Fixture::new();
    let root = fixture.project();
    let text = |name: &str| fs::read_to_string(root.join(name)).unwrap();
    fs::write(root.join("log"), "begun\n").unwrap();
    fs::write(root.join("map"), "0123456789").unwrap();
    let mut live = pair(&fixture).start_sh(&python(HOLD_OPEN));
    live.wait_for("ready");
    let named = fixture.ringfence(&["checkpoint", "middle"]);
    assert_eq!(named.code, 0, "{named:?}");
    fs::write(root.join("go"), "").unwrap();
    live.wait_for("over");
    let outcome = live.wait();
    assert_eq!(outcome.code, 0, "{outcome:?}");
    assert!(text("log").contains("AFTER") && text("map").contains('A'), "the attack");
    let restored = fixture.ringfence(&["restore", "middle"]);
    assert_eq!(restored.code, 0, "{restored:?}");
    assert_eq!((&*text("log"), &*text("map")), ("begun\nbefore\n", "B123456789"));
    let restored = fixture.ringfence(&["restore", "start"]);
    assert_eq!(restored.code, 0, "{restored:?}");
    assert_eq!((&*text("log"), &*text("map")), ("begun\n", "0123456789"));
}

/// FH3: what cannot be kept is not changed: a file that may be written but not read.
#[test]
fn fh3_what_cannot_be_kept_is_not_changed() {
    let fixture = Fixture::new();
    let root = fixture.project();
    fs::write(root.join("secret"), "unreadable").unwrap();
    fs::set_permissions(root.join("secret"), fs::Permissions::from_mode(0o200)).unwrap();
    let outcome = pair(&fixture).sh("echo x > secret && echo WRITTEN; true");
    // Root reads it all the same, and keeps it.
    assert_eq!(outcome.stdout.contains("WRITTEN"), is_root(), "{outcome:?}");
    if !is_root() {
        assert!(outcome.stderr.contains("could not be kept"), "{outcome:?}");
    }
    let restored = fixture.ringfence(&["restore"]);
    assert_eq!(restored.code, 0, "{restored:?}");
    fs::set_permissions(root.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(fs::read_to_string(root.join("secret")).unwrap(), "unreadable");
}

const LONG: &str = "
import subprocess
for byte in [b'\\x01', b'\\xff', b'a']:
    subprocess.run([b'/bin/true'] + [byte * 4000] * 30, check=True)
open('made', 'w').close()
print('went on')";

/// FH1: a program with arguments that hardly fit a record starts, and the run goes on.
#[test]
fn fh1_long_arguments_do_not_end_a_run() {
    needs!("python3");
    let fixture = Fixture::new();
    let outcome = pair(&fixture).sh(&python(LONG));
    assert!(outcome.code == 0 && outcome.stdout.contains("went on"), "{outcome:?}");
    assert!(fixture.project().join("made").exists());
    fixture.verify_ledgers();
}

const RACE: &str = "
import random, sys, time
names = ['a', 'b', 'c', 'd/a', 'd/b', 'e/a', 'd', 'e']
def work(seed):
    r = random.Random(seed)
    end = time.time() + 1.5
    while time.time() < end:
        one, other = r.choice(names), r.choice(names)
        try:
            [lambda: open(one, 'w').write(str(r.random())), lambda: os.rename(one, other),
             lambda: os.unlink(one), lambda: os.mkdir(one), lambda: os.link(one, other)][r.randrange(5)]()
        except OSError: pass
workers = []
for seed in range(4):
    pid = os.fork()
    if pid == 0:
        work(seed)
        os._exit(0)
    workers.append(pid)
for pid in workers: os.waitpid(pid, 0)
print('raced')";

/// S04: processes that change the same names and the directories above them at the same time: what is
/// written down is what happened, in its order.
#[test]
fn s04_calls_that_cross_each_other_are_taken_back() {
    needs!("python3");
    let fixture = Fixture::new();
    let root = fixture.project();
    for directory in ["d", "e"] {
        fs::create_dir(root.join(directory)).unwrap();
    }
    for file in ["a", "b", "d/a", "d/b", "e/a"] {
        fs::write(root.join(file), file).unwrap();
    }
    let before = project(&fixture);
    let outcome = pair(&fixture).sh(&python(RACE));
    assert!(outcome.stdout.contains("raced"), "{outcome:?}");
    assert_ne!(project(&fixture), before, "the race changed nothing");
    let restored = fixture.ringfence(&["restore"]);
    assert_unchanged(&root, &before, &format!("{restored:?}"));
}
