//! `ringfence rm` and `prune`.

use ringfence_supervisor::removal::{self, Kind, Options, Outcome, Row, Usage};

use crate::args::{PruneArgs, RmArgs};
use crate::text::{Failure, json, line, size, table};

/// Removes ended runs.
pub fn rm(args: &RmArgs) -> Result<u8, Failure> {
    let removed = removal::rm(&args.runs, args.force)?;
    if args.json {
        json(&removed)?;
        return Ok(0);
    }
    for one in &removed {
        line(&format!("removed run {}, {}", one.run, taken(one.usage)))?;
    }
    Ok(0)
}

/// Removes what was not used for long.
pub fn prune(args: &PruneArgs) -> Result<u8, Failure> {
    let chosen = args.runs || args.homes || args.ledgers;
    let rows = removal::prune(&Options {
        older_than: args.older_than,
        runs: args.runs || !chosen,
        homes: args.homes || !chosen,
        ledgers: args.ledgers,
        dry_run: args.dry_run,
        force: args.force,
    })?;
    let failed = rows.iter().any(|row| matches!(row.outcome, Outcome::Failed(_)));
    if args.json {
        json(&rows)?;
    } else {
        show(&rows, args.dry_run)?;
    }
    Ok(u8::from(failed))
}

fn show(rows: &[Row], dry_run: bool) -> Result<(), Failure> {
    if rows.is_empty() {
        return line("nothing is that old");
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let kind = match row.kind {
                Kind::Run => "run",
                Kind::Ledger => "ledger",
                Kind::Home => "home",
            };
            let outcome = match &row.outcome {
                Outcome::Removed => "removed".to_owned(),
                Outcome::WouldRemove => "would be removed".to_owned(),
                Outcome::Kept(why) => format!("kept: {why}"),
                Outcome::Failed(why) => format!("failed: {why}"),
            };
            vec![kind.to_owned(), row.name.clone(), taken(row.usage), outcome]
        })
        .collect();
    table(&["KIND", "NAME", "SIZE", "OUTCOME"], &cells)?;
    let gone = |row: &&Row| matches!(row.outcome, Outcome::Removed | Outcome::WouldRemove);
    let sum = rows.iter().filter(gone).map(|row| row.usage).fold(Usage::default(), Usage::and);
    line(&format!("{} {}", if dry_run { "would free" } else { "freed" }, taken(sum)))
}

/// What something takes, in words.
fn taken(usage: Usage) -> String {
    let bytes = size(usage.bytes);
    if usage.partial { format!("at least {bytes}") } else { bytes }
}
