//! `ringfence logs`.

use std::io::Write;

use ringfence_supervisor::{render_record, view};

use crate::args::LogsArgs;
use crate::text::Failure;

/// Shows a run's records, and with `-f` those that come.
pub fn run(args: &LogsArgs) -> Result<u8, Failure> {
    let (_, run) = view::find(args.run.as_deref())?;
    let mut out = std::io::stdout();
    view::logs(&run, args.follow, &mut |record, text| {
        if args.json { writeln!(out, "{text}") } else { writeln!(out, "{}", render_record(record)) }
    })?;
    Ok(0)
}
