//! The syscall filter of the boundary: a reviewed allowlist, compiled to BPF, and its installation.
//!
//! [`compile`] turns [`SYSCALLS`] and [`Options`] into a program for one architecture, once, before
//! the fork; [`install`] lays it on the calling thread and allocates nothing. What is not in the
//! table must never be allowed, on any architecture, with any option.

pub mod changes;
mod compile;
pub mod inode;
mod install;
pub mod limits;
pub mod notify;
pub mod remote;
mod rules;
mod shared;
mod table;

pub use compile::compile;
pub use install::{install, is_available};
pub use shared::{Row as SharedRow, SHARED, Shared};
pub use table::{Class, Rule, SYSCALLS, Syscall};

use crate::bpf::{InterpreterError, Program, SeccompData, run};

/// What varies between boundaries. All off is the tightest but for `exec_base`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Options {
    /// Debuggers work inside: ptrace, process_vm_*, pidfd_getfd, kcmp, ADDR_NO_RANDOMIZE.
    pub debug: bool,
    /// Only the read-only base may be executed: memfd_create is refused.
    pub exec_base: bool,
    /// execve and execveat go to the listener, see [`notify`].
    pub notify_exec: bool,
    /// No namespace keeps the caller from the host's own objects: see [`SHARED`]. The listener then
    /// gets the calls that change modes and times of files, too.
    pub shared: bool,
    /// What opens a file for writing, or makes, moves, removes a name or changes a mode, goes to the
    /// listener as well.
    pub notify_writes: bool,
}

/// An architecture that the table covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arch {
    /// 64-bit x86; x32 has the same audit value and is refused by number.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Arch {
    /// The architecture of this build.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Self = Self::X86_64;
    /// The architecture of this build.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Self = Self::Aarch64;

    /// `AUDIT_ARCH_*` (`linux/audit.h`).
    #[must_use]
    pub const fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xc000_003e,
            Self::Aarch64 => 0xc000_00b7,
        }
    }

    /// The number of `syscall` on this architecture.
    #[must_use]
    pub const fn number(self, syscall: &Syscall) -> Option<u16> {
        match self {
            Self::X86_64 => syscall.x86_64,
            Self::Aarch64 => syscall.aarch64,
        }
    }
}

/// The answer of a filter, without the actions that this crate never gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The kernel runs the syscall.
    Allow,
    /// The syscall fails with this errno.
    Errno(u16),
    /// The listener decides.
    Notify,
    /// The whole process dies by SIGSYS: another ABI was tried.
    KillProcess,
}

const RET_KILL_PROCESS: u32 = 0x8000_0000;
const RET_ERRNO: u32 = 0x0005_0000;
const RET_USER_NOTIF: u32 = 0x7fc0_0000;
const RET_ALLOW: u32 = 0x7fff_0000;
const RET_ACTION_MASK: u32 = 0xffff_0000;

impl Action {
    /// The `SECCOMP_RET_*` value.
    #[must_use]
    pub const fn value(self) -> u32 {
        match self {
            Self::Allow => RET_ALLOW,
            Self::Errno(errno) => RET_ERRNO | errno as u32,
            Self::Notify => RET_USER_NOTIF,
            Self::KillProcess => RET_KILL_PROCESS,
        }
    }

    /// The action of a `SECCOMP_RET_*` value, none for values that no filter of ours returns.
    #[must_use]
    pub const fn from_value(value: u32) -> Option<Self> {
        match value & RET_ACTION_MASK {
            RET_ALLOW => Some(Self::Allow),
            // Truncation keeps the data half, which is all that the mask left.
            RET_ERRNO => Some(Self::Errno((value & !RET_ACTION_MASK) as u16)),
            RET_USER_NOTIF => Some(Self::Notify),
            RET_KILL_PROCESS => Some(Self::KillProcess),
            _ => None,
        }
    }
}

/// What `program` answers to `data`, computed here instead of in the kernel.
///
/// # Errors
/// A fault of the program, or an action that [`Action`] does not have.
pub fn judge(program: &Program, data: &SeccompData) -> Result<Action, JudgeError> {
    let value = run(program, data)?;
    Action::from_value(value).ok_or(JudgeError::Action(value))
}

/// Why [`judge`] has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// The program faulted.
    #[error("the syscall filter faulted")]
    Fault(#[from] InterpreterError),
    /// A return value that is no action of ours.
    #[error("the syscall filter returned {0:#x}, which is no action of ringfence")]
    Action(u32),
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("the syscall table covers x86_64 and aarch64 only");
