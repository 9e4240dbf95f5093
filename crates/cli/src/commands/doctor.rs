//! `ringfence doctor`.

use ringfence_supervisor::doctor::{self, Row, State};

use crate::args::JsonArgs;
use crate::text::{Failure, colour, json, line};

/// Examines this host: 0 if a default run would start, else 1.
pub fn run(args: &JsonArgs) -> Result<u8, Failure> {
    let report = doctor::run()?;
    if args.json {
        json(&report)?;
    } else {
        let width = report.rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
        for row in &report.rows {
            show(row, width)?;
        }
        line("")?;
        line(&report.verdict)?;
    }
    Ok(u8::from(!report.starts))
}

fn show(row: &Row, width: usize) -> Result<(), Failure> {
    let (word, paint) = match row.state {
        State::Ok => ("ok", "\x1b[32m"),
        State::Weaker => ("weaker", "\x1b[33m"),
        State::Missing => ("missing", "\x1b[31m"),
    };
    let word = format!("{word:7}");
    let word = if colour() { format!("{paint}{word}\x1b[0m") } else { word };
    line(&format!("{word}  {:width$}  {}", row.name, row.found))?;
    if row.state == State::Ok {
        return Ok(());
    }
    let indent = " ".repeat(width + 11);
    line(&format!("{indent}needed: {}", row.needed))?;
    for (index, text) in row.mend.iter().flat_map(|mend| mend.lines()).enumerate() {
        let head = if index == 0 { "mend:   " } else { "        " };
        line(&format!("{indent}{head}{text}"))?;
    }
    Ok(())
}
