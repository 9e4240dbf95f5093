//! The repository's settings, which are held: what of a change to them is harmless the keeper writes
//! itself, in the place of the caller.
//!
//! git makes a lock file beside the settings and renames it over them, which the hold refuses. Of that
//! call only the lock file's settings are taken, read once; the file is written here, from outside,
//! into the inode that is held: no name inside ever leads to a writable one.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;

use ringfence_workspace::journal::Journal;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::trees::Trees;
use crate::home::git::local;
use crate::limits::GIT_LOCAL_BYTES;
use crate::load::read_up_to;

const SETTINGS: &[u8] = b".git/config";
const ELSEWHERE: &[u8] = b"//repository/config";
const LOCK: &str = "config.lock";

/// Whether a move is git's way to write the repository's settings, and they are held.
pub fn is_write(journal: &Journal, from: &[u8], to: &[u8], exchange: bool) -> bool {
    (to == SETTINGS || to == ELSEWHERE)
        && from.strip_prefix(to) == Some(b".lock")
        && !exchange
        && journal.holds(to)
}

/// A change that was judged and not yet made.
pub struct Change {
    /// The repository's directory.
    directory: OwnedFd,
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
    pub fn judge(trees: &Trees, file: &[u8]) -> Result<Self, Refusal> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match trees.repository().filter(|_| file == ELSEWHERE) {
            Some(repository) => rustix::fs::open(repository, flags, Mode::empty()),
            None => rustix::fs::open(trees.workspace().join(".git"), flags, Mode::empty()),
        };
        let directory = directory.map_err(io::Error::from)?;
        let (file, old) = read(&directory, "config", OFlags::RDWR)?;
        let (_, new) = read(&directory, LOCK, OFlags::RDONLY)?;
        Ok(Self { directory, file, written: local::write(&old, &new)? })
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
        Ok(rustix::fs::unlinkat(&self.directory, LOCK, AtFlags::empty())?)
    }
}

/// A regular file of a directory, and what it holds.
fn read(directory: &OwnedFd, name: &str, access: OFlags) -> io::Result<(File, String)> {
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(directory, name, flags, Mode::empty())?);
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
