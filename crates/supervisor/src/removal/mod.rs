//! Removing what runs have left: single runs (`rm`), and what was not used for long (`prune`).
//!
//! Never a running one, and changes that are nowhere else only when the person says so. What is removed
//! is first moved aside as a whole; who is interrupted after that leaves it to the next command.

mod aside;
mod prune;
mod rm;
mod unapplied;
mod used;

pub use aside::finish;
pub use prune::{Age, Kind, Options, Outcome, Row, prune};
pub use rm::{Removed, rm};
pub use used::HomeUse;

pub use ringfence_workspace::Usage;
use ringfence_workspace::WorkspaceError;

use crate::paths::PathsError;
use crate::rundir::FindError;

/// Why nothing was removed, or not all.
#[derive(Debug, thiserror::Error)]
pub enum RemovalError {
    /// No home or state directory.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// No such run.
    #[error(transparent)]
    Find(#[from] FindError),
    /// Its supervisor lives.
    #[error("run {0} is running; end it with `ringfence kill {0}`, then remove it")]
    Running(String),
    /// Another command works on it.
    #[error("another command works on run {0}; wait for its end, then remove it")]
    Busy(String),
    /// What a crash left outside its directory is not gone, and only this directory tells what it is.
    #[error(
        "run {0} is not cleaned up after yet, its control group still has processes; try it again in a moment"
    )]
    Unclean(String),
    /// Changes would be lost.
    #[error(
        "run {run} holds {count} changes that are not in the project ({names})\n  look:  ringfence diff {run}\n  keep:  ringfence apply --run {run}    lose:  ringfence rm --force {run}"
    )]
    Unapplied {
        /// Which run.
        run: String,
        /// How many.
        count: usize,
        /// The first of them, escaped.
        names: String,
    },
    /// Changes may be lost.
    #[error(
        "what run {run} changed cannot be looked at: {why}\n  lose it unseen:  ringfence rm --force {run}"
    )]
    Unreadable {
        /// Which run.
        run: String,
        /// Why.
        why: String,
    },
    /// The place for what is being removed.
    #[error("cannot use {path}: {source}; make it yours, or remove it")]
    Aside {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It could not be moved or removed whole.
    #[error("{0}; what is left is tried again by the next command")]
    Workspace(#[from] WorkspaceError),
}
