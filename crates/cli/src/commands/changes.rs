//! `ringfence diff`, `apply`, `discard`.

use std::io::{IsTerminal, Write};

use ringfence_supervisor::changes::{self, View};
use ringfence_supervisor::view;

use crate::args::{ApplyArgs, DiffArgs, RunNameArgs};
use crate::text::{Failure, colour, json, line};

/// Shows what a run changed.
pub fn diff(args: &DiffArgs) -> Result<u8, Failure> {
    let (_, run) = view::find(args.run.as_deref())?;
    if args.json {
        json(&changes::changes(&run, args.since.as_deref())?)?;
        return Ok(0);
    }
    let view = View { stat: args.stat, colour: colour(), raw: !std::io::stdout().is_terminal() };
    let mut out = std::io::stdout().lock();
    let count = changes::show(&run, args.since.as_deref(), view, &mut out)?;
    out.flush()?;
    drop(out);
    if count == 0 {
        eprintln!("no changes");
    }
    Ok(0)
}

/// Brings changes into the project.
pub fn apply(args: &ApplyArgs) -> Result<u8, Failure> {
    let (run, paths) = run_and_paths(args)?;
    let report = changes::apply(&run, &paths)?;
    if args.json {
        json(&report)?;
        return Ok(u8::from(!report.is_complete()));
    }
    line(&format!("applied {} changes", report.applied.len()))?;
    let groups = [
        ("held back (the host would run it; name it to apply it)", &report.held_back),
        ("conflict", &report.conflicts),
        ("refused", &report.refused),
        ("failed", &report.failed),
    ];
    for (title, group) in groups {
        for left in group {
            line(&format!("{title}: {} ({})", left.change.shown(), left.why))?;
        }
    }
    for path in &report.unknown {
        line(&format!("no change at {}", ringfence_model::text::visible_bytes(path)))?;
    }
    if !report.is_complete() {
        line(&format!("the rest stays in the layer of run {}", run.id()))?;
    }
    Ok(u8::from(!report.is_complete() || !report.unknown.is_empty()))
}

/// `apply RUN` is what the hand types first: a first word that names a run and no change is a run.
fn run_and_paths(
    args: &ApplyArgs,
) -> Result<(ringfence_supervisor::rundir::RunDir, Vec<String>), Failure> {
    if args.run.is_none()
        && let Some((first, rest)) = args.paths.split_first()
        && let Ok((_, run)) = view::find(Some(first))
    {
        return Ok((run, rest.to_vec()));
    }
    Ok((view::find(args.run.as_deref())?.1, args.paths.clone()))
}

/// Throws changes away.
pub fn discard(args: &RunNameArgs) -> Result<u8, Failure> {
    let (_, run) = view::find(args.run.as_deref())?;
    let count = changes::discard(&run)?;
    line(&format!("discarded {count} changes of run {}", run.id()))?;
    Ok(0)
}
