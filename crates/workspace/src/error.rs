//! What can go wrong with a workspace as a whole. What is wrong with one entry is in the report.

use std::io;
use std::path::PathBuf;

use crate::limits::{CHANGES, DEPTH};

/// Why a workspace could not be read, applied or removed.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// A directory of the workspace cannot be opened.
    #[error("cannot open {}: {source}; `ringfence ps --all` shows which runs have changes", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something in the layer or the project cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// The entry, escaped.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Too many changes to hold.
    #[error("the workspace has more than {CHANGES} changes; `ringfence discard` throws it away")]
    TooMany,
    /// A tree could not be removed whole.
    #[error("cannot remove `{path}`: {source}")]
    Remove {
        /// The entry, escaped.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The output could not be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

/// Why nothing deeper is looked at.
pub(crate) fn too_deep() -> String {
    format!("it lies deeper than {DEPTH} directories")
}
