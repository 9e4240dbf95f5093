//! What the examination found, as plain data: the rows are made from nothing else.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::container::Container;
use crate::mend::Switches;

/// Why something that was tried did not work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The kernel's error number; 0 where it is not the kernel's.
    pub errno: i32,
    /// What was being done, and the cause, in words.
    pub words: String,
}

/// What came of trying something for real.
pub type Attempt = Result<(), Refusal>;

/// What was tried in fresh namespaces, each only where those before it worked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inside {
    /// Writing the id maps.
    pub maps: Option<Attempt>,
    /// An in-memory root, made and attached with the new mount API.
    pub mounts: Option<Attempt>,
    /// A fresh `/proc`.
    pub proc: Option<Attempt>,
    /// An overlay with `userxattr` below the state directory.
    pub overlay: Option<Attempt>,
    /// The loopback device and the IPv4 routes.
    pub network: Option<Attempt>,
    /// The nf_tables redirection.
    pub redirect: Option<Attempt>,
    /// The IPv6 routes and `::1`.
    pub ipv6: Option<Attempt>,
}

/// Landlock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Landlock {
    /// ABI of the kernel; 0 where it is absent or switched off.
    pub abi: u32,
    /// Confining a process, which then may not write; where one could be forked.
    pub confine: Option<Attempt>,
    /// The kernel's list of security modules, where it tells.
    pub modules: Option<String>,
}

/// Control groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    /// 2, 1, or 0 where none can be made.
    pub version: u8,
    /// Memory of all processes together is limited.
    pub memory: bool,
    /// So is their number.
    pub processes: bool,
    /// So is processor time.
    pub cpu: bool,
    /// Putting a process into the group; where one could be forked.
    pub attach: Option<Attempt>,
    /// Whether systemd manages this host.
    pub systemd: bool,
}

/// A directory that must be private.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// What it is for: `state` or `config`.
    pub name: &'static str,
    /// Where.
    pub path: PathBuf,
    /// Permission bits and owner, or why they are not known; `None` where there is none yet.
    pub found: Option<Result<(u32, u32), String>>,
    /// A parent directory in which others can put something else in its place.
    pub exposed_by: Option<PathBuf>,
}

/// A file of policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whose: `organisation` or `user`.
    pub name: &'static str,
    /// Where.
    pub path: PathBuf,
    /// Whether it compiles; `None` where there is none.
    pub valid: Option<Result<(), String>>,
}

/// The program itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary {
    /// Where.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub owner: u32,
    /// A parent directory in which others can replace it.
    pub exposed_by: Option<PathBuf>,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Who asks.
    pub uid: u32,
    /// The kernel's release.
    pub kernel: String,
    /// Forking into fresh namespaces.
    pub namespaces: Attempt,
    /// What may forbid them.
    pub switches: Switches,
    /// What works in them.
    pub inside: Inside,
    /// Id-mapped mounts of the state directory and of this directory; as root only.
    pub idmap: Option<Attempt>,
    /// Landlock.
    pub landlock: Landlock,
    /// The system call filter with its notification; where a process could be forked.
    pub seccomp: Option<Attempt>,
    /// Single system calls; where `clone3` fails, the others could not be tried.
    pub calls: Vec<(&'static str, Attempt)>,
    /// Control groups.
    pub groups: Groups,
    /// Unix time, in seconds.
    pub clock: i64,
    /// State and configuration.
    pub places: Vec<Place>,
    /// Free bytes for the state directory.
    pub free: Result<u64, String>,
    /// The host's and the user's policy.
    pub policies: Vec<Policy>,
    /// Signs of a container.
    pub container: Container,
    /// The program itself.
    pub binary: Result<Binary, String>,
    /// A real default run of nothing; in ringfence's own words where it was refused.
    pub trial: Result<(), String>,
}
