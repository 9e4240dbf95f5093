//! What work costs inside, in a `review`, a `pair` and a `direct` workspace, beside the same work outside.
//! The work times itself, so that the start of a sandbox does not count. Arguments choose tasks.
//!
//! It must never let one side do less: each has a project of its own, made alike, and every
//! command's success is checked.
#![forbid(unsafe_code)]
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on stops, and its result is printed"
)]

mod support;
mod tasks;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use support::{INSIDE, Place, durations, headline, inside, median};
use tasks::{TASKS, TOOLCHAIN, Task};

/// Turns: each side once, one after the other.
const ROUNDS: usize = 5;

fn main() {
    if let Some(arguments) = inside() {
        return tasks::measure(&arguments);
    }
    let wanted: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let place = Place::new();
    headline(&place);
    let toolchain = toolchain();
    let sides = ["outside", "review", "pair", "direct"].map(|name| {
        let project = place.project(name);
        tasks::prepare(&place, &project);
        (name, project)
    });
    println!("{ROUNDS} turns; time of one operation, and its ratio to the same outside");
    println!(
        "{:18} {:>12} {:>12} {:>12} {:>12} {:>8} {:>8} {:>8}",
        "", "outside", "review", "pair", "direct", "review", "pair", "direct"
    );
    for task in TASKS {
        let skipped = !wanted.is_empty() && !wanted.iter().any(|word| task.name.contains(word));
        if skipped {
            continue;
        }
        if task.toolchain && toolchain.is_none() {
            println!("{:18} no Rust toolchain that this user can read", task.name);
            continue;
        }
        compare(&place, &sides, task, toolchain.as_deref());
    }
}

fn compare(place: &Place, sides: &[(&str, PathBuf); 4], task: &Task, toolchain: Option<&Path>) {
    let mut times: [Vec<Duration>; 4] = Default::default();
    for _ in 0..ROUNDS {
        for ((name, project), times) in sides.iter().zip(&mut times) {
            times.push(median(&durations(&mut side(place, name, project, task, toolchain))));
        }
    }
    let each = times.map(|times| median(&times).as_secs_f64() / task.operations as f64);
    let [outside, review, pair, direct] = each;
    let shown = each.map(|time| format!("{:.3?}", Duration::from_secs_f64(time)));
    println!(
        "{:18} {:>12} {:>12} {:>12} {:>12} {:8.3} {:8.3} {:8.3}",
        task.name,
        shown[0],
        shown[1],
        shown[2],
        shown[3],
        review / outside,
        pair / outside,
        direct / outside
    );
}

fn side(
    place: &Place,
    name: &str,
    project: &Path,
    task: &Task,
    toolchain: Option<&Path>,
) -> Command {
    let toolchain = toolchain.map(|path| path.to_str().expect("a plain path"));
    let mut command = if name == "outside" {
        let mut command = place.outside(project, place.tool());
        command.arg(INSIDE);
        command.envs(toolchain.map(|path| (TOOLCHAIN, path)));
        command
    } else {
        let mut flags = vec!["--workspace".to_owned(), name.to_owned()];
        if let Some(path) = toolchain {
            flags.extend(["--ro".to_owned(), path.to_owned()]);
            flags.extend(["--env".to_owned(), format!("{TOOLCHAIN}={path}")]);
        }
        let flags: Vec<_> = flags.iter().map(String::as_str).collect();
        place.contained_self(project, &flags)
    };
    command.arg(task.name);
    command
}

/// Where rustc's own files are: with them a build needs no other program of the home.
fn toolchain() -> Option<PathBuf> {
    let named = std::env::var_os(TOOLCHAIN).map(PathBuf::from);
    let found = named.or_else(|| {
        let output = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
        Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
    })?;
    found.join("bin/cargo").is_file().then_some(found)
}
