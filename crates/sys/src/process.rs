//! Making, marking and replacing processes: what rustix leaves to `libc`.
//!
//! The functions that fork must only be called by a single-threaded process: a fork of a
//! multi-threaded one may hold locks that nobody will ever release.

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use rustix::process::Pid;

/// Namespaces that a new process gets of its own, as `CLONE_NEW*` bits of `clone(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespaces(u64);

impl Namespaces {
    /// None: an ordinary fork.
    pub const NONE: Self = Self(0);
    /// Only a user namespace.
    pub const USER: Self = Self(libc::CLONE_NEWUSER as u64);
    /// Only a mount namespace.
    pub const MOUNT: Self = Self(libc::CLONE_NEWNS as u64);
    /// User, mount, process id, network, IPC, host name and cgroup.
    pub const ALL: Self = Self(
        (libc::CLONE_NEWUSER
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS
            | libc::CLONE_NEWCGROUP) as u64,
    );
}

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Side {
    /// The new process.
    Child,
    /// The old one, with the new one's id and a descriptor that stands for it.
    Parent {
        /// Process id as the parent sees it.
        pid: Pid,
        /// The process, immune to id reuse (`pidfd_open(2)`); close-on-exec.
        pidfd: OwnedFd,
    },
}

/// The argument of `clone3(2)`, version 0 (64 bytes, Linux 5.3).
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// Forks into new namespaces with `clone3(2)`, or with `clone(2)` where a filter hides that.
///
/// # Errors
/// `EPERM` where user namespaces are switched off, `ENOSPC` where their number is used up,
/// `EAGAIN` where the process limit is reached.
pub fn fork_into(namespaces: Namespaces) -> io::Result<Side> {
    let mut pidfd: RawFd = -1;
    let arguments = CloneArgs {
        flags: namespaces.0 | libc::CLONE_PIDFD as u64,
        pidfd: std::ptr::from_mut(&mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    // SAFETY: the structure is valid for its size; without CLONE_VM and with no stack given this
    // is a plain fork of a single-threaded process (the module's contract), so both sides go on
    // with a whole copy of memory.
    let mut result =
        unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArgs>()) };
    if result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS) {
        // Filters of container engines hide clone3, whose flags they cannot see, and answer the old
        // call with what they really refuse.
        result = old_clone(namespaces, &mut pidfd);
    }
    match result {
        0 => Ok(Side::Child),
        pid if pid > 0 => {
            let raw = i32::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
            let pid = Pid::from_raw(raw).ok_or(io::Error::from_raw_os_error(libc::ESRCH))?;
            // SAFETY: the kernel stored a fresh descriptor, which nothing else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Side::Parent { pid, pidfd })
        }
        _ => Err(io::Error::last_os_error()),
    }
}

/// The same with `clone(2)`, which has had process descriptors since Linux 5.2.
fn old_clone(namespaces: Namespaces, pidfd: &mut RawFd) -> libc::c_long {
    let flags = namespaces.0 | libc::CLONE_PIDFD as u64 | libc::SIGCHLD as u64;
    let none = std::ptr::null_mut::<c_int>();
    // SAFETY: as for clone3: no CLONE_VM and no stack, a plain fork; the kernel stores the
    // descriptor where the third argument points on every architecture.
    unsafe { libc::syscall(libc::SYS_clone, flags, none, std::ptr::from_mut(pidfd), none, none) }
}

/// Enters one namespace of another process (`setns(2)`). Only for a forked, single-threaded child.
///
/// # Errors
/// `EPERM` without the right over the namespace, `EINVAL` for another kind than `kind`.
pub fn enter_namespace(namespace: BorrowedFd<'_>, kind: Namespaces) -> io::Result<()> {
    let kind = c_int::try_from(kind.0).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: plain numbers; the caller's contract makes the change safe for memory.
    let result = unsafe { libc::setns(namespace.as_raw_fd(), kind) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Leaves the process at once: no destructors, no buffers flushed. For forked children.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions and does not return.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor above standard error except those in `keep`.
///
/// # Errors
/// What `close_range(2)` says (`ENOSYS` below Linux 5.9).
pub fn close_all_but(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<u32> =
        keep.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).collect();
    kept.sort_unstable();
    let mut first = 3u32;
    for fd in kept {
        if fd > first {
            close_range(first, fd - 1, 0)?;
        }
        first = first.max(fd + 1);
    }
    close_range(first, u32::MAX, 0)
}

/// Marks every descriptor above standard error close-on-exec.
///
/// # Errors
/// What `close_range(2)` says (`EINVAL` below Linux 5.11).
pub fn cloexec_all() -> io::Result<()> {
    close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: u32, last: u32, flags: u32) -> io::Result<()> {
    // SAFETY: plain numbers. The callers run in a forked child that owns the whole table and
    // uses only the descriptors that it keeps.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes `source` the standard descriptor `number` (0, 1 or 2), inherited over exec.
///
/// # Errors
/// What `dup2(2)` says.
pub fn set_standard(source: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    debug_assert!((0..3).contains(&number));
    if source.as_raw_fd() == number {
        // SAFETY: plain numbers; clears close-on-exec, which dup2 onto itself would not.
        let result = unsafe { libc::fcntl(number, libc::F_SETFD, 0) };
        return if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    }
    // SAFETY: `source` is open; the target is one of the three standard numbers, which no
    // `OwnedFd` of ours stands for in the forked child that calls this.
    let result = unsafe { libc::dup2(source.as_raw_fd(), number) };
    if result >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A program with arguments and environment, laid out before the fork's last steps so that
/// nothing needs to be allocated between the filter and the exec.
#[derive(Debug)]
pub struct Program {
    candidates: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Program {
    /// `candidates` are tried in order; `arguments` includes the zeroth.
    #[must_use]
    pub fn new(
        candidates: Vec<CString>,
        arguments: Vec<CString>,
        environment: Vec<CString>,
    ) -> Self {
        Self { candidates, arguments, environment }
    }

    /// Becomes the program. Returns only on failure: the error of the last candidate that exists
    /// (as `execvp(3)` does: `EACCES` is remembered over `ENOENT`).
    #[must_use]
    pub fn become_it(&self) -> io::Error {
        let pointers = |list: &[CString]| -> Vec<*const c_char> {
            list.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
        };
        let (arguments, environment) = (pointers(&self.arguments), pointers(&self.environment));
        let mut remembered = io::Error::from_raw_os_error(libc::ENOENT);
        for candidate in &self.candidates {
            // SAFETY: all three are NUL-terminated and outlive the call; the arrays end in null.
            unsafe { libc::execve(candidate.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                Some(libc::EACCES) => remembered = error,
                _ => return error,
            }
        }
        remembered
    }
}

/// Where the kernel put this process's arguments, remembered before `main`.
static ARGUMENTS: AtomicPtr<*mut c_char> = AtomicPtr::new(std::ptr::null_mut());
static ARGUMENT_COUNT: AtomicUsize = AtomicUsize::new(0);

extern "C" fn remember_arguments(count: c_int, arguments: *mut *mut c_char, _: *mut *mut c_char) {
    ARGUMENTS.store(arguments, Ordering::Relaxed);
    ARGUMENT_COUNT.store(usize::try_from(count).unwrap_or(0), Ordering::Relaxed);
}

// SAFETY: glibc calls the functions of this section with (argc, argv, envp) before `main`; the
// function only stores two words.
#[unsafe(link_section = ".init_array")]
#[used]
static REMEMBER: extern "C" fn(c_int, *mut *mut c_char, *mut *mut c_char) = remember_arguments;

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// Overwrites this process's command line and environment, so that a fork holds neither the
/// user's secrets nor anything for `/proc/PID/cmdline` and `/proc/PID/environ` to show.
///
/// The first argument becomes `title`, as far as it fits.
///
/// # Safety contract kept by the caller
/// Only for a forked, single-threaded child that reads neither arguments nor environment again.
pub fn scrub_arguments_and_environment(title: &CStr) {
    let arguments = ARGUMENTS.load(Ordering::Relaxed);
    let count = ARGUMENT_COUNT.load(Ordering::Relaxed);
    // SAFETY: argv as the kernel and glibc laid it out, `count` valid pointers to writable
    // NUL-terminated strings; single-threaded by contract, so nobody reads them meanwhile.
    unsafe {
        let mut room = 0usize;
        for index in 0..count {
            let text = *arguments.add(index);
            let length = libc::strlen(text);
            room += length + 1;
            libc::memset(text.cast(), 0, length);
        }
        if count > 0 {
            let bytes = title.to_bytes();
            let fits = bytes.len().min(room.saturating_sub(1));
            libc::memcpy((*arguments).cast(), bytes.as_ptr().cast(), fits);
        }
    }
    // SAFETY: `environ` is glibc's null-terminated array of writable strings (nothing in this
    // program calls setenv); afterwards it is empty, so that nobody sees the wiped strings.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let length = libc::strlen(*entry);
            libc::memset((*entry).cast(), 0, length);
            entry = entry.add(1);
        }
        if !environ.is_null() {
            *environ = std::ptr::null_mut();
        }
    }
}

/// Blocks `SIGCHLD` and returns a descriptor that becomes readable when a child has died.
///
/// # Errors
/// What `sigprocmask(2)` or `signalfd(2)` says.
pub fn child_signals() -> io::Result<OwnedFd> {
    signals(&[libc::SIGCHLD])
}

/// Blocks signals and returns a descriptor that becomes readable when one is pending
/// (signalfd(2)); non-blocking, close-on-exec.
///
/// # Errors
/// What `sigprocmask(2)` or `signalfd(2)` says.
pub fn signals(numbers: &[c_int]) -> io::Result<OwnedFd> {
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: initialised on the line above.
    let mut set = unsafe { set.assume_init() };
    for number in numbers {
        // SAFETY: a valid set; an invalid number is an error that the next calls do not depend on.
        unsafe { libc::sigaddset(&raw mut set, *number) };
    }
    // SAFETY: a valid set, and nowhere to store the old one.
    let blocked =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    if blocked != 0 {
        return Err(io::Error::from_raw_os_error(blocked));
    }
    // SAFETY: a valid set; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Reads all pending signals from a descriptor of [`signals`]; their numbers.
pub fn drain_signals(descriptor: &OwnedFd) -> Vec<i32> {
    const RECORD: usize = size_of::<libc::signalfd_siginfo>();
    let mut numbers = Vec::new();
    let mut buffer = [0u8; RECORD * 8];
    while let Ok(read) = rustix::io::read(descriptor, &mut buffer[..]) {
        for record in buffer.get(..read).unwrap_or_default().chunks_exact(RECORD) {
            if let Some(Ok(first)) = record.get(..4).map(TryInto::try_into) {
                numbers.push(u32::from_ne_bytes(first).cast_signed());
            }
        }
        if read == 0 {
            break;
        }
    }
    numbers
}

/// Gives every signal its default action and blocks none, as a program expects it at its start.
///
/// # Errors
/// What `sigprocmask(2)` says.
pub fn reset_signals() -> io::Result<()> {
    for number in 1..=64 {
        // SAFETY: sets a default action; EINVAL for SIGKILL, SIGSTOP and libc's own is harmless.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
    let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set before `pthread_sigmask` reads it.
    let result = unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

/// Gives up every capability for good: bounding, ambient, effective, permitted, inheritable.
///
/// # Errors
/// What `prctl(2)` or `capset(2)` says.
pub fn drop_all_capabilities() -> io::Result<()> {
    // Linux knows 41 capabilities today; EINVAL marks the end of what this kernel knows.
    for capability in 0..64 {
        // SAFETY: plain numbers.
        let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        if result != 0 {
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINVAL) => break,
                // Without CAP_SETPCAP the bounding set stays, which no_new_privs makes inert.
                Some(libc::EPERM) => break,
                _ => return Err(error),
            }
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    let none = rustix::thread::CapabilitySet::empty();
    let sets =
        rustix::thread::CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets)?;
    Ok(())
}

/// Waits for exactly this child and returns its status as a shell shows it (128 + n for a signal).
///
/// # Errors
/// What `waitid(2)` says.
pub fn wait_code(pidfd: BorrowedFd<'_>) -> io::Result<i32> {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    loop {
        match waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {
            Ok(Some(status)) => {
                return Ok(match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => code,
                    (None, Some(signal)) => 128 + signal,
                    (None, None) => 255,
                });
            }
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
