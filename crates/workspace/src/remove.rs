//! Removing a tree that the agent made: any names, any depth, any permissions.
//!
//! Beneath a held directory, never through a link, never into another mount. What is too deep to
//! hold open is first moved to the top of the tree.

use ringfence_model::text::visible_bytes;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::beneath::{c_name, chmod_exact, look, look_open, names, open_root};
use crate::change::Node;
use crate::error::WorkspaceError;
use crate::limits::{REMOVE_BATCH, REMOVE_DEPTH};

/// Throws a workspace away: its upper layer and overlayfs's scratch directory. Neither may be
/// mounted. What is not there is no error, so it can be called again.
///
/// # Errors
/// When something cannot be removed; the rest is tried all the same.
pub fn discard(upper: &Path, work: &Path) -> Result<(), WorkspaceError> {
    let first = remove_tree(upper);
    remove_tree(work)?;
    first
}

/// Removes whatever is at this path: a tree, a file, a link (not what it leads to), nothing.
///
/// # Errors
/// When something in it cannot be removed.
pub fn remove_tree(path: &Path) -> Result<(), WorkspaceError> {
    let failed = |source| WorkspaceError::Remove {
        path: visible_bytes(path.as_os_str().as_bytes()),
        source,
    };
    let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = match open_root(parent) {
        Ok(parent) => parent,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let name = name.as_bytes();
    match look(parent.as_fd(), name).map_err(failed)? {
        None => return Ok(()),
        Some(meta) if meta.node == Node::Dir => {
            let top = open_to_empty(parent.as_fd(), name).map_err(failed)?;
            empty_dir(top.as_fd()).map_err(failed)?;
        }
        Some(_) => {}
    }
    unlink(parent.as_fd(), name).map_err(failed)
}

/// Moves a tree to a path of the same file system that is free: at once and as a whole, so that
/// whoever is interrupted afterwards leaves a tree that nobody uses any more. What is not there is no
/// error; whether there was something.
///
/// # Errors
/// When it cannot be moved; it is where it was then.
pub fn move_tree(path: &Path, to: &Path) -> Result<bool, WorkspaceError> {
    let failed = |source| WorkspaceError::Remove {
        path: visible_bytes(path.as_os_str().as_bytes()),
        source,
    };
    let missing = || failed(io::ErrorKind::InvalidInput.into());
    let (above, name) = path.parent().zip(path.file_name()).ok_or_else(missing)?;
    let (new_above, new_name) = to.parent().zip(to.file_name()).ok_or_else(missing)?;
    let parent = match open_root(above) {
        Ok(parent) => parent,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    let new_parent = open_root(new_above).map_err(failed)?;
    let Some(meta) = look(parent.as_fd(), name.as_bytes()).map_err(failed)? else {
        return Ok(false);
    };
    if meta.node == Node::Dir {
        // A directory that its owner may not write cannot change its parent (rename(2), EACCES).
        open_to_empty(parent.as_fd(), name.as_bytes()).map_err(failed)?;
    }
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    match rustix::fs::renameat_with(&parent, name, &new_parent, new_name, flags) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(failed(error.into())),
    }
}

/// Removes everything in a directory, but not the directory.
pub(crate) fn empty_dir(top: BorrowedFd<'_>) -> io::Result<()> {
    let mut removal = Removal { top, moved: 0 };
    removal.empty(top, 0)
}

fn unlink(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let name = c_name(name)?;
    match rustix::fs::unlinkat(dir, &name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        // POSIX says EPERM for a directory, Linux EISDIR.
        Err(Errno::ISDIR | Errno::PERM) => {
            Ok(rustix::fs::unlinkat(dir, &name, AtFlags::REMOVEDIR)?)
        }
        Err(error) => Err(error.into()),
    }
}

/// Opens a directory of the same mount with full rights of its owner, whatever its mode.
fn open_to_empty(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let open = || {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH
            | ResolveFlags::NO_SYMLINKS
            | ResolveFlags::NO_MAGICLINKS
            | ResolveFlags::NO_XDEV;
        rustix::fs::openat2(dir, c_name(name)?, flags, Mode::empty(), resolve)
            .map_err(io::Error::from)
    };
    let fd = match open() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            chmod_exact(dir, name, None, 0o700)?;
            open()?
        }
        other => other?,
    };
    if look_open(&fd)?.mode & 0o700 != 0o700 {
        rustix::fs::fchmod(&fd, Mode::RWXU)?;
    }
    Ok(fd)
}

struct Removal<'a> {
    top: BorrowedFd<'a>,
    moved: u64,
}

impl Removal<'_> {
    fn empty(&mut self, dir: BorrowedFd<'_>, depth: usize) -> io::Result<()> {
        loop {
            let batch = names(dir, REMOVE_BATCH)?;
            if batch.is_empty() {
                return Ok(());
            }
            for name in batch {
                self.entry(dir, &name, depth)?;
            }
        }
    }

    fn entry(&mut self, dir: BorrowedFd<'_>, name: &[u8], depth: usize) -> io::Result<()> {
        let is_dir = look(dir, name)?.is_some_and(|meta| meta.node == Node::Dir);
        if !is_dir {
            return unlink(dir, name);
        }
        let child = open_to_empty(dir, name)?;
        if depth >= REMOVE_DEPTH {
            return self.move_up(dir, name);
        }
        self.empty(child.as_fd(), depth + 1)?;
        unlink(dir, name)
    }

    /// Moves a directory to the top of the tree, where its removal goes on from depth 0.
    fn move_up(&mut self, dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
        loop {
            let new = format!(".removed-{}", self.moved);
            self.moved += 1;
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(dir, c_name(name)?, self.top, &*new, flags) {
                Err(Errno::EXIST) => {}
                other => return Ok(other?),
            }
        }
    }
}
