//! Executed programs as the listener sees them, and strings of other processes within limits.

use super::kernel::{in_child, no_new_privs, pipe, raw, wait};
use super::*;
use ringfence_sys::seccomp::install;
use ringfence_sys::seccomp::limits::{REMOTE_ARGUMENTS, REMOTE_ARGV_BYTES, REMOTE_STRING_BYTES};
use ringfence_sys::seccomp::notify::{Listener, NotifyError, Readiness};
use ringfence_sys::seccomp::remote::{RemoteError, read_argv, read_exec, read_string};
use std::ffi::{CStr, CString};
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

const SOON: Option<Duration> = Some(Duration::from_secs(60));

extern "C" fn ignore(_: i32) {}

/// A child under a notifying filter that executes `path` with `argv`, and its listener.
/// The child's exit code is the errno of a failed execve.
fn executing(path: &'static CStr, argv: &[&'static CStr]) -> (libc::pid_t, Listener) {
    let program = compile(Options { notify_exec: true, ..PLAIN }, Arch::NATIVE).unwrap();
    let pointers: Vec<_> = argv.iter().map(|a| a.as_ptr()).chain([ptr::null()]).collect();
    let (mut reader, writer) = pipe();
    let (go, went) = pipe();
    let pid = in_child(|| {
        // SAFETY: the handler does nothing; exec resets it.
        unsafe { libc::signal(libc::SIGUSR1, ignore as *const () as libc::sighandler_t) };
        no_new_privs();
        let fd = match install(&program, true) {
            Ok(Some(fd)) => fd.into_raw_fd(),
            _ => return 250,
        };
        let bytes = ptr::from_ref(&fd) as u64;
        raw(libc::SYS_write, [writer as u64, bytes, 4, 0, 0, 0]);
        // Closing our copy leaves the listener to the parent alone, once it has taken it.
        let mut byte = 0u8;
        let into = ptr::from_mut(&mut byte) as u64;
        raw(libc::SYS_read, [go.as_raw_fd() as u64, into, 1, 0, 0, 0]);
        raw(libc::SYS_close, [fd as u64, 0, 0, 0, 0, 0]);
        let (path, argv) = (path.as_ptr() as u64, pointers.as_ptr() as u64);
        -raw(libc::SYS_execve, [path, argv, 0, 0, 0, 0]) as i32
    });
    // SAFETY: our copy of the write end.
    unsafe { libc::close(writer) };
    let mut number = [0; 4];
    reader.read_exact(&mut number).unwrap();
    let remote = i32::from_ne_bytes(number);
    // As a child's parent this process may take its descriptors.
    let pidfd = raw(libc::SYS_pidfd_open, [pid as u64, 0, 0, 0, 0, 0]);
    assert!(pidfd >= 0);
    let local = raw(libc::SYS_pidfd_getfd, [pidfd as u64, remote as u64, 0, 0, 0, 0]);
    assert!(local >= 0, "pidfd_getfd: {local}");
    // SAFETY: our own end of the pipe; one byte tells the child to go on.
    unsafe { libc::write(went, b"!".as_ptr().cast(), 1) };
    // SAFETY: our own end of the pipe.
    unsafe { libc::close(went) };
    // SAFETY: both descriptors are new and ours.
    let (_pidfd, fd) =
        unsafe { (OwnedFd::from_raw_fd(pidfd as i32), OwnedFd::from_raw_fd(local as i32)) };
    (pid, Listener::new(fd).unwrap())
}

/// The exec is seen with path and arguments and goes on.
#[test]
fn exec_is_seen_and_continues() {
    let (pid, listener) = executing(c"/bin/sh", &[c"sh", c"-c", c"exit 7"]);
    assert_eq!(listener.wait(SOON).unwrap(), Readiness::Pending);
    let seen = listener.receive().unwrap();
    assert_eq!(seen.pid, pid.cast_unsigned());
    assert_eq!(seen.data.arch, Arch::NATIVE.audit());
    let exec = read_exec(&listener, &seen).unwrap();
    assert_eq!(exec.path.bytes, b"/bin/sh");
    assert_eq!(exec.argv.arguments, [&b"sh"[..], b"-c", b"exit 7"]);
    assert!(!exec.argv.truncated && !exec.path.truncated && exec.directory.is_none());
    assert!(listener.id_valid(seen.id).unwrap());
    listener.respond_continue(seen.id).unwrap();
    assert_eq!(wait(pid).code(), Some(7));
    assert!(!listener.id_valid(seen.id).unwrap());
    assert_eq!(listener.wait(SOON).unwrap(), Readiness::Closed);
}

#[test]
fn exec_can_be_refused() {
    let (pid, listener) = executing(c"/bin/true", &[c"true"]);
    let seen = listener.receive().unwrap();
    listener.respond_errno(seen.id, libc::EACCES as u16).unwrap();
    assert_eq!(wait(pid).code(), Some(libc::EACCES));
}

/// A caller that died leaves nothing to answer.
#[test]
fn a_dead_caller_is_gone() {
    let (pid, listener) = executing(c"/bin/true", &[c"true"]);
    let seen = listener.receive().unwrap();
    // SAFETY: our own child.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    wait(pid);
    assert!(!listener.id_valid(seen.id).unwrap());
    assert!(matches!(listener.respond_continue(seen.id), Err(NotifyError::Gone)));
    assert!(read_exec(&listener, &seen).is_err());
}

/// A dead supervisor lets nothing through: the waiting exec fails.
#[test]
fn a_closed_listener_fails_the_call() {
    let (pid, listener) = executing(c"/bin/true", &[c"true"]);
    listener.receive().unwrap();
    drop(listener);
    assert_eq!(wait(pid).code(), Some(libc::ENOSYS));
}

/// Whether the kernel can hold signals back while a notification is answered (Linux 5.19).
fn has_wait_killable() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(['.', '-']).map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(5), Some(19))
}

/// A signal with a handler does not void a notification, so an exec is not reported twice.
#[test]
fn signals_wait_for_the_answer() {
    if !has_wait_killable() {
        return;
    }
    let (pid, listener) = executing(c"/bin/true", &[c"true"]);
    let seen = listener.receive().unwrap();
    // SAFETY: our own child.
    unsafe { libc::kill(pid, libc::SIGUSR1) };
    for _ in 0..50 {
        // Long enough for the child to run, were the signal let through.
        std::thread::sleep(Duration::from_millis(1));
        assert!(listener.id_valid(seen.id).unwrap());
    }
    listener.respond_errno(seen.id, libc::EACCES as u16).unwrap();
    assert_eq!(wait(pid).code(), Some(libc::EACCES));
}

fn own_pid() -> u32 {
    std::process::id()
}

#[test]
fn strings_end_at_the_nul_or_the_limit() {
    for len in [0, 1, 4095, 4096, 4097, 10_000] {
        let text = CString::new(vec![b'x'; len]).unwrap();
        let read = read_string(own_pid(), text.as_ptr() as u64, usize::MAX).unwrap();
        assert_eq!(read.bytes.len(), len.min(REMOTE_STRING_BYTES), "{len}");
        assert_eq!(read.truncated, len > REMOTE_STRING_BYTES, "{len}");
    }
    let read = read_string(own_pid(), c"abcdef".as_ptr() as u64, 3).unwrap();
    assert_eq!((read.bytes.as_slice(), read.truncated), (&b"abc"[..], true));
    let read = read_string(own_pid(), c"abc".as_ptr() as u64, 3).unwrap();
    assert_eq!((read.bytes.as_slice(), read.truncated), (&b"abc"[..], false));
}

/// A string that ends where its mapping ends is read; one that runs out of it is an error.
#[test]
fn strings_at_the_end_of_a_mapping() {
    const PAGE: usize = 65_536;
    let (read_write, private) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping.
    let base = unsafe { libc::mmap(ptr::null_mut(), 2 * PAGE, read_write, private, -1, 0) };
    assert_ne!(base, libc::MAP_FAILED);
    // SAFETY: the second half of that mapping; nothing is there.
    unsafe { assert_eq!(libc::mprotect(base.add(PAGE), PAGE, libc::PROT_NONE), 0) };
    // SAFETY: the last bytes of the first half.
    unsafe {
        ptr::copy_nonoverlapping(c"end".as_ptr().cast::<u8>(), base.cast::<u8>().add(PAGE - 4), 4)
    };
    let last = base as u64 + PAGE as u64;
    let read = read_string(own_pid(), last - 4, 100).unwrap();
    assert_eq!(read.bytes, b"end");
    // SAFETY: overwrites the NUL.
    unsafe { base.cast::<u8>().add(PAGE - 1).write(b'!') };
    assert!(matches!(read_string(own_pid(), last - 4, 100), Err(RemoteError::Read { .. })));
    assert!(matches!(read_string(own_pid(), 8, 100), Err(RemoteError::Read { .. })));
    assert!(matches!(read_argv(own_pid(), 8), Err(RemoteError::Read { .. })));
    // SAFETY: ours, and no longer used.
    unsafe { libc::munmap(base, 2 * PAGE) };
}

#[test]
fn argv_stays_within_its_limits() {
    let read = |arguments: &[CString]| {
        let list: Vec<_> = arguments.iter().map(|a| a.as_ptr()).chain([ptr::null()]).collect();
        read_argv(own_pid(), list.as_ptr() as u64).unwrap()
    };
    let of = |len: usize, count: usize| vec![CString::new(vec![b'y'; len]).unwrap(); count];
    assert_eq!(read_argv(own_pid(), 0).unwrap().arguments.len(), 0);
    assert!(!read(&of(3, REMOTE_ARGUMENTS)).truncated);
    let many = read(&of(3, REMOTE_ARGUMENTS + 1));
    assert!(many.truncated && many.arguments.len() == REMOTE_ARGUMENTS);
    let full = read(&of(4096, REMOTE_ARGV_BYTES / 4096));
    assert!(!full.truncated && full.arguments.concat().len() == REMOTE_ARGV_BYTES);
    let large = read(&of(4000, 100));
    assert!(large.truncated && large.arguments.concat().len() == REMOTE_ARGV_BYTES);
    let long = read(&of(5000, 1));
    assert!(long.truncated && long.arguments[0].len() == REMOTE_STRING_BYTES);
}

/// An array that lies across a page boundary at an odd address.
#[test]
fn argv_at_an_odd_address() {
    let mut memory = vec![0u8; 3 * 4096];
    let at = 4096 - (memory.as_ptr() as usize % 4096) + 4096 - 3;
    memory[at..at + 8].copy_from_slice(&(c"odd".as_ptr() as u64).to_ne_bytes());
    let argv = read_argv(own_pid(), memory[at..].as_ptr() as u64).unwrap();
    assert_eq!(argv.arguments, [b"odd"]);
}
