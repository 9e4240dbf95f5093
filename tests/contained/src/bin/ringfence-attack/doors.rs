//! System calls that lead out of, or around, a boundary: P01, P02, P07, P22, P26, F22, F25, S30.
//!
//! Where a call could change the machine, a pointer or descriptor is invalid on purpose: a kernel
//! that was reached answers EFAULT, EBADF or EINVAL, a filter answers EPERM.

use std::ffi::CString;
use std::io;

use libc::c_long;

use crate::answer::{call, checked, say};

/// A pointer that no process has.
const NOWHERE: c_long = 8;
const FD: c_long = -1;

/// One attempt: id, system call, arguments.
type Door = (&'static str, c_long, [c_long; 6]);

/// `CLONE_NEWUSER` and friends as arguments.
const NEW_USER: c_long = libc::CLONE_NEWUSER as c_long;
const NEW_MOUNT: c_long = libc::CLONE_NEWNS as c_long;
const NEW_NET: c_long = libc::CLONE_NEWNET as c_long;
const NEW_PID: c_long = libc::CLONE_NEWPID as c_long;

/// Numbers that libc has no constant for yet (asm-generic/unistd.h, the same on all architectures).
const OPEN_TREE_ATTR: c_long = 467;
const STATMOUNT: c_long = 457;
const LISTMOUNT: c_long = 458;

const DOORS: &[Door] = &[
    ("mount", libc::SYS_mount, [NOWHERE, NOWHERE, NOWHERE, 0, NOWHERE, 0]),
    ("umount2", libc::SYS_umount2, [NOWHERE, 0, 0, 0, 0, 0]),
    ("pivot_root", libc::SYS_pivot_root, [NOWHERE, NOWHERE, 0, 0, 0, 0]),
    ("chroot", libc::SYS_chroot, [NOWHERE, 0, 0, 0, 0, 0]),
    ("fsopen", libc::SYS_fsopen, [NOWHERE, 0, 0, 0, 0, 0]),
    ("fsconfig", libc::SYS_fsconfig, [FD, 0, 0, 0, 0, 0]),
    ("fsmount", libc::SYS_fsmount, [FD, 0, 0, 0, 0, 0]),
    ("fspick", libc::SYS_fspick, [FD, NOWHERE, 0, 0, 0, 0]),
    ("open_tree", libc::SYS_open_tree, [FD, NOWHERE, 0, 0, 0, 0]),
    ("open_tree_attr", OPEN_TREE_ATTR, [FD, NOWHERE, 0, 0, 0, 0]),
    ("move_mount", libc::SYS_move_mount, [FD, NOWHERE, FD, NOWHERE, 0, 0]),
    ("mount_setattr", libc::SYS_mount_setattr, [FD, NOWHERE, 0, NOWHERE, 32, 0]),
    ("statmount", STATMOUNT, [NOWHERE, NOWHERE, 0, 0, 0, 0]),
    ("listmount", LISTMOUNT, [NOWHERE, NOWHERE, 0, 0, 0, 0]),
    ("setns", libc::SYS_setns, [FD, 0, 0, 0, 0, 0]),
    ("io_uring_setup", libc::SYS_io_uring_setup, [1, NOWHERE, 0, 0, 0, 0]),
    ("io_uring_enter", libc::SYS_io_uring_enter, [FD, 0, 0, 0, 0, 0]),
    ("io_uring_register", libc::SYS_io_uring_register, [FD, 0, 0, 0, 0, 0]),
    ("bpf", libc::SYS_bpf, [0, NOWHERE, 48, 0, 0, 0]),
    ("perf_event_open", libc::SYS_perf_event_open, [NOWHERE, 0, -1, -1, 0, 0]),
    ("userfaultfd", libc::SYS_userfaultfd, [0x7fff_ffff, 0, 0, 0, 0, 0]),
    ("keyctl", libc::SYS_keyctl, [0, -3, 0, 0, 0, 0]),
    ("add_key", libc::SYS_add_key, [NOWHERE, NOWHERE, 0, 0, 0, 0]),
    ("request_key", libc::SYS_request_key, [NOWHERE, NOWHERE, 0, 0, 0, 0]),
    ("kexec_load", libc::SYS_kexec_load, [0, 17, NOWHERE, 0, 0, 0]),
    ("kexec_file_load", libc::SYS_kexec_file_load, [FD, FD, 0, NOWHERE, 0, 0]),
    ("init_module", libc::SYS_init_module, [NOWHERE, 1, NOWHERE, 0, 0, 0]),
    ("finit_module", libc::SYS_finit_module, [FD, NOWHERE, 0, 0, 0, 0]),
    ("delete_module", libc::SYS_delete_module, [NOWHERE, 0, 0, 0, 0, 0]),
    ("reboot", libc::SYS_reboot, [0, 0, 0, 0, 0, 0]),
    ("swapon", libc::SYS_swapon, [NOWHERE, 0, 0, 0, 0, 0]),
    ("acct", libc::SYS_acct, [NOWHERE, 0, 0, 0, 0, 0]),
    ("quotactl", libc::SYS_quotactl, [0x7fff_ff00, NOWHERE, 0, NOWHERE, 0, 0]),
    ("sethostname", libc::SYS_sethostname, [NOWHERE, 4, 0, 0, 0, 0]),
    ("settimeofday", libc::SYS_settimeofday, [NOWHERE, 0, 0, 0, 0, 0]),
    ("clock_settime", libc::SYS_clock_settime, [0, NOWHERE, 0, 0, 0, 0]),
    ("syslog", libc::SYS_syslog, [3, NOWHERE, -1, 0, 0, 0]),
    ("ptrace", libc::SYS_ptrace, [0x4206, i32::MAX as c_long, 0, 0, 0, 0]),
    ("process_vm_readv", libc::SYS_process_vm_readv, [1, NOWHERE, 1, NOWHERE, 1, 0]),
    ("process_vm_writev", libc::SYS_process_vm_writev, [1, NOWHERE, 1, NOWHERE, 1, 0]),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, [FD, 0, 0, 0, 0, 0]),
    ("kcmp", libc::SYS_kcmp, [i32::MAX as c_long, i32::MAX as c_long, 0, 0, 0, 0]),
    ("process_madvise", libc::SYS_process_madvise, [FD, NOWHERE, 1, 0, 0, 0]),
    ("move_pages", libc::SYS_move_pages, [0, 1, NOWHERE, 0, NOWHERE, 0]),
    ("migrate_pages", libc::SYS_migrate_pages, [i32::MAX as c_long, 1, NOWHERE, NOWHERE, 0, 0]),
    ("fanotify_init", libc::SYS_fanotify_init, [0x7fff_ffff, 0, 0, 0, 0, 0]),
    ("name_to_handle_at", libc::SYS_name_to_handle_at, [FD, NOWHERE, NOWHERE, NOWHERE, 0, 0]),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, [FD, NOWHERE, 0, 0, 0, 0]),
    ("memfd_secret", libc::SYS_memfd_secret, [0x7fff_ffff, 0, 0, 0, 0, 0]),
    ("personality-no-randomize", libc::SYS_personality, [0x0004_0000, 0, 0, 0, 0, 0]),
    ("personality-read-implies-exec", libc::SYS_personality, [0x0040_0000, 0, 0, 0, 0, 0]),
    ("prctl-set-mm", libc::SYS_prctl, [35, 15, NOWHERE, 0, 0, 0]),
    ("seccomp-new-listener", libc::SYS_seccomp, [1, 8, NOWHERE, 0, 0, 0]),
    ("unshare-mount", libc::SYS_unshare, [NEW_MOUNT, 0, 0, 0, 0, 0]),
    ("unshare-net", libc::SYS_unshare, [NEW_NET, 0, 0, 0, 0, 0]),
    ("unshare-pid", libc::SYS_unshare, [NEW_PID, 0, 0, 0, 0, 0]),
    ("unshare-user", libc::SYS_unshare, [NEW_USER, 0, 0, 0, 0, 0]),
    ("clone3", libc::SYS_clone3, [NOWHERE, 88, 0, 0, 0, 0]),
    ("upper-half-unshare", libc::SYS_unshare, [NEW_USER | (1 << 32), 0, 0, 0, 0, 0]),
];

/// Tries every door, each in a child, so that one that opens does not change the next.
pub fn run() {
    for (id, number, arguments) in DOORS {
        let answer = in_child(|| call(*number, *arguments).map(drop));
        say(id, &answer);
    }
    clone_with_namespaces();
}

/// Does it in a forked child and gives its answer.
pub fn in_child(attempt: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    // SAFETY: this program has one thread, so the child may do anything.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let code = match attempt() {
            Ok(()) => 0,
            Err(error) => error.raw_os_error().unwrap_or(255),
        };
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(code) };
    }
    checked(pid.into())?;
    let mut status = 0;
    // SAFETY: the status outlives the call.
    checked(unsafe { libc::waitpid(pid, &raw mut status, 0) }.into())?;
    if libc::WIFSIGNALED(status) {
        return Err(io::Error::other(format!("killed by signal {}", libc::WTERMSIG(status))));
    }
    match libc::WEXITSTATUS(status) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// clone(2) with each namespace flag; the child ends at once.
fn clone_with_namespaces() {
    let flags = [
        ("clone-user", libc::CLONE_NEWUSER),
        ("clone-mount", libc::CLONE_NEWUSER | libc::CLONE_NEWNS),
        ("clone-net", libc::CLONE_NEWUSER | libc::CLONE_NEWNET),
        ("clone-pid", libc::CLONE_NEWUSER | libc::CLONE_NEWPID),
    ];
    for (id, flags) in flags {
        let flags = c_long::from(flags | libc::SIGCHLD);
        let answer = call(libc::SYS_clone, [flags, 0, 0, 0, 0, 0]);
        match answer {
            // SAFETY: the child ends without touching anything of its parent.
            Ok(0) => unsafe { libc::_exit(0) },
            Ok(pid) => {
                // SAFETY: a null status is permitted.
                unsafe { libc::waitpid(i32::try_from(pid).unwrap(), std::ptr::null_mut(), 0) };
                say(id, &Ok(()));
            }
            Err(error) => say(id, &Err::<(), _>(error)),
        }
    }
}

/// F22: takes the handle of a path, opens by it.
pub fn handles(path: &str) {
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        data: [u8; 128],
    }
    let path = CString::new(path).unwrap();
    let mut handle = Handle { bytes: 128, kind: 0, data: [0; 128] };
    let mut mount = 0;
    let taken = call(
        libc::SYS_name_to_handle_at,
        [
            c_long::from(libc::AT_FDCWD),
            path.as_ptr() as c_long,
            (&raw mut handle) as c_long,
            (&raw mut mount) as c_long,
            0,
            0,
        ],
    );
    say("take-handle", &taken);
    let root = CString::new("/").unwrap();
    // SAFETY: a valid path and no more arguments.
    let fd = unsafe { libc::open(root.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    let at = (&raw mut handle) as c_long;
    say("open-handle", &call(libc::SYS_open_by_handle_at, [fd.into(), at, 0, 0, 0, 0]));
}

/// F25: every way to open or change `path` that a filter of `open` alone would forget.
pub fn variants(path: &str) {
    let text = CString::new(path).unwrap();
    let name = text.as_ptr() as c_long;
    let here = c_long::from(libc::AT_FDCWD);
    let twin = CString::new(".attack-twin").unwrap();
    let twin = twin.as_ptr() as c_long;
    let how: [u64; 3] = [u64::from(libc::O_WRONLY.cast_unsigned()), 0, 0];
    let write = c_long::from(libc::O_WRONLY);
    let attribute = CString::new("user.attack").unwrap();
    let attribute = attribute.as_ptr() as c_long;
    let value = b"x".as_ptr() as c_long;
    let xattr_args: [u64; 2] = [value as u64, 1];
    const SETXATTRAT: c_long = 463;
    const FCHMODAT2: c_long = 452;
    let attempts: &[(&str, c_long, [c_long; 6])] = &[
        ("openat", libc::SYS_openat, [here, name, write, 0, 0, 0]),
        ("openat2", libc::SYS_openat2, [here, name, how.as_ptr() as c_long, 24, 0, 0]),
        #[cfg(target_arch = "x86_64")]
        ("open", libc::SYS_open, [name, write, 0, 0, 0, 0]),
        #[cfg(target_arch = "x86_64")]
        ("creat", libc::SYS_creat, [name, 0o644, 0, 0, 0, 0]),
        ("truncate", libc::SYS_truncate, [name, 0, 0, 0, 0, 0]),
        ("linkat", libc::SYS_linkat, [here, name, here, twin, 0, 0]),
        ("renameat2", libc::SYS_renameat2, [here, name, here, twin, 0, 0]),
        ("fchmodat", libc::SYS_fchmodat, [here, name, 0o777, 0, 0, 0]),
        ("fchmodat2", FCHMODAT2, [here, name, 0o777, 0, 0, 0]),
        ("fchownat", libc::SYS_fchownat, [here, name, c_long::from(id()), -1, 0, 0]),
        ("setxattr", libc::SYS_setxattr, [name, attribute, value, 1, 0, 0]),
        ("setxattrat", SETXATTRAT, [here, name, 0, attribute, xattr_args.as_ptr() as c_long, 16]),
        ("utimensat", libc::SYS_utimensat, [here, name, 0, 0, 0, 0]),
        ("unlinkat", libc::SYS_unlinkat, [here, name, 0, 0, 0, 0]),
        ("mknodat", libc::SYS_mknodat, [here, name, c_long::from(libc::S_IFREG), 0, 0, 0]),
    ];
    for (id, number, arguments) in attempts {
        // In a child: no attempt may keep a descriptor that helps the next.
        say(id, &in_child(|| call(*number, *arguments).map(drop)));
    }
}

fn id() -> u32 {
    // SAFETY: cannot fail.
    unsafe { libc::getuid() }
}
