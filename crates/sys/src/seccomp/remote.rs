//! Reads strings and argument lists of another process (process_vm_readv(2)), within limits.
//!
//! For records of what was executed *as seen*: the other process can change its memory at any
//! time, so nothing read here must ever decide anything.

use super::limits::{REMOTE_ARGUMENTS, REMOTE_ARGV_BYTES, REMOTE_READ_BYTES, REMOTE_STRING_BYTES};
use super::notify::{Listener, Notification, NotifyError};
use std::io;

/// Bytes of a pointer in the other process: other ABIs than the 64-bit one are refused.
const POINTER_BYTES: usize = 8;

/// Why memory of another process could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// Not readable: unmapped, gone, or not ours to read.
    #[error(
        "memory of process {pid} at {address:#x} cannot be read; the reader must be an ancestor \
         of the process and own its user namespace"
    )]
    Read {
        /// The process.
        pid: u32,
        /// First address of the failed read.
        address: u64,
        /// The error of process_vm_readv.
        source: io::Error,
    },
    /// The process is not in our pid namespace.
    #[error("the notified process is not visible in this pid namespace")]
    Invisible,
    /// The notification names another syscall.
    #[error("syscall {0} starts no program")]
    NotExec(u32),
    /// The notification names another syscall, or flags that nobody knows.
    #[error("syscall {0} changes no mode and no times in a known way")]
    NotInode(u32),
    /// The notification was void after the read.
    #[error("the notification could not be checked after the read")]
    Notify(#[from] NotifyError),
}

/// Bytes of another process, up to a NUL or a limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteString {
    /// Without the NUL; any bytes, not only UTF-8.
    pub bytes: Vec<u8>,
    /// The limit came before the NUL.
    pub truncated: bool,
}

/// An argument list of another process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoteArgv {
    /// The arguments, at most [`REMOTE_ARGUMENTS`] and [`REMOTE_ARGV_BYTES`] bytes in all.
    pub arguments: Vec<Vec<u8>>,
    /// An argument is missing or cut.
    pub truncated: bool,
}

/// What an execve or execveat named when it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecSeen {
    /// Directory descriptor of execveat, in the caller; none for execve.
    pub directory: Option<i32>,
    /// Path as given, not resolved.
    pub path: RemoteString,
    /// Arguments as given.
    pub argv: RemoteArgv,
}

/// Reads path and arguments of a notified execve or execveat, and checks that the notification
/// still stands, so that what was read is of that process.
///
/// # Errors
/// [`RemoteError::Notify`] with [`NotifyError::Gone`] if it does not stand any more.
pub fn read_exec(listener: &Listener, seen: &Notification) -> Result<ExecSeen, RemoteError> {
    if seen.pid == 0 {
        return Err(RemoteError::Invisible);
    }
    let args = &seen.data.args;
    let (directory, path, argv) = match i64::from(seen.data.nr) {
        libc::SYS_execve => (None, args[0], args[1]),
        // The kernel reads the descriptor as an int: the low half.
        libc::SYS_execveat => (Some(args[0] as i32), args[1], args[2]),
        _ => return Err(RemoteError::NotExec(seen.data.nr)),
    };
    let path = read_string(seen.pid, path, REMOTE_STRING_BYTES);
    let argv = read_argv(seen.pid, argv);
    if !listener.id_valid(seen.id)? {
        return Err(NotifyError::Gone.into());
    }
    Ok(ExecSeen { directory, path: path?, argv: argv? })
}

/// Reads a NUL-terminated string of at most `limit` bytes (and [`REMOTE_STRING_BYTES`]).
///
/// # Errors
/// [`RemoteError::Read`] if the string runs into memory that cannot be read.
pub fn read_string(pid: u32, address: u64, limit: usize) -> Result<RemoteString, RemoteError> {
    let limit = limit.min(REMOTE_STRING_BYTES);
    let mut bytes = Vec::new();
    let mut chunk = [0; REMOTE_READ_BYTES];
    let mut at = address;
    // One byte past the limit, where the NUL of a string of just that length is.
    while bytes.len() <= limit {
        let want = to_page_end(at).min(limit + 1 - bytes.len());
        let part = chunk.get_mut(..want).unwrap_or_default();
        let got = read(pid, at, part)?;
        let part = part.get(..got).unwrap_or_default();
        if let Some(end) = part.iter().position(|byte| *byte == 0) {
            bytes.extend_from_slice(part.get(..end).unwrap_or_default());
            return Ok(RemoteString { bytes, truncated: false });
        }
        bytes.extend_from_slice(part);
        at = at.wrapping_add(got as u64);
    }
    bytes.truncate(limit);
    Ok(RemoteString { bytes, truncated: true })
}

/// Reads a NULL-terminated array of strings. A null `address` is an empty list, as for execve.
///
/// # Errors
/// [`RemoteError::Read`] if the array or a string runs into memory that cannot be read.
pub fn read_argv(pid: u32, address: u64) -> Result<RemoteArgv, RemoteError> {
    let mut argv = RemoteArgv::default();
    let mut room = REMOTE_ARGV_BYTES;
    let mut at = address;
    while at != 0 {
        let pointer = read_pointer(pid, at)?;
        if pointer == 0 {
            break;
        }
        if argv.arguments.len() == REMOTE_ARGUMENTS || room == 0 {
            argv.truncated = true;
            break;
        }
        let argument = read_string(pid, pointer, room)?;
        room -= argument.bytes.len();
        argv.truncated |= argument.truncated;
        argv.arguments.push(argument.bytes);
        at = at.wrapping_add(POINTER_BYTES as u64);
    }
    Ok(argv)
}

/// A pointer may lie across two pages: programs choose where their array is.
fn read_pointer(pid: u32, address: u64) -> Result<u64, RemoteError> {
    let mut bytes = [0; POINTER_BYTES];
    read_exactly(pid, address, &mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Fills `bytes`, page by page.
pub(super) fn read_exactly(pid: u32, address: u64, bytes: &mut [u8]) -> Result<(), RemoteError> {
    let (mut done, length) = (0, bytes.len());
    while done < length {
        let at = address.wrapping_add(done as u64);
        let end = length.min(done + to_page_end(at));
        done += read(pid, at, bytes.get_mut(done..end).unwrap_or_default())?;
    }
    Ok(())
}

/// Bytes from `address` to the end of its page, at least 1.
const fn to_page_end(address: u64) -> usize {
    REMOTE_READ_BYTES - (address as usize % REMOTE_READ_BYTES)
}

/// Reads at least one byte into `buffer`.
fn read(pid: u32, address: u64, buffer: &mut [u8]) -> Result<usize, RemoteError> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec {
        iov_base: std::ptr::without_provenance_mut(address as usize),
        iov_len: buffer.len(),
    };
    // SAFETY: `local` describes `buffer`, which lives through the call; the kernel checks the
    // address of the other process.
    let got = unsafe {
        libc::process_vm_readv(pid.cast_signed(), &raw const local, 1, &raw const remote, 1, 0)
    };
    match usize::try_from(got) {
        Ok(got) if got > 0 => Ok(got),
        Ok(_) => Err(RemoteError::Read {
            pid,
            address,
            source: io::Error::from_raw_os_error(libc::EFAULT),
        }),
        Err(_) => Err(RemoteError::Read { pid, address, source: io::Error::last_os_error() }),
    }
}
