//! Whether the kept home of a named sandbox is in use, and when it last was.
//!
//! A file for each name, `uses/NAME` of the state directory, which no sandbox sees: a run holds a shared
//! lock on it, and touches it at its start. Who removes the home holds it alone.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use ringfence_model::id::SandboxName;
use rustix::fs::FlockOperation;

use crate::paths::{Paths, make_private, open_lock};

/// A hold on a sandbox's home; let go when dropped.
#[derive(Debug)]
pub struct HomeUse {
    _file: File,
}

fn file(paths: &Paths, name: &SandboxName) -> io::Result<File> {
    make_private(&paths.state.join("uses")).map_err(io::Error::other)?;
    open_lock(&path(paths, name))
}

impl HomeUse {
    /// For a run: others may use the home too, nobody may remove it.
    ///
    /// # Errors
    /// It is being removed, or the state directory cannot be written.
    pub fn share(paths: &Paths, name: &SandboxName) -> io::Result<Self> {
        let file = file(paths, name)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(io::Error::other(format!(
                    "`ringfence prune` is removing the home of sandbox {name} at this moment; start it again"
                )));
            }
            Err(error) => return Err(error.into()),
        }
        file.set_modified(SystemTime::now())?;
        Ok(Self { _file: file })
    }

    /// For a removal: `None` while a run uses the home.
    pub fn alone(paths: &Paths, name: &SandboxName) -> Option<Self> {
        let file = file(paths, name).ok()?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
        Some(Self { _file: file })
    }

    /// Whether a run uses the home, without disturbing one that starts.
    pub fn is_used(paths: &Paths, name: &SandboxName) -> bool {
        let Ok(file) = File::open(path(paths, name)) else { return false };
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err()
    }
}

fn path(paths: &Paths, name: &SandboxName) -> PathBuf {
    paths.state.join("uses").join(name.as_str())
}

/// When a run of this name last started, in Unix seconds, as far as the file tells.
pub fn last(paths: &Paths, name: &SandboxName) -> Option<i64> {
    super::prune::changed(&path(paths, name))
}
