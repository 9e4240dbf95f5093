//! `ringfence demo`.

use std::io::IsTerminal;

use ringfence_supervisor::demo::{self, DemoError, Report, Row};

use crate::args::JsonArgs;
use crate::text::{Failure, colour, json, line};

/// Shows a rogue agent, free and contained; 0 only if everything was contained.
pub fn run(args: &JsonArgs) -> Result<u8, Failure> {
    let talk = !args.json && std::io::stderr().is_terminal();
    let report = demo::run(&mut |what| {
        if talk {
            eprintln!("{what}");
        }
    })
    .map_err(|error| {
        let code = match error {
            DemoError::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(1),
            DemoError::System { .. } => 1,
        };
        Failure::new(code, error)
    })?;
    if args.json {
        json(&report)?;
    } else {
        show(&report)?;
    }
    Ok(u8::from(!report.passed))
}

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";

fn paint(text: &str, width: usize, paint: &str) -> String {
    let cell = format!("{text:width$}");
    if colour() { format!("{paint}{cell}\x1b[0m") } else { cell }
}

fn show(report: &Report) -> Result<(), Failure> {
    let width = |cell: fn(&Row) -> &str, head: &str| {
        report.rows.iter().map(|row| cell(row).len()).chain([head.len()]).max().unwrap_or(0)
    };
    let what = width(|row| row.what, "THE AGENT TRIES TO");
    let free = width(|row| &row.free, "FREE");
    line(&format!("    {:what$}  {:free$}  CONTAINED", "THE AGENT TRIES TO", "FREE"))?;
    for (index, row) in report.rows.iter().enumerate() {
        let one = if row.succeeded_free { RED } else { YELLOW };
        let other = if row.held { GREEN } else { RED };
        let cells = [paint(&row.free, free, one), paint(&row.contained, 0, other)];
        let note = match (row.succeeded_free, row.held) {
            (true, true) => "",
            (false, _) => "  <- the control did not succeed, so this row proves nothing",
            (_, false) => "  <- NOT CONTAINED",
        };
        line(&format!("{:2}  {:what$}  {}  {}{note}", index + 1, row.what, cells[0], cells[1]))?;
    }
    line(&format!(
        "    {:what$}  {:free$}  {} ms",
        "",
        format!("{} ms", report.free_ms),
        report.contained_ms
    ))?;
    line("")?;
    close(report)
}

fn close(report: &Report) -> Result<(), Failure> {
    if let Some(words) = &report.refused {
        line("The contained round did not come to its end:")?;
        for said in words.lines().take(12) {
            line(&format!("  {said}"))?;
        }
        return line("Examine this host with: ringfence doctor");
    }
    let of = report.rows.len();
    let succeeded = report.rows.iter().filter(|row| row.succeeded_free).count();
    let held = report.rows.iter().filter(|row| row.held).count();
    line(&format!(
        "{succeeded} of {of} succeeded free, {held} of {of} were contained; judged by the decoy host, not by the agent."
    ))?;
    if let Some(records) = report.records {
        line(&format!(
            "The ledger of the contained run was whole: {records} records, {} denials.",
            report.denials
        ))?;
    }
    line("")?;
    line("Next, in a project of yours:")?;
    line("  ringfence run -- sh                          look around inside")?;
    line("  ringfence run -p claude-code -- claude       run an agent with its profile")?;
    line("  ringfence doctor                             what this host enforces")
}
