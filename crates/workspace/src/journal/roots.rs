//! The trees that a journal is about: the project, and the repository of a project that is a linked
//! worktree, which lies elsewhere.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;

use crate::beneath::open_root;

/// Where the paths of the repository begin. No path of the project begins with a slash.
pub const REPOSITORY: &[u8] = b"//repository";

/// The trees, opened.
#[derive(Debug)]
pub struct Roots {
    workspace: OwnedFd,
    repository: Option<OwnedFd>,
}

impl Roots {
    /// Opens them.
    ///
    /// # Errors
    /// What `open(2)` says.
    pub fn open(workspace: &Path, repository: Option<&Path>) -> io::Result<Self> {
        let repository = repository.map(open_root).transpose()?;
        Ok(Self { workspace: open_root(workspace)?, repository })
    }

    /// The tree of a path, and the path in it.
    pub(super) fn at<'a, 'b>(&'a self, path: &'b [u8]) -> io::Result<(&'a OwnedFd, &'b [u8])> {
        match (path.strip_prefix(REPOSITORY), &self.repository) {
            (None, _) => Ok((&self.workspace, path)),
            (Some(rest), Some(repository)) => {
                Ok((repository, rest.strip_prefix(b"/").unwrap_or(rest)))
            }
            (Some(_), None) => Err(Errno::NOENT.into()),
        }
    }

    /// The project.
    pub(super) fn workspace(&self) -> &OwnedFd {
        &self.workspace
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &OwnedFd> {
        [&self.workspace].into_iter().chain(&self.repository)
    }
}
