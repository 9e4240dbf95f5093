//! What else is answered otherwise where no namespace keeps the agent from the host's own objects.
//!
//! In the process tier a System V segment, an abstract name, a process id or a socket address is the
//! sandbox's own. Without namespaces the same number means the host's, and Landlock knows nothing of
//! it, nor of an inode's mode, owner and times: so this list refuses such calls, or hands them to the
//! supervisor, which looks at the file that they really reach.

use super::Action;
use super::rules::{allow_values, errno, jump_values, low, refuse_bits, socket_type};
use crate::bpf::{Assembler, NEXT};

/// How a syscall is answered with [`super::Options::shared`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    /// EPERM.
    Refuse,
    /// ENOSYS: the caller falls back.
    Missing,
    /// EAFNOSUPPORT, for every family.
    NoFamily,
    /// EOPNOTSUPP: as on a file system that has no such thing.
    NotSupported,
    /// `socketpair`: AF_UNIX, stream or sequenced packets. A datagram one can be sent from to any name.
    StreamPair,
    /// Only for the caller itself: argument 0, a process id, must be 0.
    OwnProcess,
    /// `setpriority`, `ioprio_set`: argument 0 is one of the two kinds "process" and "process group",
    /// which begin at this number, and argument 1, whose, is 0.
    OwnKind(u32),
    /// The mode in this argument: EPERM with a set-id bit; the supervisor makes the change otherwise.
    Mode(u32),
    /// The supervisor makes the change.
    Notify,
    /// As elsewhere, but ENOTTY for what a file system answers, unless it only asks.
    Ioctl,
    /// EINVAL for the commands that make others wait or change an inode.
    Fcntl,
}

/// One line: name, answer, why.
pub type Row = (&'static str, Shared, &'static str);

const SOCKETS: &str = "every address, path and name is the host's";
const IPC: &str = "the host's IPC objects";
const OTHERS: &str = "acts on other processes of the same user";
const INODES: &str = "Landlock does not guard it: the supervisor looks at what it reaches";
const OWNERS: &str = "Landlock does not guard it";
const NAMED: &str = "content of files that may not be opened";

/// Every line.
pub const SHARED: &[Row] = &[
    ("socket", Shared::NoFamily, SOCKETS),
    ("socketpair", Shared::StreamPair, SOCKETS),
    ("connect", Shared::Refuse, SOCKETS),
    ("bind", Shared::Refuse, SOCKETS),
    ("listen", Shared::Refuse, SOCKETS),
    ("shmget", Shared::Refuse, IPC),
    ("shmat", Shared::Refuse, IPC),
    ("shmctl", Shared::Refuse, IPC),
    ("semget", Shared::Refuse, IPC),
    ("semop", Shared::Refuse, IPC),
    ("semctl", Shared::Refuse, IPC),
    ("semtimedop", Shared::Refuse, IPC),
    ("msgget", Shared::Refuse, IPC),
    ("msgsnd", Shared::Refuse, IPC),
    ("msgrcv", Shared::Refuse, IPC),
    ("msgctl", Shared::Refuse, IPC),
    ("mq_open", Shared::Refuse, IPC),
    ("mq_unlink", Shared::Refuse, IPC),
    ("inotify_init", Shared::Missing, "watches names that may not be read"),
    ("inotify_init1", Shared::Missing, "watches names that may not be read"),
    ("prlimit64", Shared::OwnProcess, OTHERS),
    ("sched_setparam", Shared::OwnProcess, OTHERS),
    ("sched_setscheduler", Shared::OwnProcess, OTHERS),
    ("sched_setaffinity", Shared::OwnProcess, OTHERS),
    ("sched_setattr", Shared::OwnProcess, OTHERS),
    ("setpriority", Shared::OwnKind(0), OTHERS),
    ("ioprio_set", Shared::OwnKind(1), OTHERS),
    ("chmod", Shared::Mode(1), INODES),
    ("fchmod", Shared::Mode(1), INODES),
    ("fchmodat", Shared::Mode(2), INODES),
    ("fchmodat2", Shared::Mode(2), INODES),
    ("utimensat", Shared::Notify, INODES),
    ("utime", Shared::Missing, INODES),
    ("utimes", Shared::Missing, INODES),
    ("futimesat", Shared::Missing, INODES),
    ("chown", Shared::Refuse, OWNERS),
    ("fchown", Shared::Refuse, OWNERS),
    ("lchown", Shared::Refuse, OWNERS),
    ("fchownat", Shared::Refuse, OWNERS),
    ("setxattr", Shared::NotSupported, OWNERS),
    ("lsetxattr", Shared::NotSupported, OWNERS),
    ("fsetxattr", Shared::NotSupported, OWNERS),
    ("setxattrat", Shared::NotSupported, OWNERS),
    ("removexattr", Shared::NotSupported, OWNERS),
    ("lremovexattr", Shared::NotSupported, OWNERS),
    ("fremovexattr", Shared::NotSupported, OWNERS),
    ("removexattrat", Shared::NotSupported, OWNERS),
    ("file_setattr", Shared::NotSupported, OWNERS),
    ("getxattr", Shared::NotSupported, NAMED),
    ("lgetxattr", Shared::NotSupported, NAMED),
    ("getxattrat", Shared::NotSupported, NAMED),
    ("listxattr", Shared::NotSupported, NAMED),
    ("llistxattr", Shared::NotSupported, NAMED),
    ("listxattrat", Shared::NotSupported, NAMED),
    ("ioctl", Shared::Ioctl, OWNERS),
    ("fcntl", Shared::Fcntl, "acts on whoever opens the file, or on the inode"),
];

/// The answer of a syscall, if it has one of its own here.
pub(super) fn answer(name: &str) -> Option<Shared> {
    SHARED.iter().find(|(row, ..)| *row == name).map(|(_, shared, _)| *shared)
}

/// Type bytes of the commands of terminals (and of every descriptor), sockets and the random devices.
/// Many of those that file systems answer change an inode through a descriptor that may only read:
/// flags, versions, verity, encryption, layout, and each file system has some of its own.
pub(super) const TYPES: [u32; 3] = [0x5400, 0x8900, 0x5200];
/// Those that only ask: FIGETBSZ, FS_IOC_GETFLAGS, FS_IOC_GETVERSION, FS_IOC_FSGETXATTR, FS_IOC_FIEMAP.
pub(super) const ASKING_COMMANDS: [u32; 5] =
    [2, 0x8008_6601, 0x8008_7601, 0x801c_581f, 0xc020_660b];
/// F_SETLEASE and F_SETDELEG, for which whoever opens the file has to wait, and F_SET_RW_HINT.
const REFUSED_FCNTL: [u32; 3] = [1024, 1040, 1036];

const REFUSED: Action = errno(libc::EPERM);
const SET_ID: u32 = libc::S_ISUID | libc::S_ISGID;

/// Emits every answer but [`Shared::Ioctl`], whose block is the common one.
pub(super) fn emit(asm: &mut Assembler, shared: Shared) {
    match shared {
        Shared::Refuse | Shared::Ioctl => asm.ret(REFUSED.value()),
        Shared::Missing => asm.ret(errno(libc::ENOSYS).value()),
        Shared::NoFamily => asm.ret(errno(libc::EAFNOSUPPORT).value()),
        Shared::NotSupported => asm.ret(errno(libc::EOPNOTSUPP).value()),
        Shared::Notify => asm.ret(Action::Notify.value()),
        Shared::StreamPair => stream_pair(asm),
        Shared::Fcntl => {
            let refuse = asm.label();
            low(asm, 1);
            jump_values(asm, &REFUSED_FCNTL, refuse);
            asm.ret(Action::Allow.value());
            asm.bind(refuse);
            asm.ret(errno(libc::EINVAL).value());
        }
        Shared::OwnProcess => {
            low(asm, 0);
            allow_values(asm, &[0], REFUSED, Action::Allow);
        }
        Shared::OwnKind(first) => own_kind(asm, first),
        Shared::Mode(argument) => refuse_bits(asm, argument, SET_ID, REFUSED, Action::Notify),
    }
}

fn stream_pair(asm: &mut Assembler) {
    let (local, protocol) = (asm.label(), asm.label());
    low(asm, 0);
    asm.eq(libc::AF_UNIX as u32, local, NEXT);
    asm.ret(errno(libc::EAFNOSUPPORT).value());
    asm.bind(local);
    socket_type(asm);
    asm.eq(libc::SOCK_STREAM as u32, protocol, NEXT);
    asm.eq(libc::SOCK_SEQPACKET as u32, protocol, NEXT);
    asm.ret(errno(libc::EPROTONOSUPPORT).value());
    asm.bind(protocol);
    low(asm, 2);
    allow_values(asm, &[0, libc::AF_UNIX as u32], errno(libc::EPROTONOSUPPORT), Action::Allow);
}

fn own_kind(asm: &mut Assembler, first: u32) {
    let kind = asm.label();
    low(asm, 0);
    asm.eq(first, kind, NEXT);
    asm.eq(first + 1, kind, NEXT);
    asm.ret(REFUSED.value());
    asm.bind(kind);
    low(asm, 1);
    allow_values(asm, &[0], REFUSED, Action::Allow);
}
