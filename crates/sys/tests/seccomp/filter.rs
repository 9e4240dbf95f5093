//! What the compiled filter answers, attack by attack, on both architectures.

use super::*;

/// Runs `check` on the filter of both architectures with `options`.
fn on_both(options: Options, check: impl Fn(&Filter)) {
    for arch in ARCHES {
        check(&Filter::new(options, arch));
    }
}

/// Asserts the answer to each of `names`, whatever the arguments.
fn answered(filter: &Filter, names: &str, answer: Action) {
    for name in names.split_whitespace() {
        if filter.has(name) {
            assert_eq!(filter.call(name, &[]), answer, "{name} on {:?}", filter.arch);
            assert_eq!(filter.call(name, &[u64::MAX; 6]), answer, "{name} on {:?}", filter.arch);
        }
    }
}

const ALWAYS_REFUSED: &str = "
    mount umount2 pivot_root chroot fsopen fsmount fsconfig fspick move_mount open_tree
    open_tree_attr mount_setattr statmount listmount listns setns io_uring_setup
    io_uring_enter io_uring_register bpf keyctl add_key request_key perf_event_open
    userfaultfd kexec_load kexec_file_load init_module finit_module delete_module
    create_module open_by_handle_at name_to_handle_at quotactl quotactl_fd swapon swapoff
    reboot acct settimeofday clock_settime adjtimex clock_adjtime iopl ioperm lookup_dcookie
    nfsservctl syslog vhangup process_madvise process_mrelease fanotify_init fanotify_mark
    migrate_pages move_pages sethostname setdomainname modify_ldt uselib ustat sysfs
    memfd_secret lsm_set_self_attr
";

/// S30, P07, P22, FS8: refused whatever the arguments and whatever the options.
#[test]
fn s30_p07_p22_the_kernel_surface_is_refused() {
    for options in all_options() {
        on_both(options, |f| {
            answered(f, ALWAYS_REFUSED, EPERM);
            answered(f, "clone3 openat2", ENOSYS);
        });
    }
}

const DEBUGGER: &str = "
    ptrace process_vm_readv process_vm_writev pidfd_getfd kcmp
";

/// S30: other processes are out of reach, and with `debug` a debugger works.
#[test]
fn s30_debugging_is_an_option() {
    on_both(PLAIN, |f| answered(f, DEBUGGER, EPERM));
    on_both(Options { debug: true, ..PLAIN }, |f| answered(f, DEBUGGER, Action::Allow));
}

/// What compilers, package managers, interpreters, browsers and virtual machines call.
const ORDINARY: &str = "
    read write close close_range stat statx newfstatat faccessat2 mmap
    mprotect munmap mremap madvise brk mlock mbind set_mempolicy get_mempolicy pkey_alloc
    pkey_mprotect mseal map_shadow_stack fork vfork wait4 waitid exit exit_group arch_prctl
    set_tid_address set_robust_list get_robust_list rseq membarrier futex futex_waitv
    futex_wake futex_wait futex_requeue sched_yield sched_setaffinity sched_getaffinity
    sched_setscheduler sched_setattr getcpu setpriority ioprio_set rt_sigaction rt_sigprocmask
    rt_sigreturn sigaltstack restart_syscall kill tgkill pidfd_open pidfd_send_signal
    signalfd4 timer_create timerfd_create eventfd2 epoll_create1 epoll_ctl epoll_pwait
    epoll_pwait2 poll ppoll select pselect6 inotify_init1 inotify_add_watch getrandom
    copy_file_range sendfile splice tee vmsplice fallocate flock sync syncfs fsync fdatasync
    sync_file_range cachestat io_setup io_submit io_getevents io_destroy io_pgetevents
    setxattr getxattr setxattrat file_getattr file_setattr mkdir mkdirat umask fchownat
    linkat symlinkat renameat unlinkat shmget shmat semop msgsnd mq_open getrlimit
    setrlimit prlimit64 setuid setgid setgroups setresuid capget capset connect bind listen
    accept4 recvmsg recvmmsg setsockopt getsockopt shutdown landlock_create_ruleset
    landlock_add_rule landlock_restrict_self lsm_get_self_attr lsm_list_modules clock_gettime
    nanosleep clock_nanosleep uname sysinfo getcwd getdents64 memfd_create execve execveat
";

#[test]
fn ordinary_programs_get_what_they_call() {
    on_both(PLAIN, |f| {
        answered(f, ORDINARY, Action::Allow);
        // Their arguments decide; see `set_id.rs`.
        for name in ["open", "openat", "creat", "chmod", "fchmod", "fchmodat", "fchmodat2"] {
            assert!(!f.has(name) || f.call(name, &[]) == Action::Allow, "{name}");
        }
    });
}

/// P06: other ABIs. The number means another syscall there, so nothing may be answered by number.
#[test]
fn p06_foreign_abis() {
    for options in all_options() {
        on_both(options, |f| {
            // i386, ARM EABI, the other 64-bit one, big-endian, made up.
            for arch in [0x4000_0003, 0x4000_0028, 0xc000_003e, 0xc000_00b7, 0x8000_00b7, 0, 1] {
                if arch == f.arch.audit() {
                    continue;
                }
                for nr in 0..600 {
                    let data = SeccompData { nr, arch, ..SeccompData::default() };
                    assert_eq!(judge(&f.program, &data), Ok(Action::KillProcess));
                }
            }
            // x32: bit 30, also for the numbers that only x32 has.
            for nr in 0..600 {
                assert_eq!(f.number(nr | 0x4000_0000, &[]), ENOSYS, "x32 {nr}");
            }
        });
    }
}

/// FS7: what is not in the table is not there, up to the last number.
#[test]
fn fs7_unknown_numbers_are_enosys() {
    for options in all_options() {
        on_both(options, |f| {
            let known: Vec<u32> =
                SYSCALLS.iter().filter_map(|s| f.arch.number(s)).map(u32::from).collect();
            for nr in (0..5000).chain([u32::MAX, u32::MAX - 1, 1 << 31, 1 << 30, 1 << 16]) {
                if !known.contains(&nr) {
                    assert_eq!(f.number(nr, &[]), ENOSYS, "{nr}");
                }
            }
        });
    }
}

/// S30: no new namespace by any of the three doors.
#[test]
fn s30_namespaces() {
    const SIGCHLD: u64 = 17;
    /// What pthread_create passes.
    const THREAD: u64 = 0x003d_0f00;
    on_both(PLAIN, |f| {
        for allowed in [SIGCHLD, THREAD, 0x0100_0000 | SIGCHLD, 0x4111, 0x1_0000_0000 | SIGCHLD] {
            assert_eq!(f.call("clone", &[allowed]), Action::Allow, "{allowed:#x}");
        }
        let namespaces = [
            0x80,
            0x2_0000,
            0x200_0000,
            0x400_0000,
            0x800_0000,
            0x1000_0000,
            0x2000_0000,
            0x4000_0000,
        ];
        for flag in namespaces {
            for word in with_upper_halves(flag | SIGCHLD) {
                assert_eq!(f.call("clone", &[word]), EPERM, "{word:#x}");
            }
            for word in with_upper_halves(flag) {
                assert_eq!(f.call("unshare", &[word]), EPERM, "{word:#x}");
                assert_eq!(f.call("unshare", &[word | 0x400]), EPERM, "{word:#x}");
            }
        }
        for allowed in [0, 0x400, 0x200, 0x600, 0x4_0000] {
            assert_eq!(f.call("unshare", &[allowed]), Action::Allow, "{allowed:#x}");
        }
        assert_eq!(f.call("unshare", &[1 << 32]), EPERM);
    });
}

/// P22, N23, S30: by family, type and protocol, with junk in the upper halves.
#[test]
fn p22_n23_sockets() {
    const CLOEXEC: u64 = 0x8_0000;
    const NONBLOCK: u64 = 0x800;
    let allowed = [
        (1, 1, 0),
        (1, 2, 0),
        (1, 5, 0),
        (1, 1, 1),
        (2, 1, 0),
        (2, 1, 6),
        (2, 2, 0),
        (2, 2, 17),
        (10, 1, 0),
        (10, 1, 6),
        (10, 2, 0),
        (10, 2, 17),
        (16, 2, 0),
        (16, 3, 0),
    ];
    let protocols = [
        // SCTP, UDP-Lite, MPTCP, ICMP datagram, raw, raw ICMP, wrong pairs, SCTP one-to-many, DCCP.
        (2, 1, 132),
        (2, 2, 136),
        (2, 1, 262),
        (10, 1, 262),
        (2, 2, 1),
        (10, 2, 58),
        (2, 3, 0),
        (2, 3, 1),
        (2, 3, 255),
        (10, 3, 58),
        (2, 1, 17),
        (2, 2, 6),
        (2, 5, 132),
        (2, 6, 33),
        (2, 10, 0),
        (1, 3, 0),
        (1, 1, 6),
        (16, 1, 0),
        // Netlink but ROUTE: SOCK_DIAG, XFRM, AUDIT, NETFILTER, UEVENT, GENERIC, CRYPTO.
        (16, 3, 4),
        (16, 3, 6),
        (16, 3, 9),
        (16, 3, 12),
        (16, 2, 15),
        (16, 3, 16),
        (16, 3, 21),
        // A flag that the rule does not know.
        (2, 0x101, 0),
        (1, 0x4_0001, 0),
    ];
    // UNSPEC, AX25, X25, KEY, PACKET, RDS, CAN, TIPC, BLUETOOTH, RXRPC, PHONET, ALG, NFC, VSOCK,
    // KCM, QIPCRTR, SMC, XDP, MCTP, beyond, negative.
    let families = [
        0,
        3,
        9,
        15,
        17,
        21,
        29,
        30,
        31,
        33,
        35,
        38,
        39,
        40,
        41,
        42,
        43,
        44,
        45,
        46,
        99,
        0xffff_ffff,
    ];
    on_both(PLAIN, |f| {
        let all = |(family, kind, protocol): (u64, u64, u64), answer: Action| {
            for flags in [0, CLOEXEC, NONBLOCK, CLOEXEC | NONBLOCK] {
                for n in 0..4 {
                    let args = [
                        with_upper_halves(family)[n],
                        with_upper_halves(kind | flags)[n],
                        with_upper_halves(protocol)[(n + 1) % 4],
                    ];
                    assert_eq!(f.call("socket", &args), answer, "{args:x?} on {:?}", f.arch);
                }
            }
        };
        allowed.iter().for_each(|s| all(*s, Action::Allow));
        protocols.iter().for_each(|s| all(*s, EPROTONOSUPPORT));
        families.iter().for_each(|family| all((*family, 1, 0), EAFNOSUPPORT));
        families.iter().for_each(|family| all((*family, 3, 0), EAFNOSUPPORT));
        for kind in [1, 2, 5] {
            assert_eq!(f.call("socketpair", &[1, kind | CLOEXEC, 0]), Action::Allow);
        }
        for family in [2, 10, 16, 30, 38, 40] {
            assert_eq!(f.call("socketpair", &[family, 1, 0]), EAFNOSUPPORT);
        }
        assert_eq!(f.call("socketpair", &[1, 3, 0]), EPROTONOSUPPORT);
    });
}

/// N23: data with the SYN, in the flag argument of each of the three.
#[test]
fn n23_fast_open() {
    const FASTOPEN: u64 = 0x2000_0000;
    const NOSIGNAL: u64 = 0x4000;
    on_both(PLAIN, |f| {
        for (name, at) in [("sendto", 3), ("sendmsg", 2), ("sendmmsg", 3)] {
            for flags in with_upper_halves(FASTOPEN | NOSIGNAL) {
                let mut args = [0; 6];
                args[at] = flags;
                assert_eq!(f.call(name, &args), EOPNOTSUPP, "{name} {flags:#x}");
            }
            let mut args = [u64::MAX; 6];
            args[at] = NOSIGNAL;
            assert_eq!(f.call(name, &args), Action::Allow, "{name}");
        }
    });
}

/// P14: the kernel's command is an `unsigned int`, so bits above it must not hide one.
#[test]
fn p14_terminal_commands() {
    on_both(PLAIN, |f| {
        for command in [0x5412, 0x541c, 0x5423, 0x541d, 0x4b47, 0x4b49] {
            for word in with_upper_halves(command) {
                assert_eq!(f.call("ioctl", &[0, word]), EPERM, "{word:#x}");
            }
        }
        // TCGETS, TIOCGWINSZ, TIOCSCTTY, TIOCGPTPEER, FIONREAD, FIONBIO, FICLONE, SIOCGIFCONF.
        for command in [0x5401, 0x5413, 0x540e, 0x5441, 0x541b, 0x5421, 0x4004_9409, 0x8912] {
            assert_eq!(f.call("ioctl", &[0, command]), Action::Allow, "{command:#x}");
        }
    });
}

/// A snapshot of a btrfs or bcachefs subvolume has all its files, also those the boundary hides.
#[test]
fn snapshots_are_no_way_around_the_boundary() {
    on_both(PLAIN, |f| {
        // SNAP_CREATE, SUBVOL_CREATE, SNAP_DESTROY, SNAP_CREATE_V2, TREE_SEARCH, INO_LOOKUP,
        // INO_LOOKUP_USER, SUBVOL_CREATE_V2, BCH_IOCTL_SUBVOLUME_CREATE.
        let commands: [u64; 9] = [
            0x5000_9401,
            0x5000_940e,
            0x5000_940f,
            0x5000_9417,
            0xd000_9411,
            0xd000_9412,
            0xd000_943e,
            0x5000_9418,
            0x4020_bc10,
        ];
        for word in commands.into_iter().flat_map(with_upper_halves) {
            assert_eq!(f.call("ioctl", &[0, word]), ENOTTY, "{word:#x}");
        }
        for command in [0x4004_9409, 0x4020_940d, 0xc018_9436, 0x8100_9431] {
            assert_eq!(f.call("ioctl", &[0, command]), Action::Allow, "{command:#x}");
        }
    });
}

/// P26: persona is an `unsigned int`.
#[test]
fn p26_personality() {
    const ADDR_NO_RANDOMIZE: u64 = 0x4_0000;
    for debug in [false, true] {
        on_both(Options { debug, ..PLAIN }, |f| {
            for word in [0, 0xffff_ffff, u64::MAX, 1 << 32] {
                assert_eq!(f.call("personality", &[word]), Action::Allow, "{word:#x}");
            }
            // READ_IMPLIES_EXEC, both, ADDR_COMPAT_LAYOUT, MMAP_PAGE_ZERO, PER_LINUX32, UNAME26.
            for persona in [0x40_0000, 0x44_0000, 0x20_0000, 0x10_0000, 8, 0x2_0000] {
                for word in with_upper_halves(persona) {
                    assert_eq!(f.call("personality", &[word]), EPERM, "{word:#x}");
                }
            }
            let no_randomize = if debug { Action::Allow } else { EPERM };
            for word in with_upper_halves(ADDR_NO_RANDOMIZE) {
                assert_eq!(f.call("personality", &[word]), no_randomize, "{word:#x}");
            }
        });
    }
}

#[test]
fn prctl_options() {
    on_both(PLAIN, |f| {
        // PDEATHSIG, DUMPABLE, NAME, SECCOMP, NO_NEW_PRIVS, SUBREAPER, CAP_AMBIENT, VMA, PTRACER.
        for option in [1, 4, 15, 22, 38, 36, 47, 0x5356_4d41, 0x5961_6d61] {
            for word in with_upper_halves(option) {
                assert_eq!(f.call("prctl", &[word]), Action::Allow, "{word:#x}");
            }
        }
        for word in [35, 67].into_iter().flat_map(with_upper_halves) {
            assert_eq!(f.call("prctl", &[word]), EPERM, "{word:#x}");
        }
        for word in [80, 1000, 0x5356_4d42, 0x7fff_ffff].into_iter().flat_map(with_upper_halves) {
            assert_eq!(f.call("prctl", &[word]), EINVAL, "{word:#x}");
        }
    });
}

/// Stacking is fine, a listener is not.
#[test]
fn filters_stack_without_a_listener() {
    on_both(PLAIN, |f| {
        for flags in [0, 1, 2, 4, 0x10, 0x11, 0x20] {
            assert_eq!(f.call("seccomp", &[1, flags]), Action::Allow, "{flags:#x}");
        }
        for flags in [8, 9, 0x28, 0x40, 0x8000_0000].into_iter().flat_map(with_upper_halves) {
            for operation in with_upper_halves(1) {
                assert_eq!(f.call("seccomp", &[operation, flags]), EPERM, "{flags:#x}");
            }
        }
        for operation in [0, 2, 3] {
            assert_eq!(f.call("seccomp", &[operation, 8]), Action::Allow);
        }
        assert_eq!(f.call("seccomp", &[4, 0]), EINVAL);
    });
}

/// No device node, by name or as an overlay's whiteout.
#[test]
fn device_nodes() {
    on_both(PLAIN, |f| {
        for (name, at) in [("mknod", 1), ("mknodat", 2), ("renameat2", 4)] {
            if !f.has(name) {
                continue;
            }
            let call = |word: u64| {
                let mut args = [0; 6];
                args[at] = word;
                f.call(name, &args)
            };
            if name == "renameat2" {
                assert_eq!(
                    [call(0), call(1), call(2), call(4), call(5 | 1 << 32)],
                    [Action::Allow, Action::Allow, Action::Allow, EINVAL, EINVAL]
                );
                continue;
            }
            for mode in [0o644, 0o100_644, 0o10_644, 0o140_755, 0o101_755] {
                assert_eq!(call(mode), Action::Allow, "{mode:o}");
            }
            for mode in [0o20_666, 0o60_666, 0o40_755, 0o120_777, 0o160_000] {
                for word in with_upper_halves(mode).into_iter().chain([mode | 1 << 16]) {
                    assert_eq!(call(word), EPERM, "{word:o}");
                }
            }
        }
    });
}

#[test]
fn exec_options() {
    on_both(Options { exec_base: true, ..PLAIN }, |f| {
        assert_eq!(f.call("memfd_create", &[]), EPERM);
        assert_eq!(f.call("execve", &[]), Action::Allow);
    });
    on_both(Options { notify_exec: true, ..PLAIN }, |f| {
        assert_eq!(f.call("execve", &[]), Action::Notify);
        assert_eq!(f.call("execveat", &[u64::MAX; 6]), Action::Notify);
        assert_eq!(f.call("memfd_create", &[]), Action::Allow);
    });
}

/// What a `pair` workspace must hear of, and what it must not be slowed by.
#[test]
fn writes_are_told_and_reads_are_not() {
    on_both(Options { notify_writes: true, ..PLAIN }, |f| {
        for flags in [0o1, 0o2, 0o3, 0o100, 0o1000, 0o1101, 0o2002] {
            assert_eq!(f.call("openat", &[0, 0, flags, 0o644]), Action::Notify, "{flags:o}");
        }
        for flags in [0, 0o200_000, 0o2_000_000, 0o4000] {
            assert_eq!(f.call("openat", &[0, 0, flags, u64::MAX]), Action::Allow, "{flags:o}");
        }
        assert_eq!(f.call("openat", &[0, 0, 0o101, 0o4755]), EPERM);
        for name in ["unlinkat", "renameat2", "mkdirat", "symlinkat", "linkat", "truncate"] {
            assert_eq!(f.call(name, &[]), Action::Notify, "{name}");
        }
        for name in ["fchmod", "fchmodat", "fchmodat2", "mknodat"] {
            assert_eq!(f.call(name, &[]), Action::Notify, "{name}");
        }
        for name in ["read", "write", "newfstatat", "ftruncate", "execve", "utimensat"] {
            assert_eq!(f.call(name, &[]), Action::Allow, "{name}");
        }
    });
}

/// The kernel takes 4096 instructions and counts those of stacked filters together (32768).
#[test]
fn programs_leave_room_for_the_agents_own_filters() {
    for options in all_options() {
        on_both(options, |f| assert!(f.program.instructions().len() < 400));
    }
}

/// Where no namespace is: every row of the second list changes an answer, and each names a syscall.
#[test]
fn without_namespaces_what_they_kept_apart_is_refused() {
    use ringfence_sys::seccomp::SHARED;
    let names: std::collections::BTreeSet<_> = SHARED.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names.len(), SHARED.len(), "a name stands twice");
    for (name, _, why) in SHARED {
        super::row(name);
        assert!(!why.is_empty(), "{name}");
    }
    on_both(Options { shared: true, notify_exec: true, ..PLAIN }, |f| {
        for family in 0..46 {
            assert_eq!(f.call("socket", &[family, 1, 0]), EAFNOSUPPORT, "family {family}");
        }
        assert_eq!(f.call("socketpair", &[1, 1, 0]), Action::Allow);
        assert_eq!(f.call("socketpair", &[1, 2, 0]), EPROTONOSUPPORT, "it can send to any name");
        answered(f, "connect bind listen shmget shmat semget msgget mq_open fchown", EPERM);
        assert_eq!(f.call("prlimit64", &[0, 7]), Action::Allow);
        assert_eq!(f.call("prlimit64", &[1, 7]), EPERM);
        assert_eq!(f.call("fchmod", &[3, 0o644]), Action::Notify);
        assert_eq!(f.call("fchmod", &[3, 0o4755]), EPERM);
        // Flags, ext4's version, verity, the pins of f2fs: through a descriptor that may only read.
        for command in [0x4008_6602, 0x4008_6604, 0x4080_6685, 0xf50d, 0x9401] {
            assert_eq!(f.call("ioctl", &[3, command]), ENOTTY, "{command:#x}");
        }
        for command in [2, 0x8008_6601, 0x5401, 0x541b, 0x9409] {
            assert_eq!(f.call("ioctl", &[3, command]), Action::Allow, "{command:#x}");
        }
        assert_eq!(f.call("ioctl", &[3, 0x5412]), EPERM, "typing into a terminal");
        for (command, answer) in [(1024, EINVAL), (1040, EINVAL), (1036, EINVAL)] {
            assert_eq!(f.call("fcntl", &[3, command]), answer, "{command}");
        }
        assert_eq!(f.call("fcntl", &[3, 8]), Action::Allow);
        answered(f, "getxattr lgetxattr listxattr getxattrat", EOPNOTSUPP);
        assert_eq!(f.call("fgetxattr", &[3]), Action::Allow);
        assert_eq!(f.call("setpriority", &[2, 0, 19]), EPERM, "all of a user's processes");
    });
}
