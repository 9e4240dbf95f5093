//! What would be lost with a run: changes that are in its layer alone.

use ringfence_workspace::Change;

use super::RemovalError;
use crate::changes;
use crate::rundir::RunDir;

/// Names that a refusal shows.
const SHOWN: usize = 3;

/// Fails where a run holds changes that are not in the project, or where that cannot be told.
pub fn check(run: &RunDir) -> Result<(), RemovalError> {
    if run.layer().join("upper").symlink_metadata().is_err() {
        return Ok(());
    }
    let id = run.id().to_string();
    let found = changes::changes(run, None)
        .map_err(|error| RemovalError::Unreadable { run: id.clone(), why: error.to_string() })?;
    if found.is_empty() {
        return Ok(());
    }
    let mut names: Vec<String> = found.iter().take(SHOWN).map(Change::shown).collect();
    if found.len() > SHOWN {
        names.push("…".to_owned());
    }
    Err(RemovalError::Unapplied { run: id, count: found.len(), names: names.join(", ") })
}
