//! What a notified call is about to change: the calls of [`super::Options::notify_writes`], with the
//! names that they give read from the caller's memory.
//!
//! For keeping what a change replaces. The caller can change its memory after it was read here, so
//! nothing of it must ever decide whether something is allowed.

use super::limits::REMOTE_STRING_BYTES;
use super::notify::Notification;
use super::remote::{RemoteError, read_string};

/// `AT_FDCWD` (`linux/fcntl.h`).
const AT_FDCWD: i32 = libc::AT_FDCWD;
const NOFOLLOW: u32 = libc::AT_SYMLINK_NOFOLLOW as u32;
const RENAME_EXCHANGE: u32 = libc::RENAME_EXCHANGE;
/// Flags of open(2); `O_TMPFILE` by the bit that is not `O_DIRECTORY`.
const OPEN_NO_FOLLOW: u32 = libc::O_NOFOLLOW as u32;
const OPEN_EXCLUSIVE: u32 = (libc::O_CREAT | libc::O_EXCL) as u32;
const OPEN_UNNAMED: u32 = 0o20_000_000;
const OPEN_PATH: u32 = libc::O_PATH as u32;

/// A name as a caller gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The caller's descriptor that the path starts at; `None`: its working directory.
    pub directory: Option<i32>,
    /// The path, any bytes.
    pub path: Vec<u8>,
    /// Whether a link in the last place is followed.
    pub follow: bool,
}

/// What a call is about to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changing {
    /// Nothing that has a name.
    Nothing,
    /// A file is opened for writing, truncated or made.
    Content(Named),
    /// Something is made where nothing is.
    New(Named),
    /// What there is gets a further name where nothing is.
    Linked(Named),
    /// A name goes.
    Removed(Named),
    /// A name is moved.
    Moved {
        /// From where.
        from: Named,
        /// To where.
        to: Named,
        /// Whether the two change places.
        exchange: bool,
    },
    /// Permission bits of what has this name.
    Mode(Named),
    /// Permission bits of what this descriptor of the caller stands for.
    ModeOf(i32),
}

impl Changing {
    /// The names that the call gives.
    pub fn names(&self) -> impl Iterator<Item = &Named> {
        let (one, other) = match self {
            Self::Nothing | Self::ModeOf(_) => (None, None),
            Self::Content(named)
            | Self::New(named)
            | Self::Linked(named)
            | Self::Removed(named)
            | Self::Mode(named) => (Some(named), None),
            Self::Moved { from, to, .. } => (Some(from), Some(to)),
        };
        one.into_iter().chain(other)
    }
}

/// Reads what a notified call is about to change; `None` for a call that changes no file.
///
/// # Errors
/// [`RemoteError`]: the caller is gone, or its path is in no memory of its own; the call fails then.
pub fn read_change(seen: &Notification) -> Result<Option<Changing>, RemoteError> {
    if seen.pid == 0 {
        return Err(RemoteError::Invisible);
    }
    let arguments = Arguments { pid: seen.pid, args: &seen.data.args };
    let nr = i64::from(seen.data.nr);
    #[cfg(target_arch = "x86_64")]
    if let Some(changing) = arguments.older(nr)? {
        return Ok(Some(changing));
    }
    arguments.current(nr)
}

struct Arguments<'a> {
    pid: u32,
    args: &'a [u64; 6],
}

impl Arguments<'_> {
    /// The low half of an argument, as the kernel reads an `int`.
    fn int(&self, n: usize) -> u32 {
        self.args.get(n).copied().unwrap_or(0) as u32
    }

    fn path(&self, directory: i32, n: usize, follow: bool) -> Result<Named, RemoteError> {
        let address = self.args.get(n).copied().unwrap_or(0);
        let path = read_string(self.pid, address, REMOTE_STRING_BYTES)?.bytes;
        Ok(Named { directory: (directory != AT_FDCWD).then_some(directory), path, follow })
    }

    /// The path in argument `n`, from the working directory.
    #[cfg(target_arch = "x86_64")]
    fn here(&self, n: usize, follow: bool) -> Result<Named, RemoteError> {
        self.path(AT_FDCWD, n, follow)
    }

    /// The path in argument `n`, from the directory in the argument before it.
    fn at(&self, n: usize, follow: bool) -> Result<Named, RemoteError> {
        self.path(self.int(n - 1).cast_signed(), n, follow)
    }

    fn open(&self, named: Named, flags: u32) -> Changing {
        if flags & (OPEN_UNNAMED | OPEN_PATH) != 0 {
            return Changing::Nothing;
        }
        if flags & OPEN_EXCLUSIVE == OPEN_EXCLUSIVE {
            return Changing::New(Named { follow: false, ..named });
        }
        Changing::Content(Named { follow: flags & OPEN_NO_FOLLOW == 0, ..named })
    }

    fn current(&self, nr: i64) -> Result<Option<Changing>, RemoteError> {
        Ok(Some(match nr {
            libc::SYS_openat => self.open(self.at(1, true)?, self.int(2)),
            libc::SYS_mkdirat | libc::SYS_mknodat => Changing::New(self.at(1, false)?),
            libc::SYS_symlinkat => Changing::New(self.at(2, false)?),
            libc::SYS_linkat => Changing::Linked(self.at(3, false)?),
            libc::SYS_unlinkat => Changing::Removed(self.at(1, false)?),
            libc::SYS_renameat => self.moved(0)?,
            libc::SYS_renameat2 => self.moved(self.int(4))?,
            libc::SYS_truncate => Changing::Content(self.path(AT_FDCWD, 0, true)?),
            libc::SYS_fchmod => Changing::ModeOf(self.int(0).cast_signed()),
            libc::SYS_fchmodat => Changing::Mode(self.at(1, true)?),
            libc::SYS_fchmodat2 => Changing::Mode(self.at(1, self.int(3) & NOFOLLOW == 0)?),
            _ => return Ok(None),
        }))
    }

    fn moved(&self, flags: u32) -> Result<Changing, RemoteError> {
        let exchange = flags & RENAME_EXCHANGE != 0;
        Ok(Changing::Moved { from: self.at(1, false)?, to: self.at(3, false)?, exchange })
    }

    /// Calls without a directory, which newer architectures do not have.
    #[cfg(target_arch = "x86_64")]
    fn older(&self, nr: i64) -> Result<Option<Changing>, RemoteError> {
        Ok(Some(match nr {
            libc::SYS_open => self.open(self.here(0, true)?, self.int(1)),
            libc::SYS_creat => Changing::Content(self.here(0, true)?),
            libc::SYS_mkdir | libc::SYS_mknod => Changing::New(self.here(0, false)?),
            libc::SYS_symlink => Changing::New(self.here(1, false)?),
            libc::SYS_link => Changing::Linked(self.here(1, false)?),
            libc::SYS_unlink | libc::SYS_rmdir => Changing::Removed(self.here(0, false)?),
            libc::SYS_rename => Changing::Moved {
                from: self.here(0, false)?,
                to: self.here(1, false)?,
                exchange: false,
            },
            libc::SYS_chmod => Changing::Mode(self.here(0, true)?),
            _ => return Ok(None),
        }))
    }
}
