//! What a notified call would change of a file's mode or times, read out of the caller.
//!
//! The caller can change its memory meanwhile, so such a call is never let go on: whoever answers
//! makes the change itself, on a file that it has looked at.

use super::limits::REMOTE_STRING_BYTES;
use super::notify::{Listener, Notification, NotifyError};
use super::remote::{RemoteError, RemoteString, read_exactly, read_string};

/// Which file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Descriptor in the caller; none for its working directory.
    pub directory: Option<i32>,
    /// Path as given; none for the descriptor itself.
    pub path: Option<RemoteString>,
    /// Whether a link at the end of the path is followed.
    pub follow: bool,
}

/// What is to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Permission bits.
    Mode(u32),
    /// Access and modification time as seconds and nanoseconds; none is now.
    Times(Option<[(i64, i64); 2]>),
}

/// Whether a call is one that [`read_inode`] reads.
#[must_use]
pub fn is_inode(number: u32) -> bool {
    let number = i64::from(number);
    #[cfg(target_arch = "x86_64")]
    if number == libc::SYS_chmod {
        return true;
    }
    [libc::SYS_fchmod, libc::SYS_fchmodat, SYS_FCHMODAT2, libc::SYS_utimensat].contains(&number)
}

/// Linux 6.6; the same number on every architecture.
const SYS_FCHMODAT2: i64 = 452;

/// Reads one call, and checks that the notification still stands.
///
/// # Errors
/// [`RemoteError::Notify`] if it does not; [`RemoteError::NotInode`] for another call or odd flags.
pub fn read_inode(
    listener: &Listener,
    seen: &Notification,
) -> Result<(Target, Change), RemoteError> {
    if seen.pid == 0 {
        return Err(RemoteError::Invisible);
    }
    let args = &seen.data.args;
    let other = || RemoteError::NotInode(seen.data.nr);
    // The kernel reads descriptors, flags and modes as their low halves.
    let (directory, path, flags, change) = match i64::from(seen.data.nr) {
        #[cfg(target_arch = "x86_64")]
        libc::SYS_chmod => (libc::AT_FDCWD, Some(args[0]), 0, Change::Mode(args[1] as u32)),
        libc::SYS_fchmod => (args[0] as i32, None, 0, Change::Mode(args[1] as u32)),
        libc::SYS_fchmodat => (args[0] as i32, Some(args[1]), 0, Change::Mode(args[2] as u32)),
        SYS_FCHMODAT2 => {
            (args[0] as i32, Some(args[1]), args[3] as i32, Change::Mode(args[2] as u32))
        }
        libc::SYS_utimensat => {
            let times = read_times(seen.pid, args[2])?;
            let path = (args[1] != 0).then_some(args[1]);
            (args[0] as i32, path, args[3] as i32, Change::Times(times))
        }
        _ => return Err(other()),
    };
    if flags & !(libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH) != 0 {
        return Err(other());
    }
    let mut path =
        path.map(|address| read_string(seen.pid, address, REMOTE_STRING_BYTES)).transpose()?;
    if flags & libc::AT_EMPTY_PATH != 0 && path.as_ref().is_some_and(|path| path.bytes.is_empty()) {
        path = None;
    }
    if !listener.id_valid(seen.id)? {
        return Err(NotifyError::Gone.into());
    }
    let directory = (directory != libc::AT_FDCWD).then_some(directory);
    let follow = flags & libc::AT_SYMLINK_NOFOLLOW == 0;
    Ok((Target { directory, path, follow }, change))
}

/// Two `struct timespec` at an address that may be null.
fn read_times(pid: u32, address: u64) -> Result<Option<[(i64, i64); 2]>, RemoteError> {
    if address == 0 {
        return Ok(None);
    }
    let mut words = [0i64; 4];
    for (index, word) in (0u64..).zip(&mut words) {
        let mut bytes = [0u8; 8];
        read_exactly(pid, address.wrapping_add(8 * index), &mut bytes)?;
        *word = i64::from_ne_bytes(bytes);
    }
    let [access, access_ns, change, change_ns] = words;
    Ok(Some([(access, access_ns), (change, change_ns)]))
}
