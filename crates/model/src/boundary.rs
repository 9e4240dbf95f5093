//! The boundary: the resolved, plain-data plan that a back end enforces.
//!
//! No globs, no `~`, no environment lookups and no policy are left in it: every path is absolute
//! and canonical on the host, every limit is a number.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// The back end that enforces a boundary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Namespaces, Landlock and seccomp on the host's kernel.
    Process,
    /// Landlock and seccomp alone, where namespaces cannot be had: weaker, and without a network.
    Landlock,
}

impl Tier {
    /// As it is written in definitions and shown to a person.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Landlock => "landlock",
        }
    }
}

/// Who the agent is, inside and outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// User id inside; never 0.
    pub inside_uid: u32,
    /// Group id inside; never 0.
    pub inside_gid: u32,
    /// The host's user id that `inside_uid` stands for; never 0.
    pub outside_uid: u32,
    /// The host's group id that `inside_gid` stands for; never 0.
    pub outside_gid: u32,
    /// The owner of the project's files on the host, when the supervisor is root: the project is
    /// id-mapped from this owner to `outside_uid`, every other mount from its own; `None` for an
    /// ordinary user.
    pub owner: Option<(u32, u32)>,
    /// Login name inside.
    pub user: String,
    /// Home directory inside.
    pub home: PathBuf,
    /// Host name inside.
    pub hostname: String,
}

/// Whether a tree may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Look only.
    ReadOnly,
    /// Look and change.
    ReadWrite,
}

/// How the constructed root gets one of its entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum MountKind {
    /// A host file or directory.
    Bind {
        /// Canonical absolute path on the host.
        source: PathBuf,
        /// May it be changed?
        access: Access,
        /// May programs in it be started by path?
        exec: bool,
        /// Does the agent act as the owner of `source`? Id-mapped when the supervisor is root.
        owned: bool,
        /// Device and inode of `source` when the plan was judged: another one aborts the start.
        identity: Option<(u64, u64)>,
    },
    /// An empty directory in memory.
    Tmpfs {
        /// Largest size in bytes.
        bytes: u64,
        /// Permission bits.
        mode: u32,
        /// May programs in it be started by path?
        exec: bool,
    },
    /// The project behind a copy-on-write layer.
    Overlay {
        /// The host's tree; never written.
        lower: PathBuf,
        /// Where changes go.
        upper: PathBuf,
        /// Overlayfs's own scratch directory, on the same file system as `upper`.
        work: PathBuf,
        /// May programs in it be started by path?
        exec: bool,
        /// Device and inode of `lower` when the plan was judged.
        identity: Option<(u64, u64)>,
    },
    /// A file made for this sandbox.
    File {
        /// Its content.
        content: String,
        /// Permission bits.
        mode: u32,
    },
    /// A copy of a small host file, made at the start.
    Copy {
        /// Canonical absolute path on the host; readable by everybody.
        source: PathBuf,
        /// Device and inode of `source` when the plan was judged.
        identity: Option<(u64, u64)>,
    },
    /// A directory of the constructed root itself.
    Directory {
        /// Permission bits.
        mode: u32,
    },
    /// A symbolic link of the constructed root itself.
    Symlink {
        /// Where it points, inside.
        target: String,
    },
    /// `/proc` of the sandbox's own process-id namespace, with the host-wide files masked.
    Proc,
    /// A minimal `/dev` with its own pseudo-terminals and shared memory.
    Devices,
    /// An empty, unreadable thing over an existing path: what is below does not exist any more.
    Mask,
    /// A mount of the same tree over itself: its parent directories can no longer be renamed.
    Pin,
    /// As a pin, for a directory between a writable mount and a mount point below it; made if it is
    /// missing. What it stands for lies in the sandbox's own home or memory, not in a host tree.
    Anchor,
    /// A read-only mount of what is already at this place of the sandbox (a protected path).
    Hold,
}

/// One entry of the constructed root, in the order in which they are made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, inside.
    pub target: PathBuf,
    /// What.
    #[serde(flatten)]
    pub kind: MountKind,
}

/// What the workspace is to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkspaceMode {
    /// Changes go to a layer of their own and are applied or discarded later.
    Review,
    /// Changes are made in the project itself, protected paths excepted; what they replace is kept,
    /// so that they can be taken back.
    Pair,
    /// Changes are made in the project itself, protected paths excepted.
    Direct,
    /// No change is possible.
    ReadOnly,
}

impl WorkspaceMode {
    /// Whether the agent works on the project's own files.
    #[must_use]
    pub const fn writes_in_place(self) -> bool {
        matches!(self, Self::Pair | Self::Direct)
    }

    /// As it stands in definitions and on the command line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Review => "review",
            Self::Pair => "pair",
            Self::Direct => "direct",
            Self::ReadOnly => "read-only",
        }
    }
}

/// The project as the agent sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workspace {
    /// Canonical path on the host, and the same path inside.
    pub root: PathBuf,
    /// What may happen to it.
    pub mode: WorkspaceMode,
    /// The repository of a linked worktree, where it lies elsewhere and is changed in place with it;
    /// the same path inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<PathBuf>,
    /// Files and directories that ringfence created on the host to hold protected names that did
    /// not exist (mode `direct` only); removed at the end of the run or at the next start.
    pub placeholders: Vec<PathBuf>,
}

/// A TCP port inside that the host may reach on its loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Publish {
    /// Port inside the sandbox.
    pub inside: u16,
    /// Port on the host's loopback.
    pub host: u16,
}

/// The captured network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Ports inside that the host may reach.
    pub publish: Vec<Publish>,
    /// The TCP ports that rules name: captured one by one where the kernel cannot redirect all.
    pub named_ports: Vec<u16>,
    /// A resolver to ask instead of the host's own (address and port), if the policy names one.
    pub resolver: Option<(IpAddr, u16)>,
}

/// Limits of a run. `None` means no limit of ringfence's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory of all processes together, in bytes.
    pub memory: Option<u64>,
    /// Processes and threads at once.
    pub processes: Option<u64>,
    /// Processor time per second of wall time, in thousandths of one core.
    pub cpu_milli: Option<u64>,
    /// Open files per process.
    pub open_files: Option<u64>,
    /// Largest single file, in bytes.
    pub file_size: Option<u64>,
    /// Growth of workspace layer and home together, in bytes.
    pub disk: Option<u64>,
    /// Size of each in-memory directory (`/tmp`, `/dev/shm`), in bytes.
    pub tmp: u64,
    /// Wall-clock time, in milliseconds.
    pub wall_ms: Option<u64>,
    /// Time without any output, connection or process start, in milliseconds.
    pub idle_ms: Option<u64>,
}

/// Which files of the sandbox may be started as programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExecMode {
    /// Any file that is executable.
    Any,
    /// Only files of the read-only base: everything writable is mounted noexec.
    Base,
}

/// Least kernel features below which nothing is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Floor {
    /// Least Landlock ABI version (1 is Linux 5.13).
    pub landlock: u32,
    /// Whether memory and process limits must be enforced by a cgroup.
    pub cgroup: bool,
}

/// The whole plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boundary {
    /// Which back end.
    pub tier: Tier,
    /// Who.
    pub identity: Identity,
    /// The constructed root, in order.
    pub mounts: Vec<Mount>,
    /// The project.
    pub workspace: Workspace,
    /// The network.
    pub network: Network,
    /// The limits.
    pub limits: Limits,
    /// Which files may be started.
    pub exec: ExecMode,
    /// Whether processes inside may trace each other.
    pub debug: bool,
    /// Least kernel features.
    pub floor: Floor,
    /// The whole environment of the first process.
    pub environment: BTreeMap<String, String>,
    /// Its working directory, inside.
    pub cwd: PathBuf,
    /// Its program (as typed) and arguments.
    pub argv: Vec<String>,
    /// Host paths that the self-test must find absent inside.
    pub must_be_absent: Vec<PathBuf>,
}
