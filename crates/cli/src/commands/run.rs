//! `ringfence run`.

use ringfence_model::boundary::WorkspaceMode;
use ringfence_supervisor::run::{Denied, Detached, Finished, Options, detach, run as supervise};

use super::command_line;
use crate::args::RunArgs;
use crate::person::Terminal;
use crate::text::{Failure, line};

/// Runs the agent; its exit code is the command's.
pub fn run(args: RunArgs) -> Result<u8, Failure> {
    let options = Options {
        command_line: command_line(&args.policy),
        definition: args.policy.definition,
        argv: args.argv,
        detached: args.detach,
    };
    if options.detached {
        return begin(&options);
    }
    let finished = supervise(&options, &mut Terminal).map_err(|error| {
        let code = u8::try_from(error.code()).unwrap_or(125);
        Failure::new(code, error)
    })?;
    tell(&finished);
    Ok(u8::try_from(finished.code).unwrap_or(255))
}

/// Starts it in the background.
fn begin(options: &Options) -> Result<u8, Failure> {
    match detach(options, &mut Terminal).map_err(|error| Failure::new(125, error))? {
        Detached::Running(id) => {
            line(id.as_str())?;
            Ok(0)
        }
        Detached::Failed { code, why } => Err(Failure::new(u8::try_from(code).unwrap_or(125), why)),
    }
}

/// The block at the end: on standard error, and only what a person must know.
pub fn tell(finished: &Finished) {
    for failure in &finished.failures {
        eprintln!("ringfence: {failure}");
    }
    for note in &finished.notes {
        eprintln!("note: {note}");
    }
    show_denied(&finished.denied);
    if finished.more_denied > 0 {
        eprintln!(
            "denied: {} more; see them with: ringfence logs {}",
            finished.more_denied, finished.id
        );
    }
    let id = &finished.id;
    if finished.changes && finished.mode == WorkspaceMode::Pair {
        eprintln!(
            "changes: in the project, what they replaced is kept\n  look:  ringfence diff {id}\n  undo:  ringfence restore --run {id}"
        );
    } else if finished.changes {
        eprintln!(
            "changes: kept apart from the project\n  look:  ringfence diff {id}\n  keep:  ringfence apply --run {id}    drop:  ringfence discard {id}"
        );
    }
}

/// Denials on standard error, with the answers to them.
pub fn show_denied(denied: &[Denied]) {
    denied.iter().for_each(show);
}

fn show(denied: &Denied) {
    let times =
        if denied.count == 1 { String::new() } else { format!(" ({} times)", denied.count) };
    eprintln!("denied: {}{times}", denied.explanation.what);
    eprintln!("  why:  {}", denied.explanation.why);
    if let Some(now) = &denied.explanation.now {
        eprintln!("  now:  {now}");
    }
    if let Some(keep) = &denied.explanation.keep {
        eprintln!("  keep: {keep}");
    }
}
