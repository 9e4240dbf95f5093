//! A second judge of the same rules, written for reading and not for speed: it looks the number up
//! in the table and then decides with plain comparisons. It shares no code with the compiler.

use super::{EAFNOSUPPORT, EINVAL, ENOSYS, ENOTTY, EOPNOTSUPP, EPERM, EPROTONOSUPPORT};
use ringfence_sys::bpf::SeccompData;
use ringfence_sys::seccomp::{Action, Arch, Options, SYSCALLS};

pub fn judge(options: Options, arch: Arch, data: &SeccompData) -> Action {
    if data.arch != arch.audit() {
        return Action::KillProcess;
    }
    let row = SYSCALLS.iter().find(|s| arch.number(s).map(u32::from) == Some(data.nr));
    let Some(row) = row else { return ENOSYS };
    let allow_if = |holds: bool, refusal: Action| if holds { Action::Allow } else { refusal };
    // What changes a file or a name, where it is not refused.
    let write = |holds: bool, refusal: Action| match (holds, options.notify_writes) {
        (true, true) => Action::Notify,
        (holds, _) => allow_if(holds, refusal),
    };
    let args = &data.args;
    // What the kernel sees of an `int`.
    let int = |n: usize| args[n] as u32;
    if options.shared
        && let Some(answer) = shared(row.name, args)
    {
        return answer;
    }
    match format!("{:?}", row.rule).as_str() {
        "Allow" => Action::Allow,
        "Refuse" => EPERM,
        "Missing" => ENOSYS,
        "Debug" => allow_if(options.debug, EPERM),
        "MemfdCreate" => allow_if(!options.exec_base, EPERM),
        "Execve" if options.notify_exec => Action::Notify,
        "Execve" => Action::Allow,
        "Clone" => allow_if(int(0) & 0x7e02_0080 == 0, EPERM),
        "Unshare" => allow_if(args[0] & !0x0004_0600 == 0, EPERM),
        "Personality" => {
            let debugger = options.debug && int(0) == 0x0004_0000;
            allow_if(int(0) == 0 || int(0) == 0xffff_ffff || debugger, EPERM)
        }
        "Prctl" => match int(0) {
            35 | 67 => EPERM,
            0..=79 | 0x5356_4d41 | 0x5961_6d61 => Action::Allow,
            _ => EINVAL,
        },
        "Seccomp" => match int(0) {
            0 | 2 | 3 => Action::Allow,
            1 => {
                allow_if([0x8, 0x40, 0x80].iter().all(|f| int(1) & f == 0) && int(1) < 0x100, EPERM)
            }
            _ => EINVAL,
        },
        "Socket" => socket(int(0), int(1), int(2)),
        "Socketpair" if int(0) == 1 => socket(1, int(1), int(2)),
        "Socketpair" => EAFNOSUPPORT,
        "Ioctl" => ioctl(int(1)),
        "SendArg2" => allow_if(int(2) & 0x2000_0000 == 0, EOPNOTSUPP),
        "SendArg3" => allow_if(int(3) & 0x2000_0000 == 0, EOPNOTSUPP),
        "Names" => write(true, EPERM),
        "MknodArg1" => write(mknod(args[1] as u16), EPERM),
        "MknodArg2" => write(mknod(args[2] as u16), EPERM),
        "ModeArg1" => write(!set_id(args[1]), EPERM),
        "ModeArg2" => write(!set_id(args[2]), EPERM),
        "OpenArg1" | "OpenArg2" => {
            let at = if row.name == "open" { 1 } else { 2 };
            match (makes_a_file(int(at)), writes(int(at))) {
                (true, _) => write(!set_id(args[at + 1]), EPERM),
                (false, true) => write(true, EPERM),
                (false, false) => Action::Allow,
            }
        }
        "Renameat2" => write(int(4) & 4 == 0, EINVAL),
        other => panic!("the oracle does not know rule {other}"),
    }
}

/// Where no namespace is, by name; none where nothing differs.
fn shared(name: &str, args: &[u64; 6]) -> Option<Action> {
    let int = |n: usize| args[n] as u32;
    let allow_if = |holds: bool, refusal: Action| if holds { Action::Allow } else { refusal };
    let mode = |n: usize| if set_id(args[n]) { EPERM } else { Action::Notify };
    Some(match name {
        "socket" => EAFNOSUPPORT,
        "socketpair" => match (int(0), int(1) & !0x0008_0800, int(2)) {
            (1, 1 | 5, 0 | 1) => Action::Allow,
            (1, _, _) => EPROTONOSUPPORT,
            _ => EAFNOSUPPORT,
        },
        "connect" | "bind" | "listen" | "mq_open" | "mq_unlink" => EPERM,
        "chown" | "fchown" | "lchown" | "fchownat" => EPERM,
        _ if ["shm", "sem", "msg"].iter().any(|start| name.starts_with(start))
            && name != "shmdt" =>
        {
            EPERM
        }
        "inotify_init" | "inotify_init1" | "utime" | "utimes" | "futimesat" => ENOSYS,
        "prlimit64" | "sched_setparam" | "sched_setscheduler" | "sched_setaffinity"
        | "sched_setattr" => allow_if(int(0) == 0, EPERM),
        "setpriority" => allow_if(int(0) <= 1 && int(1) == 0, EPERM),
        "ioprio_set" => allow_if([1, 2].contains(&int(0)) && int(1) == 0, EPERM),
        "chmod" | "fchmod" => mode(1),
        "fchmodat" | "fchmodat2" => mode(2),
        "utimensat" => Action::Notify,
        _ if name.contains("setxattr") || name.contains("removexattr") => EOPNOTSUPP,
        "file_setattr" => EOPNOTSUPP,
        "getxattr" | "lgetxattr" | "getxattrat" | "listxattr" | "llistxattr" | "listxattrat" => {
            EOPNOTSUPP
        }
        "fcntl" => allow_if(![1024, 1036, 1040].contains(&int(1)), EINVAL),
        "ioctl" => {
            let asks = [2, 0x8008_6601, 0x8008_7601, 0x801c_581f, 0xc020_660b].contains(&int(1));
            let known = [0x54, 0x89, 0x52, 0x94].contains(&(int(1) >> 8 & 0xff));
            match ioctl(int(1)) {
                Action::Allow if !asks && !known => ENOTTY,
                answer => answer,
            }
        }
        _ => return None,
    })
}

fn socket(family: u32, kind: u32, protocol: u32) -> Action {
    let kind = kind & !0x0008_0800;
    match (family, kind, protocol) {
        (1, 1 | 2 | 5, 0 | 1) => Action::Allow,
        (2 | 10, 1, 0 | 6) | (2 | 10, 2, 0 | 17) => Action::Allow,
        (16, 2 | 3, 0) => Action::Allow,
        (1 | 2 | 10 | 16, _, _) => EPROTONOSUPPORT,
        _ => EAFNOSUPPORT,
    }
}

fn ioctl(command: u32) -> Action {
    match command {
        0x5412 | 0x541c | 0x541d | 0x5423 => EPERM,
        0x4b47 | 0x4b49 | 0x4b4b | 0x4b4d | 0x4bfb => EPERM,
        _ => match (command >> 8 & 0xff, command & 0xff) {
            (0x94, 9 | 13 | 49 | 54) => Action::Allow,
            (0x94 | 0xbc, _) => ENOTTY,
            _ => Action::Allow,
        },
    }
}

fn mknod(mode: u16) -> bool {
    matches!(mode >> 12, 0 | 1 | 8 | 12) && !set_id(mode.into())
}

/// S_ISUID is bit 11 of the kernel's 16-bit mode, S_ISGID bit 10.
fn set_id(mode: u64) -> bool {
    (mode as u16) >> 10 & 3 != 0
}

/// O_CREAT is bit 6, __O_TMPFILE bit 22.
fn makes_a_file(flags: u32) -> bool {
    flags >> 6 & 1 == 1 || flags >> 22 & 1 == 1
}

/// O_WRONLY and O_RDWR are the two lowest bits, O_TRUNC bit 9.
fn writes(flags: u32) -> bool {
    !flags.is_multiple_of(4) || flags >> 9 & 1 == 1
}
