//! Taking all there is: P16, with FH4. The host stays up, and the ledger names the limit that was hit.
//!
//! Every run here has limits of its own by `--limit`; without them none of these is ever started.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops where it fails")]

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ringfence_contained_tests::limits::ONLY_INSIDE;
use ringfence_contained_tests::{Fixture, Job, Live, Outcome};

/// A timer that ticks while an attack goes on: a host that is taken over does not tick.
struct Ticker {
    over: Arc<AtomicBool>,
    ticks: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Ticker {
    fn start() -> Self {
        let (over, ticks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (seen, count) = (Arc::clone(&over), Arc::clone(&ticks));
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                // A process can still be started, a file still be written.
                let file = tempfile::tempfile().unwrap();
                file.set_len(4096).unwrap();
                let started = std::process::Command::new("true").status().unwrap();
                assert!(started.success());
                count.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        Self { over, ticks, thread: Some(thread) }
    }

    /// Stops it; panics if the host did not answer while it ran.
    fn stop(mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().expect("the host answers during the attack");
        assert!(self.ticks.load(Ordering::Relaxed) > 0, "the timer never ticked");
    }
}

fn number(outcome: &Outcome, id: &str) -> u64 {
    outcome.answer(id).parse().unwrap()
}

fn limited<'a>(fixture: &'a Fixture, limit: &str) -> Job<'a> {
    fixture.job().flags(["--limit", limit])
}

/// The limit is in the ledger, and in what the person reads at the end.
fn assert_named(fixture: &Fixture, outcome: &Outcome, name: &str) {
    let ledger = fixture.ledger();
    assert!(
        ledger.names_limit(name),
        "the ledger does not name `{name}`: {:#?}",
        ledger.events("limit")
    );
    assert!(outcome.stderr.contains(name), "the end does not name `{name}`: {outcome:?}");
}

/// The control group of the programs: with a high limit each does what it is asked for.
#[test]
fn p16_control_group_small_doses_pass() {
    let fixture = Fixture::new();
    let job = fixture.job();
    assert_eq!(job.attack(&["memory", "32", "0"]).answer("memory"), "DONE");
    assert_eq!(job.attack(&["open-files", "50"]).answer("open"), "DONE");
    assert_eq!(job.attack(&["fill", "big", "4"]).answer("fill"), "DONE");
    assert_eq!(job.attack(&["fill", "/tmp/big", "4"]).answer("fill"), "DONE");
    assert!(fixture.ledger().events("limit").is_empty());
}

/// P16: a fork bomb meets the limit, and the host goes on.
#[test]
fn p16_a_fork_bomb_meets_its_limit() {
    let fixture = Fixture::new();
    let ticker = Ticker::start();
    let outcome = limited(&fixture, "processes=64").attack(&["fork-bomb"]);
    ticker.stop();
    assert!(number(&outcome, "processes") <= 64, "{outcome:?}");
    assert_eq!(outcome.answer("fork"), "EAGAIN");
    assert_named(&fixture, &outcome, "processes");
}

/// P16: the shell's bomb, which starts anew whatever dies, ends with its run.
#[test]
fn p16_a_bomb_that_starts_anew_ends_with_the_run() {
    let fixture = Fixture::new();
    let job = fixture.job().flags(["--limit", "processes=48", "--limit", "wall=2s"]);
    // The bounded bomb first: without the limit the other one would take the host.
    let bounded = job.attack(&["fork-bomb"]);
    assert!(number(&bounded, "processes") <= 48, "{bounded:?}");
    let ticker = Ticker::start();
    let bomb = format!("{ONLY_INSIDE}:(){{ :|:& }};:; echo started; sleep 30");
    let outcome = job.argv(["bash", "-c", &bomb]);
    ticker.stop();
    assert_ne!(outcome.code, 0, "{outcome:?}");
    assert!(fixture.ledger().names_limit("wall") || fixture.ledger().names_limit("processes"));
}

/// P16: more memory than the limit ends the process or the run, not the host.
#[test]
fn p16_memory_meets_its_limit() {
    let fixture = Fixture::new();
    let ticker = Ticker::start();
    let outcome = limited(&fixture, "memory=64M").attack(&["memory", "1024", "20"]);
    ticker.stop();
    assert!(!outcome.stdout.contains("memory\tDONE"), "{outcome:?}");
    assert_ne!(outcome.code, 0, "{outcome:?}");
    let took: Vec<u64> =
        outcome.stdout.lines().filter_map(|l| l.strip_prefix("took ")?.parse().ok()).collect();
    // Where the kernel counts, the limit is exact; who only watches ends the run a moment later.
    let released = fixture.ledger().the("released")["controls"].clone();
    let control =
        released.as_array().unwrap().iter().find(|c| c["name"] == "limit.memory").unwrap();
    if control["strength"] == "enforced" {
        assert!(took.last().copied().unwrap_or(0) <= 64, "{took:?}");
    } else {
        assert_eq!(control["strength"], "watched", "{control}");
    }
    assert_named(&fixture, &outcome, "memory");
}

/// P16: memory that many processes share among them is one sum.
#[test]
fn p16_memory_is_counted_over_all_processes() {
    let fixture = Fixture::new();
    let script =
        "for i in 1 2 3 4 5 6 7 8; do \"$TOOLS/ringfence-attack\" memory 48 1 > /dev/null & done
        wait; for i in 1 2 3 4; do \"$TOOLS/ringfence-attack\" memory 40 5 & done; wait; echo over";
    let ticker = Ticker::start();
    let outcome = limited(&fixture, "memory=96M").sh(script);
    ticker.stop();
    assert_named(&fixture, &outcome, "memory");
}

/// P16: where a control group limits processor time, four busy processes get no more than their share.
#[test]
fn p16_processor_time_meets_its_limit() {
    /// How long they are busy, in seconds.
    const BUSY: u64 = 3;
    let fixture = Fixture::new();
    let script = format!(
        "for i in 1 2 3 4; do timeout {BUSY} sh -c 'while :; do :; done' & done; wait; times"
    );
    let busy = |job: Job<'_>| children_ms(&job.sh(&script).stdout);
    let limited = busy(limited(&fixture, "cpu=0.05"));
    let released = fixture.ledger().the("released")["controls"].clone();
    let control = released.as_array().unwrap().iter().find(|c| c["name"] == "limit.cpu").unwrap();
    // Without the limit they get more than it permits, or the test shows nothing.
    let free = busy(fixture.job());
    let share = BUSY * 1000 / 20;
    assert!(free > 4 * share, "nothing was busy: {free} ms");
    // Starting the processes takes some of it, too, and longer on a slow host.
    if control["strength"] == "enforced" {
        assert!(limited * 3 < free, "{limited} ms of {share} ms, {free} ms without a limit");
    } else {
        assert_eq!(control["strength"], "missing", "{control}");
    }
}

/// User and system time of ended children: the last line of the shell's `times`, such as
/// `0m1.500000s 0m0.250000s`, in milliseconds.
fn children_ms(text: &str) -> u64 {
    let line = text.lines().last().unwrap();
    let one = |word: &str| {
        let (minutes, seconds) = word.trim_end_matches('s').split_once('m').unwrap();
        minutes.parse::<f64>().unwrap() * 60.0 + seconds.parse::<f64>().unwrap()
    };
    (line.split_whitespace().map(one).sum::<f64>() * 1000.0) as u64
}

/// P16: memory file systems have a size.
#[test]
fn p16_memory_file_systems_have_a_size() {
    let fixture = Fixture::new();
    for place in ["/tmp/big", "/var/tmp/big", "/dev/shm/big"] {
        let outcome = limited(&fixture, "tmp=16M").attack(&["fill", place, "64"]);
        assert_eq!(outcome.answer("fill"), "ENOSPC", "{place}");
        assert!(number(&outcome, "mebibytes") <= 16, "{place}: {outcome:?}");
    }
}

/// P16: one file has a largest size.
#[test]
fn p16_one_file_has_a_largest_size() {
    let fixture = Fixture::new();
    for place in ["big", "/tmp/big"] {
        let outcome = limited(&fixture, "file_size=8M").attack(&["fill", place, "64"]);
        assert_eq!(outcome.answer("fill"), "EFBIG", "{place}");
        assert_eq!(number(&outcome, "mebibytes"), 8, "{place}");
    }
}

/// P16, F30: workspace layer and home together have a largest growth.
#[test]
fn p16_f30_the_disk_has_a_largest_growth() {
    let fixture = Fixture::new();
    let script = "for i in $(seq 1 40); do \"$TOOLS/ringfence-attack\" fill f$i 16 >/dev/null; \
        \"$TOOLS/ringfence-attack\" fill \"$HOME/f$i\" 16 > /dev/null; echo \"round $i\"; sleep 0.1; done; echo finished";
    let ticker = Ticker::start();
    let outcome = limited(&fixture, "disk=64M").sh(script);
    ticker.stop();
    assert!(!outcome.stdout.contains("finished"), "{outcome:?}");
    assert_named(&fixture, &outcome, "disk");
}

/// P16: a process has a largest number of open files, and a million opens change nothing outside.
#[test]
fn p16_open_files_meet_their_limit() {
    let fixture = Fixture::new();
    let ticker = Ticker::start();
    let outcome = limited(&fixture, "open_files=128").attack(&["open-files", "1000000"]);
    ticker.stop();
    assert_eq!(outcome.answer("open"), "EMFILE");
    assert!(number(&outcome, "opened") < 128, "{outcome:?}");
    // The limit cannot be raised from inside.
    let raised = limited(&fixture, "open_files=128").sh("ulimit -n 4096; ulimit -n");
    assert!(!raised.stdout.contains("4096"), "{raised:?}");
}

/// Peak resident memory of a process, in KiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// P16: a flood of output arrives whole, and the supervisor's memory stays flat.
#[test]
fn p16_a_flood_of_output_is_bounded() {
    const LINES: usize = 200_000;
    /// What the supervisor may take at most for it, in KiB.
    const FLAT: u64 = 128 * 1024;
    let fixture = Fixture::new();
    let job = fixture.job();
    let mut live: Live = job.start(job.attack_argv(&["flood", &LINES.to_string()]));
    let mut most = 0;
    while live.runs() {
        most = most.max(peak(live.pid()));
        std::thread::sleep(Duration::from_millis(5));
    }
    let outcome = live.wait();
    assert_eq!(outcome.code, 0);
    assert_eq!(outcome.stdout.lines().count(), LINES);
    assert!(outcome.stdout.lines().last().unwrap().starts_with("flood 199999 "));
    assert!(most > 0 && most < FLAT, "{most} KiB");
}

/// P16: names that are looked up by the ten thousand do not flood the ledger.
#[test]
fn p16_a_flood_of_lookups_does_not_flood_the_ledger() {
    let fixture = Fixture::new();
    let script =
        "perl -MSocket -e 'for (1..300) { gethostbyname(\"denied.example.test\") }'; echo over";
    let outcome = fixture.contained(script);
    assert!(outcome.stdout.contains("over"), "{outcome:?}");
    let ledger = fixture.ledger();
    let lookups = ledger.events("dns");
    assert!(!lookups.is_empty(), "no look-up was recorded");
    assert!(lookups.len() < 100, "{} records for one name", lookups.len());
}

/// P16: time limits end the run, and say which.
#[test]
fn p16_time_limits_end_the_run() {
    let fixture = Fixture::new();
    for (limit, name) in [("wall=1s", "wall"), ("idle=1s", "idle")] {
        let outcome =
            limited(&fixture, limit).sh("trap '' TERM HUP INT; echo up; sleep 300; echo over");
        assert!(outcome.stdout.contains("up"), "{limit}: {outcome:?}");
        assert!(!outcome.stdout.contains("over"), "{limit}: {outcome:?}");
        assert_ne!(outcome.code, 0, "{limit}: {outcome:?}");
        assert_named(&fixture, &outcome, name);
        assert_eq!(fixture.ledger().the("end")["cause"], "limit", "{limit}");
    }
}

/// FH4: what was requested, supported and enforced is in the ledger before the agent starts.
///
/// Where the environment names the version of control groups that this host delegates, nothing less
/// than the kernel's own limit by it will do.
#[test]
fn fh4_how_far_each_limit_holds_is_recorded() {
    let fixture = Fixture::new();
    let job = fixture.job().flags(["--limit", "memory=512M", "--limit", "processes=100"]);
    assert_eq!(job.flags(["--limit", "cpu=1.5"]).sh("exit 0").code, 0);
    let ledger = fixture.ledger();
    let controls = ledger.the("released")["controls"].as_array().unwrap().clone();
    if let Ok(version) = std::env::var("RINGFENCE_EXPECT_GROUP") {
        for name in ["limit.memory", "limit.processes", "limit.cpu"] {
            let control = controls.iter().find(|c| c["name"] == name).unwrap();
            assert_eq!(control["strength"], "enforced", "{control}");
            assert_eq!(control["enforced"], format!("control group version {version}"));
        }
    }
    for name in ["memory", "processes"] {
        let control = controls.iter().find(|c| c["name"].as_str().unwrap().contains(name));
        let control = control.unwrap_or_else(|| panic!("no control for {name}: {controls:#?}"));
        let strength = control["strength"].as_str().unwrap();
        assert!(["enforced", "watched"].contains(&strength), "{control}");
    }
}
