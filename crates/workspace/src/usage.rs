//! What a tree that the agent made takes: counted beneath a held directory, without following a link,
//! changing a mode or entering another mount.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags};
use serde::Serialize;

use crate::beneath::{c_name, is_entry, open_root};
use crate::limits::{USAGE_DEPTH, USAGE_ENTRIES};

/// Bytes of a unit of `st_blocks` (stat(2)).
const BLOCK_BYTES: u64 = 512;

/// What a tree takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Bytes on the disk; a file with several names counts once for each.
    pub bytes: u64,
    /// Files, directories and links, the top itself among them.
    pub entries: u64,
    /// Something could not be looked at, lies too deep, or is too much to count: it takes more.
    pub partial: bool,
}

impl Usage {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            entries: self.entries.saturating_add(other.entries),
            partial: self.partial || other.partial,
        }
    }
}

/// Counts what is at this path: a tree, a file, a link (not what it leads to), nothing.
#[must_use]
pub fn usage(path: &Path) -> Usage {
    let mut usage = Usage::default();
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Usage { partial: true, ..usage };
    };
    match open_root(above) {
        Ok(above) => count(&mut usage, above.as_fd(), name.as_bytes(), 0),
        Err(error) => usage.partial = error.kind() != io::ErrorKind::NotFound,
    }
    usage
}

fn count(usage: &mut Usage, dir: BorrowedFd<'_>, name: &[u8], depth: usize) {
    let Ok(c) = c_name(name) else { return };
    let Ok(stat) = rustix::fs::statat(dir, &c, AtFlags::SYMLINK_NOFOLLOW) else { return };
    usage.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK_BYTES;
    usage.entries += 1;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Directory {
        return;
    }
    if depth >= USAGE_DEPTH || usage.entries >= USAGE_ENTRIES {
        usage.partial = true;
        return;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH
        | ResolveFlags::NO_SYMLINKS
        | ResolveFlags::NO_MAGICLINKS
        | ResolveFlags::NO_XDEV;
    let opened = rustix::fs::openat2(dir, &c, flags, Mode::empty(), resolve);
    let (Ok(child), true) = (opened, usage.entries < USAGE_ENTRIES) else {
        usage.partial = true;
        return;
    };
    let Ok(entries) = Dir::read_from(&child) else {
        usage.partial = true;
        return;
    };
    for entry in entries {
        match entry {
            Ok(entry) if is_entry(entry.file_name()) => {
                count(usage, child.as_fd(), entry.file_name().to_bytes(), depth + 1);
            }
            Ok(_) => {}
            Err(_) => usage.partial = true,
        }
    }
}
