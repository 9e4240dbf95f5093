//! `ringfence ps`.

use ringfence_model::boundary::Tier;
use ringfence_supervisor::view;

use crate::args::PsArgs;
use crate::text::{Failure, json, line, table};

/// Lists runs.
pub fn run(args: &PsArgs) -> Result<u8, Failure> {
    let rows = view::list(args.all)?;
    if args.json {
        json(&rows)?;
        return Ok(0);
    }
    if rows.is_empty() {
        line(if args.all {
            "no runs"
        } else {
            "no run is running; `ringfence ps --all` lists ended ones"
        })?;
        return Ok(0);
    }
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let state = match (&row.end, row.running) {
                (_, true) if row.info.tier == Tier::Landlock => {
                    "running (tier landlock)".to_owned()
                }
                (_, true) => "running".to_owned(),
                (Some(end), false) => format!("{} ({})", end.cause, end.code),
                (None, false) => "lost".to_owned(),
            };
            vec![
                row.info.id.to_string(),
                row.info.name.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
                row.info.agent.clone(),
                state,
                if row.changes && !row.running { "yes" } else { "-" }.to_owned(),
                row.info.workspace.display().to_string(),
            ]
        })
        .collect();
    table(&["RUN", "NAME", "AGENT", "STATE", "CHANGES", "WORKSPACE"], &cells)?;
    Ok(0)
}
