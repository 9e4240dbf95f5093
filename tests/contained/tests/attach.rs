//! Runs in the background: they need no terminal, outlive every one that looks at them, and are held
//! up by none.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

#[path = "support/person.rs"]
mod person;

use std::time::{Duration, Instant};

use person::{PATIENCE, Person};
use ringfence_contained_tests::{Fixture, Job};
use rustix::process::Signal;

/// Keys that let go.
const LET_GO: &str = "\u{10}\u{11}";

fn detached(job: &Job<'_>, script: &str) -> String {
    let outcome = job.clone().flags(["--detach"]).sh(script);
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let id = outcome.stdout.trim().to_owned();
    assert!(!id.is_empty() && outcome.stderr.is_empty(), "{outcome:?}");
    id
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_running(fixture: &Fixture, id: &str) -> bool {
    fixture.ringfence(&["ps"]).stdout.contains(id)
}

#[test]
fn a_detached_run_is_looked_at_let_go_and_ended() {
    let fixture = Fixture::new();
    let script = "echo begun; read a; echo \"got $a\"; read b; echo \"then $b\"; exit 5";
    let id = detached(&fixture.job(), script);
    assert!(is_running(&fixture, &id));
    let mut person = Person::verb(&fixture, &["attach"]);
    person.sees("begun");
    person.types("apples\r");
    person.sees("got apples");
    let before = person.shown();
    person.types(LET_GO);
    assert_eq!(person.code(), 0, "{before}");
    person.sees(&format!("ringfence attach {id}"));
    assert!(is_running(&fixture, &id));
    // What was shown before is shown again, then what comes.
    let mut again = Person::verb(&fixture, &["attach", &id, "--detach-keys", "ctrl-a,d"]);
    again.sees("got apples");
    again.types("\u{10}\u{11}pears\r");
    again.sees("pears");
    assert_eq!(again.code(), 5, "{}", again.shown());
    let over = fixture.ringfence(&["attach", &id]);
    assert_eq!(over.code, 5, "{over:?}");
    for text in ["begun", "got apples", "then"] {
        assert!(over.stdout.contains(text), "{over:?}");
    }
    assert_eq!(fixture.ringfence(&["wait", &id]).code, 5);
    assert_eq!(fixture.ringfence(&["wait"]).code, 5);
    let logs = fixture.ringfence(&["logs"]).stdout;
    assert_eq!(logs.matches("control    attach by uid").count(), 2, "{logs}");
    fixture.verify_ledgers();
}

#[test]
fn a_start_that_fails_says_so_and_leaves_nothing() {
    let fixture = Fixture::new();
    let job = fixture.job().flags(["--detach"]);
    for (argv, code) in [("no-such-program", 127), ("/etc/passwd", 126)] {
        let failed = job.argv([argv]);
        assert_eq!((failed.code, failed.stdout.as_str()), (code, ""), "{failed:?}");
        assert!(failed.stderr.contains(argv), "{failed:?}");
    }
    let refused = job.clone().flags(["--limit", "memory=1"]).argv(["true"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (125, ""), "{refused:?}");
    assert!(!refused.stderr.is_empty());
    assert!(fixture.ringfence(&["ps"]).stdout.contains("no run is running"));
}

/// Neither a terminal nor an open stream of the caller's is needed, or kept.
#[test]
fn no_terminal_is_needed_and_nobody_is_kept_waiting() {
    let fixture = Fixture::new();
    let job = fixture.job().flags(["--detach"]);
    let run = job.words(["sh", "-c", "stty size; tty; ls -l /proc/self/fd; read x"]);
    // The substitution ends when the last writer of its pipe is gone.
    let script = "id=$(setsid \"$@\" </dev/null); echo \"got $id\"; exec 1>&- 2>&-";
    let mut words: Vec<std::ffi::OsString> = ["sh", "-c", script, "sh"].map(Into::into).to_vec();
    words.extend(run);
    let caller = fixture.job().behind("true", words).wait();
    assert!(caller.stdout.starts_with("got ") && caller.code == 0, "{caller:?}");
    let id = caller.stdout.trim().strip_prefix("got ").unwrap().to_owned();
    let mut person = Person::verb(&fixture, &["attach", &id]);
    person.sees("24 80");
    person.sees("/dev/pts/0");
    person.types(LET_GO);
    assert_eq!(person.code(), 0);
    assert!(!person.shown().contains("socket:"), "{}", person.shown());
    assert_eq!(fixture.ringfence(&["kill", &id]).code, 0);
    assert_eq!(fixture.ringfence(&["wait", &id]).code, 137);
    assert_eq!(fixture.ringfence(&["attach", &id]).code, 137);
}

/// A lock or a pipe that the caller holds by another descriptor is not held until the run's end.
#[test]
fn a_detached_run_holds_nothing_that_its_caller_had_open() {
    let fixture = Fixture::new();
    let start = |binary: &str, flags: &str| {
        let script = format!(
            "exec 8> ../lock; flock -n 8 && {binary} {flags} sleep 600 > ../started 8>&8 & wait $!; \
             exec 8>&-; flock -n ../lock true; echo \"free $?\""
        );
        fixture.unprotected(&script)
    };
    let free = start(fixture.binary().to_str().unwrap(), "run --detach --");
    let id = std::fs::read_to_string(fixture.project().join("../started")).unwrap();
    assert_eq!(free.stdout, "free 0\n", "{free:?} {id}");
    assert!(is_running(&fixture, id.trim()));
    assert_eq!(fixture.ringfence(&["kill", id.trim()]).code, 0);
    assert_eq!(fixture.ringfence(&["wait", id.trim()]).code, 137);
    let control = start("sh -c 'exec \"$@\" & echo $!' sh", "");
    let pid = std::fs::read_to_string(fixture.project().join("../started")).unwrap();
    assert_eq!(fixture.unprotected(&format!("kill {pid}")).code, 0);
    assert_eq!(control.stdout, "free 1\n", "control group: {control:?}");
}

/// Closing a terminal lets go: the one it was started in, and the ones that look.
#[test]
fn a_closed_terminal_ends_nothing() {
    let fixture = Fixture::new();
    let words = fixture.job().flags(["--detach"]).words(["sh", "-c", "echo begun; exec sleep 600"]);
    let mut starter = Person::start(&fixture, &words);
    assert_eq!(starter.code(), 0, "{}", starter.shown());
    drop(starter);
    let id = fixture.runs().pop().unwrap();
    // Nobody sits in front of it, wherever it was started.
    assert!(fixture.ringfence(&["inspect", "--json"]).stdout.contains("\"mode\": \"review\""));
    let mut closed = Person::verb(&fixture, &["attach"]);
    closed.sees("begun");
    closed.hangs_up();
    let killed = Person::verb(&fixture, &["attach"]);
    killed.sees("begun");
    killed.signals(Signal::KILL);
    drop(killed);
    assert!(is_running(&fixture, &id));
    let mut again = Person::verb(&fixture, &["attach"]);
    again.sees("begun");
    again.types(LET_GO);
    assert_eq!(again.code(), 0);
    assert!(is_running(&fixture, &id));
    assert_eq!(fixture.ringfence(&["kill"]).code, 0);
    fixture.verify_ledgers();
}

#[test]
fn all_who_look_see_the_same_and_may_type() {
    let fixture = Fixture::new();
    let id = detached(&fixture.job(), "while read line; do stty size; echo \"[$line]\"; done");
    let (mut one, mut two) =
        (Person::verb(&fixture, &["attach"]), Person::verb(&fixture, &["attach"]));
    one.resizes(30, 90);
    one.types("first\r");
    for person in [&one, &two] {
        person.sees("[first]");
    }
    two.types("second\r");
    for person in [&one, &two] {
        person.sees("[second]");
    }
    // The size is that of whoever changed theirs last.
    two.resizes(25, 61);
    eventually("the last size", || {
        two.types("x\r");
        std::thread::sleep(Duration::from_millis(50));
        one.shown().contains("25 61")
    });
    one.types(LET_GO);
    assert_eq!(one.code(), 0);
    two.types("third\r");
    two.sees("[third]");
    assert_eq!(fixture.ringfence(&["kill", &id]).code, 0);
    assert_eq!(two.code(), 137);
}

/// Whoever looks and does not read holds up neither the agent nor a decision.
#[test]
fn who_does_not_read_holds_up_nobody() {
    let fixture = Fixture::new();
    let script = "echo begun; read go; seq 1 1500000; exit 0";
    let id = detached(&fixture.job(), script);
    let mut stopped = Person::verb(&fixture, &["attach"]);
    stopped.sees("begun");
    let mut typing = Person::verb(&fixture, &["attach"]);
    typing.sees("begun");
    stopped.signals(Signal::STOP);
    typing.types("go\r");
    assert_eq!(typing.code(), 0, "the agent was held up");
    assert_eq!(fixture.ringfence(&["wait", &id]).code, 0);
    assert!(typing.shown().contains("1500000"));
    stopped.signals(Signal::CONT);
    let _ = stopped.code();
    // What is kept has a bound, and is the end.
    let over = fixture.ringfence(&["attach", &id]);
    assert!(
        over.stdout.contains("1500000") && over.stdout.len() <= 256 * 1024,
        "{}",
        over.stdout.len()
    );
    assert!(!over.stdout.contains("begun"));
}

/// P15: what is shown later is filtered as what is shown at once, and so is what is kept.
#[test]
fn p15_what_is_remembered_is_filtered() {
    let fixture = Fixture::new();
    let script = "printf 'before\\033]52;c;RVZJTA==\\007\\033]0;forged\\007\\033[21tafter\\n'";
    let mut outside = Person::start(&fixture, &["sh", "-c", script]);
    assert_eq!(outside.code(), 0);
    assert!(outside.shown().contains("\u{1b}]52"), "control group");
    let id = detached(&fixture.job(), &format!("{script}; read x; {script}"));
    let mut person = Person::verb(&fixture, &["attach"]);
    person.sees("after");
    person.types("x\r");
    assert_eq!(person.code(), 0);
    let over = fixture.ringfence(&["attach", &id]).stdout;
    let kept = fixture.state().join("ringfence/runs").join(&id).join("screen");
    let kept = String::from_utf8(std::fs::read(kept).unwrap()).unwrap();
    for text in [person.shown(), over, kept] {
        assert!(text.matches("after").count() >= 2, "{text:?}");
        for raw in ["\u{1b}]52", "\u{1b}]0;", "\u{1b}[21t"] {
            assert!(!text.contains(raw), "{raw:?} in {text:?}");
        }
    }
    assert!(fixture.ringfence(&["logs"]).stdout.contains("control sequences"));
}

/// P15: a question that a program asked its terminal is not asked again: the answer would be typed to
/// whatever runs when somebody looks later, their own shell among it.
#[test]
fn p15_what_is_remembered_asks_the_terminal_nothing() {
    let fixture = Fixture::new();
    let script = "printf 'one\\033[6n\\033[ctwo\\n'; read x; printf 'three\\033[6n\\n'; read x";
    let id = detached(&fixture.job(), script);
    let mut first = Person::verb(&fixture, &["attach"]);
    first.sees("two");
    first.types(LET_GO);
    assert_eq!(first.code(), 0);
    let mut person = Person::verb(&fixture, &["attach"]);
    person.sees("onetwo");
    assert!(!person.shown().contains("\u{1b}[6n"), "{:?}", person.shown());
    person.types("x\r");
    person.sees("three\u{1b}[6n");
    person.types("x\r");
    assert_eq!(person.code(), 0);
    let over = fixture.ringfence(&["attach", &id]).stdout;
    assert!(over.contains("onetwo") && over.contains("three"), "{over:?}");
    assert!(!over.contains("\u{1b}[6n") && !over.contains("\u{1b}[c"), "{over:?}");
}

/// What a person is told at the end of a run is told by whoever looks at it last.
#[test]
fn the_block_at_the_end_is_told_by_attach_and_wait() {
    let fixture = Fixture::new();
    let script = "bash -c 'exec 3<>/dev/tcp/denied.example.com/80 && printf \"GET / HTTP/1.0\\r\\n\\r\\n\" >&3 && cat <&3'; echo x > new; exit 3";
    let id = detached(&fixture.job(), script);
    for verb in ["wait", "attach"] {
        let told = fixture.ringfence(&[verb, &id]);
        assert_eq!(told.code, 3, "{told:?}");
        assert!(told.stderr.contains("denied: resolve denied.example.com:80"), "{told:?}");
        assert!(told.stderr.contains(&format!("ringfence diff {id}")), "{told:?}");
    }
}

#[test]
fn only_a_detached_run_is_attached_to() {
    let fixture = Fixture::new();
    let mut live = fixture.job().start_sh("echo up; exec sleep 600");
    live.wait_for("up");
    let refused = fixture.ringfence(&["attach"]);
    assert_eq!(refused.code, 125, "{refused:?}");
    assert!(refused.stderr.contains("--detach"), "{refused:?}");
    assert_eq!(fixture.ringfence(&["attach", "--detach-keys", "F1"]).code, 1);
    assert_eq!(fixture.ringfence(&["kill"]).code, 0);
    assert_eq!(live.wait().code, 137);
    let over = fixture.ringfence(&["attach"]);
    assert_eq!(over.code, 125, "{over:?}");
    assert!(over.stderr.contains("ringfence logs"), "{over:?}");
}

/// A program beside the agent works in a detached run as in any other.
#[test]
fn a_shell_works_in_a_detached_run() {
    let fixture = Fixture::new();
    let id = detached(&fixture.job(), "exec sleep 600");
    let beside = fixture.ringfence(&["exec", &id, "--", "sh", "-c", "echo $RINGFENCE_RUN"]);
    assert_eq!(beside.stdout.trim(), id, "{beside:?}");
    assert_eq!(fixture.ringfence(&["kill"]).code, 0);
}

/// S04: a `pair` workspace is the person's choice in the background, and keeps what is replaced there as
/// it does at a terminal, whoever closes theirs. Unnamed, the workspace is `review`: nobody looks on.
#[test]
fn s04_pair_in_the_background_keeps_what_is_replaced() {
    let fixture = Fixture::new();
    let readme = fixture.project().join("README.md");
    let script = "echo up; read x; rm README.md; echo gone; read x; exit 3";
    let run = |flags: &[&str]| {
        let verb = [fixture.binary().to_str().unwrap(), "run", "--detach"];
        let words = [&verb[..], flags, &["--", "sh", "-c", script]].concat();
        let mut starter = Person::start(&fixture, &words);
        assert_eq!(starter.code(), 0, "{}", starter.shown());
        starter.hangs_up();
        let mut person = Person::verb(&fixture, &["attach"]);
        person.sees("up");
        person.types("x\r");
        person.sees("gone");
        person.hangs_up();
    };
    run(&["--workspace", "pair"]);
    assert!(!readme.exists(), "the attack itself");
    let beside = fixture.ringfence(&["exec", "--", "sh", "-c", "rm src/main.txt"]);
    assert_eq!(beside.code, 0, "{beside:?}");
    assert!(!fixture.project().join("src/main.txt").exists(), "the attack itself");
    let named = fixture.ringfence(&["checkpoint", "middle"]);
    assert_eq!(named.code, 0, "{named:?}");
    let restored = fixture.ringfence(&["restore", "start"]);
    assert_eq!(restored.code, 0, "{restored:?}");
    assert!(readme.exists() && fixture.project().join("src/main.txt").exists());
    let mut person = Person::verb(&fixture, &["attach"]);
    person.sees("gone");
    person.types("x\r");
    assert_eq!(person.code(), 3);
    let told = fixture.ringfence(&["wait"]);
    assert_eq!(told.code, 3, "{told:?}");
    assert!(told.stderr.contains("ringfence restore --run"), "{told:?}");
    fixture.verify_ledgers();

    run(&[]);
    assert!(readme.exists(), "the project itself was changed in `review`");
    assert_eq!(fixture.ringfence(&["kill"]).code, 0);
    assert!(fixture.ringfence(&["wait"]).stderr.contains("ringfence apply --run"));
}
