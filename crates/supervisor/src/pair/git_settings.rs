//! The repository's settings, which are held: what of a change to them is harmless the keeper writes
//! itself, in the place of the caller.
//!
//! git makes a lock file beside the settings and renames it over them, which the hold refuses. Of that
//! call only the lock file's settings are taken, read once; the file is written here, from outside,
//! into the inode that is held: no name inside ever leads to a writable one.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use ringfence_workspace::journal::Journal;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::home::git::local;
use crate::limits::GIT_LOCAL_BYTES;
use crate::load::read_up_to;

const SETTINGS: &str = ".git/config";
const LOCK: &str = ".git/config.lock";

/// Whether a move is git's way to write the repository's settings, and they are held.
pub fn is_write(journal: &Journal, from: &[u8], to: &[u8], exchange: bool) -> bool {
    from == LOCK.as_bytes() && to == SETTINGS.as_bytes() && !exchange && journal.holds(to)
}

/// A change that was judged and not yet made.
pub struct Change {
    root: OwnedFd,
    file: File,
    written: local::Written,
}

/// Why a change is not made.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is one for the person.
    #[error("git settings were not written: {0}; write them outside, or use `review`")]
    Refused(#[from] local::Refused),
    /// The files.
    #[error("git settings were not written: {0}")]
    Io(#[from] io::Error),
}

impl Change {
    /// Reads and judges it.
    ///
    /// # Errors
    /// [`Refusal`]: the kernel refuses the call, as it would without this.
    pub fn judge(workspace: &Path) -> Result<Self, Refusal> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(workspace, flags, Mode::empty()).map_err(io::Error::from)?;
        let (file, old) = read(&root, SETTINGS, OFlags::RDWR)?;
        let (_, new) = read(&root, LOCK, OFlags::RDONLY)?;
        Ok(Self { root, file, written: local::write(&old, &new)? })
    }

    /// What it is, for the record; `None` where nothing is changed.
    pub fn words(&self) -> Option<String> {
        let names = self.written.names.join(", ");
        self.written.text.is_some().then(|| format!("git settings written by the agent: {names}"))
    }

    /// Makes it, and takes the lock file away as the move would have.
    ///
    /// # Errors
    /// What the file system says.
    pub fn make(mut self) -> io::Result<()> {
        if let Some(text) = self.written.text {
            self.file.rewind()?;
            self.file.write_all(text.as_bytes())?;
            self.file.set_len(text.len() as u64)?;
        }
        Ok(rustix::fs::unlinkat(&self.root, LOCK, AtFlags::empty())?)
    }
}

/// A regular file beneath the workspace, no link on the way, and what it holds.
fn read(root: &OwnedFd, path: &str, access: OFlags) -> io::Result<(File, String)> {
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let file = File::from(rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?);
    if !file.metadata()?.is_file() {
        return Err(Errno::INVAL.into());
    }
    let bytes = read_up_to(file.try_clone()?, GIT_LOCAL_BYTES)?;
    let text = String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8"))?;
    match text.contains('\r') {
        true => Err(io::Error::other("its lines end in carriage returns")),
        false => Ok((file, text)),
    }
}
