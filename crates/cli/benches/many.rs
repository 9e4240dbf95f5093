//! Many sandboxes at once: how fast they start, what each costs in memory beside the agent's own,
//! and whether all of it is gone when they end. `RINGFENCE_BENCH_MANY` says how many (100).
//!
//! It must never count the agents' memory as ringfence's, nor leave a process behind.
#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on stops, and its result is printed"
)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::{Place, headline, median, milliseconds, percentile};

/// How many, if the variable does not say.
const MANY: usize = 100;
/// Variable that says how many.
const MANY_VARIABLE: &str = "RINGFENCE_BENCH_MANY";
/// Starts under way at the same time.
const STARTERS: usize = 4;
/// What an agent says when it runs.
const UP: &str = "up";
/// How long all may take to end.
const PATIENCE: Duration = Duration::from_secs(120);

struct Running {
    supervisor: Child,
    started_in: Duration,
}

/// Proportional memory of one sandbox's processes, in KiB, by the part that each plays.
#[derive(Clone, Copy, Default)]
struct Memory {
    supervisor: u64,
    gateway: u64,
    init: u64,
    agent: u64,
    unreadable: usize,
}

fn main() {
    let many = std::env::var(MANY_VARIABLE).map_or(MANY, |text| text.parse().expect("a number"));
    let place = Place::new();
    headline(&place);
    let (free_before, processes_before) = (available(), processes().len());
    let start = Instant::now();
    let mut running = start_all(&place, many);
    let taken = start.elapsed();
    let times: Vec<_> = running.iter().map(|one| one.started_in).collect();
    println!(
        "{many} sandboxes up in {:.2} s with {STARTERS} starters: {:.0} a second, \
         each p50 {:.1} ms, p99 {:.1} ms",
        taken.as_secs_f64(),
        many as f64 / taken.as_secs_f64(),
        milliseconds(median(&times)),
        milliseconds(percentile(&times, 99)),
    );
    let used = free_before.saturating_sub(available());
    println!(
        "system memory: {:.0} MiB less available, {:.2} MiB for each (with agent and kernel)",
        used as f64 / 1024.0,
        used as f64 / 1024.0 / many as f64
    );
    report_memory(&running);
    end(&place, &mut running, processes_before);
}

fn start_all(place: &Place, many: usize) -> Vec<Running> {
    let project = place.project("crowded");
    let next = AtomicUsize::new(0);
    let running = Mutex::new(Vec::with_capacity(many));
    std::thread::scope(|scope| {
        for _ in 0..STARTERS {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < many {
                    let one = start(place, &project);
                    running.lock().expect("no starter failed").push(one);
                }
            });
        }
    });
    running.into_inner().expect("no starter failed")
}

fn start(place: &Place, project: &std::path::Path) -> Running {
    let mut command = place.contained(project, &[]);
    command.args(["sh", "-c", "echo up; exec sleep 86400"]).stdout(Stdio::piped());
    let start = Instant::now();
    let mut supervisor = command.spawn().expect("a start");
    let mut said = String::new();
    let output = supervisor.stdout.take().expect("its output");
    BufReader::new(output).read_line(&mut said).expect("a line");
    assert_eq!(said.trim(), UP, "an agent that runs");
    Running { supervisor, started_in: start.elapsed() }
}

fn report_memory(running: &[Running]) {
    let mut all: Vec<Memory> = running.iter().map(|one| memory(one.supervisor.id())).collect();
    all.sort_by_key(|one| one.supervisor + one.gateway + one.init);
    let middle = all[all.len() / 2];
    let worst = all[all.len() - 1];
    let total = |one: &Memory| (one.supervisor + one.gateway + one.init) as f64 / 1024.0;
    println!(
        "proportional set size for each, median: {:.2} MiB (supervisor {} KiB, gateway {} KiB, \
         init {} KiB), worst {:.2} MiB; the agent beside it {} KiB",
        total(&middle),
        middle.supervisor,
        middle.gateway,
        middle.init,
        total(&worst),
        middle.agent,
    );
    if middle.unreadable > 0 {
        println!("the kernel hides {} of these processes from this user", middle.unreadable);
    }
}

fn memory(supervisor: u32) -> Memory {
    let mut found = Memory::default();
    let mut size = |process: u32| {
        let size = proportional(process);
        found.unreadable += usize::from(size.is_none());
        size.unwrap_or(0)
    };
    let own = size(supervisor);
    let (mut gateway, mut init, mut agent) = (0, 0, 0);
    for child in children(supervisor) {
        if name(child) == "ringfence-init" {
            init += size(child);
            agent += children(child).into_iter().map(&mut size).sum::<u64>();
        } else {
            gateway += size(child);
        }
    }
    Memory { supervisor: own, gateway, init, agent, ..found }
}

fn proportional(process: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?;
    let line = text.lines().find(|line| line.starts_with("Pss:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn children(process: u32) -> Vec<u32> {
    let path = format!("/proc/{process}/task/{process}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

fn name(process: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    text.trim().to_owned()
}

/// All processes whose name begins with this program's.
fn processes() -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|process| name(*process).starts_with("ringfence"))
        .collect()
}

fn available() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").expect("/proc/meminfo");
    let line = text.lines().find(|line| line.starts_with("MemAvailable:"));
    let word = line.and_then(|line| line.split_whitespace().nth(1));
    word.and_then(|word| word.parse().ok()).expect("a number")
}

/// Ends all at once and waits until nothing is left.
fn end(place: &Place, running: &mut [Running], processes_before: usize) {
    let pids: Vec<u32> = running.iter().flat_map(|one| tree(one.supervisor.id())).collect();
    let start = Instant::now();
    for one in running.iter() {
        let pid = Pid::from_child(&one.supervisor);
        kill_process(pid, Signal::TERM).expect("a signal");
    }
    for one in running.iter_mut() {
        // What the agent answered to its end does not matter here.
        one.supervisor.wait().expect("an end");
    }
    let taken = start.elapsed();
    let alive = |pids: &[u32]| {
        pids.iter().filter(|pid| fs::exists(format!("/proc/{pid}")).expect("/proc")).count()
    };
    while alive(&pids) > 0 && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(10));
    }
    let live = fs::read_dir(place.state().join("live")).map_or(0, Iterator::count);
    println!(
        "ended with {} processes in {:.2} s; left: {} of them, {live} live entries, \
         {} ringfence processes more than before",
        pids.len(),
        taken.as_secs_f64(),
        alive(&pids),
        processes().len().saturating_sub(processes_before),
    );
    assert!(alive(&pids) == 0 && live == 0, "something was left behind");
}

fn tree(process: u32) -> Vec<u32> {
    let mut all = vec![process];
    for child in children(process) {
        all.extend(tree(child));
    }
    all
}
