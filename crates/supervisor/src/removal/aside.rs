//! The place where things are that are being removed: `removed/` of the state directory.
//!
//! Whatever stands in it is nobody's any more. One command at a time empties it, holding the lock
//! beside it; the next one goes on where a killed one stopped.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::RemovalError;
use crate::paths::{Paths, make_private, open_lock};

/// The place, held by one command alone.
pub struct Aside {
    place: PathBuf,
    _lock: OwnedFd,
}

fn place(paths: &Paths) -> PathBuf {
    paths.state.join("removed")
}

impl Aside {
    /// Waits for the place.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn take(paths: &Paths) -> Result<Self, RemovalError> {
        Self::lock(paths, FlockOperation::LockExclusive)
    }

    fn lock(paths: &Paths, how: FlockOperation) -> Result<Self, RemovalError> {
        let place = place(paths);
        make_private(&place)?;
        let path = paths.state.join("removed.lock");
        let failed = |source| RemovalError::Aside { path: path.clone(), source };
        let lock = open_lock(&path).map_err(failed)?;
        rustix::fs::flock(&lock, how).map_err(|error| failed(error.into()))?;
        Ok(Self { place, _lock: lock.into() })
    }

    /// Removes a tree of the state directory: gone from its place at once, and then for good. What is
    /// not there is no error.
    ///
    /// # Errors
    /// It is where it was, or what is left of it is aside.
    pub fn remove(&self, path: &Path) -> Result<(), RemovalError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Something of an earlier try may be left under the same name, and take none of the new ones.
        let free = (0_u32..)
            .map(|number| self.place.join(format!("{name}.{number}")))
            .find(|path| path.symlink_metadata().is_err());
        if let Some(to) = free
            && ringfence_workspace::move_tree(path, &to)?
        {
            ringfence_workspace::remove_tree(&to)?;
        }
        Ok(())
    }
}

/// Goes on with what a killed command has not removed, unless another one is at it.
pub fn finish(paths: &Paths) {
    let left = |paths| fs::read_dir(place(paths)).is_ok_and(|mut entries| entries.next().is_some());
    if !left(paths) {
        return;
    }
    let Ok(aside) = Aside::lock(paths, FlockOperation::NonBlockingLockExclusive) else { return };
    for entry in fs::read_dir(&aside.place).into_iter().flatten().flatten() {
        // What cannot be removed now is tried by the next command.
        let _ = ringfence_workspace::remove_tree(&entry.path());
    }
}
