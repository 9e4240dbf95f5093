//! How long `/bin/true` takes in a complete default boundary (review workspace, gateway, ledger),
//! beside the program alone and a bare set of namespaces, and beside any other commands that
//! `RINGFENCE_BENCH_BESIDE` names (`NAME=COMMAND …;NAME=COMMAND …`, without quoting).
//!
//! It must never compare across sittings: all are run in turns, in one loop.
#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on stops, and its result is printed"
)]

mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Place, headline, median, milliseconds, percentile};

/// Turns; a figure is the median of the medians of all turns.
const ROUNDS: usize = 10;
/// Starts of one command in one turn.
const STARTS: usize = 20;
/// Other commands to be measured beside.
const BESIDE: &str = "RINGFENCE_BENCH_BESIDE";
/// The program that is started.
const PROGRAM: &str = "/bin/true";

struct Side {
    name: String,
    command: Command,
    rounds: Vec<Duration>,
    all: Vec<Duration>,
}

fn main() {
    let place = Place::new();
    headline(&place);
    let mut sides = sides(&place);
    for round in 0..=ROUNDS {
        for side in &mut sides {
            let times: Vec<_> = (0..STARTS).map(|_| start(side)).collect();
            // The first turn only warms caches.
            if round > 0 {
                side.rounds.push(median(&times));
                side.all.extend(times);
            }
        }
    }
    report(&sides);
}

fn sides(place: &Place) -> Vec<Side> {
    let project = place.project("started");
    let outside = |line: &str| {
        let mut words = line.split_whitespace();
        let mut command = place.outside(&project, words.next().expect("a program"));
        command.args(words);
        command
    };
    let contained = |flags: &[&str]| {
        let mut command = place.contained(&project, flags);
        command.arg(PROGRAM);
        command
    };
    let mut sides = vec![
        ("program alone".to_owned(), outside(PROGRAM)),
        (
            "bare namespaces (unshare)".to_owned(),
            outside(&format!("unshare -Urmpfn --mount-proc {PROGRAM}")),
        ),
        ("ringfence, default".to_owned(), contained(&[])),
        ("ringfence, direct".to_owned(), contained(&["--workspace", "direct"])),
    ];
    let beside = std::env::var(BESIDE).unwrap_or_default();
    for entry in beside.split(';').filter(|entry| !entry.trim().is_empty()) {
        let (name, line) = entry.split_once('=').expect("NAME=COMMAND");
        sides.push((name.trim().to_owned(), outside(line)));
    }
    sides
        .into_iter()
        .map(|(name, mut command)| {
            command.stdout(Stdio::null());
            Side { name, command, rounds: Vec::new(), all: Vec::new() }
        })
        .collect()
}

fn start(side: &mut Side) -> Duration {
    let start = Instant::now();
    let status = side.command.status().expect("a start");
    let taken = start.elapsed();
    assert!(status.success(), "{}: {status}", side.name);
    taken
}

fn report(sides: &[Side]) {
    let alone = median(&sides[0].rounds).as_secs_f64();
    let bare = median(&sides[1].rounds).as_secs_f64();
    println!("{ROUNDS} turns of {STARTS} starts of {PROGRAM}, milliseconds");
    println!(
        "{:28} {:>7} {:>7} {:>7} {:>9} {:>8}",
        "", "median", "min", "p90", "x alone", "x bare"
    );
    for side in sides {
        let middle = median(&side.rounds);
        println!(
            "{:28} {:7.2} {:7.2} {:7.2} {:9.2} {:8.2}",
            side.name,
            milliseconds(middle),
            milliseconds(percentile(&side.all, 0)),
            milliseconds(percentile(&side.all, 90)),
            middle.as_secs_f64() / alone,
            middle.as_secs_f64() / bare,
        );
    }
}
