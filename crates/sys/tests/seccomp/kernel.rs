//! The filter in the real kernel: forked children try the calls with and without it.
//!
//! Children run between fork and _exit on raw syscalls alone, since the test process has threads.

use super::*;
use ringfence_sys::seccomp::install;
use std::fs;
use std::io::{Error, Read};
use std::os::fd::FromRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

/// One raw syscall: name for messages, number, arguments.
pub(super) type Call = (&'static str, i64, [u64; 6]);

const NONE: u64 = u64::MAX;
/// More than any list here; results travel in one array on the stack.
const MOST_CALLS: usize = 96;

pub(super) fn raw(nr: i64, a: [u64; 6]) -> i64 {
    // SAFETY: the callers pass calls that fail, or whose pointers are null or live.
    let result = unsafe { libc::syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]) };
    if result < 0 { -i64::from(Error::last_os_error().raw_os_error().unwrap_or(0)) } else { result }
}

pub(super) fn no_new_privs() {
    const PR_SET_NO_NEW_PRIVS: u64 = 38;
    raw(libc::SYS_prctl, [PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0]);
}

/// Forks; the child runs `body`, which must allocate nothing, and exits with its result.
pub(super) fn in_child(body: impl FnOnce() -> i32) -> libc::pid_t {
    // SAFETY: the child only makes syscalls and ends in _exit.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", Error::last_os_error());
    if pid == 0 {
        let code = body();
        // SAFETY: ends the child without running anything of the test process.
        unsafe { libc::_exit(code) };
    }
    pid
}

pub(super) fn wait(pid: libc::pid_t) -> ExitStatus {
    let mut status = 0;
    // SAFETY: `status` lives through the call.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    ExitStatus::from_raw(status)
}

/// A pipe: (read end as a file, raw write end).
pub(super) fn pipe() -> (fs::File, i32) {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for two descriptors.
    let made = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) };
    assert_eq!(made, 0);
    // SAFETY: the descriptor is new and ours.
    (unsafe { fs::File::from_raw_fd(ends[0]) }, ends[1])
}

/// Results (negative errno or value) of `calls` made in one child, under `filter` if given.
pub(super) fn results(calls: &[Call], filter: Option<&Program>) -> Vec<i64> {
    assert!(calls.len() <= MOST_CALLS);
    let (mut reader, writer) = pipe();
    let pid = in_child(|| {
        no_new_privs();
        if filter.is_some_and(|program| install(program, false).is_err()) {
            return 1;
        }
        let mut out = [0i64; MOST_CALLS];
        for ((_, nr, args), slot) in calls.iter().zip(&mut out) {
            *slot = raw(*nr, *args);
        }
        let bytes = (calls.len() * 8) as u64;
        let wrote = raw(libc::SYS_write, [writer as u64, out.as_ptr() as u64, bytes, 0, 0, 0]);
        i32::from(wrote != bytes as i64)
    });
    // SAFETY: our copy of the write end; the child has its own.
    unsafe { libc::close(writer) };
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    let status = wait(pid);
    assert!(status.success(), "child: {status:?}");
    bytes.chunks_exact(8).map(|b| i64::from_ne_bytes(b.try_into().unwrap())).collect()
}

/// Whether the test process is itself filtered, so that the control group proves nothing.
pub(super) fn filtered_already() -> bool {
    fs::read_to_string("/proc/self/status").unwrap().contains("Seccomp:\t2")
}

/// Arguments are such that without the filter nothing happens to the machine, as any user.
fn attacks() -> Vec<(Call, i32)> {
    use libc::*;
    let zero = [0; 6];
    let none = [NONE; 6];
    let bad_fd = |a: u64, b: u64| [NONE, a, b, 0, 0, 0];
    let socket =
        |family: i32, kind: i32, protocol: u64| [family as u64, kind as u64, protocol, 0, 0, 0];
    vec![
        (("mount", SYS_mount, zero), EPERM),
        (("umount2", SYS_umount2, zero), EPERM),
        (("pivot_root", SYS_pivot_root, zero), EPERM),
        (("chroot", SYS_chroot, zero), EPERM),
        (("fsopen", SYS_fsopen, zero), EPERM),
        (("fsmount", SYS_fsmount, none), EPERM),
        (("fsconfig", SYS_fsconfig, none), EPERM),
        (("fspick", SYS_fspick, none), EPERM),
        (("open_tree", SYS_open_tree, bad_fd(0, 0)), EPERM),
        (("open_tree clone", SYS_open_tree, bad_fd(0, 1)), EPERM),
        (("move_mount", SYS_move_mount, none), EPERM),
        (("mount_setattr", SYS_mount_setattr, none), EPERM),
        (("io_uring_setup", SYS_io_uring_setup, zero), EPERM),
        (("io_uring_enter", SYS_io_uring_enter, none), EPERM),
        (("io_uring_register", SYS_io_uring_register, none), EPERM),
        (("bpf", SYS_bpf, [99, 0, 0, 0, 0, 0]), EPERM),
        (("keyctl", SYS_keyctl, [999, 0, 0, 0, 0, 0]), EPERM),
        (("add_key", SYS_add_key, zero), EPERM),
        (("request_key", SYS_request_key, zero), EPERM),
        (("perf_event_open", SYS_perf_event_open, zero), EPERM),
        (("userfaultfd", SYS_userfaultfd, [1 << 20, 0, 0, 0, 0, 0]), EPERM),
        (("kexec_load", SYS_kexec_load, none), EPERM),
        (("init_module", SYS_init_module, zero), EPERM),
        (("finit_module", SYS_finit_module, none), EPERM),
        (("open_by_handle_at", SYS_open_by_handle_at, bad_fd(0, 0)), EPERM),
        (("name_to_handle_at", SYS_name_to_handle_at, bad_fd(0, 0)), EPERM),
        (("setns", SYS_setns, bad_fd(0, 0)), EPERM),
        (("unshare user", SYS_unshare, [CLONE_NEWUSER as u64, 0, 0, 0, 0, 0]), EPERM),
        (("unshare mnt", SYS_unshare, [CLONE_NEWNS as u64, 0, 0, 0, 0, 0]), EPERM),
        // CLONE_NEWUSER with CLONE_FS is EINVAL without a filter: no child starts.
        (("clone user", SYS_clone, [(CLONE_NEWUSER | CLONE_FS) as u64, 0, 0, 0, 0, 0]), EPERM),
        (("clone3", SYS_clone3, zero), ENOSYS),
        (("pidfd_getfd", SYS_pidfd_getfd, none), EPERM),
        (("process_vm_readv", SYS_process_vm_readv, [0; 6]), EPERM),
        (("process_vm_writev", SYS_process_vm_writev, [0; 6]), EPERM),
        (("ptrace", SYS_ptrace, [PTRACE_PEEKDATA as u64, 0, 0, 0, 0, 0]), EPERM),
        (("kcmp", SYS_kcmp, none), EPERM),
        (("swapoff", SYS_swapoff, zero), EPERM),
        (("reboot", SYS_reboot, zero), EPERM),
        (("syslog", SYS_syslog, [99, 0, 0, 0, 0, 0]), EPERM),
        (("acct", SYS_acct, [1, 0, 0, 0, 0, 0]), EPERM),
        (("fanotify_init", SYS_fanotify_init, none), EPERM),
        (("process_madvise", SYS_process_madvise, none), EPERM),
        (("memfd_secret", SYS_memfd_secret, [0xff, 0, 0, 0, 0, 0]), EPERM),
        (("clock_adjtime", SYS_clock_adjtime, none), EPERM),
        (("personality", SYS_personality, [0x44_0000, 0, 0, 0, 0, 0]), EPERM),
        (("prctl mm", SYS_prctl, [35, 99, 0, 0, 0, 0]), EPERM),
        (("seccomp listener", SYS_seccomp, [1, 8, 0, 0, 0, 0]), EPERM),
        (("TIOCSTI", SYS_ioctl, bad_fd(0x5412, 0)), EPERM),
        (("TIOCSTI, bits above", SYS_ioctl, bad_fd(0x1_0000_5412, 0)), EPERM),
        (("TIOCLINUX", SYS_ioctl, bad_fd(0x541c, 0)), EPERM),
        (("TIOCSETD", SYS_ioctl, bad_fd(0x5423, 0)), EPERM),
        (("snapshot", SYS_ioctl, bad_fd(0x5000_9401, 0)), ENOTTY),
        (("fast open", SYS_sendto, [NONE, 0, 0, 0x2000_0000, 0, 0]), EOPNOTSUPP),
        (("fast open msg", SYS_sendmsg, [NONE, 0, 0x2000_0000, 0, 0, 0]), EOPNOTSUPP),
        (("AF_ALG", SYS_socket, socket(AF_ALG, SOCK_SEQPACKET, 0)), EAFNOSUPPORT),
        (("AF_VSOCK", SYS_socket, socket(AF_VSOCK, SOCK_STREAM, 0)), EAFNOSUPPORT),
        (("AF_PACKET", SYS_socket, socket(AF_PACKET, SOCK_RAW, 0)), EAFNOSUPPORT),
        (("AF_RXRPC", SYS_socket, socket(AF_RXRPC, SOCK_DGRAM, 2)), EAFNOSUPPORT),
        (("XFRM", SYS_socket, socket(AF_NETLINK, SOCK_RAW, 6)), EPROTONOSUPPORT),
        (("NETFILTER", SYS_socket, socket(AF_NETLINK, SOCK_RAW, 12)), EPROTONOSUPPORT),
        (("GENERIC", SYS_socket, socket(AF_NETLINK, SOCK_RAW, 16)), EPROTONOSUPPORT),
        (("raw", SYS_socket, socket(AF_INET, SOCK_RAW, 1)), EPROTONOSUPPORT),
        (("ping", SYS_socket, socket(AF_INET, SOCK_DGRAM, 1)), EPROTONOSUPPORT),
        (("SCTP", SYS_socket, socket(AF_INET, SOCK_STREAM, 132)), EPROTONOSUPPORT),
        (("UDP-Lite", SYS_socket, socket(AF_INET, SOCK_DGRAM, 136)), EPROTONOSUPPORT),
        (("MPTCP", SYS_socket, socket(AF_INET6, SOCK_STREAM, 262)), EPROTONOSUPPORT),
        (("inet pair", SYS_socketpair, socket(AF_INET, SOCK_STREAM, 0)), EAFNOSUPPORT),
        (("device", SYS_mknodat, [NONE, 0, 0o20_666, 0, 0, 0]), EPERM),
        (("openat2", SYS_openat2, [NONE, 0, 0, 0, 0, 0]), ENOSYS),
        (("newer than the table", 4000, zero), ENOSYS),
        #[cfg(target_arch = "x86_64")]
        (("x32 getpid", SYS_getpid | 0x4000_0000, zero), ENOSYS),
        #[cfg(target_arch = "x86_64")]
        (("iopl", SYS_iopl, [9, 0, 0, 0, 0, 0]), EPERM),
        #[cfg(target_arch = "x86_64")]
        (("modify_ldt", SYS_modify_ldt, [99, 0, 0, 0, 0, 0]), EPERM),
    ]
}

/// Answered otherwise without a filter, on any kernel, by any user: proof that the list can fail.
const CERTAIN: &[&str] = &[
    "TIOCSTI",
    "TIOCSTI, bits above",
    "TIOCLINUX",
    "TIOCSETD",
    "snapshot",
    "fast open",
    "fast open msg",
    "clone user",
    "process_vm_readv",
    "pidfd_getfd",
    "setns",
    "device",
    "openat2",
    "ptrace",
    "personality",
];

/// S30, P07, P14, P22, P26, N23, FS7: the raw-syscall list in the real kernel.
#[test]
fn s30_the_kernel_refuses_what_the_filter_refuses() {
    let program = compile(PLAIN, Arch::NATIVE).unwrap();
    let (calls, expected): (Vec<Call>, Vec<i32>) = attacks().into_iter().unzip();
    let filtered = results(&calls, Some(&program));
    for ((call, expected), result) in calls.iter().zip(expected).zip(&filtered) {
        assert_eq!(*result, -i64::from(expected), "{}", call.0);
    }
    if filtered_already() {
        return;
    }
    let control = results(&calls, None);
    for name in CERTAIN {
        let at = calls.iter().position(|c| c.0 == *name).unwrap();
        assert_ne!(control[at], filtered[at], "{name} is refused without a filter too");
    }
}

#[test]
fn ordinary_calls_work_under_the_filter() {
    use libc::*;
    let program = compile(PLAIN, Arch::NATIVE).unwrap();
    let name = c"ringfence-test";
    let mut pair = [0i32; 2];
    let socket = |family: i32, kind: i32, protocol: i32| {
        [family as u64, (kind | SOCK_CLOEXEC) as u64, protocol as u64, 0, 0, 0]
    };
    let calls: Vec<Call> = vec![
        ("unix", SYS_socket, socket(AF_UNIX, SOCK_STREAM, 0)),
        ("tcp", SYS_socket, socket(AF_INET, SOCK_STREAM, IPPROTO_TCP)),
        ("udp", SYS_socket, socket(AF_INET, SOCK_DGRAM, 0)),
        ("NETLINK_ROUTE", SYS_socket, socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)),
        ("pair", SYS_socketpair, [1, 5, 0, pair.as_mut_ptr() as u64, 0, 0]),
        ("memfd", SYS_memfd_create, [name.as_ptr() as u64, 1, 0, 0, 0, 0]),
        ("eventfd", SYS_eventfd2, [0; 6]),
        ("unshare files", SYS_unshare, [CLONE_FILES as u64, 0, 0, 0, 0, 0]),
        ("personality?", SYS_personality, [0xffff_ffff, 0, 0, 0, 0, 0]),
        ("getpid", SYS_getpid, [0; 6]),
        ("dumpable", SYS_prctl, [4, 1, 0, 0, 0, 0]),
    ];
    for (call, result) in calls.iter().zip(results(&calls, Some(&program))) {
        assert!(result >= 0, "{}: {}", call.0, Error::from_raw_os_error(-result as i32));
    }
}

/// Landlock and a second filter may be laid on top from inside.
#[test]
fn a_second_filter_stacks() {
    let ours = compile(PLAIN, Arch::NATIVE).unwrap();
    let theirs = compile(Options { exec_base: true, ..PLAIN }, Arch::NATIVE).unwrap();
    let pid = in_child(|| {
        no_new_privs();
        if install(&ours, false).is_err() || install(&theirs, false).is_err() {
            return 1;
        }
        match install(&ours, true) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => 0,
            _ => 2,
        }
    });
    assert_eq!(wait(pid).code(), Some(0));
}

#[test]
fn without_no_new_privs_nothing_is_installed() {
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } == 0 {
        // With CAP_SYS_ADMIN the kernel does not ask for it.
        return;
    }
    let program = compile(PLAIN, Arch::NATIVE).unwrap();
    let pid = in_child(|| match install(&program, false) {
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => 0,
        _ => 1,
    });
    assert_eq!(wait(pid).code(), Some(0));
}

/// P06: the i386 door of a 64-bit process. Without IA32 emulation the kernel itself shuts it.
#[cfg(target_arch = "x86_64")]
#[test]
fn p06_int_80_kills() {
    fn getpid_i386() -> i32 {
        let mut result = 20i32;
        // SAFETY: i386 getpid has no arguments and touches no memory.
        unsafe {
            std::arch::asm!("int 0x80", inout("eax") result, out("r8") _, out("r9") _,
                out("r10") _, out("r11") _);
        }
        result
    }
    let program = compile(PLAIN, Arch::NATIVE).unwrap();
    let control = wait(in_child(|| i32::from(getpid_i386() <= 0)));
    let filtered = wait(in_child(|| {
        no_new_privs();
        if install(&program, false).is_err() {
            return 3;
        }
        getpid_i386();
        0
    }));
    let expected = if control.code() == Some(0) { libc::SIGSYS } else { libc::SIGSEGV };
    assert_eq!(filtered.signal(), Some(expected), "{filtered:?}, without a filter {control:?}");
}

/// Real programs, started through `install` as the boundary's init starts them.
#[test]
fn real_programs_run_under_the_filter() {
    for options in all_options().filter(|o| !o.notify_exec && !o.notify_writes) {
        let program = compile(options, Arch::NATIVE).unwrap();
        let script = "set -e; d=$(mktemp -d); cd $d; mkfifo f; (echo hello > f &) ; cat f; \
                      ls -l / > list; sort list | head -1 > /dev/null; rm -r $d; sleep 0.01";
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script]);
        // SAFETY: `install` and prctl allocate nothing and are async-signal-safe.
        unsafe {
            shell.pre_exec(move || {
                no_new_privs();
                install(&program, false).map(|_| ())
            });
        }
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{options:?}: {output:?}");
        assert_eq!(output.stdout, b"hello\n");
    }
}
