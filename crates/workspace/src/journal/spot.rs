//! One name of the workspace, held by its directory: what is there can be looked at again later,
//! wherever the directory has gone meanwhile.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Access, AtFlags, OFlags};

use super::entry::Identity;
use super::roots::Roots;
use crate::beneath::{Meta, c_name, look, look_open, open_at, split};

/// One name of the workspace.
#[derive(Debug)]
pub(super) struct Spot {
    pub(super) parent: OwnedFd,
    pub(super) name: Vec<u8>,
    /// Relative to the workspace, as it was when the spot was opened.
    pub(super) path: Vec<u8>,
    /// Which directory it is in.
    above: Identity,
}

impl Spot {
    /// Reaches the directory of a path without following a link.
    pub(super) fn of(roots: &Roots, path: &[u8]) -> io::Result<Self> {
        let (root, beneath) = roots.at(path)?;
        // A tree itself is its own only name.
        let (above, name) = if beneath.is_empty() { (beneath, &b"."[..]) } else { split(beneath) };
        // To reach through, not to list: a directory may be writable and not readable.
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let parent = match above {
            b"" => root.try_clone()?,
            above => open_at(root.as_fd(), above, flags)?,
        };
        let above = Identity::from(&look_open(&parent)?);
        Ok(Self { parent, name: name.to_vec(), path: path.to_vec(), above })
    }

    pub(super) fn look(&self) -> io::Result<Option<Meta>> {
        look(self.parent.as_fd(), &self.name)
    }

    /// Whether both are the same name of the same directory.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.above == other.above && self.name == other.name
    }

    /// Whether whoever owns the run may write the file that is there; nobody inside has more rights.
    /// Root is not held by permission bits, and whoever it lets in is: without one nobody writes.
    pub(super) fn is_writable(&self, now: &Meta) -> io::Result<bool> {
        let name = c_name(&self.name)?;
        let flags = AtFlags::empty();
        Ok(now.mode & 0o222 != 0
            && rustix::fs::accessat(&self.parent, name, Access::WRITE_OK, flags).is_ok())
    }
}
