//! Tier landlock: what it contains, each with the same attack unprotected, and what it says that it
//! does not contain, shown to be as said (the ids `RR-TIER-…`).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ringfence_contained_tests::tier::alone;
use ringfence_contained_tests::{Fixture, Outcome, needs, needs_tier};

/// Changes of inodes and of other processes: prints `ID<TAB>DONE` or the name of the error.
const TRY: &str = include_str!("fixtures/tier.py");

/// Makes a process the owner of a pipe, to be stopped when something comes.
const OWNED: &str = "
import fcntl, os, signal, sys, time
r, w = os.pipe()
fcntl.fcntl(r, fcntl.F_SETOWN, int(sys.argv[1]))
fcntl.fcntl(r, 10, signal.SIGSTOP)
fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC)
os.write(w, b'x')
time.sleep(0.2)
print('written')
";

/// A process of the same user outside, ended when dropped.
struct Neighbour(Child);

impl Neighbour {
    fn start() -> Self {
        let mut command = Command::new("sleep");
        command.arg("300").env("NEIGHBOUR", "its own").stdin(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn done(outcome: &Outcome, id: &str) -> bool {
    outcome.answer(id) == "DONE"
}

/// Every attempt works outside and none inside.
#[track_caller]
fn contained(outside: &Outcome, inside: &Outcome, ids: &[&str]) {
    for id in ids {
        assert!(done(outside, id), "control group: {id}: {outside:?}");
        assert!(!done(inside, id), "{id} got through: {inside:?}");
    }
}

#[test]
fn f01_files_outside_can_be_neither_read_nor_listed_nor_written() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let home = fixture.home().display().to_string();
    let other = fixture.root().join("elsewhere");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("victim"), "untouched").unwrap();
    let other = other.display().to_string();
    let tries = [
        ("read", format!("cat {home}/.bashrc > /dev/null")),
        ("list", format!("ls {home} > /dev/null")),
        ("make", format!("touch {other}/new && rm {other}/new")),
        ("change", format!("echo more >> {other}/victim")),
        ("move", format!("mv {other}/victim {other}/moved && mv {other}/moved {other}/victim")),
        ("truncate", format!("truncate -s 3 {other}/victim")),
        ("link", format!("ln {other}/victim {other}/hard && rm {other}/hard")),
        ("project", "touch probe && rm probe".to_owned()),
    ];
    let script: String = tries
        .iter()
        .map(|(id, line)| {
            format!("if ( {line} ) 2>/dev/null; then echo '{id}\tDONE'; else echo '{id}\tno'; fi\n")
        })
        .collect();
    let outside = fixture.unprotected(&script);
    fs::write(format!("{other}/victim"), "untouched").unwrap();
    let inside = alone(&fixture).sh(&script);
    contained(&outside, &inside, &tries.each_ref().map(|(id, _)| *id));
    assert_eq!(fs::read_to_string(format!("{other}/victim")).unwrap(), "untouched");
}

#[test]
fn p22_no_socket_can_be_made_and_nothing_that_is_offered_is_reached() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let outside = fixture.job().unprotected_attack(&["sockets"]);
    let inside = alone(&fixture).attack(&["sockets"]);
    contained(&outside, &inside, &["unix-stream", "inet-tcp", "inet-udp", "netlink-route"]);
    for (id, answer) in inside.answers() {
        assert_ne!(answer, "DONE", "{id}");
    }

    let name = format!("rf-tier-{}", std::process::id());
    let mut offer = fixture.job().plain_command(fixture.job().attack_argv(&["offer", &name]));
    let mut offer = offer.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    let mut output = std::io::BufReader::new(offer.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut first).unwrap();
    let port = first.trim().rsplit('\t').next().unwrap();
    let target = format!("{name}:{port}");
    let outside = fixture.job().unprotected_attack(&["seek", &target]);
    let inside = alone(&fixture).attack(&["seek", &target]);
    drop(offer.stdin.take());
    offer.wait().unwrap();
    for (id, answer) in outside.answers() {
        assert_eq!(answer, "DONE", "control group: {id}");
        assert!(!done(&inside, id), "{id} was reached: {inside:?}");
    }
}

/// P03, P05 and RR-TIER-PROC: processes outside are seen, and cannot be signalled or looked into.
#[test]
fn p05_processes_outside_are_out_of_reach_but_seen() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let neighbour = Neighbour::start();
    let outside = fixture.job().unprotected_attack(&["trace", &neighbour.pid()]);
    let inside = alone(&fixture).attack(&["trace", &neighbour.pid()]);
    contained(&outside, &inside, &["kill-0", "proc-environ", "proc-cwd", "proc-root", "proc-fd/0"]);
    for id in ["ptrace-seize", "vm-read", "proc-mem"] {
        assert!(!done(&inside, id), "{id}: {inside:?}");
    }
    assert!(done(&inside, "proc-cmdline"), "RR-TIER-PROC says that it can be read: {inside:?}");
    let root = format!("cat /proc/{}/root/etc/hostname /proc/1/root/etc/hostname", neighbour.pid());
    assert_ne!(alone(&fixture).sh(&root).code, 0);
    let debug = alone(&fixture).flags(["--debug"]).attack(&["trace", &neighbour.pid()]);
    for id in ["kill-0", "ptrace-seize", "vm-read", "pidfd-getfd", "proc-environ", "proc-mem"] {
        assert!(!done(&debug, id), "with --debug: {id}: {debug:?}");
    }
}

#[test]
fn f09_modes_times_owners_and_other_processes_limits_are_held() {
    needs!("python3");
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let neighbour = Neighbour::start();
    let victim = fixture.root().join("victim");
    fs::write(&victim, "x").unwrap();
    // The tool is readable inside, so a descriptor of it can be had.
    let readable = fixture.tools().join("ringfence-attack");
    let words = ["python3", "-c", TRY, victim.to_str().unwrap(), readable.to_str().unwrap()];
    let pid = neighbour.pid();
    let argv: Vec<&str> = words.into_iter().chain([pid.as_str()]).collect();
    let before = stamps(&victim);
    let inside = alone(&fixture).argv(&argv);
    assert_eq!(stamps(&victim), before, "{inside:?}");
    let outside = unprotected(&fixture, &argv);
    contained(
        &outside,
        &inside,
        &[
            "chmod",
            "chmod-fd",
            "chmod-proc",
            "chmod-path-fd",
            "utime",
            "utime-fd",
            "chown",
            "chown-fd",
            "limit",
            "priority",
            "affinity",
            "inotify",
            "lease",
            "write-hint",
            "flags",
        ],
    );
    // A file system may have neither of the two.
    for id in ["attribute", "version"].iter().filter(|id| done(&outside, id)) {
        assert!(!done(&inside, id), "{id} got through: {inside:?}");
    }
    for id in ["own-chmod", "own-fchmod", "own-utime", "own-relative", "own-descriptor"] {
        assert!(done(&outside, id) && done(&inside, id), "{id}: {outside:?} {inside:?}");
    }
    assert!(!done(&inside, "own-set-id"), "{inside:?}");
    assert!(!done(&inside, "own-link-out"), "a link out of a writable place: {inside:?}");
}

fn stamps(path: &Path) -> (u32, i64) {
    use std::os::unix::fs::MetadataExt;
    let metadata = fs::metadata(path).unwrap();
    (metadata.mode(), metadata.mtime())
}

fn unprotected(fixture: &Fixture, argv: &[&str]) -> Outcome {
    let command = fixture.job().plain_command(argv);
    ringfence_contained_tests::Live::start(command, b"", std::time::Duration::from_secs(60)).wait()
}

/// RR-TIER-NAMES: existence and size can be asked for by an exact path, contents cannot.
#[test]
fn rr_tier_names_are_as_said() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let path = fixture.home().join(".bashrc");
    let size = fs::metadata(&path).unwrap().len();
    let script = format!("stat -c %s '{0}'; cat '{0}'", path.display());
    let outcome = alone(&fixture).sh(&script);
    assert_eq!(outcome.stdout.trim(), size.to_string(), "{outcome:?}");
    assert_ne!(outcome.code, 0, "its content was read: {outcome:?}");
}

/// RR-TIER-BASE, RR-TIER-USER: the host's own names, the user's own id, and no capability with it.
#[test]
fn rr_tier_base_and_user_are_as_said() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let script =
        "cat /etc/passwd; echo; echo id=$(id -u); grep -E '^(Cap|NoNew)' /proc/self/status";
    let outcome = alone(&fixture).sh(script);
    assert!(outcome.stdout.contains(fs::read_to_string("/etc/passwd").unwrap().trim()));
    let uid = rustix::process::getuid().as_raw();
    assert!(outcome.stdout.contains(&format!("id={uid}\n")), "{outcome:?}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert!(outcome.stdout.contains(&format!("{set}:\t0000000000000000")), "{outcome:?}");
    }
    assert!(outcome.stdout.contains("NoNewPrivs:\t1"), "{outcome:?}");
    if uid == 0 {
        assert!(outcome.stdout.contains("CapBnd:\t0000000000000000"), "{outcome:?}");
        let shadow = "head -c1 /etc/shadow > /dev/null";
        assert_eq!(fixture.unprotected(shadow).code, 0, "control group");
        assert_ne!(alone(&fixture).sh(shadow).code, 0, "root's file was read");
    }
}

/// RR-TIER-LOCKS: what can be read can be locked.
#[test]
fn rr_tier_locks_are_as_said() {
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let outcome = alone(&fixture).sh("flock --nonblock README.md echo locked");
    assert_eq!(outcome.stdout, "locked\n", "{outcome:?}");
}

/// P03: a signal that the kernel sends for a descriptor's owner is one as well.
#[test]
fn p03_no_signal_goes_out_by_way_of_a_descriptor() {
    needs!("python3");
    let fixture = Fixture::new();
    needs_tier!(&fixture);
    let stopped = |run: &dyn Fn(&[&str]) -> Outcome| {
        let neighbour = Neighbour::start();
        let outcome = run(&["python3", "-c", OWNED, &neighbour.pid()]);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (0, "written\n"), "{outcome:?}");
        let stat = fs::read_to_string(format!("/proc/{}/stat", neighbour.pid())).unwrap();
        stat.contains(") T ")
    };
    assert!(stopped(&|argv| unprotected(&fixture, argv)), "control group");
    assert!(!stopped(&|argv| alone(&fixture).argv(argv)));
}
