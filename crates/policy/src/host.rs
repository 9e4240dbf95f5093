//! What the policy needs to know of the host, as plain data and one trait.
//!
//! This crate never looks at the host itself; the supervisor does and hands the facts in.

use std::path::{Path, PathBuf};

use crate::bundle::{Bundle, BundleHosts, NoBundle};

/// Turns a path into the one that the kernel would open.
pub trait Host {
    /// The canonical form of an absolute path: no symbolic links, no `..`.
    fn resolve(&self, path: &Path) -> Result<Found, Unresolved>;

    /// The hosts of a bundle; asked for those alone that a layer names.
    fn bundle(&self, bundle: Bundle) -> Result<BundleHosts, NoBundle> {
        Err(NoBundle {
            why: format!("nothing here knows the hosts of {bundle}"),
            fix: "name the hosts themselves".to_owned(),
        })
    }
}

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Canonical absolute path.
    pub path: PathBuf,
    /// What it is.
    pub kind: FoundKind,
}

/// The kind of file at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A Unix socket.
    Socket,
    /// A device, a pipe or something else.
    Other,
}

/// Why a path has no canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// Nothing is there.
    Missing,
    /// The kernel refused; its words.
    Refused(String),
}

/// Facts about the host and this start; every path canonical and absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The user's home directory.
    pub home: PathBuf,
    /// The directory that relative paths of the command line start from.
    pub cwd: PathBuf,
    /// The project.
    pub workspace: PathBuf,
    /// Where ringfence keeps runs, ledgers and keys.
    pub state: PathBuf,
    /// Where the user's own policy and trust records are.
    pub config: PathBuf,
    /// The running ringfence binary.
    pub binary: PathBuf,
    /// The host's memory, in bytes.
    pub memory: u64,
    /// Unix time in seconds.
    pub now_unix: i64,
}
