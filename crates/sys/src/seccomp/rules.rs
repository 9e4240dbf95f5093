//! The rules that look at arguments, as BPF.
//!
//! A register has 64 bits, but the kernel reads most arguments as `int`, `unsigned int` or
//! `umode_t` and drops the upper half. Those are compared by their low half only, so that bits
//! above cannot make a refused value look like another one. A block must end in a return on every
//! path and must never load anything but arguments.

use super::shared::{self, ASKING_COMMANDS, Shared, TYPES};
use super::table::{Rule, Syscall};
use super::{Action, Options};
use crate::bpf::{Assembler, Label, NEXT};

/// A rule with the options applied. Equal blocks are emitted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    Answer(Action),
    Clone,
    Unshare,
    Personality { debug: bool },
    Prctl,
    Seccomp,
    Socket,
    Socketpair,
    Ioctl { inodes: bool },
    Shared(Shared),
    Send { argument: u32 },
    Mknod { argument: u32, permit: Action },
    Mode { argument: u32, permit: Action },
    Open { flags: u32, permit: Action },
    Renameat2 { permit: Action },
}

pub(super) const fn errno(value: i32) -> Action {
    // Errno values are below 4096 (MAX_ERRNO).
    Action::Errno(value as u16)
}

const REFUSED: Action = errno(libc::EPERM);

/// `CLONE_NEW*` of `linux/sched.h`, CLONE_NEWTIME (which clone itself reads as a signal) included.
const NAMESPACE_FLAGS: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32
    | 0x80;
const UNSHARE_FLAGS: u32 = (libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SYSVSEM) as u32;

/// `PER_LINUX`, and the value that only asks.
const PERSONALITIES: [u32; 2] = [0, u32::MAX];
const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;

/// Rewrites the memory layout, the executable and the command line that `/proc` shows.
const PR_SET_MM: u32 = 35;
/// Merges equal pages with other processes, whose content can then be timed.
const PR_SET_MEMORY_MERGE: u32 = 67;
/// Highest option of the numbered ones that was reviewed (Linux 7.0).
const PR_HIGHEST: u32 = 79;
const PR_SET_VMA: u32 = 0x5356_4d41;
const PR_SET_PTRACER: u32 = 0x5961_6d61;

const SECCOMP_SET_MODE_FILTER: u32 = 1;
const SECCOMP_HIGHEST_OPERATION: u32 = 3;
/// TSYNC, LOG, SPEC_ALLOW, TSYNC_ESRCH, WAIT_KILLABLE_RECV: all but NEW_LISTENER.
const SECCOMP_FLAGS: u32 = 0x37;

const SOCK_FLAGS: u32 = (libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) as u32;
const AF_UNIX: u32 = libc::AF_UNIX as u32;
const AF_INET: u32 = libc::AF_INET as u32;
const AF_INET6: u32 = libc::AF_INET6 as u32;
const AF_NETLINK: u32 = libc::AF_NETLINK as u32;
const STREAM: u32 = libc::SOCK_STREAM as u32;
const DGRAM: u32 = libc::SOCK_DGRAM as u32;
const RAW: u32 = libc::SOCK_RAW as u32;
const SEQPACKET: u32 = libc::SOCK_SEQPACKET as u32;
const TCP: u32 = libc::IPPROTO_TCP as u32;
const UDP: u32 = libc::IPPROTO_UDP as u32;
const NETLINK_ROUTE: u32 = libc::NETLINK_ROUTE as u32;

/// Commands that type into a terminal for somebody else, change its line discipline, or take the
/// console's output: TIOCSTI, TIOCLINUX, TIOCSETD, TIOCCONS, and the key map of a virtual console
/// (KDSKBENT, KDSKBSENT, KDSKBDIACR, KDSKBDIACRUC, KDSETKEYCODE).
pub(super) const REFUSED_COMMANDS: [u32; 9] =
    [0x5412, 0x541c, 0x5423, 0x541d, 0x4b47, 0x4b49, 0x4b4b, 0x4bfb, 0x4b4d];
/// Type byte of a command.
const COMMAND_TYPE: u32 = 0xff00;
const COMMAND_NUMBER: u32 = 0x00ff;
const BTRFS: u32 = 0x9400;
const BCACHEFS: u32 = 0xbc00;
/// Commands with btrfs's type byte that every file system has: FICLONE, FICLONERANGE,
/// FIDEDUPERANGE, FS_IOC_GETFSLABEL. The rest make snapshots (of the whole subvolume, also of what
/// the boundary hides) and look names up by inode.
const SHARED_WITH_BTRFS: [u32; 4] = [9, 13, 54, 49];

const MSG_FASTOPEN: u32 = libc::MSG_FASTOPEN as u32;
/// `S_ISUID | S_ISGID`. No mount of the boundary honours them and `no_new_privs` forbids them, but a
/// file in a writable bind is on the host's disk, where neither holds: whoever runs it there would
/// have the rights of its owner. A directory's set-group-id bit cannot be told from a file's here.
const SET_ID: u32 = libc::S_ISUID | libc::S_ISGID;
/// The flags of open(2) with which the kernel looks at the mode (`WILL_CREATE` in `fs/open.c`):
/// `O_CREAT`, and the bit of `O_TMPFILE` that is not `O_DIRECTORY` (asm-generic/fcntl.h; the same
/// on x86_64 and aarch64, unlike `O_DIRECTORY`).
const MAKES_A_FILE: u32 = 0o100 | 0o20_000_000;
/// The flags of open(2) that let it change something: an access mode other than `O_RDONLY`, and
/// `O_TRUNC`, with which `O_RDONLY` truncates, too (asm-generic/fcntl.h; the same on both).
const WRITES: u32 = 0o3 | 0o1000;
const RENAME_WHITEOUT: u32 = 4;
const FILE_TYPE: u32 = libc::S_IFMT;
/// No type means a regular file.
const NODE_TYPES: [u32; 4] = [0, libc::S_IFREG, libc::S_IFIFO, libc::S_IFSOCK];

impl Block {
    pub(super) fn of(syscall: &Syscall, options: Options) -> Self {
        match shared::answer(syscall.name).filter(|_| options.shared) {
            Some(Shared::Ioctl) => Self::Ioctl { inodes: true },
            Some(answer) => Self::Shared(answer),
            None => Self::of_rule(syscall.rule, options),
        }
    }

    fn of_rule(rule: Rule, options: Options) -> Self {
        let unless = |refuse: bool| Self::Answer(if refuse { REFUSED } else { Action::Allow });
        let permit = if options.notify_writes { Action::Notify } else { Action::Allow };
        match rule {
            Rule::Allow => Self::Answer(Action::Allow),
            Rule::Refuse => Self::Answer(REFUSED),
            Rule::Missing => Self::Answer(errno(libc::ENOSYS)),
            Rule::Debug => unless(!options.debug),
            Rule::MemfdCreate => unless(options.exec_base),
            Rule::Execve if options.notify_exec => Self::Answer(Action::Notify),
            Rule::Execve => Self::Answer(Action::Allow),
            Rule::Clone => Self::Clone,
            Rule::Unshare => Self::Unshare,
            Rule::Personality => Self::Personality { debug: options.debug },
            Rule::Prctl => Self::Prctl,
            Rule::Seccomp => Self::Seccomp,
            Rule::Socket => Self::Socket,
            Rule::Socketpair => Self::Socketpair,
            Rule::Ioctl => Self::Ioctl { inodes: false },
            Rule::SendArg2 => Self::Send { argument: 2 },
            Rule::SendArg3 => Self::Send { argument: 3 },
            Rule::Names => Self::Answer(permit),
            Rule::MknodArg1 => Self::Mknod { argument: 1, permit },
            Rule::MknodArg2 => Self::Mknod { argument: 2, permit },
            Rule::ModeArg1 => Self::Mode { argument: 1, permit },
            Rule::ModeArg2 => Self::Mode { argument: 2, permit },
            Rule::OpenArg1 => Self::Open { flags: 1, permit },
            Rule::OpenArg2 => Self::Open { flags: 2, permit },
            Rule::Renameat2 => Self::Renameat2 { permit },
        }
    }
}

pub(super) fn emit(asm: &mut Assembler, block: Block) {
    match block {
        Block::Answer(action) => asm.ret(action.value()),
        Block::Clone => refuse_bits(asm, 0, NAMESPACE_FLAGS, REFUSED, Action::Allow),
        Block::Unshare => unshare(asm),
        Block::Personality { debug } => {
            low(asm, 0);
            let more: &[u32] = if debug { &[ADDR_NO_RANDOMIZE] } else { &[] };
            let values: Vec<u32> = PERSONALITIES.iter().chain(more).copied().collect();
            allow_values(asm, &values, REFUSED, Action::Allow);
        }
        Block::Prctl => prctl(asm),
        Block::Seccomp => seccomp(asm),
        Block::Socket => socket(asm),
        Block::Socketpair => {
            let local = asm.label();
            low(asm, 0);
            asm.eq(AF_UNIX, local, NEXT);
            asm.ret(errno(libc::EAFNOSUPPORT).value());
            asm.bind(local);
            unix(asm);
        }
        Block::Ioctl { inodes } => ioctl(asm, inodes),
        Block::Shared(answer) => shared::emit(asm, answer),
        Block::Send { argument } => {
            refuse_bits(asm, argument, MSG_FASTOPEN, errno(libc::EOPNOTSUPP), Action::Allow);
        }
        Block::Mknod { argument, permit } => {
            // The kernel's umode_t has 16 bits; the type is in the upper four of them.
            let refuse = asm.label();
            low(asm, argument);
            asm.any_set(SET_ID, refuse, NEXT);
            asm.and(FILE_TYPE);
            allow_values(asm, &NODE_TYPES, REFUSED, permit);
            asm.bind(refuse);
            asm.ret(REFUSED.value());
        }
        Block::Mode { argument, permit } => refuse_bits(asm, argument, SET_ID, REFUSED, permit),
        Block::Open { flags, permit } => open(asm, flags, permit),
        Block::Renameat2 { permit } => {
            refuse_bits(asm, 4, RENAME_WHITEOUT, errno(libc::EINVAL), permit);
        }
    }
}

/// Offset of the low half of argument `n` in `seccomp_data`.
const fn low_half(n: u32) -> u32 {
    16 + 8 * n
}

pub(super) fn low(asm: &mut Assembler, n: u32) {
    asm.load(low_half(n));
}

/// Refuses with `refusal` if the low half of argument `n` has one of `bits`, permits otherwise.
pub(super) fn refuse_bits(asm: &mut Assembler, n: u32, bits: u32, refusal: Action, permit: Action) {
    let refuse = asm.label();
    low(asm, n);
    asm.any_set(bits, refuse, NEXT);
    asm.ret(permit.value());
    asm.bind(refuse);
    asm.ret(refusal.value());
}

/// Jumps to `target` if the accumulator is one of `values`, goes on otherwise.
pub(super) fn jump_values(asm: &mut Assembler, values: &[u32], target: Label) {
    for value in values {
        asm.eq(*value, target, NEXT);
    }
}

/// Permits the accumulator's `values`, answers `refusal` otherwise.
pub(super) fn allow_values(asm: &mut Assembler, values: &[u32], refusal: Action, permit: Action) {
    let allow = asm.label();
    jump_values(asm, values, allow);
    asm.ret(refusal.value());
    asm.bind(allow);
    asm.ret(permit.value());
}

/// Flags in argument `flags`, the mode in the next one. Most calls make nothing, and the kernel then
/// ignores the mode, which may be anything: they return first.
fn open(asm: &mut Assembler, flags: u32, permit: Action) {
    let makes = asm.label();
    low(asm, flags);
    asm.any_set(MAKES_A_FILE, makes, NEXT);
    if permit != Action::Allow {
        let writes = asm.label();
        asm.any_set(WRITES, writes, NEXT);
        asm.ret(Action::Allow.value());
        asm.bind(writes);
    }
    asm.ret(permit.value());
    asm.bind(makes);
    refuse_bits(asm, flags + 1, SET_ID, REFUSED, permit);
}

/// The kernel reads `unsigned long` here: an upper half that is not zero is refused too.
fn unshare(asm: &mut Assembler) {
    let (refuse, lower) = (asm.label(), asm.label());
    asm.load(low_half(0) + 4);
    asm.eq(0, lower, refuse);
    asm.bind(lower);
    low(asm, 0);
    asm.any_set(!UNSHARE_FLAGS, refuse, NEXT);
    asm.ret(Action::Allow.value());
    asm.bind(refuse);
    asm.ret(REFUSED.value());
}

fn prctl(asm: &mut Assembler) {
    let (refuse, named) = (asm.label(), asm.label());
    low(asm, 0);
    jump_values(asm, &[PR_SET_MM, PR_SET_MEMORY_MERGE], refuse);
    asm.gt(PR_HIGHEST, named, NEXT);
    asm.ret(Action::Allow.value());
    asm.bind(named);
    allow_values(asm, &[PR_SET_VMA, PR_SET_PTRACER], errno(libc::EINVAL), Action::Allow);
    asm.bind(refuse);
    asm.ret(REFUSED.value());
}

fn seccomp(asm: &mut Assembler) {
    let (filter, unknown) = (asm.label(), asm.label());
    low(asm, 0);
    asm.eq(SECCOMP_SET_MODE_FILTER, filter, NEXT);
    asm.gt(SECCOMP_HIGHEST_OPERATION, unknown, NEXT);
    asm.ret(Action::Allow.value());
    asm.bind(unknown);
    asm.ret(errno(libc::EINVAL).value());
    asm.bind(filter);
    refuse_bits(asm, 1, !SECCOMP_FLAGS, REFUSED, Action::Allow);
}

/// Loads the socket type without its flags.
pub(super) fn socket_type(asm: &mut Assembler) {
    low(asm, 1);
    asm.and(!SOCK_FLAGS);
}

fn socket(asm: &mut Assembler) {
    let (local, internet, netlink) = (asm.label(), asm.label(), asm.label());
    low(asm, 0);
    asm.eq(AF_UNIX, local, NEXT);
    jump_values(asm, &[AF_INET, AF_INET6], internet);
    asm.eq(AF_NETLINK, netlink, NEXT);
    asm.ret(errno(libc::EAFNOSUPPORT).value());
    asm.bind(local);
    unix(asm);
    asm.bind(internet);
    inet(asm);
    asm.bind(netlink);
    typed(asm, &[DGRAM, RAW], &[NETLINK_ROUTE]);
}

fn unix(asm: &mut Assembler) {
    // PF_UNIX is also accepted as the protocol (net/unix/af_unix.c).
    typed(asm, &[STREAM, DGRAM, SEQPACKET], &[0, AF_UNIX]);
}

/// Allows the given types with the given protocols, EPROTONOSUPPORT otherwise.
fn typed(asm: &mut Assembler, types: &[u32], protocols: &[u32]) {
    let known = asm.label();
    socket_type(asm);
    jump_values(asm, types, known);
    asm.ret(errno(libc::EPROTONOSUPPORT).value());
    asm.bind(known);
    low(asm, 2);
    allow_values(asm, protocols, errno(libc::EPROTONOSUPPORT), Action::Allow);
}

fn inet(asm: &mut Assembler) {
    let (stream, datagram) = (asm.label(), asm.label());
    socket_type(asm);
    asm.eq(STREAM, stream, NEXT);
    asm.eq(DGRAM, datagram, NEXT);
    asm.ret(errno(libc::EPROTONOSUPPORT).value());
    for (label, protocol) in [(stream, TCP), (datagram, UDP)] {
        asm.bind(label);
        low(asm, 2);
        allow_values(asm, &[0, protocol], errno(libc::EPROTONOSUPPORT), Action::Allow);
    }
}

/// With `inodes` nothing that a file system answers exists, unless it only asks.
fn ioctl(asm: &mut Assembler, inodes: bool) {
    let (refuse, btrfs, unknown) = (asm.label(), asm.label(), asm.label());
    low(asm, 1);
    jump_values(asm, &REFUSED_COMMANDS, refuse);
    let asks = asm.label();
    if inodes {
        jump_values(asm, &ASKING_COMMANDS, asks);
    }
    asm.and(COMMAND_TYPE);
    asm.eq(BTRFS, btrfs, NEXT);
    if inodes {
        jump_values(asm, &TYPES, asks);
        asm.goto(unknown);
    }
    asm.eq(BCACHEFS, unknown, NEXT);
    asm.bind(asks);
    asm.ret(Action::Allow.value());
    asm.bind(btrfs);
    low(asm, 1);
    asm.and(COMMAND_NUMBER);
    allow_values(asm, &SHARED_WITH_BTRFS, errno(libc::ENOTTY), Action::Allow);
    asm.bind(unknown);
    asm.ret(errno(libc::ENOTTY).value());
    asm.bind(refuse);
    asm.ret(REFUSED.value());
}
