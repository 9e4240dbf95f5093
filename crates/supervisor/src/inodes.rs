//! Changes of modes and times in the Landlock tier, which Landlock does not guard: made here, for the
//! agent, on files that lie in its writable places and are its own. The call itself never goes on.
//! In a `pair` workspace the keeper answers, which has kept what was there before.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ringfence_model::boundary::{Access, Boundary, MountKind};
use ringfence_sys::seccomp::inode::{Change, Target, read_inode};
use ringfence_sys::seccomp::notify::{Listener, Notification};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::limits::INODE_PATH_BYTES;

/// Answers one notified call.
pub fn answer(boundary: &Boundary, listener: &Listener, seen: &Notification) {
    let result = read_inode(listener, seen)
        .map_err(|_| Errno::PERM)
        .and_then(|(target, change)| make(boundary, listener, seen, &target, change));
    // A caller that was killed meanwhile needs no answer.
    let _ = match result {
        Ok(()) => listener.respond_done(seen.id),
        Err(errno) => {
            listener.respond_errno(seen.id, u16::try_from(errno.raw_os_error()).unwrap_or(EPERM))
        }
    };
}

const EPERM: u16 = 1;

fn make(
    boundary: &Boundary,
    listener: &Listener,
    seen: &Notification,
    target: &Target,
    change: Change,
) -> Result<(), Errno> {
    let file = open(seen.pid, target)?;
    // What was opened through the caller's number belongs to the caller only while it still waits.
    if !listener.id_valid(seen.id).unwrap_or(false) {
        return Err(Errno::SRCH);
    }
    let own = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let place = std::fs::read_link(&own).map_err(errno)?;
    let stat = rustix::fs::fstat(&file)?;
    if !writable(boundary, &place) || stat.st_uid != boundary.identity.outside_uid {
        return Err(Errno::PERM);
    }
    match change {
        Change::Mode(bits) => {
            if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_symlink() {
                return Err(Errno::OPNOTSUPP);
            }
            rustix::fs::chmodat(CWD, &own, mode(bits), AtFlags::empty())
        }
        Change::Times(times) => {
            rustix::fs::utimensat(&file, "", &timestamps(times), AtFlags::EMPTY_PATH)
        }
    }
}

/// No set-id bit, whatever the filter has let through.
fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits & 0o1777)
}

fn timestamps(times: Option<[(i64, i64); 2]>) -> Timestamps {
    let now = (0, rustix::fs::UTIME_NOW);
    let [access, change] = times.unwrap_or([now, now]);
    let spec = |(tv_sec, tv_nsec): (i64, i64)| Timespec { tv_sec, tv_nsec };
    Timestamps { last_access: spec(access), last_modification: spec(change) }
}

/// The file that the caller means, without looking into it. Links of `/proc` that lead anywhere would
/// be this process's own, so they are not followed.
fn open(pid: u32, target: &Target) -> Result<OwnedFd, Errno> {
    let here = OFlags::PATH | OFlags::CLOEXEC;
    let base = match (target.directory, &target.path) {
        (_, Some(path)) if path.bytes.starts_with(b"/") => PathBuf::from("/"),
        (None, _) => format!("/proc/{pid}/cwd").into(),
        (Some(number), _) => format!("/proc/{pid}/fd/{number}").into(),
    };
    let base = rustix::fs::open(&base, here, Mode::empty())?;
    let Some(path) = &target.path else { return Ok(base) };
    if path.truncated || path.bytes.len() > INODE_PATH_BYTES {
        return Err(Errno::NAMETOOLONG);
    }
    let flags = if target.follow { here } else { here | OFlags::NOFOLLOW };
    let resolve = ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(&base, OsStr::from_bytes(&path.bytes), flags, Mode::empty(), resolve)
}

fn writable(boundary: &Boundary, path: &Path) -> bool {
    boundary.mounts.iter().any(|mount| {
        matches!(mount.kind, MountKind::Bind { access: Access::ReadWrite, .. })
            && path.starts_with(&mount.target)
    })
}

fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::PERM)
}
