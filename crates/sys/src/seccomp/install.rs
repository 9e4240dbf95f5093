//! Lays a filter on the calling thread (seccomp(2), SECCOMP_SET_MODE_FILTER).
//!
//! Called between fork and exec: it must never allocate, lock or panic.

use crate::bpf::Program;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

const SET_MODE_FILTER: libc::c_ulong = 1;
const FLAG_NEW_LISTENER: libc::c_ulong = 1 << 3;
/// Linux 5.19: a notified syscall can then only be interrupted by a fatal signal, so a signal
/// cannot make the caller repeat what was already answered.
const FLAG_WAIT_KILLABLE_RECV: libc::c_ulong = 1 << 5;

/// Installs `program` for this thread and all that it starts from now on, for good.
///
/// The caller has set `no_new_privs`. With `listener`, the descriptor that answers
/// [`super::Action::Notify`] is returned, close-on-exec; without one those syscalls fail with
/// ENOSYS. Allocates nothing; async-signal-safe.
///
/// # Errors
/// EACCES: `no_new_privs` is not set. EINVAL: the kernel lacks filters or listeners, or the
/// program is too long. EBUSY: a filter with a listener is already there. ENOMEM.
pub fn install(program: &Program, listener: bool) -> io::Result<Option<OwnedFd>> {
    let instructions = program.instructions();
    let Ok(len) = u16::try_from(instructions.len()) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    let fprog = libc::sock_fprog {
        len,
        // `Instruction` is laid out as `sock_filter`; the kernel only reads.
        filter: instructions.as_ptr().cast_mut().cast(),
    };
    if !listener {
        return set_mode_filter(0, &fprog).map(|_| None);
    }
    let fd = match set_mode_filter(FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV, &fprog) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            set_mode_filter(FLAG_NEW_LISTENER, &fprog)?
        }
        other => other?,
    };
    let fd = RawFd::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
}

fn set_mode_filter(flags: libc::c_ulong, fprog: &libc::sock_fprog) -> io::Result<libc::c_long> {
    // SAFETY: `fprog` and the instructions it points to outlive the call, which only reads them.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, std::ptr::from_ref(fprog))
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

const _: () = assert!(size_of::<libc::sock_filter>() == size_of::<crate::bpf::Instruction>());
const _: () = assert!(align_of::<libc::sock_filter>() == align_of::<crate::bpf::Instruction>());

/// Whether this kernel has filters that can hand a call to a listener (`SECCOMP_GET_ACTION_AVAIL`).
#[must_use]
pub fn is_available() -> bool {
    let action: u32 = libc::SECCOMP_RET_USER_NOTIF;
    // SAFETY: the call reads one u32.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action)
    };
    result == 0
}
