//! The gateway's own seccomp allowlist: what its code needs after start, and nothing else.
//!
//! No program can be started, no file opened for writing, no process made or looked at, and no
//! socket of another family opened. Everything else is EPERM, foreign architectures are killed.

use ringfence_sys::bpf::{Assembler, Label, NEXT, Program, ProgramError};
use ringfence_sys::seccomp::{Arch, SYSCALLS};

/// Calls that pass whatever their arguments are. Memory and time, then sockets, then descriptors.
const FREE: &[&str] = &[
    "brk",
    "munmap",
    "mremap",
    "madvise",
    "futex",
    "sched_yield",
    "getrandom",
    "rseq",
    "set_robust_list",
    "clock_gettime",
    "clock_nanosleep",
    "nanosleep",
    "gettimeofday",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigaltstack",
    "restart_syscall",
    "exit",
    "exit_group",
    "getpid",
    "gettid",
    "sched_getaffinity",
    "accept4",
    "connect",
    "bind",
    "getsockname",
    "getpeername",
    "getsockopt",
    "setsockopt",
    "sendto",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "shutdown",
    "read",
    "readv",
    "write",
    "writev",
    "close",
    "fcntl",
    "pipe2",
    "splice",
    "eventfd2",
    "dup",
    "epoll_create1",
    "epoll_ctl",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    "poll",
    "ppoll",
    "fstat",
    "newfstatat",
    "stat",
    "statx",
    "lseek",
    "pread64",
    "timerfd_create",
    "timerfd_settime",
];

/// `openat` flags that would create, change or list something (asm-generic/fcntl.h; the values are
/// the same on x86_64 and aarch64 for these).
const O_WRONLY_O_RDWR: u32 = 0o3;
const O_CREAT_EXCL_TRUNC: u32 = 0o100 | 0o200 | 0o1000;
const O_TMPFILE_BIT: u32 = 0o20_000_000;
/// `PROT_EXEC` (asm-generic/mman-common.h).
const PROT_EXEC: u32 = 4;
/// Socket types without their flags (linux/net.h).
const SOCK_TYPE_MASK: u32 = 0xf;
const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;

/// Offsets into `struct seccomp_data` (linux/seccomp.h), little-endian halves of the arguments.
const NR: u32 = 0;
const ARCH: u32 = 4;
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

/// Actions (linux/seccomp.h).
const ALLOW: u32 = 0x7fff_0000;
const KILL_PROCESS: u32 = 0x8000_0000;
const ERRNO: u32 = 0x0005_0000;
const EPERM: u32 = 1;
const EAFNOSUPPORT: u32 = 97;

fn number(arch: Arch, name: &str) -> Option<u32> {
    SYSCALLS.iter().find(|call| call.name == name).and_then(|call| arch.number(call)).map(u32::from)
}

/// The filter for `arch`.
///
/// # Errors
/// What the assembler refuses; never for the architectures that are tested.
pub fn program(arch: Arch) -> Result<Program, ProgramError> {
    let mut code = Assembler::with_capacity(FREE.len() * 2 + 64);
    let (allow, deny, kill) = (code.label(), code.label(), code.label());
    code.load(ARCH);
    code.eq(arch.audit(), NEXT, kill);
    code.load(NR);
    for name in FREE {
        if let Some(nr) = number(arch, name) {
            code.eq(nr, allow, NEXT);
        }
    }
    // Each checked call: arguments decide, then the answer is final.
    type Check = fn(&mut Assembler, Label, Label);
    let checked: [(&str, Check); 5] = [
        ("openat", read_only),
        ("socket", inet_only),
        ("mprotect", not_executable),
        ("mmap", not_executable),
        ("ioctl", nonblocking_only),
    ];
    for (name, check) in checked {
        if let Some(nr) = number(arch, name) {
            let next = code.label();
            code.eq(nr, NEXT, next);
            check(&mut code, allow, deny);
            code.bind(next);
        }
    }
    code.bind(deny);
    code.ret(ERRNO | EPERM);
    code.bind(kill);
    code.ret(KILL_PROCESS);
    code.bind(allow);
    code.ret(ALLOW);
    code.finish()
}

fn read_only(code: &mut Assembler, allow: Label, deny: Label) {
    code.load(argument(2));
    code.any_set(O_WRONLY_O_RDWR | O_CREAT_EXCL_TRUNC | O_TMPFILE_BIT, deny, allow);
}

fn inet_only(code: &mut Assembler, allow: Label, deny: Label) {
    let (family, kind) = (code.label(), code.label());
    code.load(argument(0));
    code.eq(AF_INET, kind, NEXT);
    code.eq(AF_INET6, kind, family);
    code.bind(family);
    code.ret(ERRNO | EAFNOSUPPORT);
    code.bind(kind);
    code.load(argument(1));
    code.and(SOCK_TYPE_MASK);
    code.eq(SOCK_STREAM, allow, NEXT);
    code.eq(SOCK_DGRAM, allow, deny);
}

fn not_executable(code: &mut Assembler, allow: Label, deny: Label) {
    code.load(argument(2));
    code.any_set(PROT_EXEC, deny, allow);
}

fn nonblocking_only(code: &mut Assembler, allow: Label, deny: Label) {
    /// `FIONBIO`, how the standard library makes a socket non-blocking (asm-generic/ioctls.h).
    const FIONBIO: u32 = 0x5421;
    code.load(argument(1));
    code.eq(FIONBIO, allow, deny);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_sys::bpf::{SeccompData, run};

    fn verdict(name: &str, args: [u64; 6]) -> u32 {
        let arch = Arch::NATIVE;
        let nr = number(arch, name).unwrap();
        let data = SeccompData { nr, arch: arch.audit(), instruction_pointer: 0, args };
        run(&program(arch).unwrap(), &data).unwrap()
    }

    #[test]
    fn both_architectures_assemble() {
        for arch in [Arch::X86_64, Arch::Aarch64] {
            program(arch).unwrap();
        }
    }

    #[test]
    fn every_name_is_in_the_reviewed_table() {
        for name in FREE {
            assert!(SYSCALLS.iter().any(|call| call.name == *name), "{name}");
        }
    }

    #[test]
    fn nothing_starts_changes_or_spies() {
        for name in [
            "execve",
            "execveat",
            "fork",
            "vfork",
            "clone",
            "clone3",
            "ptrace",
            "unlinkat",
            "renameat2",
            "mkdirat",
            "fchmodat",
            "mount",
            "setns",
            "unshare",
            "bpf",
            "io_uring_setup",
            "memfd_create",
            "kill",
            "pidfd_open",
            "process_vm_readv",
            "open",
            "openat2",
            "socketpair",
            "listen",
            "prctl",
            "seccomp",
            "setresuid",
            "keyctl",
            "perf_event_open",
            "truncate",
        ] {
            if number(Arch::NATIVE, name).is_some() {
                assert_eq!(verdict(name, [0; 6]), ERRNO | EPERM, "{name}");
            }
        }
    }

    #[test]
    fn arguments_decide_and_upper_halves_do_not_help() {
        let high = 0xffff_ffff_0000_0000u64;
        assert_eq!(verdict("openat", [0, 0, 0o2_000_000, 0, 0, 0]), ALLOW);
        for flags in [1u64, 2, 3, 0o100, 0o1000, 0o20_200_000] {
            assert_eq!(
                verdict("openat", [0, 0, flags | high, 0, 0, 0]),
                ERRNO | EPERM,
                "{flags:o}"
            );
        }
        assert_eq!(verdict("socket", [2, 0x8_0801, 0, 0, 0, 0]), ALLOW);
        assert_eq!(verdict("socket", [10, 2, 0, 0, 0, 0]), ALLOW);
        assert_eq!(verdict("socket", [2, 3, 0, 0, 0, 0]), ERRNO | EPERM);
        for family in [1u64, 16, 17, 38, 40] {
            assert_eq!(verdict("socket", [family, 1, 0, 0, 0, 0]), ERRNO | EAFNOSUPPORT);
        }
        assert_eq!(verdict("mprotect", [0, 0, 5, 0, 0, 0]), ERRNO | EPERM);
        assert_eq!(verdict("ioctl", [0, 0x5412 | high, 0, 0, 0, 0]), ERRNO | EPERM);
    }
}
