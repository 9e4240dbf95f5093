//! From compiled policy and host facts to the boundary: every path canonical, nothing left to match.

mod alone;
mod anchors;
mod base;
mod environment;
mod exclude;
mod git_names;
mod hide;
mod hold_watch;
mod identity;
mod protect;
mod sockets;
mod toolchains;
mod worktree;

use std::io;
use std::path::{Path, PathBuf};

use ringfence_model::boundary::{
    Access, Boundary, ExecMode, Mount, MountKind, Network, Tier, Workspace, WorkspaceMode,
};
use ringfence_policy::{Compiled, FileRule};

use crate::home;
use crate::host::{self, Person};
use crate::rundir::RunDir;

pub use alone::assemble as assemble_alone;
pub use exclude::Excluded;
pub use hide::HideWatch;
pub use hold_watch::HoldWatch;
pub use protect::{Placeholders, remove_placeholders};
pub use toolchains::search_path;

/// Why a policy cannot become a boundary on this host.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A path that the plan needs cannot be examined.
    #[error("cannot examine {path}: {source}")]
    Examine {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A protected path is a symbolic link, which cannot be held in place.
    #[error(
        "{path} is a symbolic link, so it cannot be protected in a direct workspace; \
         use `--workspace review`, or open it with `--unprotect {relative}`"
    )]
    ProtectedLink {
        /// Which.
        path: PathBuf,
        /// As the definition names it.
        relative: String,
    },
    /// The policy asks for something that this tier cannot hold.
    #[error("tier landlock cannot {what} ({source_of}); {instead}")]
    Tier {
        /// What it cannot.
        what: String,
        /// Where it is asked for.
        source_of: String,
        /// What the person can do.
        instead: &'static str,
    },
    /// A directory that must be opened entry by entry has too many.
    #[error(
        "{root} holds protected paths and more than {limit} entries beside them, which tier landlock has to open one by one; use `--workspace read-only`"
    )]
    TooWide {
        /// Which.
        root: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// The walk for hidden names passed its limit.
    #[error(
        "looking for hidden names: more than {limit} entries below {root}; name a smaller workspace, or hide whole directories"
    )]
    TooMany {
        /// Where.
        root: PathBuf,
        /// The limit.
        limit: usize,
    },
}

/// What a start needs beside the policy.
pub struct Setting<'a> {
    /// Who starts it.
    pub person: &'a Person,
    /// The user's home on the host.
    pub home: &'a Path,
    /// Where the agent starts.
    pub cwd: &'a Path,
    /// Program and arguments as typed.
    pub argv: &'a [String],
    /// The run's directory.
    pub run: &'a RunDir,
    /// The host directory that becomes the private home.
    pub private_home: &'a Path,
    /// The workspace's mode.
    pub mode: WorkspaceMode,
    /// Unix time of the run's start, in seconds.
    pub start_unix_s: i64,
    /// Definition files in use that lie in the workspace.
    pub definitions: &'a [PathBuf],
    /// Copies of the user's own that are seen read-only in the home.
    pub brought: &'a [home::Copied],
    /// Reads one host variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

/// A boundary and what it must leave on the host while it stands.
pub struct Plan {
    /// The boundary.
    pub boundary: Boundary,
    /// Placeholders to make before the start and remove after the end.
    pub placeholders: Placeholders,
    /// Lines that hide them from the host's git meanwhile.
    pub excluded: Option<Excluded>,
    /// Watches for hidden names that come to exist during the run.
    pub hidden: Option<HideWatch>,
    /// What a person should know before the start.
    pub notes: Vec<String>,
    /// Protected paths that no mount holds, since rules of Landlock do.
    pub held: Vec<PathBuf>,
}

/// Assembles the boundary.
///
/// # Errors
/// [`PlanError`]; nothing has been changed on the host.
pub fn assemble(compiled: &Compiled, setting: &Setting<'_>) -> Result<Plan, PlanError> {
    let exec = compiled.exec.value == ExecMode::Any;
    let limits = compiled.boundary_limits();
    let who = identity::identity(setting)?;
    let tools = toolchains::find(setting, &compiled.workspace.root);
    let mut mounts = base::mounts(&who, setting.run.id())?;
    if let Some(profile) = &compiled.profile {
        mounts.extend(base::profile_settings(&profile.value));
    }
    mounts.push(tmpfs("/tmp", limits.tmp, exec));
    mounts.push(var_tmp(compiled, limits.tmp, exec));
    mounts.push(bind(setting.private_home, setting.home, Access::ReadWrite, exec, true)?);
    for copied in setting.brought {
        let target = setting.home.join(copied.target);
        mounts.push(bind(&copied.source, &target, Access::ReadOnly, exec, false)?);
    }
    mounts.extend(tools.mounts(setting, exec)?);
    for grant in grants(compiled, setting.start_unix_s) {
        mounts.push(bind(&grant.path, &grant.path, grant.access, true, true)?);
    }
    let linked = worktree::linked(compiled, setting.home);
    mounts.extend(linked.as_ref().map(|linked| linked.mount(setting.mode)).transpose()?);
    workspace_mounts(compiled, setting, exec, &mut mounts)?;
    let protected = protect::plan(compiled, setting, linked.as_ref())?;
    let root = &compiled.workspace.root;
    let repository = linked.as_ref().map(|linked| &*linked.repository);
    let git = home::git::read(setting.home, root, repository, setting.variable);
    let missing = protected.placeholders.ignore(root);
    mounts.extend(git.mounts(root, &missing));
    let of_the_project = repository.map_or_else(|| root.join(".git"), Path::to_owned);
    let excluded = Excluded::plan(&of_the_project, &missing, setting.run.id());
    mounts.extend(protected.mounts);
    let of_bundles = bundles(compiled, setting);
    mounts.extend(of_bundles.mounts);
    let hidden = hide::find(compiled)?;
    mounts.extend(hidden.masks);
    mounts.extend(sockets::masks(compiled, setting.mode));
    let mounts = anchors::anchor(mounts);
    let mut environment = environment::build(compiled, setting, &who, &tools);
    for (name, value) in of_bundles.variables {
        environment.entry(name).or_insert(value);
    }
    // A git that was not built for `/etc` must find its settings too.
    environment
        .entry("GIT_CONFIG_SYSTEM".to_owned())
        .or_insert_with(|| "/etc/gitconfig".to_owned());
    let mut notes = notes(tools.notes, &hidden.unmatched, hidden.watch.as_ref());
    if git.signs() {
        environment::unsigned(&mut environment);
    }
    notes.extend(git.refusals(root, setting.mode, linked.is_some()));
    notes.extend(git.notes);
    Ok(Plan {
        boundary: Boundary {
            tier: Tier::Process,
            mounts,
            workspace: Workspace {
                root: compiled.workspace.root.clone(),
                mode: setting.mode,
                repository: linked
                    .filter(|_| setting.mode.writes_in_place())
                    .map(|linked| linked.repository),
                placeholders: protected.placeholders.paths(),
            },
            network: Network {
                publish: compiled.boundary_publish(),
                named_ports: compiled.named_ports(),
                resolver: compiled.boundary_resolver(),
            },
            limits,
            exec: compiled.exec.value,
            debug: compiled.debug.value,
            floor: compiled.boundary_floor(),
            environment,
            cwd: setting.cwd.to_owned(),
            argv: setting.argv.to_vec(),
            must_be_absent: absent(compiled, setting, &who.home),
            identity: who,
        },
        placeholders: protected.placeholders,
        excluded,
        notes,
        hidden: hidden.watch,
        held: Vec::new(),
    })
}

/// What the tools of the bundles in force need inside.
struct OfBundles {
    mounts: Vec<Mount>,
    variables: Vec<(String, String)>,
}

fn bundles(compiled: &Compiled, setting: &Setting<'_>) -> OfBundles {
    let host = host::RealHost { home: setting.home, workspace: &compiled.workspace.root };
    let mut own = OfBundles { mounts: Vec::new(), variables: Vec::new() };
    for bundle in compiled.bundles() {
        let settings = host.settings(bundle);
        own.variables.extend(settings.variables);
        own.mounts.extend(settings.files.into_iter().map(|(target, content)| Mount {
            target,
            kind: MountKind::File { content, mode: 0o644 },
        }));
        own.mounts.extend(
            settings
                .links
                .into_iter()
                .map(|(target, to)| Mount { target, kind: MountKind::Symlink { target: to } }),
        );
    }
    own
}

/// What a changed policy hides that its predecessor did not.
///
/// # Errors
/// As [`assemble`].
pub fn newly_hidden(
    before: &Compiled,
    after: &Compiled,
) -> Result<(Vec<PathBuf>, Option<HideWatch>), PlanError> {
    if before.denies == after.denies && before.masks == after.masks {
        return Ok((Vec::new(), None));
    }
    let old = hide::find(before)?.masks;
    let hide::Hidden { masks: new, watch, .. } = hide::find(after)?;
    let fresh = new.into_iter().filter(|mount| !old.contains(mount)).map(|mount| mount.target);
    Ok((fresh.collect(), watch))
}

/// The grants that become mounts, in order: outer ones first, and at the same place the one that
/// ends first last, so that it is on top when its end comes. What lies in the workspace is seen there.
pub fn grants(compiled: &Compiled, start_unix_s: i64) -> Vec<&FileRule> {
    let root = &compiled.workspace.root;
    let mut grants: Vec<&FileRule> =
        compiled.files.iter().filter(|grant| !grant.path.starts_with(root)).collect();
    let end = |grant: &FileRule| end_ms(grant, start_unix_s).unwrap_or(u64::MAX);
    grants.sort_by(|a, b| a.path.cmp(&b.path).then(end(b).cmp(&end(a))));
    grants
}

/// When a grant ends, in milliseconds after a run's start; whichever end comes first.
#[must_use]
pub fn end_ms(grant: &FileRule, start_unix_s: i64) -> Option<u64> {
    let until = grant
        .ends
        .at_unix
        .map(|at| u64::try_from(at.saturating_sub(start_unix_s).max(0)).unwrap_or(0) * 1000);
    match (grant.ends.for_ms, until) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// `/var/tmp`: a link to `/tmp`, which costs no mount, unless something is shown below it.
fn var_tmp(compiled: &Compiled, bytes: u64, exec: bool) -> Mount {
    let place = Path::new("/var/tmp");
    let below = compiled.workspace.root.starts_with(place)
        || compiled.files.iter().any(|grant| grant.path.starts_with(place));
    if below {
        return tmpfs("/var/tmp", bytes, exec);
    }
    Mount { target: place.to_owned(), kind: MountKind::Symlink { target: "/tmp".to_owned() } }
}

fn notes(tools: Vec<String>, unmatched: &[String], watch: Option<&HideWatch>) -> Vec<String> {
    let mut notes = tools;
    notes.extend_from_slice(unmatched);
    if watch.is_some_and(|watch| !watch.complete) {
        notes.push(
            "not every directory can be watched for hidden names that appear later; raise it with: sudo sysctl -w fs.inotify.max_user_watches=1000000".to_owned(),
        );
    }
    notes
}

fn tmpfs(target: &str, bytes: u64, exec: bool) -> Mount {
    Mount { target: target.into(), kind: MountKind::Tmpfs { bytes, mode: 0o1777, exec } }
}

/// A bind whose source is pinned by device and inode.
fn bind(
    source: &Path,
    target: &Path,
    access: Access,
    exec: bool,
    owned: bool,
) -> Result<Mount, PlanError> {
    let identity = host::identity(source)
        .map_err(|error| PlanError::Examine { path: source.to_owned(), source: error })?;
    Ok(Mount {
        target: target.to_owned(),
        kind: MountKind::Bind {
            source: source.to_owned(),
            access,
            exec,
            owned,
            identity: Some(identity),
        },
    })
}

fn workspace_mounts(
    compiled: &Compiled,
    setting: &Setting<'_>,
    exec: bool,
    mounts: &mut Vec<Mount>,
) -> Result<(), PlanError> {
    let root = &compiled.workspace.root;
    mounts.push(match setting.mode {
        WorkspaceMode::ReadOnly => bind(root, root, Access::ReadOnly, exec, true)?,
        WorkspaceMode::Pair | WorkspaceMode::Direct => {
            bind(root, root, Access::ReadWrite, exec, true)?
        }
        WorkspaceMode::Review => overlay(root, root, &setting.run.layer(), exec)?,
    });
    Ok(())
}

/// A copy-on-write view of `lower` whose changes go to `store/upper`.
fn overlay(lower: &Path, target: &Path, store: &Path, exec: bool) -> Result<Mount, PlanError> {
    let identity = host::identity(lower)
        .map_err(|error| PlanError::Examine { path: lower.to_owned(), source: error })?;
    Ok(Mount {
        target: target.to_owned(),
        kind: MountKind::Overlay {
            lower: lower.to_owned(),
            upper: store.join("upper"),
            work: store.join("work"),
            exec,
            identity: Some(identity),
        },
    })
}

/// Host paths that exist for everyone or for this user and must not be seen inside.
fn absent(compiled: &Compiled, setting: &Setting<'_>, home: &Path) -> Vec<PathBuf> {
    let granted = |path: &Path| {
        compiled.files.iter().any(|g| path.starts_with(&g.path) || g.path.starts_with(path))
            || path.starts_with(&compiled.workspace.root)
            || compiled.workspace.root.starts_with(path)
    };
    let made_inside = |name: &str| setting.private_home.join(name).symlink_metadata().is_ok();
    let mut paths: Vec<PathBuf> = [".ssh", ".aws", ".gnupg", ".kube"]
        .iter()
        .filter(|name| !made_inside(name))
        .map(|name| home.join(name))
        .collect();
    paths.extend(
        ["/run/docker.sock", "/var/run/docker.sock", "/run/dbus", "/etc/shadow"].map(PathBuf::from),
    );
    paths.push(setting.run.path().to_owned());
    paths.retain(|path| !granted(path));
    paths
}
