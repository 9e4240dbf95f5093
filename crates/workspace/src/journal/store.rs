//! Where the content of files is kept: one file for each, named by its entry's number.
//!
//! A file that is about to lose its name is kept as a further name of the same inode, which costs
//! nothing; one that is about to be written is copied, by sharing its blocks where the file system can.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::beneath::{Meta, c_name, look, look_open, open_file, open_root};
use crate::limits::KEPT_FILE_BYTES;

/// The directory of kept files.
#[derive(Debug)]
pub struct Store {
    dir: OwnedFd,
}

/// How a file is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Its name is about to go: another name for the same inode is enough.
    Name,
    /// Its content is about to change: a copy.
    Content,
}

/// How a file was kept.
pub(super) struct Stored {
    /// As a further name of itself.
    pub(super) itself: bool,
    /// Why its content is not kept.
    pub(super) missing: Option<String>,
}

impl Store {
    /// Opens the directory; it is the caller's own and exists.
    ///
    /// # Errors
    /// What `open(2)` says.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { dir: open_root(path)? })
    }

    /// Keeps the file `name` of `dir` under `number`.
    ///
    /// # Errors
    /// It cannot be kept, for another reason than its size.
    pub(super) fn keep(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        number: u64,
        how: How,
    ) -> io::Result<Stored> {
        // Of an entry that could not be written after this.
        self.drop(number);
        if how == How::Name && self.link(dir, name, number).is_ok() {
            return Ok(Stored { itself: true, missing: None });
        }
        match self.copy(dir, name, number) {
            Ok(()) => Ok(Stored { itself: false, missing: None }),
            Err(error) => {
                self.drop(number);
                match error.kind() {
                    io::ErrorKind::FileTooLarge => {
                        Ok(Stored { itself: false, missing: Some(error.to_string()) })
                    }
                    _ => Err(error),
                }
            }
        }
    }

    /// Keeps nothing under a number any more.
    pub(super) fn drop(&self, number: u64) {
        let _ = rustix::fs::unlinkat(&self.dir, number.to_string(), AtFlags::empty());
    }

    /// Makes what is kept as a further name of a file a file of its own, before that one is changed.
    pub(super) fn detach(&self, number: u64) -> io::Result<()> {
        let (name, draft) = (number.to_string(), format!("{number}.copy"));
        let _ = rustix::fs::unlinkat(&self.dir, &draft, AtFlags::empty());
        self.copy_to(open_file(self.dir.as_fd(), name.as_bytes())?, &draft)?;
        Ok(rustix::fs::renameat(&self.dir, &draft, &self.dir, &name)?)
    }

    /// Gives a file that was kept as itself its name back.
    pub(super) fn name(&self, number: u64, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        let from = number.to_string();
        Ok(rustix::fs::linkat(&self.dir, from, dir, c_name(name)?, AtFlags::empty())?)
    }

    fn link(&self, dir: BorrowedFd<'_>, name: &[u8], number: u64) -> io::Result<()> {
        // Without AT_SYMLINK_FOLLOW a link is linked, not what it leads to.
        let to = number.to_string();
        Ok(rustix::fs::linkat(dir, c_name(name)?, &self.dir, to, AtFlags::empty())?)
    }

    fn copy(&self, dir: BorrowedFd<'_>, name: &[u8], number: u64) -> io::Result<()> {
        self.copy_to(open_file(dir, name)?, &number.to_string())
    }

    fn copy_to(&self, from: File, name: &str) -> io::Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let to = rustix::fs::openat(&self.dir, name, flags, mode)?;
        copy_content(&from, &to)
    }

    /// What is kept for an entry.
    pub(super) fn look(&self, number: u64) -> io::Result<Option<Meta>> {
        look(self.dir.as_fd(), number.to_string().as_bytes())
    }

    /// The kept content of an entry.
    pub(super) fn content(&self, number: u64) -> io::Result<File> {
        open_file(self.dir.as_fd(), number.to_string().as_bytes())
    }
}

/// Copies from start to end: by sharing blocks, else in the kernel, up to the limit.
pub(super) fn copy_content<F: AsFd, T: AsFd>(from: F, to: T) -> io::Result<()> {
    if rustix::fs::ioctl_ficlone(to.as_fd(), from.as_fd()).is_ok() {
        return Ok(());
    }
    if look_open(from.as_fd())?.size > KEPT_FILE_BYTES {
        let most = KEPT_FILE_BYTES >> 20;
        let why = format!("it is larger than {most} MiB, and this file system cannot share blocks");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    let (mut at, mut out) = (0u64, 0u64);
    loop {
        let most = 1 << 30;
        match rustix::fs::copy_file_range(&from, Some(&mut at), &to, Some(&mut out), most) {
            Ok(0) => return Ok(()),
            Ok(_) | Err(Errno::INTR) => {}
            // Between two file systems of which one cannot: by hand.
            Err(Errno::XDEV | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) if at == 0 => {
                let mut from = File::from(from.as_fd().try_clone_to_owned()?);
                let mut to = File::from(to.as_fd().try_clone_to_owned()?);
                io::copy(&mut from, &mut to)?;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
}
