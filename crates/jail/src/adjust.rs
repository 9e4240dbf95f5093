//! Changing the mounts of a running sandbox from outside.
//!
//! A short-lived fork of the (single-threaded) supervisor enters the sandbox's user and mount
//! namespace, changes one thing and is gone. It never enters the process-id namespace, so nothing
//! inside can see or touch it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use ringfence_sys::mounts::{self, Attributes};
use ringfence_sys::process::{Namespaces, Side, enter_namespace, exit_now, fork_into, wait_code};
use rustix::mount::UnmountFlags;

/// The namespaces of a running sandbox, if it has any.
#[derive(Debug)]
pub struct Handle(Option<Own>);

#[derive(Debug)]
struct Own {
    user: OwnedFd,
    mount: OwnedFd,
}

/// One change.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// What is mounted at this place goes away; held descriptors survive.
    Unmount(&'a Path),
    /// What is at this place cannot be renamed any more.
    Pin(&'a Path),
    /// What is at this place becomes read-only and cannot be renamed.
    Hold(&'a Path),
    /// What is at this place is covered by an empty, unreadable thing.
    Mask(&'a Path),
}

impl Handle {
    /// Opens the namespaces of init while it is still building.
    ///
    /// # Errors
    /// What opening `/proc/PID/ns/*` says.
    pub(crate) fn open(pid: rustix::process::Pid) -> io::Result<Self> {
        let open = |name: &str| -> io::Result<OwnedFd> {
            let path = format!("/proc/{}/ns/{name}", pid.as_raw_nonzero());
            Ok(std::fs::File::open(path)?.into())
        };
        Ok(Self(Some(Own { user: open("user")?, mount: open("mnt")? })))
    }

    /// Of a sandbox without namespaces: every change is refused.
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Puts the namespaces (and `others` that are as slow to give up) into the queue of a socket whose reader is about to die, which then pays
    /// for taking them apart. The handle itself must be dropped right after.
    ///
    /// # Errors
    /// What `sendmsg(2)` says; the caller pays then.
    pub fn send_over(&self, socket: &OwnedFd, others: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut all: Vec<BorrowedFd<'_>> =
            self.0.iter().flat_map(|own| [own.mount.as_fd(), own.user.as_fd()]).collect();
        all.extend_from_slice(others);
        ringfence_sys::fdpass::try_send(socket.as_fd(), b"{}", &all)
    }

    /// Makes one change. Must be called by a single-threaded process.
    ///
    /// # Errors
    /// What the kernel says to the change.
    pub fn change(&self, change: Change<'_>) -> io::Result<()> {
        self.changes(&[change])
    }

    /// Makes several changes with one fork, in order, up to the first that fails.
    ///
    /// # Errors
    /// What the kernel says to that change.
    pub fn changes(&self, changes: &[Change<'_>]) -> io::Result<()> {
        let Some(own) = &self.0 else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "tier landlock has no mounts that could be changed",
            ));
        };
        match fork_into(Namespaces::NONE)? {
            Side::Child => {
                let code = match own.enter_and(changes) {
                    Ok(()) => 0,
                    // Error numbers fit an exit status on Linux.
                    Err(error) => error.raw_os_error().unwrap_or(255),
                };
                exit_now(code)
            }
            Side::Parent { pidfd, .. } => match wait_code(pidfd.as_fd())? {
                0 => Ok(()),
                code => Err(io::Error::from_raw_os_error(code)),
            },
        }
    }
}

impl Own {
    fn enter_and(&self, changes: &[Change<'_>]) -> io::Result<()> {
        enter_namespace(self.user.as_fd(), Namespaces::USER)?;
        enter_namespace(self.mount.as_fd(), Namespaces::MOUNT)?;
        let root = mounts::open_place(Path::new("/"))?;
        changes.iter().try_for_each(|change| make(&root, *change))
    }
}

fn make(root: &OwnedFd, change: Change<'_>) -> io::Result<()> {
    match change {
        Change::Unmount(target) => {
            // Nothing but the target's own mount can go away: links are not followed.
            mounts::open_beneath(root.as_fd(), target)?;
            rustix::mount::unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
        }
        Change::Pin(target) => cover(root, target, Attributes::NONE)?,
        Change::Hold(target) => {
            let held = Attributes::READ_ONLY.and(Attributes::NO_SUID).and(Attributes::NO_DEVICES);
            cover(root, target, held)?;
        }
        Change::Mask(target) => {
            let place = match mounts::open_beneath(root.as_fd(), target) {
                Ok(place) => place,
                // What is not there (any more) needs no mask.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            };
            let stat = rustix::fs::fstat(&place)?;
            let directory = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir();
            let void = if directory { "/.ringfence/empty" } else { "/.ringfence/nothing" };
            let void = mounts::open_beneath(root.as_fd(), Path::new(void))?;
            let tree = mounts::detach_copy(void.as_fd())?;
            mounts::set_attributes(tree.as_fd(), Attributes::READ_ONLY, false, None)?;
            mounts::attach(tree.as_fd(), place.as_fd())?;
        }
    }
    Ok(())
}

/// Mounts what is at `target` over itself.
fn cover(root: &OwnedFd, target: &Path, attributes: Attributes) -> io::Result<()> {
    let place = mounts::open_beneath(root.as_fd(), target)?;
    let tree = mounts::detach_copy(place.as_fd())?;
    if attributes != Attributes::NONE {
        mounts::set_attributes(tree.as_fd(), attributes, true, None)?;
    }
    mounts::attach(tree.as_fd(), place.as_fd())
}
