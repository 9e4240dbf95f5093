//! A layer: the two trees it is made of, when the run began, and what the project itself has the
//! host run. It opens both trees once and holds them; nothing is ever reached by path again.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::alias::{Alias, aliases};
use crate::beneath::{Meta, Moment, open_root};
use crate::change::Change;
use crate::classify::host_executed;
use crate::error::WorkspaceError;
use crate::walk;

/// An upper layer over a project.
#[derive(Debug)]
pub struct Layer {
    pub(crate) upper: OwnedFd,
    pub(crate) lower: OwnedFd,
    started: Moment,
    pub(crate) aliases: Vec<Alias>,
}

impl Layer {
    /// Opens a layer. `started` is when the run began: what changed in the project at or after it
    /// is a conflict.
    ///
    /// # Errors
    /// When one of the two directories cannot be opened.
    pub fn open(upper: &Path, lower: &Path, started: SystemTime) -> Result<Self, WorkspaceError> {
        let open = |path: &Path| {
            open_root(path).map_err(|source| WorkspaceError::Open { path: path.to_owned(), source })
        };
        let since = started.duration_since(UNIX_EPOCH).unwrap_or_default();
        let root = std::fs::canonicalize(lower).unwrap_or_else(|_| lower.to_owned());
        let lower = open(lower)?;
        Ok(Self {
            upper: open(upper)?,
            aliases: aliases(lower.as_fd(), &root),
            lower,
            started: (
                i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                i64::from(since.subsec_nanos()),
            ),
        })
    }

    /// All changes: parents before what they hold, names in byte order.
    ///
    /// # Errors
    /// When something cannot be read, or there are too many.
    pub fn changes(&self) -> Result<Vec<Change>, WorkspaceError> {
        walk::changes(self)
    }

    /// Whether the class of a directory with this path is "host-executed".
    pub(crate) fn holds_back(&self, path: &[u8]) -> bool {
        host_executed(path, true, &self.aliases).is_some()
    }

    /// Whether an entry of the project changed during the run.
    pub(crate) fn changed_since(&self, meta: &Meta) -> bool {
        meta.ctime >= self.started
    }
}
