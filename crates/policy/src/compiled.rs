//! The compiled policy: plain data, every value with its source. It is stored in the run directory,
//! so that later questions are answered from the plan that was in force.
//!
//! Nothing in it is a pattern over the host's paths, but for the denies, which hold for files that
//! do not exist yet.

use ringfence_model::address::Cidr;
use ringfence_model::boundary::{Access, ExecMode, Floor, Limits, Publish, Tier, WorkspaceMode};
use ringfence_model::event::PolicySource;
use ringfence_model::host::{Destination, Target};
use ringfence_model::id::SandboxName;
use ringfence_model::provenance::{Layer, Source};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::bundle::{Bundle, Via};
use crate::deny::DenyRule;
use crate::ends::Ends;
use crate::values::Sourced;

/// Version of the stored form.
pub const COMPILED_VERSION: u32 = 1;

/// The whole policy of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compiled {
    /// [`COMPILED_VERSION`].
    pub version: u32,
    /// SHA-256 over the canonical JSON of everything else, hex.
    pub digest: String,
    /// The files that it was read from.
    pub sources: Vec<PolicySource>,
    /// The sandbox's name, if it persists.
    pub name: Option<Sourced<SandboxName>>,
    /// The named profile, if any; the built-in `default` always lies under it.
    pub profile: Option<Sourced<String>>,
    /// The project.
    pub workspace: WorkspacePlan,
    /// Grants of host files and directories, outside the workspace.
    pub files: Vec<FileRule>,
    /// Names hidden in the workspace and in every grant.
    pub denies: Vec<DenyRule>,
    /// Absolute host paths hidden although they lie below a grant or the workspace.
    pub masks: Vec<Mask>,
    /// Network permits and forbids.
    pub network: Vec<NetRule>,
    /// The most specific layer whose `allow = []` took back what less specific ones permit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emptied: Option<Layer>,
    /// Ports inside that the host may reach.
    pub publish: Vec<PublishRule>,
    /// The resolver to ask instead of the host's own.
    pub resolver: Option<Sourced<SocketAddr>>,
    /// Host variables that are passed in, if they are set.
    pub pass: Vec<PassRule>,
    /// Variables with fixed values; they win over passed ones.
    pub set: BTreeMap<String, Sourced<String>>,
    /// Which files may be started.
    pub exec: Sourced<ExecMode>,
    /// Which back end.
    #[serde(default = "process_tier")]
    pub tier: Sourced<Tier>,
    /// Whether processes inside may trace each other.
    pub debug: Sourced<bool>,
    /// Limits; every kind has an entry, `None` is no limit.
    pub limits: BTreeMap<LimitKind, Sourced<Option<u64>>>,
    /// Least kernel features.
    pub floor: FloorPlan,
    /// What the project's definition widens, and whether that is in force.
    pub trust: Trust,
    /// What was granted although it is dangerous, in words.
    pub residual_risks: Vec<Sourced<String>>,
    /// What a person should know: limits cut by a cap, permits that a forbid takes back.
    pub notices: Vec<Sourced<String>>,
}

/// What a policy says that was compiled before there were tiers.
fn process_tier() -> Sourced<Tier> {
    Sourced::new(Tier::Process, Source::built_in("default"))
}

/// The project as the policy sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspacePlan {
    /// Canonical path on the host.
    pub root: PathBuf,
    /// The mode that a layer asks for; `None` leaves the choice to the supervisor, which must keep
    /// to [`WorkspacePlan::cap`].
    pub mode: Option<Sourced<WorkspaceMode>>,
    /// The widest mode that the organisation permits.
    pub cap: Option<Sourced<WorkspaceMode>>,
    /// Protected paths that hold, relative to the root: the built-in table without `unprotect`.
    pub protected: Vec<String>,
    /// Protected paths that were opened.
    pub unprotect: Vec<Sourced<String>>,
}

impl WorkspacePlan {
    /// The mode, given the one that the supervisor would choose by itself; never wider than the
    /// organisation's cap.
    #[must_use]
    pub fn mode_or(&self, default: WorkspaceMode) -> WorkspaceMode {
        let asked = self.mode.as_ref().map_or(default, |mode| mode.value);
        match &self.cap {
            Some(cap) if width(cap.value) < width(asked) => cap.value,
            _ => asked,
        }
    }
}

/// How much a mode lets an agent change, for comparison.
pub(crate) fn width(mode: WorkspaceMode) -> u8 {
    match mode {
        WorkspaceMode::ReadOnly => 0,
        WorkspaceMode::Review => 1,
        WorkspaceMode::Pair => 2,
        WorkspaceMode::Direct => 3,
    }
}

/// A grant of a host file or directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRule {
    /// Stable id, such as `project.files.read.1`.
    pub id: String,
    /// Canonical absolute path on the host; the same path inside.
    pub path: PathBuf,
    /// Look only, or change.
    pub access: Access,
    /// Why it was granted, as written.
    pub reason: Option<String>,
    /// When it ends.
    pub ends: Ends,
    /// Where it is written.
    pub source: Source,
}

/// An absolute path that must not be visible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mask {
    /// Stable id, such as `built-in.mask.3`.
    pub id: String,
    /// Absolute path on the host; it may not exist.
    pub path: PathBuf,
    /// What it holds, in words.
    pub why: String,
    /// Where it is written.
    pub source: Source,
}

/// Permit or forbid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It may be reached.
    Permit,
    /// It must not be reached, whatever else permits it.
    Forbid,
}

/// A network rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetRule {
    /// Stable id, such as `project.network.allow.2`.
    pub id: String,
    /// Permit or forbid.
    pub effect: Effect,
    /// Names or addresses, and ports.
    pub destination: Destination,
    /// For a permit by name: the addresses that are no public ones and that the name may lead to.
    pub addresses: Vec<Cidr>,
    /// Why it is there, as written.
    pub reason: Option<String>,
    /// When it ends; forbids never do.
    pub ends: Ends,
    /// Where it is written.
    pub source: Source,
    /// The bundle that it belongs to, if one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
}

impl NetRule {
    /// Where it comes from, for a person: its place, and the bundle's configuration.
    #[must_use]
    pub fn origin(&self) -> String {
        match &self.via {
            Some(via) => format!("bundle {}, from {} ({})", via.bundle, via.from, self.source),
            None => self.source.to_string(),
        }
    }
}

/// A published port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishRule {
    /// Stable id.
    pub id: String,
    /// Inside and host port.
    pub ports: Publish,
    /// Where it is written.
    pub source: Source,
}

/// A variable that is passed in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassRule {
    /// Stable id.
    pub id: String,
    /// Name of the variable.
    pub name: String,
    /// Where it is written.
    pub source: Source,
}

/// The limits of a run; units as in [`Limits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// Bytes.
    Memory,
    /// Processes and threads.
    Processes,
    /// Thousandths of a core.
    Cpu,
    /// Files per process.
    OpenFiles,
    /// Bytes.
    FileSize,
    /// Bytes.
    Disk,
    /// Bytes.
    Tmp,
    /// Milliseconds.
    Wall,
    /// Milliseconds.
    Idle,
}

impl LimitKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Memory,
        Self::Processes,
        Self::Cpu,
        Self::OpenFiles,
        Self::FileSize,
        Self::Disk,
        Self::Tmp,
        Self::Wall,
        Self::Idle,
    ];

    /// The key in a definition.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Cpu => "cpu",
            Self::OpenFiles => "open_files",
            Self::FileSize => "file_size",
            Self::Disk => "disk",
            Self::Tmp => "tmp",
            Self::Wall => "wall",
            Self::Idle => "idle",
        }
    }
}

/// Least kernel features, each with its source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FloorPlan {
    /// Least Landlock ABI.
    pub landlock: Sourced<u32>,
    /// Whether limits must be enforced by a cgroup.
    pub cgroup: Sourced<bool>,
}

/// One thing that a project's definition opens beyond what holds without it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Widening {
    /// What it opens, for a person.
    pub words: String,
    /// The destination, if it opens one.
    pub destination: Option<Destination>,
    /// Where it is written.
    pub source: Source,
}

/// What trust in the project's definition decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// SHA-256 of the definition's bytes, hex; `None` without a project definition.
    pub digest: Option<String>,
    /// Whether the widenings are in force.
    pub accepted: bool,
    /// What it widens. Not accepted: all of these are left out of the policy.
    pub widens: Vec<Widening>,
}

impl Compiled {
    /// One limit; `None` is no limit.
    #[must_use]
    pub fn limit(&self, kind: LimitKind) -> Option<u64> {
        self.limits.get(&kind).and_then(|limit| limit.value)
    }

    /// The limits in the boundary's form.
    #[must_use]
    pub fn boundary_limits(&self) -> Limits {
        Limits {
            memory: self.limit(LimitKind::Memory),
            processes: self.limit(LimitKind::Processes),
            cpu_milli: self.limit(LimitKind::Cpu),
            open_files: self.limit(LimitKind::OpenFiles),
            file_size: self.limit(LimitKind::FileSize),
            disk: self.limit(LimitKind::Disk),
            tmp: self.limit(LimitKind::Tmp).unwrap_or(0),
            wall_ms: self.limit(LimitKind::Wall),
            idle_ms: self.limit(LimitKind::Idle),
        }
    }

    /// The floor in the boundary's form.
    #[must_use]
    pub fn boundary_floor(&self) -> Floor {
        Floor { landlock: self.floor.landlock.value, cgroup: self.floor.cgroup.value }
    }

    /// The resolver in the boundary's form.
    #[must_use]
    pub fn boundary_resolver(&self) -> Option<(IpAddr, u16)> {
        let resolver = self.resolver.as_ref()?.value;
        Some((resolver.ip(), resolver.port()))
    }

    /// Published ports in the boundary's form.
    #[must_use]
    pub fn boundary_publish(&self) -> Vec<Publish> {
        self.publish.iter().map(|rule| rule.ports).collect()
    }

    /// The single ports that permits name, ascending, with 80 and 443 always among them; ranges
    /// wider than 64 ports are left out (a kernel without redirection cannot capture them).
    #[must_use]
    pub fn named_ports(&self) -> Vec<u16> {
        const WIDEST: u16 = 64;
        let mut ports = BTreeSet::from([80, 443]);
        for rule in self.permits() {
            let range = rule.destination.ports;
            if range.last - range.first < WIDEST {
                ports.extend(range.first..=range.last);
            }
        }
        ports.into_iter().collect()
    }

    /// The bundles in force.
    #[must_use]
    pub fn bundles(&self) -> Vec<Bundle> {
        let mut all: Vec<Bundle> = Vec::new();
        for via in self.permits().filter_map(|rule| rule.via.as_ref()) {
            if !all.contains(&via.bundle) {
                all.push(via.bundle);
            }
        }
        all
    }

    /// Network permits.
    pub fn permits(&self) -> impl Iterator<Item = &NetRule> {
        self.network.iter().filter(|rule| rule.effect == Effect::Permit)
    }

    /// Whether any permit reaches the host's own loopback.
    #[must_use]
    pub fn reaches_host_loopback(&self) -> bool {
        self.permits().any(|rule| {
            matches!(&rule.destination.target, Target::Name(pattern)
                if pattern.to_string() == ringfence_model::host::HOST_LOOPBACK_NAME)
        })
    }

    /// Whether `self.digest` is the digest of the rest; a stored plan that fails this was changed.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.compute_digest().is_ok_and(|own| own == self.digest)
    }

    /// SHA-256 over the canonical JSON of everything but the digest itself.
    pub(crate) fn compute_digest(&self) -> Result<String, serde_json::Error> {
        let mut value = serde_json::to_value(self)?;
        if let Some(object) = value.as_object_mut() {
            object.remove("digest");
        }
        let mut bytes = Vec::with_capacity(8192);
        canonical(&value, &mut bytes)?;
        Ok(crate::digest(&bytes))
    }
}

/// JSON with sorted keys and no white space, whatever map type serde_json was built with.
fn canonical(value: &serde_json::Value, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
    match value {
        serde_json::Value::Array(items) => {
            out.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                canonical(item, out)?;
            }
            out.push(b']');
        }
        serde_json::Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().collect();
            keys.sort_unstable_by(|a, b| a.0.cmp(b.0));
            out.push(b'{');
            for (index, (key, item)) in keys.into_iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                serde_json::to_writer(&mut *out, key)?;
                out.push(b':');
                canonical(item, out)?;
            }
            out.push(b'}');
        }
        plain => serde_json::to_writer(&mut *out, plain)?,
    }
    Ok(())
}
