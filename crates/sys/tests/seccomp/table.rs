//! The table itself: numbers against other sources (libseccomp as well, see `second_opinion.rs`), no gap, no duplicate, no silent refusal.

use super::{ARCHES, row};
use ringfence_sys::seccomp::{Arch, Rule, SYSCALLS};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Numbers at and above this are the same on every architecture (Linux 5.1 and newer).
const COMMON_FROM: u16 = 424;
/// listns and rseq_slice_yield are the newest.
const NEWEST: u16 = 471;

#[test]
fn names_and_numbers_are_unique() {
    let names: BTreeSet<_> = SYSCALLS.iter().map(|s| s.name).collect();
    assert_eq!(names.len(), SYSCALLS.len());
    for arch in ARCHES {
        let numbers: Vec<_> = SYSCALLS.iter().filter_map(|s| arch.number(s)).collect();
        let set: BTreeSet<_> = numbers.iter().collect();
        assert_eq!(set.len(), numbers.len(), "{arch:?}");
    }
}

/// FS7: a number without a row is one that Linux never gave out.
#[test]
fn every_number_has_a_row() {
    let missing = |arch: Arch| -> Vec<u16> {
        let have: BTreeSet<_> = SYSCALLS.iter().filter_map(|s| arch.number(s)).collect();
        (0..=NEWEST).filter(|n| !have.contains(n)).collect()
    };
    let x86_64: Vec<u16> = (337..=423).collect();
    assert_eq!(missing(Arch::X86_64), x86_64);
    // 244..=259 are for architectures, 295..=423 for 32-bit times.
    let aarch64: Vec<u16> = missing(Arch::Aarch64);
    let expected: Vec<u16> = (244..=259).chain(295..=423).collect();
    assert_eq!(aarch64, expected);
}

#[test]
fn new_syscalls_have_the_same_number_everywhere() {
    for s in SYSCALLS {
        let newest = s.x86_64.max(s.aarch64).unwrap();
        if newest >= COMMON_FROM {
            assert_eq!(s.x86_64, s.aarch64, "{}", s.name);
        }
    }
}

#[test]
fn every_refusal_says_why() {
    for s in SYSCALLS {
        if matches!(s.rule, Rule::Refuse | Rule::Missing | Rule::Debug) {
            assert!(!s.why.is_empty(), "{} is refused without a reason", s.name);
        }
    }
}

/// `libc` has its own list, per architecture, for the build machine's.
#[test]
fn numbers_are_those_of_libc() {
    macro_rules! check {
        ($($name:ident $constant:ident),* $(,)?) => {$(
            assert_eq!(
                Arch::NATIVE.number(row(stringify!($name))).map(i64::from),
                Some(libc::$constant),
                stringify!($name)
            );
        )*};
    }
    check!(
        read SYS_read, openat SYS_openat, ioctl SYS_ioctl, socket SYS_socket, clone SYS_clone,
        socketpair SYS_socketpair, sendto SYS_sendto, sendmsg SYS_sendmsg, sendmmsg SYS_sendmmsg,
        execve SYS_execve, execveat SYS_execveat, ptrace SYS_ptrace, prctl SYS_prctl,
        unshare SYS_unshare, setns SYS_setns, clone3 SYS_clone3, seccomp SYS_seccomp,
        personality SYS_personality, mknodat SYS_mknodat, renameat2 SYS_renameat2,
        memfd_create SYS_memfd_create, mount SYS_mount, umount2 SYS_umount2,
        pivot_root SYS_pivot_root, chroot SYS_chroot, move_mount SYS_move_mount,
        open_tree SYS_open_tree, fsopen SYS_fsopen, mount_setattr SYS_mount_setattr,
        io_uring_setup SYS_io_uring_setup, bpf SYS_bpf, keyctl SYS_keyctl, add_key SYS_add_key,
        request_key SYS_request_key, perf_event_open SYS_perf_event_open,
        userfaultfd SYS_userfaultfd, open_by_handle_at SYS_open_by_handle_at,
        kexec_load SYS_kexec_load, init_module SYS_init_module, finit_module SYS_finit_module,
        pidfd_getfd SYS_pidfd_getfd, process_vm_readv SYS_process_vm_readv,
        process_vm_writev SYS_process_vm_writev, kcmp SYS_kcmp, reboot SYS_reboot,
        getrandom SYS_getrandom, rseq SYS_rseq, statx SYS_statx, openat2 SYS_openat2,
        landlock_create_ruleset SYS_landlock_create_ruleset, mseal SYS_mseal,
    );
    #[cfg(target_arch = "x86_64")]
    check!(open SYS_open, mknod SYS_mknod, arch_prctl SYS_arch_prctl, iopl SYS_iopl);
}

/// Reads `#define __NR_name number` lines.
fn defined_in(path: &str) -> Option<BTreeMap<String, u16>> {
    let text = fs::read_to_string(path).ok()?;
    let mut numbers = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some("#define"), Some(name), Some(number)) =
            (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let bare = name.strip_prefix("__NR_").or_else(|| name.strip_prefix("__NR3264_"));
        if let (Some(bare), Ok(number)) = (bare, number.parse()) {
            numbers.insert(bare.to_owned(), number);
        }
    }
    assert!(numbers.len() > 300, "{path} was not understood");
    Some(numbers)
}

/// The kernel's own headers, where they are installed (linux-libc-dev).
#[test]
fn numbers_are_those_of_the_kernel_headers() {
    for path in ["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"] {
        for (name, number) in defined_in(path).unwrap_or_default() {
            // The header of another architecture than x86_64 may have the same path.
            if cfg!(target_arch = "x86_64") && number <= NEWEST {
                assert_eq!(row(&name).x86_64, Some(number), "{name} in {path}");
            }
        }
    }
    let generic = defined_in("/usr/include/asm-generic/unistd.h").unwrap_or_default();
    for (name, number) in generic {
        // Limits, other architectures' own calls, 32-bit variants.
        let foreign = matches!(name.as_str(), "syscalls" | "arch_specific_syscall")
            || (244..=259).contains(&number)
            || (295..COMMON_FROM).contains(&number)
            || number > NEWEST
            || name == "sync_file_range2";
        if !foreign {
            let name = if name == "fstatat" { "newfstatat" } else { &name };
            assert_eq!(row(name).aarch64, Some(number), "{name}");
        }
    }
}
