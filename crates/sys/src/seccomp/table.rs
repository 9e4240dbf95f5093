//! The reviewed list of every 64-bit syscall of Linux (up to 7.0) on x86_64 and aarch64.
//!
//! One line per syscall: name, number on x86_64, number on aarch64 (`-`: the architecture has
//! none), rule, and why where the rule does not say it. Numbers are those of the kernel's
//! `arch/x86/entry/syscalls/syscall_64.tbl` and `scripts/syscall.tbl`. A syscall that is not here
//! is refused with ENOSYS, so this file must only gain a line by review, never by default.

/// What a syscall is about; orders the table and the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Reading and writing open files.
    File,
    /// Names, metadata and watches of files.
    Path,
    /// The address space of the caller.
    Memory,
    /// Starting, ending and describing processes.
    Process,
    /// Users, groups and capabilities.
    Identity,
    /// Signals.
    Signal,
    /// Locks and scheduling of threads.
    Thread,
    /// Clocks and timers.
    Time,
    /// Waiting for readiness.
    Poll,
    /// Sockets.
    Network,
    /// System V and POSIX inter-process communication.
    Ipc,
    /// Restrictions that a program lays on itself.
    Sandbox,
    /// The machine as a whole.
    System,
    /// Mounts and namespaces.
    Mount,
    /// Other processes and the kernel seen from inside.
    Trace,
    /// Code and keys inside the kernel.
    Kernel,
    /// Numbers without an implementation.
    Absent,
}

/// How a syscall is answered. `EPERM` etc. name the errno of a refusal. What `Names` and the rules
/// about modes and flags allow goes to the listener with [`super::Options::notify_writes`]: all of it
/// but opening for reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Allowed with any arguments.
    Allow,
    /// EPERM.
    Refuse,
    /// ENOSYS: the caller falls back.
    Missing,
    /// EPERM, allowed with [`super::Options::debug`].
    Debug,
    /// Allowed, EPERM with [`super::Options::exec_base`].
    MemfdCreate,
    /// Allowed, handed to the listener with [`super::Options::notify_exec`].
    Execve,
    /// Allowed, handed to the listener with [`super::Options::notify_writes`].
    Names,
    /// `clone(flags, …)`: EPERM with a namespace flag.
    Clone,
    /// `unshare(flags)`: only flags that make no namespace, else EPERM.
    Unshare,
    /// `personality(persona)`: 0 and the query, else EPERM.
    Personality,
    /// `prctl(option, …)`: known options but two.
    Prctl,
    /// `seccomp(operation, flags, …)`: no listener.
    Seccomp,
    /// `socket(family, type, protocol)`.
    Socket,
    /// `socketpair(family, type, protocol, …)`.
    Socketpair,
    /// `ioctl(fd, command, …)`.
    Ioctl,
    /// Flags in argument 2: EOPNOTSUPP with MSG_FASTOPEN.
    SendArg2,
    /// Flags in argument 3: EOPNOTSUPP with MSG_FASTOPEN.
    SendArg3,
    /// Mode in argument 1: EPERM for device nodes, and with a set-user-id or set-group-id bit.
    MknodArg1,
    /// Mode in argument 2: EPERM for device nodes, and with a set-user-id or set-group-id bit.
    MknodArg2,
    /// Mode in argument 1: EPERM with a set-user-id or set-group-id bit.
    ModeArg1,
    /// Mode in argument 2: EPERM with a set-user-id or set-group-id bit.
    ModeArg2,
    /// Flags in argument 1, mode in argument 2: EPERM where a file may be made and the mode has a
    /// set-user-id or set-group-id bit.
    OpenArg1,
    /// Flags in argument 2, mode in argument 3: EPERM where a file may be made and the mode has a
    /// set-user-id or set-group-id bit.
    OpenArg2,
    /// `renameat2(…, flags)`: EINVAL with RENAME_WHITEOUT.
    Renameat2,
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Syscall {
    /// Name as in section 2 of the manual.
    pub name: &'static str,
    /// Number on x86_64.
    pub x86_64: Option<u16>,
    /// Number on aarch64.
    pub aarch64: Option<u16>,
    /// What it is about.
    pub class: Class,
    /// How it is answered.
    pub rule: Rule,
    /// Why, where class and rule do not say it; never empty for a refusal.
    pub why: &'static str,
}

macro_rules! number {
    (-) => {
        None
    };
    ($number:literal) => {
        Some($number)
    };
}

macro_rules! table {
    ($($class:ident { $($name:ident $x86_64:tt $aarch64:tt $rule:ident $($why:literal)?;)* })*) => {
        &[$($(Syscall {
            name: stringify!($name),
            x86_64: number!($x86_64),
            aarch64: number!($aarch64),
            class: Class::$class,
            rule: Rule::$rule,
            why: concat!($($why)?),
        },)*)*]
    };
}

/// The table, ordered by class and x86_64 number.
pub const SYSCALLS: &[Syscall] = table! {
    File {
        read                      0  63 Allow;
        write                     1  64 Allow;
        open                      2   - OpenArg1;
        close                     3  57 Allow;
        lseek                     8  62 Allow;
        ioctl                    16  29 Ioctl;
        pread64                  17  67 Allow;
        pwrite64                 18  68 Allow;
        readv                    19  65 Allow;
        writev                   20  66 Allow;
        pipe                     22   - Allow;
        dup                      32  23 Allow;
        dup2                     33   - Allow;
        sendfile                 40  71 Allow;
        fcntl                    72  25 Allow;
        flock                    73  32 Allow;
        fsync                    74  82 Allow;
        fdatasync                75  83 Allow;
        ftruncate                77  46 Allow;
        creat                    85   - ModeArg1;
        sync                    162  81 Allow;
        readahead               187 213 Allow;
        io_setup                206   0 Allow;
        io_destroy              207   1 Allow;
        io_getevents            208   4 Allow;
        io_submit               209   2 Allow;
        io_cancel               210   3 Allow;
        fadvise64               221 223 Allow;
        openat                  257  56 OpenArg2;
        splice                  275  76 Allow;
        tee                     276  77 Allow;
        sync_file_range         277  84 Allow;
        vmsplice                278  75 Allow;
        fallocate               285  47 Allow;
        dup3                    292  24 Allow;
        pipe2                   293  59 Allow;
        preadv                  295  69 Allow;
        pwritev                 296  70 Allow;
        syncfs                  306 267 Allow;
        memfd_create            319 279 MemfdCreate;
        copy_file_range         326 285 Allow;
        preadv2                 327 286 Allow;
        pwritev2                328 287 Allow;
        io_pgetevents           333 292 Allow;
        close_range             436 436 Allow;
        openat2                 437 437 Missing     "the mode of a new file is behind a pointer";
        cachestat               451 451 Allow;
    }
    Path {
        stat                      4   - Allow;
        fstat                     5  80 Allow;
        lstat                     6   - Allow;
        access                   21   - Allow;
        truncate                 76  45 Names;
        getdents                 78   - Allow;
        getcwd                   79  17 Allow;
        chdir                    80  49 Allow;
        fchdir                   81  50 Allow;
        rename                   82   - Names;
        mkdir                    83   - Names       "the kernel drops set-id bits from the mode";
        rmdir                    84   - Names;
        link                     86   - Names;
        unlink                   87   - Names;
        symlink                  88   - Names;
        readlink                 89   - Allow;
        chmod                    90   - ModeArg1;
        fchmod                   91  52 ModeArg1;
        chown                    92   - Allow;
        fchown                   93  55 Allow;
        lchown                   94   - Allow;
        umask                    95 166 Allow;
        utime                   132   - Allow;
        mknod                   133   - MknodArg1;
        statfs                  137  43 Allow;
        fstatfs                 138  44 Allow;
        setxattr                188   5 Allow;
        lsetxattr               189   6 Allow;
        fsetxattr               190   7 Allow;
        getxattr                191   8 Allow;
        lgetxattr               192   9 Allow;
        fgetxattr               193  10 Allow;
        listxattr               194  11 Allow;
        llistxattr              195  12 Allow;
        flistxattr              196  13 Allow;
        removexattr             197  14 Allow;
        lremovexattr            198  15 Allow;
        fremovexattr            199  16 Allow;
        getdents64              217  61 Allow;
        utimes                  235   - Allow;
        inotify_init            253   - Allow;
        inotify_add_watch       254  27 Allow;
        inotify_rm_watch        255  28 Allow;
        mkdirat                 258  34 Names       "the kernel drops set-id bits from the mode";
        mknodat                 259  33 MknodArg2;
        fchownat                260  54 Allow;
        futimesat               261   - Allow;
        newfstatat              262  79 Allow;
        unlinkat                263  35 Names;
        renameat                264  38 Names;
        linkat                  265  37 Names;
        symlinkat               266  36 Names;
        readlinkat              267  78 Allow;
        fchmodat                268  53 ModeArg2;
        faccessat               269  48 Allow;
        utimensat               280  88 Allow;
        inotify_init1           294  26 Allow;
        renameat2               316 276 Renameat2;
        statx                   332 291 Allow;
        faccessat2              439 439 Allow;
        fchmodat2               452 452 ModeArg2;
        setxattrat              463 463 Allow;
        getxattrat              464 464 Allow;
        listxattrat             465 465 Allow;
        removexattrat           466 466 Allow;
        file_getattr            468 468 Allow;
        file_setattr            469 469 Allow;
    }
    Memory {
        mmap                      9 222 Allow;
        mprotect                 10 226 Allow;
        munmap                   11 215 Allow;
        brk                      12 214 Allow;
        mremap                   25 216 Allow;
        msync                    26 227 Allow;
        mincore                  27 232 Allow;
        madvise                  28 233 Allow;
        mlock                   149 228 Allow;
        munlock                 150 229 Allow;
        mlockall                151 230 Allow;
        munlockall              152 231 Allow;
        remap_file_pages        216 234 Allow;
        mbind                   237 235 Allow;
        set_mempolicy           238 237 Allow;
        get_mempolicy           239 236 Allow;
        mlock2                  325 284 Allow;
        pkey_mprotect           329 288 Allow;
        pkey_alloc              330 289 Allow;
        pkey_free               331 290 Allow;
        set_mempolicy_home_node 450 450 Allow;
        map_shadow_stack        453 453 Allow;
        mseal                   462 462 Allow;
    }
    Process {
        getpid                   39 172 Allow;
        clone                    56 220 Clone;
        fork                     57   - Allow;
        vfork                    58   - Allow;
        execve                   59 221 Execve;
        exit                     60  93 Allow;
        wait4                    61 260 Allow;
        getrlimit                97 163 Allow;
        getrusage                98 165 Allow;
        setpgid                 109 154 Allow;
        getppid                 110 173 Allow;
        getpgrp                 111   - Allow;
        setsid                  112 157 Allow;
        getpgid                 121 155 Allow;
        getsid                  124 156 Allow;
        personality             135  92 Personality;
        prctl                   157 167 Prctl;
        arch_prctl              158   - Allow;
        setrlimit               160 164 Allow;
        gettid                  186 178 Allow;
        set_tid_address         218  96 Allow;
        exit_group              231  94 Allow;
        waitid                  247  95 Allow;
        unshare                 272  97 Unshare;
        prlimit64               302 261 Allow;
        execveat                322 281 Execve;
        uretprobe               335   - Allow       "from a probe that the host set, else SIGILL";
        uprobe                  336   - Allow       "from a probe that the host set, else SIGILL";
        pidfd_open              434 434 Allow;
        clone3                  435 435 Missing     "flags behind a pointer";
    }
    Identity {
        getuid                  102 174 Allow;
        getgid                  104 176 Allow;
        setuid                  105 146 Allow       "inert: no capability, no_new_privs";
        setgid                  106 144 Allow       "inert: no capability, no_new_privs";
        geteuid                 107 175 Allow;
        getegid                 108 177 Allow;
        setreuid                113 145 Allow       "inert: no capability, no_new_privs";
        setregid                114 143 Allow       "inert: no capability, no_new_privs";
        getgroups               115 158 Allow;
        setgroups               116 159 Allow       "inert: no capability, no_new_privs";
        setresuid               117 147 Allow       "inert: no capability, no_new_privs";
        getresuid               118 148 Allow;
        setresgid               119 149 Allow       "inert: no capability, no_new_privs";
        getresgid               120 150 Allow;
        setfsuid                122 151 Allow       "inert: no capability, no_new_privs";
        setfsgid                123 152 Allow       "inert: no capability, no_new_privs";
        capget                  125  90 Allow;
        capset                  126  91 Allow       "inert: no capability, no_new_privs";
    }
    Signal {
        rt_sigaction             13 134 Allow;
        rt_sigprocmask           14 135 Allow;
        rt_sigreturn             15 139 Allow;
        pause                    34   - Allow;
        kill                     62 129 Allow;
        rt_sigpending           127 136 Allow;
        rt_sigtimedwait         128 137 Allow;
        rt_sigqueueinfo         129 138 Allow;
        rt_sigsuspend           130 133 Allow;
        sigaltstack             131 132 Allow;
        tkill                   200 130 Allow;
        restart_syscall         219 128 Allow;
        tgkill                  234 131 Allow;
        signalfd                282   - Allow;
        signalfd4               289  74 Allow;
        rt_tgsigqueueinfo       297 240 Allow;
        pidfd_send_signal       424 424 Allow;
    }
    Thread {
        sched_yield              24 124 Allow;
        getpriority             140 141 Allow;
        setpriority             141 140 Allow;
        sched_setparam          142 118 Allow;
        sched_getparam          143 121 Allow;
        sched_setscheduler      144 119 Allow;
        sched_getscheduler      145 120 Allow;
        sched_get_priority_max  146 125 Allow;
        sched_get_priority_min  147 126 Allow;
        sched_rr_get_interval   148 127 Allow;
        futex                   202  98 Allow;
        sched_setaffinity       203 122 Allow;
        sched_getaffinity       204 123 Allow;
        ioprio_set              251  30 Allow;
        ioprio_get              252  31 Allow;
        set_robust_list         273  99 Allow;
        get_robust_list         274 100 Allow;
        getcpu                  309 168 Allow;
        sched_setattr           314 274 Allow;
        sched_getattr           315 275 Allow;
        membarrier              324 283 Allow;
        rseq                    334 293 Allow;
        futex_waitv             449 449 Allow;
        futex_wake              454 454 Allow;
        futex_wait              455 455 Allow;
        futex_requeue           456 456 Allow;
        rseq_slice_yield        471 471 Allow;
    }
    Time {
        nanosleep                35 101 Allow;
        getitimer                36 102 Allow;
        alarm                    37   - Allow;
        setitimer                38 103 Allow;
        gettimeofday             96 169 Allow;
        times                   100 153 Allow;
        time                    201   - Allow;
        timer_create            222 107 Allow;
        timer_settime           223 110 Allow;
        timer_gettime           224 108 Allow;
        timer_getoverrun        225 109 Allow;
        timer_delete            226 111 Allow;
        clock_gettime           228 113 Allow;
        clock_getres            229 114 Allow;
        clock_nanosleep         230 115 Allow;
        timerfd_create          283  85 Allow;
        timerfd_settime         286  86 Allow;
        timerfd_gettime         287  87 Allow;
    }
    Poll {
        poll                      7   - Allow;
        select                   23   - Allow;
        epoll_create            213   - Allow;
        epoll_wait              232   - Allow;
        epoll_ctl               233  21 Allow;
        pselect6                270  72 Allow;
        ppoll                   271  73 Allow;
        epoll_pwait             281  22 Allow;
        eventfd                 284   - Allow;
        eventfd2                290  19 Allow;
        epoll_create1           291  20 Allow;
        epoll_pwait2            441 441 Allow;
    }
    Network {
        socket                   41 198 Socket;
        connect                  42 203 Allow;
        accept                   43 202 Allow;
        sendto                   44 206 SendArg3;
        recvfrom                 45 207 Allow;
        sendmsg                  46 211 SendArg2;
        recvmsg                  47 212 Allow;
        shutdown                 48 210 Allow;
        bind                     49 200 Allow;
        listen                   50 201 Allow;
        getsockname              51 204 Allow;
        getpeername              52 205 Allow;
        socketpair               53 199 Socketpair;
        setsockopt               54 208 Allow;
        getsockopt               55 209 Allow;
        accept4                 288 242 Allow;
        recvmmsg                299 243 Allow;
        sendmmsg                307 269 SendArg3;
    }
    Ipc {
        shmget                   29 194 Allow       "the IPC namespace is private";
        shmat                    30 196 Allow;
        shmctl                   31 195 Allow;
        semget                   64 190 Allow       "the IPC namespace is private";
        semop                    65 193 Allow;
        semctl                   66 191 Allow;
        shmdt                    67 197 Allow;
        msgget                   68 186 Allow       "the IPC namespace is private";
        msgsnd                   69 189 Allow;
        msgrcv                   70 188 Allow;
        msgctl                   71 187 Allow;
        semtimedop              220 192 Allow;
        mq_open                 240 180 Allow       "the IPC namespace is private";
        mq_unlink               241 181 Allow;
        mq_timedsend            242 182 Allow;
        mq_timedreceive         243 183 Allow;
        mq_notify               244 184 Allow;
        mq_getsetattr           245 185 Allow;
    }
    Sandbox {
        seccomp                 317 277 Seccomp;
        landlock_create_ruleset 444 444 Allow       "restrictions nest";
        landlock_add_rule       445 445 Allow       "restrictions nest";
        landlock_restrict_self  446 446 Allow       "restrictions nest";
        lsm_get_self_attr       459 459 Allow;
        lsm_set_self_attr       460 460 Refuse      "the security label that the host gave";
        lsm_list_modules        461 461 Allow;
    }
    System {
        uname                    63 160 Allow;
        sysinfo                  99 179 Allow;
        syslog                  103 116 Refuse      "kernel log: addresses and host activity";
        uselib                  134   - Refuse      "obsolete";
        ustat                   136   - Refuse      "obsolete";
        sysfs                   139   - Refuse      "obsolete";
        vhangup                 153  58 Refuse      "hangs up the controlling terminal";
        modify_ldt              154   - Refuse      "segment descriptors: rare paths in the kernel";
        adjtimex                159 171 Refuse      "the clock of the host";
        acct                    163  89 Refuse      "host administration";
        settimeofday            164 170 Refuse      "the clock of the host";
        swapon                  167 224 Refuse      "host administration";
        swapoff                 168 225 Refuse      "host administration";
        reboot                  169 142 Refuse      "host administration";
        sethostname             170 161 Refuse      "the name of the boundary";
        setdomainname           171 162 Refuse      "the name of the boundary";
        iopl                    172   - Refuse      "hardware ports";
        ioperm                  173   - Refuse      "hardware ports";
        quotactl                179  60 Refuse      "host administration";
        lookup_dcookie          212  18 Refuse      "obsolete";
        clock_settime           227 112 Refuse      "the clock of the host";
        migrate_pages           256 238 Refuse      "acts on the memory of another process";
        move_pages              279 239 Refuse      "acts on the memory of another process";
        fanotify_init           300 262 Refuse      "watches or blocks file access of others";
        fanotify_mark           301 263 Refuse      "watches or blocks file access of others";
        clock_adjtime           305 266 Refuse      "the clock of the host";
        getrandom               318 278 Allow;
        quotactl_fd             443 443 Refuse      "host administration";
        memfd_secret            447 447 Refuse      "memory that the host cannot reclaim";
    }
    Mount {
        pivot_root              155  41 Refuse      "mount API: the shape of the boundary";
        chroot                  161  51 Refuse      "mount API: the shape of the boundary";
        mount                   165  40 Refuse      "mount API: the shape of the boundary";
        umount2                 166  39 Refuse      "mount API: the shape of the boundary";
        name_to_handle_at       303 264 Refuse      "opens past every path check";
        open_by_handle_at       304 265 Refuse      "opens past every path check";
        setns                   308 268 Refuse      "enters another namespace";
        open_tree               428 428 Refuse      "mount API: the shape of the boundary";
        move_mount              429 429 Refuse      "mount API: the shape of the boundary";
        fsopen                  430 430 Refuse      "mount API: the shape of the boundary";
        fsconfig                431 431 Refuse      "mount API: the shape of the boundary";
        fsmount                 432 432 Refuse      "mount API: the shape of the boundary";
        fspick                  433 433 Refuse      "mount API: the shape of the boundary";
        mount_setattr           442 442 Refuse      "mount API: the shape of the boundary";
        statmount               457 457 Refuse      "shows mounts and namespaces of others";
        listmount               458 458 Refuse      "shows mounts and namespaces of others";
        open_tree_attr          467 467 Refuse      "mount API: the shape of the boundary";
        listns                  470 470 Refuse      "shows mounts and namespaces of others";
    }
    Trace {
        ptrace                  101 117 Debug       "reads or steers another process";
        perf_event_open         298 241 Refuse      "samples the kernel; source of many bugs";
        process_vm_readv        310 270 Debug       "reads or steers another process";
        process_vm_writev       311 271 Debug       "reads or steers another process";
        kcmp                    312 272 Debug       "reads or steers another process";
        userfaultfd             323 282 Refuse      "stalls kernel copies: an aid of exploits";
        pidfd_getfd             438 438 Debug       "reads or steers another process";
        process_madvise         440 440 Refuse      "acts on the memory of another process";
        process_mrelease        448 448 Refuse      "acts on the memory of another process";
    }
    Kernel {
        create_module           174   - Refuse      "loads or replaces kernel code";
        init_module             175 105 Refuse      "loads or replaces kernel code";
        delete_module           176 106 Refuse      "loads or replaces kernel code";
        get_kernel_syms         177   - Refuse      "loads or replaces kernel code";
        query_module            178   - Refuse      "loads or replaces kernel code";
        nfsservctl              180  42 Refuse      "kernel NFS server control; removed from Linux";
        kexec_load              246 104 Refuse      "loads or replaces kernel code";
        add_key                 248 217 Refuse      "keyrings are shared with the user outside";
        request_key             249 218 Refuse      "keyrings are shared with the user outside";
        keyctl                  250 219 Refuse      "keyrings are shared with the user outside";
        finit_module            313 273 Refuse      "loads or replaces kernel code";
        kexec_file_load         320 294 Refuse      "loads or replaces kernel code";
        bpf                     321 280 Refuse      "runs code inside the kernel";
        io_uring_setup          425 425 Refuse      "opens and connects where no filter sees it";
        io_uring_enter          426 426 Refuse      "opens and connects where no filter sees it";
        io_uring_register       427 427 Refuse      "opens and connects where no filter sees it";
    }
    Absent {
        _sysctl                 156   - Missing     "never implemented, or removed from Linux";
        getpmsg                 181   - Missing     "never implemented, or removed from Linux";
        putpmsg                 182   - Missing     "never implemented, or removed from Linux";
        afs_syscall             183   - Missing     "never implemented, or removed from Linux";
        tuxcall                 184   - Missing     "never implemented, or removed from Linux";
        security                185   - Missing     "never implemented, or removed from Linux";
        set_thread_area         205   - Missing     "never implemented, or removed from Linux";
        get_thread_area         211   - Missing     "never implemented, or removed from Linux";
        epoll_ctl_old           214   - Missing     "never implemented, or removed from Linux";
        epoll_wait_old          215   - Missing     "never implemented, or removed from Linux";
        vserver                 236   - Missing     "never implemented, or removed from Linux";
    }
};
