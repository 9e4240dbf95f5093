//! The parts of the mount API that rustix lacks: `mount_setattr(2)` and detached trees with flags.
//!
//! Sources are opened without following any symbolic link, so that a link planted between
//! judgement and mount makes the start fail instead of leading elsewhere.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

/// Flags of `mount_setattr(2)`, Linux 5.12.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes(u64);

impl Attributes {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// No change through this mount.
    pub const READ_ONLY: Self = Self(libc::MOUNT_ATTR_RDONLY);
    /// Setuid, setgid and file capabilities have no effect.
    pub const NO_SUID: Self = Self(libc::MOUNT_ATTR_NOSUID);
    /// Device nodes have no effect.
    pub const NO_DEVICES: Self = Self(libc::MOUNT_ATTR_NODEV);
    /// Nothing can be started by path.
    pub const NO_EXEC: Self = Self(libc::MOUNT_ATTR_NOEXEC);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The raw bits, for `fsmount(2)`.
    #[must_use]
    pub fn fsmount(self) -> rustix::mount::MountAttrFlags {
        rustix::mount::MountAttrFlags::from_bits_retain(u32::try_from(self.0).unwrap_or(0))
    }
}

/// Adds attributes to a mount, to every mount below it with `recursive`, and maps its owners with
/// the user namespace in `idmap`.
///
/// # Errors
/// `EINVAL` where the file system does not support id-mapped mounts, `EPERM` without the right.
pub fn set_attributes(
    tree: BorrowedFd<'_>,
    attributes: Attributes,
    recursive: bool,
    idmap: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let mut request =
        libc::mount_attr { attr_set: attributes.0, attr_clr: 0, propagation: 0, userns_fd: 0 };
    if let Some(namespace) = idmap {
        request.attr_set |= libc::MOUNT_ATTR_IDMAP;
        request.userns_fd = u64::try_from(namespace.as_raw_fd()).unwrap_or(0);
    }
    setattr(tree, recursive, &request)
}

/// Cuts the tree at `path` off from its peers, so that nothing propagates in or out.
///
/// # Errors
/// What `mount_setattr(2)` says.
pub fn make_private(root: BorrowedFd<'_>) -> io::Result<()> {
    let request =
        libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: libc::MS_PRIVATE, userns_fd: 0 };
    setattr(root, true, &request)
}

fn setattr(tree: BorrowedFd<'_>, recursive: bool, request: &libc::mount_attr) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    const EMPTY: &CStr = c"";
    // SAFETY: `tree` is open, the path is an empty C string, the structure is valid for its size.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            EMPTY.as_ptr(),
            flags,
            std::ptr::from_ref(request),
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Opens a canonical absolute path of the host as a place, following no symbolic link.
///
/// # Errors
/// `ELOOP` where a component has become a link; `ENOENT` and kin.
pub fn open_place(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(rustix::fs::CWD, path, flags, Mode::empty(), resolve)?)
}

/// Opens a path beneath `root`, following no symbolic link and never leaving it.
///
/// # Errors
/// `ELOOP`, `EXDEV`, `ENOENT` and kin.
pub fn open_beneath(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
    let flags = OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(openat2(root, relative, flags, Mode::empty(), resolve)?)
}

/// A detached copy of the mounts at an opened place.
///
/// # Errors
/// What `open_tree(2)` says.
pub fn detach_copy(place: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(place, c"", flags)?)
}

/// Attaches a detached tree at an opened place.
///
/// # Errors
/// What `move_mount(2)` says.
pub fn attach(tree: BorrowedFd<'_>, place: BorrowedFd<'_>) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(tree, c"", place, c"", flags)?)
}

/// A new in-memory file system, detached.
///
/// # Errors
/// What `fsopen(2)`, `fsconfig(2)` or `fsmount(2)` says.
pub fn new_tmpfs(bytes: u64, mode: u32, attributes: Attributes) -> io::Result<OwnedFd> {
    use rustix::mount::{
        FsMountFlags, FsOpenFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen,
    };
    let fs = fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_set_string(fs.as_fd(), "size", bytes.to_string())?;
    fsconfig_set_string(fs.as_fd(), "mode", format!("{mode:o}"))?;
    fsconfig_create(fs.as_fd())?;
    Ok(fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes.fsmount())?)
}
