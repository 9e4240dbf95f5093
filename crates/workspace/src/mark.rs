//! The marks that overlayfs leaves in an upper layer (`overlayfs.rst`, "whiteouts and opaque
//! directories"): with `userxattr` in `user.overlay.*`, mounted by root in `trusted.overlay.*`.

use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::beneath::{Meta, open_file};
use crate::change::Node;

const SPACES: [&str; 2] = ["user.overlay.", "trusted.overlay."];

/// The value of an overlay mark, in whichever space it is; `None` without one.
fn mark<F: AsFd>(file: F, name: &str) -> io::Result<Option<Vec<u8>>> {
    for space in SPACES {
        let mut value = [0u8; 256];
        let full = format!("{space}{name}");
        match rustix::fs::fgetxattr(file.as_fd(), &*full, value.as_mut_slice()) {
            Ok(length) => return Ok(Some(value.get(..length).unwrap_or_default().to_vec())),
            // Too long for any mark, but there.
            Err(Errno::RANGE) => return Ok(Some(Vec::new())),
            // `trusted.*` is not for everyone to see; the file system may have neither.
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Whether a directory hides all that the project has there.
pub(crate) fn is_opaque<F: AsFd>(dir: F) -> io::Result<bool> {
    // `x` only says that there may be whiteouts of the newer form inside.
    Ok(mark(dir, "opaque")?.is_some_and(|value| value == b"y"))
}

/// Whether an entry stands for "removed": a device 0:0, or an empty file with a mark.
pub(crate) fn is_whiteout(dir: BorrowedFd<'_>, name: &[u8], meta: &Meta) -> io::Result<bool> {
    if meta.is_device_whiteout() {
        return Ok(true);
    }
    if meta.node != Node::File || meta.size != 0 {
        return Ok(false);
    }
    Ok(mark(open_file(dir, name)?, "whiteout")?.is_some())
}

/// What overlayfs noted about the project's file that this one was copied up from; `None` if the
/// agent made it. The agent can influence this mark: it only ever adds a conflict.
pub(crate) fn origin(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Origin>> {
    Ok(mark(open_file(dir, name)?, "origin")?.map(Origin))
}

/// An encoded file handle (`struct ovl_fb` of the kernel's `fs/overlayfs/overlayfs.h`).
#[derive(Debug)]
pub(crate) struct Origin(Vec<u8>);

impl Origin {
    /// Bytes before the file system's own handle: version, magic, length, flags, type, UUID.
    const HEADER: usize = 21;

    /// Whether the handle is known at all: some file systems have none.
    pub(crate) fn is_known(&self) -> bool {
        self.0.len() > Self::HEADER
    }

    /// Whether the handle may be that of an inode. Every Linux file system that can be a lower
    /// layer has the inode number in its handles, in the machine's byte order.
    pub(crate) fn may_be(&self, inode: u64) -> bool {
        let handle = self.0.get(Self::HEADER..).unwrap_or_default();
        match u32::try_from(inode) {
            Ok(short) => handle.windows(4).any(|word| word == short.to_ne_bytes()),
            Err(_) => handle.windows(8).any(|word| word == inode.to_ne_bytes()),
        }
    }
}
