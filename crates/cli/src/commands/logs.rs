//! `ringfence logs`.

use std::io::Write;

use ringfence_supervisor::denials::Groups;
use ringfence_supervisor::{render_record, view};

use super::run::show_denied;
use crate::args::LogsArgs;
use crate::text::Failure;

/// Shows a run's records, and with `-f` those that come; at the end what was denied, grouped by what
/// would permit it.
pub fn run(args: &LogsArgs) -> Result<u8, Failure> {
    let (_, run) = view::find(args.run.as_deref())?;
    let mut out = std::io::stdout();
    let mut groups = Groups::default();
    view::logs(&run, args.follow, &mut |record, text| {
        groups.add(record);
        if args.json { writeln!(out, "{text}") } else { writeln!(out, "{}", render_record(record)) }
    })?;
    // A run that left no policy has nothing to explain; its records were shown.
    if !args.json
        && let Ok(denied) = view::denied(&run, &groups)
    {
        show_denied(&denied);
    }
    Ok(0)
}
