//! Attempts that a finished boundary must refuse: the hands of the self-test.
//!
//! Each function tries the forbidden thing for real and says what the kernel answered. None of them
//! changes anything when it is refused; the caller aborts when one succeeds.

use std::ffi::CStr;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

fn outcome(result: libc::c_long) -> io::Result<()> {
    if result >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Tries to open a socket of a family, type and protocol.
///
/// # Errors
/// What the kernel answers: the wanted outcome.
pub fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<()> {
    // SAFETY: plain numbers.
    let fd = unsafe { libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nothing else owns.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}

/// Tries to open a raw IPv4 socket.
///
/// # Errors
/// What the kernel answers: the wanted outcome.
pub fn raw_socket() -> io::Result<()> {
    socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP)
}

/// Tries to open a packet socket.
///
/// # Errors
/// What the kernel answers: the wanted outcome.
pub fn packet_socket() -> io::Result<()> {
    socket(libc::AF_PACKET, libc::SOCK_RAW, 0)
}

/// Tries to make a user namespace.
///
/// # Errors
/// What the kernel answers: the wanted outcome.
pub fn new_user_namespace() -> io::Result<()> {
    // SAFETY: plain numbers; on success the caller aborts the process.
    outcome(unsafe { libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUSER) })
}

/// Tries to mount an in-memory file system over `/tmp`.
///
/// # Errors
/// What the kernel answers: the wanted outcome.
pub fn mount() -> io::Result<()> {
    let (kind, place): (&CStr, &CStr) = (c"tmpfs", c"/tmp");
    // SAFETY: NUL-terminated strings; on success the caller aborts the process.
    outcome(i64::from(unsafe {
        libc::mount(kind.as_ptr(), place.as_ptr(), kind.as_ptr(), 0, std::ptr::null())
    }))
}

/// Tries to set up an io_uring.
///
/// # Errors
/// What the kernel answers: the wanted outcome (`EFAULT` would mean that it got past the filter).
pub fn io_uring() -> io::Result<()> {
    // SAFETY: a null parameter block is only looked at by the kernel.
    outcome(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, std::ptr::null::<u8>()) })
}

/// Tries to connect to an abstract Unix socket.
///
/// # Errors
/// What the kernel answers: the wanted outcome.
pub fn abstract_socket(name: &[u8]) -> io::Result<()> {
    use rustix::net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with,
    };
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new_abstract_name(name)?)?;
    Ok(())
}

/// Tries to make a System V shared memory segment; one that was made is removed.
///
/// # Errors
/// What the kernel answers: the wanted outcome.
pub fn shared_memory() -> io::Result<()> {
    const SIZE: usize = 4096;
    // SAFETY: plain numbers.
    let id = unsafe { libc::shmget(libc::IPC_PRIVATE, SIZE, 0o600) };
    outcome(id.into())?;
    // SAFETY: the segment was made above and is attached nowhere; removal reads no buffer.
    outcome(unsafe { libc::shmctl(id, libc::IPC_RMID, std::ptr::null_mut()) }.into())
}

/// Tries to set a resource limit of another process to what it is.
///
/// # Errors
/// What the kernel answers: the wanted outcome.
pub fn limit_of(process: Option<rustix::process::Pid>) -> io::Result<()> {
    let pid = process.map_or(0, |pid| pid.as_raw_nonzero().get());
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: reads the own limit into a struct of ours.
    outcome(unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) }.into())?;
    // SAFETY: the kernel reads one struct of ours and writes none.
    outcome(
        unsafe { libc::prlimit(pid, libc::RLIMIT_CORE, &raw const limit, std::ptr::null_mut()) }
            .into(),
    )
}
