//! `rm`: ended runs, as a whole.

use ringfence_workspace::Usage;
use serde::Serialize;

use super::aside::Aside;
use super::{RemovalError, unapplied};
use crate::host;
use crate::paths::Paths;
use crate::rundir::{self, Held, RunDir};
use crate::{heal, removal};

/// A run that is gone.
#[derive(Clone, Debug, Serialize)]
pub struct Removed {
    /// Its id.
    pub run: String,
    /// What it took.
    #[serde(flatten)]
    pub usage: Usage,
}

/// Removes runs with their layers and ledgers. All are looked at before the first is removed: one that
/// may not go keeps the others, too. With `force`, changes that are not in the project go with them.
///
/// # Errors
/// [`RemovalError`].
pub fn rm(words: &[String], force: bool) -> Result<Vec<Removed>, RemovalError> {
    let paths = Paths::find()?;
    heal::heal(&paths);
    let cwd = std::env::current_dir().and_then(std::fs::canonicalize).unwrap_or_default();
    let workspace = host::project_root(&cwd, &paths.home);
    let mut runs: Vec<(RunDir, Held)> = Vec::new();
    for word in words {
        let run = rundir::find(&paths, Some(word), &workspace)?;
        if runs.iter().all(|(other, _)| *other != run) {
            let held = hold(&paths, &run)?;
            if !force {
                unapplied::check(&run)?;
            }
            runs.push((run, held));
        }
    }
    let aside = Aside::take(&paths)?;
    let mut removed = Vec::new();
    for (run, _held) in runs {
        let usage = ringfence_workspace::usage(run.path());
        aside.remove(run.path())?;
        removed.push(Removed { run: run.id().to_string(), usage });
    }
    Ok(removed)
}

/// The run for this command alone, while no supervisor lives and nothing outside hangs on it.
pub(super) fn hold(paths: &Paths, run: &RunDir) -> Result<Held, removal::RemovalError> {
    let id = || run.id().to_string();
    let Some(held) = run.try_lock() else {
        return Err(if run.is_running() {
            RemovalError::Running(id())
        } else {
            RemovalError::Busy(id())
        });
    };
    if rundir::live(paths).contains(run) {
        return Err(RemovalError::Unclean(id()));
    }
    Ok(held)
}
