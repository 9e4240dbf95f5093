//! Attacks on the terminal of the person outside: P14, P15.
//!
//! The terminal is a pseudo-terminal of the test's own.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ringfence_contained_tests::Fixture;
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};

/// How long a command on a terminal may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a terminal showed, and how the command on it ended.
struct Shown {
    text: String,
    code: i32,
}

/// A fresh pair: the person's side and the command's side.
fn terminal() -> (File, File) {
    let master: OwnedFd =
        openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    (master.into(), slave)
}

/// Runs words with a controlling terminal of their own.
fn on_terminal(fixture: &Fixture, words: Vec<OsString>) -> Shown {
    let (mut master, slave) = terminal();
    let job = fixture.job();
    let argv = ["setsid", "--ctty", "--wait"].map(OsString::from).into_iter().chain(words);
    let mut command = job.plain_command(argv);
    let side = || Stdio::from(slave.try_clone().unwrap());
    let mut child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
    drop(command);
    drop(slave);
    let shown = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&shown);
    let reader = std::thread::spawn(move || {
        let mut part = [0; 4096];
        // EIO is the end: nobody has the other side open.
        while let Ok(read @ 1..) = master.read(&mut part) {
            sink.lock().unwrap().extend_from_slice(&part[..read]);
        }
    });
    let begun = Instant::now();
    let code = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status.code().unwrap_or(-1);
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("still running: {}", String::from_utf8_lossy(&shown.lock().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let begun = Instant::now();
    while !reader.is_finished() && begun.elapsed() < Duration::from_secs(2) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let text = String::from_utf8_lossy(&shown.lock().unwrap()).into_owned();
    Shown { text, code }
}

fn answer<'a>(shown: &'a Shown, id: &str) -> &'a str {
    let find = |line: &'a str| line.trim_end().split_once('\t').filter(|(name, _)| *name == id);
    let line = shown.text.lines().find_map(find);
    line.unwrap_or_else(|| panic!("no `{id}` in {:?}", shown.text)).1
}

/// P14: nothing can be typed into, or changed about, a terminal from inside.
#[test]
fn p14_nothing_is_typed_for_the_person() {
    let fixture = Fixture::new();
    let job = fixture.job();
    let outside = on_terminal(&fixture, job.attack_argv(&["terminal"]));
    assert_eq!(answer(&outside, "open-tty"), "DONE", "control group");
    // A kernel may have one of them switched off (dev.tty.legacy_tiocsti, dev.tty.ldisc_autoload). What
    // TIOCSTI typed is echoed before its answer.
    let typed = outside.text.contains("#TIOCSTI\tDONE");
    assert!(typed || answer(&outside, "TIOCSETD") != "EPERM", "control: {:?}", outside.text);
    let inside = on_terminal(&fixture, job.words(job.attack_argv(&["terminal"])));
    assert_eq!(answer(&inside, "open-tty"), "DONE", "{:?}", inside.text);
    for command in ["TIOCSTI", "TIOCLINUX", "TIOCSETD", "TIOCCONS"] {
        assert_eq!(answer(&inside, command), "EPERM", "{:?}", inside.text);
        assert_eq!(answer(&inside, &format!("{command}-upper-half")), "EPERM");
    }
    assert_eq!(inside.code, 0);
}

/// P14: the terminal inside is the sandbox's own, and the person's is not among the devices.
#[test]
fn p14_the_terminal_inside_is_its_own() {
    let fixture = Fixture::new();
    let job = fixture.job();
    let words = job.words(["sh", "-c", "tty; ls -1 /dev/pts; stty -echo; stty raw; echo end"]);
    let inside = on_terminal(&fixture, words);
    assert!(inside.text.contains("/dev/pts/0"), "{:?}", inside.text);
    let names: Vec<&str> = inside.text.lines().map(str::trim).collect();
    assert!(names.contains(&"ptmx"), "{:?}", inside.text);
    let numbers = names.iter().filter(|name| name.parse::<u32>().is_ok()).count();
    assert_eq!(numbers, 1, "{:?}", inside.text);
}

/// P15: what would reach the clipboard, ask the terminal to answer, or forge its title is filtered.
#[test]
fn p15_dangerous_sequences_are_filtered() {
    let fixture = Fixture::new();
    let sequences = [
        ("OSC 52, clipboard", "\\033]52;c;RVZJTA==\\007", "\u{1b}]52"),
        ("OSC 52 with ST", "\\033]52;c;RVZJTA==\\033\\\\", "\u{1b}]52"),
        ("DECRQSS, answer back", "\\033P$q\"p\\033\\\\", "\u{1b}P$q"),
        ("title report", "\\033[21t", "\u{1b}[21t"),
        ("title", "\\033]0;forged\\007", "\u{1b}]0;"),
        ("OSC 8, link", "\\033]8;;http://evil.test\\033\\\\text\\033]8;;\\033\\\\", "\u{1b}]8;"),
        ("notification", "\\033]9;click here\\007", "\u{1b}]9;"),
        ("C1 form of OSC 52", "\\302\\23552;c;RVZJTA==\\007", "\u{9d}52"),
    ];
    for (what, printed, raw) in sequences {
        let script = format!("printf 'before{printed}after\\n'");
        let job = fixture.job();
        let outside = on_terminal(&fixture, vec!["sh".into(), "-c".into(), script.clone().into()]);
        assert!(outside.text.contains(raw), "control group: {what}: {:?}", outside.text);
        let inside = on_terminal(&fixture, job.words(["sh", "-c", &script]));
        assert!(inside.text.contains("after"), "{what}: {:?}", inside.text);
        assert!(!inside.text.contains(raw), "{what}: {:?}", inside.text);
    }
}

/// P15: colours and cursor movement, which every program uses, still come through.
#[test]
fn p15_ordinary_sequences_come_through() {
    let fixture = Fixture::new();
    let script = "printf '\\033[1;31mred\\033[0m \\033[2Kline \\033[10Cmoved\\n'";
    let inside = on_terminal(&fixture, fixture.job().words(["sh", "-c", script]));
    for raw in ["\u{1b}[1;31m", "\u{1b}[0m", "\u{1b}[2K", "\u{1b}[10C"] {
        assert!(inside.text.contains(raw), "{raw:?}: {:?}", inside.text);
    }
}
