//! Attacks on the host's processes and on another sandbox: P03, P05, P21, with FS9, LM1.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::process::Stdio;

use ringfence_contained_tests::limits::ONLY_INSIDE;
use ringfence_contained_tests::{Fixture, Live, Outcome, descends_from_us};

/// A name that no other test uses at the same time.
fn name(what: &str) -> String {
    format!("rf-{what}-{}", std::process::id())
}

fn port(offer: &Live) -> String {
    let text = offer.stdout();
    let line = text.lines().find_map(|line| line.strip_prefix("offered\t"));
    line.unwrap_or_else(|| panic!("no port in {text:?}")).to_owned()
}

fn assert_nothing_found(seek: &Outcome) {
    assert!(["ECONNREFUSED", "EPERM"].contains(&seek.answer("abstract-socket")), "{seek:?}");
    assert_eq!(seek.answer("tcp-port"), "ECONNREFUSED", "{seek:?}");
    assert_eq!(seek.answer("sysv-memory"), "ENOENT", "{seek:?}");
    assert_eq!(seek.answer("sysv-queue"), "ENOENT", "{seek:?}");
    assert_eq!(seek.answer("posix-memory"), "ENOENT", "{seek:?}");
    assert!(["ENOENT", "EACCES"].contains(&seek.answer("posix-queue")), "{seek:?}");
}

/// P03, P05, FS9: a process of the host is neither seen, signalled, traced nor read.
#[test]
fn p03_p05_fs9_host_processes_are_out_of_reach() {
    let fixture = Fixture::new();
    let job = fixture.job();
    let mut decoy = job
        .plain_command(["sleep", "600"])
        .env("DECOY", "CANARY-decoy-61fa")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let pid = decoy.id().to_string();
    let outside = job.unprotected_attack(&["trace", &pid]);
    let inside = job.attack(&["trace", &pid]);
    decoy.kill().unwrap();
    decoy.wait().unwrap();
    for id in ["kill-0", "ptrace-seize", "proc-environ", "proc-mem", "proc-cwd", "pidfd-getfd"] {
        assert_eq!(outside.answer(id), "DONE", "control group: {id}");
    }
    for (id, answer) in inside.answers() {
        assert!(["ESRCH", "ENOENT", "EPERM"].contains(&answer), "{id}: {answer}");
    }
    assert_eq!(inside.answer("kill-0"), "ESRCH");
    assert_eq!(inside.answer("ptrace-seize"), "EPERM");
    assert_eq!(inside.answer("vm-read"), "EPERM");
    assert_eq!(inside.answer("proc-environ"), "ENOENT");
}

/// P03, FS9: only the run's own processes exist inside; init cannot be signalled or looked into.
#[test]
fn p03_fs9_only_own_processes_exist() {
    let fixture = Fixture::new();
    let count = |outcome: &Outcome, id: &str| outcome.answer(id).parse::<u32>().unwrap();
    let outside = fixture.job().unprotected_attack(&["signal-all"]);
    let inside = fixture.job().attack(&["signal-all"]);
    assert!(count(&outside, "listed") > 10, "control group: {outside:?}");
    assert!(count(&outside, "signalable") >= 1, "control group: {outside:?}");
    // Init and the attacking program itself.
    assert_eq!(count(&inside, "listed"), 2, "{inside:?}");
    assert!(count(&inside, "signalable") <= 1, "{inside:?}");
    let first = fixture.job().attack(&["trace", "1"]);
    for id in ["ptrace-seize", "vm-read", "pidfd-getfd"] {
        assert_eq!(first.answer(id), "EPERM", "{first:?}");
    }
    for id in ["proc-environ", "proc-mem", "proc-cwd", "proc-root", "proc-fd/0"] {
        assert!(["EACCES", "EPERM"].contains(&first.answer(id)), "{id}: {first:?}");
    }
    // Killing the first process from inside is ignored by the kernel; the run goes on.
    let killing = format!("{ONLY_INSIDE}kill -KILL 1; kill -TERM 1; kill -KILL -1; echo still");
    let killing = fixture.contained(&killing);
    assert!(killing.stdout.contains("still") || killing.code == 137, "{killing:?}");
}

/// P21: what the host shares by name is not there.
#[test]
fn p21_shared_objects_of_the_host_are_not_there() {
    let fixture = Fixture::new();
    let name = name("host");
    let job = fixture.job();
    let argv = job.attack_argv(&["offer", &name]);
    let mut command = job.plain_command(argv);
    // Its input stays open until this end is dropped.
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut offer = command.spawn().unwrap();
    let mut lines = std::io::BufReader::new(offer.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("made\t") {
        assert_ne!(std::io::BufRead::read_line(&mut lines, &mut text).unwrap(), 0, "{text}");
    }
    let port = text.lines().find_map(|line| line.strip_prefix("offered\t")).unwrap();
    let sought = format!("{name}:{port}");
    let outside = job.unprotected_attack(&["seek", &sought]);
    let inside = job.attack(&["seek", &sought]);
    drop(offer.stdin.take());
    offer.wait().unwrap();
    assert!(text.contains("made\t4"), "control group: {text}");
    for (id, answer) in outside.answers() {
        assert_eq!(answer, "DONE", "control group: {id}");
    }
    assert_nothing_found(&inside);
}

/// FS9, LM1, P21: two sandboxes do not find each other's sockets, ports, memory or queues.
#[test]
fn fs9_lm1_two_sandboxes_do_not_find_each_other() {
    let fixture = Fixture::new();
    let name = name("pair");
    let job = fixture.job();
    let argv = job.attack_argv(&["offer", &name]);
    let script = "\"$0\" \"$@\" < hold & wait; exit 0";
    std::fs::write(fixture.project().join("dummy"), "").unwrap();
    let hold = format!("mkfifo hold; exec 9<>hold; {script}");
    let words = ["sh".into(), "-c".into(), hold.into()].into_iter().chain(argv);
    let mut first = job.start(words);
    first.wait_for("made\t");
    // POSIX queues may be out of reach altogether.
    let made = first.stdout();
    assert!(made.contains("made\t4") || made.contains("made\t3"), "control group: {made}");
    let sought = format!("{name}:{}", port(&first));
    assert_nothing_found(&job.attack(&["seek", &sought]));
    // The control group: inside the same sandbox they are found.
    first.signal(rustix::process::Signal::TERM);
    let _ = first.wait();
    let script = format!(
        "mkfifo h; exec 9<>h; \"$TOOLS/ringfence-attack\" offer {name} < h > out & sleep 0.3
         p=$(sed -n 's/^offered\\t//p' out); \"$TOOLS/ringfence-attack\" seek {name}:$p; kill %1 2>/dev/null; exit 0"
    );
    let same = fixture.contained(&script);
    for id in ["abstract-socket", "tcp-port", "sysv-memory", "sysv-queue", "posix-memory"] {
        assert_eq!(same.answer(id), "DONE", "control group: {same:?}");
    }
}

/// FS9: two sandboxes of the same user cannot signal, trace or read each other's processes.
#[test]
fn fs9_two_sandboxes_cannot_touch_each_others_processes() {
    let fixture = Fixture::new();
    let mut first = fixture.job().start_sh("echo up; sleep 30");
    first.wait_for("up");
    let family = descends_from_us(first.pid().cast_signed());
    assert!(family.len() >= 2, "the first sandbox has no processes: {family:?}");
    for pid in family {
        let outcome = fixture.job().attack(&["trace", &pid.to_string()]);
        for (id, answer) in outcome.answers() {
            // The number may be one of the second sandbox's own processes.
            let own = pid <= 3;
            let refused = ["ESRCH", "ENOENT", "EPERM"].contains(&answer);
            assert!(own || refused, "{id} of {pid}: {answer}");
        }
    }
    assert!(first.runs(), "the first sandbox was ended from the second");
    first.signal(rustix::process::Signal::TERM);
    let _ = first.wait();
}
