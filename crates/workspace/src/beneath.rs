//! Reaching entries beneath a held directory, without ever following a link or leaving it.

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags, makedev, statx,
};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::ops::Bound;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use crate::change::Node;
use crate::limits::{OPEN_TRIES, PATH_STEP_BYTES};

/// A moment as the file system gives it: seconds and nanoseconds since 1970.
pub(crate) type Moment = (i64, i64);

/// What `lstat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) node: Node,
    /// Permission bits and setuid, setgid, sticky.
    pub(crate) mode: u32,
    pub(crate) size: u64,
    pub(crate) device: (u64, u64),
    pub(crate) rdev: u64,
    pub(crate) ctime: Moment,
    pub(crate) owner: (u32, u32),
    pub(crate) links: u64,
    /// When the inode was made, in nanoseconds since 1970 (`stx_btime`); 0 where the file system does
    /// not say. Tells a file from a later one that was given the same number.
    pub(crate) born: i64,
}

/// What is asked of `statx(2)`.
const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

impl Meta {
    fn new(stat: &Statx) -> Self {
        let mode = u32::from(stat.stx_mode);
        let node = match FileType::from_raw_mode(mode) {
            FileType::RegularFile => Node::File,
            FileType::Directory => Node::Dir,
            FileType::Symlink => Node::Symlink,
            FileType::Fifo => Node::Fifo,
            FileType::Socket => Node::Socket,
            _ => Node::Device,
        };
        let born = match StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME) {
            true => stat.stx_btime.tv_sec * 1_000_000_000 + i64::from(stat.stx_btime.tv_nsec),
            false => 0,
        };
        Self {
            node,
            mode: mode & 0o7777,
            size: stat.stx_size,
            device: (makedev(stat.stx_dev_major, stat.stx_dev_minor), stat.stx_ino),
            rdev: makedev(stat.stx_rdev_major, stat.stx_rdev_minor),
            ctime: (stat.stx_ctime.tv_sec, i64::from(stat.stx_ctime.tv_nsec)),
            owner: (stat.stx_uid, stat.stx_gid),
            links: u64::from(stat.stx_nlink),
            born,
        }
    }

    /// Overlayfs's classic whiteout: a character device 0:0.
    pub(crate) fn is_device_whiteout(&self) -> bool {
        self.node == Node::Device && self.rdev == 0
    }
}

/// Opens one of the two trees itself. Its path is the caller's own, links in it are followed.
pub(crate) fn open_root(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// A name as the kernel takes it. Names from `readdir` never hold a NUL.
pub(crate) fn c_name(name: &[u8]) -> io::Result<CString> {
    CString::new(name).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// `openat2` with everything that could lead elsewhere refused.
pub(crate) fn open_at(dir: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let path = c_name(path)?;
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(dir, &path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if tries < OPEN_TRIES => tries += 1,
            other => return Ok(other?),
        }
    }
}

/// A directory beneath `dir`, to list and to hold. The path may be longer than PATH_MAX; an empty
/// one is `dir` itself.
pub(crate) fn open_dir(dir: BorrowedFd<'_>, path: &[u8]) -> io::Result<OwnedFd> {
    let mut held = open_at(dir, b".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut rest = path;
    while !rest.is_empty() {
        let step = if rest.len() <= PATH_STEP_BYTES {
            rest.len()
        } else {
            let head = rest.get(..PATH_STEP_BYTES).unwrap_or_default();
            head.iter().rposition(|byte| *byte == b'/').ok_or(Errno::NAMETOOLONG)?
        };
        let head = rest.get(..step).unwrap_or_default();
        held = open_at(held.as_fd(), head, OFlags::RDONLY | OFlags::DIRECTORY)?;
        rest = rest.get(step + 1..).unwrap_or_default();
    }
    Ok(held)
}

/// A regular file, for reading. A fifo cannot block it, and what is no regular file is refused.
pub(crate) fn open_file(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = open_at(dir, name, flags)?;
    if look_open(&fd)?.node != Node::File {
        return Err(io::Error::other("it is no regular file any more"));
    }
    Ok(File::from(fd))
}

/// What is there under a name; `None` if nothing is.
pub(crate) fn look(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<Meta>> {
    match statx(dir, c_name(name)?, AtFlags::SYMLINK_NOFOLLOW, WANTED) {
        Ok(stat) => Ok(Some(Meta::new(&stat))),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What an open file is.
pub(crate) fn look_open<F: AsFd>(file: F) -> io::Result<Meta> {
    Ok(Meta::new(&statx(file, c"", AtFlags::EMPTY_PATH, WANTED)?))
}

/// Where a symbolic link points.
pub(crate) fn read_link(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(dir, c_name(name)?, Vec::new())?.into_bytes())
}

/// The names in a directory, sorted; at most `most` of them (unsorted rest left out).
pub(crate) fn names(dir: BorrowedFd<'_>, most: usize) -> io::Result<Vec<Vec<u8>>> {
    let mut out = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if is_entry(entry.file_name()) {
            out.push(entry.file_name().to_bytes().to_vec());
        }
        if out.len() >= most {
            break;
        }
    }
    out.sort_unstable();
    Ok(out)
}

/// Whether a name is neither `.` nor `..`.
pub(crate) fn is_entry(name: &CStr) -> bool {
    !matches!(name.to_bytes(), b"." | b"..")
}

/// Changes the mode of exactly this entry, if it still is the one that was looked at.
pub(crate) fn chmod_exact(
    dir: BorrowedFd<'_>,
    name: &[u8],
    seen: Option<(u64, u64)>,
    mode: u32,
) -> io::Result<()> {
    let fd = open_at(dir, name, OFlags::PATH)?;
    let meta = look_open(&fd)?;
    if meta.node == Node::Symlink || seen.is_some_and(|seen| seen != meta.device) {
        return Err(io::Error::other("it was replaced meanwhile"));
    }
    // `fchmod` refuses an O_PATH descriptor; its magic link leads to exactly the same inode.
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    Ok(rustix::fs::chmod(link, Mode::from_raw_mode(mode))?)
}

/// Splits a relative path into its parent (empty at the top) and its name.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
        None => (b"", path),
    }
}

/// A relative path with one more name.
pub(crate) fn join(prefix: &[u8], name: &[u8]) -> Vec<u8> {
    if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
}

/// Whether `path` is `above` or lies beneath it.
pub(crate) fn is_within(path: &[u8], above: &[u8]) -> bool {
    above.is_empty()
        || path
            .strip_prefix(above)
            .is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
}

/// What lies beneath a path, as a range of an ordered set of paths.
pub(crate) fn below(path: &[u8]) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    match path {
        [] => (Bound::Excluded(Vec::new()), Bound::Unbounded),
        // The byte behind `/` is `0`.
        path => (Bound::Excluded([path, b"/"].concat()), Bound::Excluded([path, b"0"].concat())),
    }
}
