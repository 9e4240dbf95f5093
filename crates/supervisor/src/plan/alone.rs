//! The plan of the Landlock tier: places of the host that are shown where they are, and nothing else.
//!
//! Landlock adds up: what a rule opens above, no rule closes below. So whatever needs a hole in a
//! tree is made of the tree's entries without the hole, or refused: what is asked for and cannot be
//! held is an error that says so.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ringfence_model::boundary::{
    Access, Boundary, ExecMode, Identity, Mount, MountKind, Network, Tier, Workspace, WorkspaceMode,
};
use ringfence_policy::Compiled;

use super::{Placeholders, Plan, PlanError, Setting, absent, base, bind, environment, grants};
use super::{hide, protect, toolchains, worktree};
use crate::home;
use crate::limits::CARVED_ENTRIES;
use crate::paths;

/// Files of `/etc` that the process tier makes for the sandbox and that are the host's own here.
const NAMES: [&str; 4] = ["/etc/passwd", "/etc/group", "/etc/hosts", "/etc/nsswitch.conf"];

/// Who may look into whose memory, where the kernel has Yama.
const PTRACE_SCOPE: &str = "/proc/sys/kernel/yama/ptrace_scope";

/// Where a run keeps what was copied for it; cleared at its end.
const BROUGHT: &str = "brought";

/// Assembles the boundary.
///
/// # Errors
/// [`PlanError`]; nothing has been changed on the host.
pub fn assemble(compiled: &Compiled, setting: &Setting<'_>) -> Result<Plan, PlanError> {
    refuse(compiled, setting)?;
    let exec = compiled.exec.value == ExecMode::Any;
    let who = identity(setting);
    let tools = toolchains::find(setting, &compiled.workspace.root).in_place(setting.home);
    let temporary = setting.run.temporary();
    let mut mounts = base_places(&who, setting)?;
    mounts.push(place(setting.private_home, Access::ReadWrite, exec)?);
    mounts.push(place(&temporary, Access::ReadWrite, exec)?);
    let mut notes = notes(compiled, setting);
    notes.extend_from_slice(&tools.notes);
    mounts.extend(tool_places(tools.mounts(setting, exec)?, &mut notes)?);
    // A repository elsewhere is shown, never opened: what it protects could not be held there.
    let linked = worktree::linked(compiled, setting.home);
    let shown = linked.map(|linked| linked.mount(WorkspaceMode::ReadOnly));
    mounts.extend(shown.transpose()?);
    let held = Held::find(compiled, setting)?;
    for grant in grants(compiled, setting.start_unix_s) {
        mounts.push(place(&grant.path, Access::ReadOnly, true)?);
        if grant.access == Access::ReadWrite {
            held.open(&grant.path, true, &mut mounts)?;
        }
    }
    let root = &compiled.workspace.root;
    mounts.push(place(root, Access::ReadOnly, exec)?);
    if setting.mode.writes_in_place() {
        held.open(root, exec, &mut mounts)?;
    }
    let mut environment = environment::build(compiled, setting, &who, &tools);
    let (git_settings, git_place) = git_settings(setting, root, &mut notes)?;
    mounts.push(git_place);
    environment.entry("GIT_CONFIG_SYSTEM".to_owned()).or_insert(git_settings);
    environment.insert("TMPDIR".to_owned(), temporary.to_string_lossy().into_owned());
    Ok(Plan {
        notes,
        boundary: Boundary {
            tier: Tier::Landlock,
            mounts,
            workspace: Workspace {
                root: root.clone(),
                mode: setting.mode,
                repository: None,
                placeholders: Vec::new(),
            },
            network: Network { publish: Vec::new(), named_ports: Vec::new(), resolver: None },
            limits: compiled.boundary_limits(),
            exec: compiled.exec.value,
            debug: compiled.debug.value,
            floor: compiled.boundary_floor(),
            environment,
            cwd: setting.cwd.to_owned(),
            argv: setting.argv.to_vec(),
            must_be_absent: absent(compiled, setting, setting.home),
            identity: who,
        },
        placeholders: Placeholders::default(),
        excluded: None,
        hidden: None,
        held: held.paths.into_iter().collect(),
    })
}

/// The settings that the process tier shows as `/etc/gitconfig`, as a file of the run: the host's own,
/// which may not be read, would be an error to git. Its path, and the place.
fn git_settings(
    setting: &Setting<'_>,
    root: &Path,
    notes: &mut Vec<String>,
) -> Result<(String, Mount), PlanError> {
    let git = home::git::read(setting.home, root, None, setting.variable);
    let of_the_run = setting.run.file(BROUGHT);
    let path = of_the_run.join("gitconfig");
    let content = git.system_file(root);
    paths::make_private(&of_the_run)
        .map_err(io::Error::other)
        .and_then(|()| fs::write(&path, content))
        .map_err(|source| PlanError::Examine { path: path.clone(), source })?;
    notes.extend(git.notes);
    Ok((path.to_string_lossy().into_owned(), place(&path, Access::ReadOnly, false)?))
}

/// The tools of the user's that can be shown whole. Links are followed where they are.
fn tool_places(mounts: Vec<Mount>, notes: &mut Vec<String>) -> Result<Vec<Mount>, PlanError> {
    let masked: Vec<PathBuf> = mounts
        .iter()
        .filter(|mount| matches!(mount.kind, MountKind::Mask))
        .map(|mount| mount.target.clone())
        .collect();
    let mut places = Vec::new();
    for mount in mounts {
        let MountKind::Bind { source, access: Access::ReadOnly, .. } = mount.kind else { continue };
        if let Some(secret) = masked.iter().find(|secret| secret.starts_with(&mount.target)) {
            notes.push(format!(
                "{} stays outside: {} holds a credential, which tier landlock cannot hide within it",
                mount.target.display(),
                secret.display()
            ));
            continue;
        }
        places.push(place(&source, Access::ReadOnly, true)?);
    }
    Ok(places)
}

fn notes(compiled: &Compiled, setting: &Setting<'_>) -> Vec<String> {
    let mut notes = vec![format!(
        "weaker: tier landlock ({}): no namespaces and no network; `ringfence inspect` lists what is not contained",
        compiled.tier.source
    )];
    if let Some(permit) = compiled.permits().next() {
        notes.push(format!(
            "tier landlock has no network: {} and whatever else is allowed cannot be reached ({})",
            permit.destination, permit.source
        ));
    }
    if compiled.workspace.mode.is_none() && setting.mode == WorkspaceMode::ReadOnly {
        notes.push(
            "the project is read-only, the default of tier landlock; `--workspace pair` lets it be changed, and `ringfence restore` takes that back".to_owned(),
        );
    }
    if compiled.profile.as_ref().is_some_and(|profile| home::agents::of(&profile.value).is_some()) {
        notes.push(
            "the agent's login, settings and instructions stay out of tier landlock, which has no network for it".to_owned(),
        );
    }
    notes
}

/// Whether the process beside the supervisor that keeps what changes replace can read the names of
/// what changes: with Yama's `ptrace_scope` above 0 only ancestors can, and root.
fn keeper_reads(ptrace_scope: Option<&str>, root: bool) -> bool {
    root || ptrace_scope.is_none_or(|scope| scope.trim() == "0")
}

/// What the policy asks for and this tier cannot hold.
fn refuse(compiled: &Compiled, setting: &Setting<'_>) -> Result<(), PlanError> {
    let refusal = |what: String, source_of: &dyn std::fmt::Display, instead: &'static str| {
        Err(PlanError::Tier { what, source_of: source_of.to_string(), instead })
    };
    const MODES: &str = "use `--workspace read-only`, or `--workspace pair`, or tier process";
    const UNKEPT: &str = "use `--workspace direct`, which keeps nothing, or tier process";
    const PROCESS: &str = "leave it out, or use tier process";
    if setting.mode == WorkspaceMode::Review {
        let source = compiled.workspace.mode.as_ref().or(compiled.workspace.cap.as_ref());
        let source = source.map_or_else(|| "default".to_owned(), |mode| mode.source.to_string());
        return refusal("keep changes apart without a mount".to_owned(), &source, MODES);
    }
    let scope = fs::read_to_string(PTRACE_SCOPE).ok();
    if setting.mode == WorkspaceMode::Pair
        && !keeper_reads(scope.as_deref(), setting.person.is_root())
    {
        let what = format!(
            "keep what changes replace where {PTRACE_SCOPE} is {}",
            scope.as_deref().unwrap_or_default().trim()
        );
        let source = compiled.workspace.mode.as_ref();
        let source = source.map_or_else(|| "default".to_owned(), |mode| mode.source.to_string());
        return refusal(what, &source, UNKEPT);
    }
    if let Some(rule) = compiled.denies.first() {
        let what = format!("hide {} within what is visible", rule.pattern);
        return refusal(what, &rule.source, PROCESS);
    }
    if let Some(mask) = hide::find(compiled)?.masks.first() {
        let source = compiled.masks.iter().find(|row| row.path == mask.target);
        let source = source.map_or_else(|| "built-in".to_owned(), |row| row.source.to_string());
        let what = format!("hide {} within what is visible", mask.target.display());
        return refusal(what, &source, "grant a narrower directory, or use tier process");
    }
    let ends = |rule: &&ringfence_policy::FileRule| {
        rule.ends.for_ms.is_some() || rule.ends.at_unix.is_some()
    };
    if let Some(rule) = compiled.files.iter().find(ends) {
        let what = format!("take {} away again when the grant ends", rule.path.display());
        return refusal(what, &rule.source, PROCESS);
    }
    if let Some(rule) = compiled.publish.first() {
        let what = format!("publish port {}: it has no network", rule.ports.inside);
        return refusal(what, &rule.source, PROCESS);
    }
    let owner = fs::metadata(&compiled.workspace.root).map(|metadata| owner(&metadata));
    if setting.mode.writes_in_place()
        && let Ok(owner) = owner
        && owner != setting.person.uid
    {
        let what = format!("write to a project of uid {owner} as uid {}", setting.person.uid);
        let mode = format!("workspace {}", setting.mode.word());
        return refusal(what, &mode, "run ringfence as the project's owner");
    }
    Ok(())
}

fn owner(metadata: &fs::Metadata) -> u32 {
    use std::os::unix::fs::MetadataExt;
    metadata.uid()
}

/// Nobody else can be made without a mapping: an ordinary user stays who it is, and root stays user 0
/// without any capability.
fn identity(setting: &Setting<'_>) -> Identity {
    let person = setting.person;
    Identity {
        inside_uid: person.uid,
        inside_gid: person.gid,
        outside_uid: person.uid,
        outside_gid: person.gid,
        owner: person.is_root().then_some((person.uid, person.gid)),
        user: person.name.clone(),
        home: setting.private_home.to_owned(),
        hostname: crate::host::hostname(),
    }
}

/// A place of the host that is shown where it is.
fn place(path: &Path, access: Access, exec: bool) -> Result<Mount, PlanError> {
    bind(path, path, access, exec, false)
}

/// The parts of the host's system that the process tier mounts, links and made things left out: the
/// host has its own.
fn base_places(who: &Identity, setting: &Setting<'_>) -> Result<Vec<Mount>, PlanError> {
    let mut places = Vec::new();
    for mount in base::mounts(who, setting.run.id())? {
        match mount.kind {
            MountKind::Bind { .. } => places.push(mount),
            MountKind::Copy { source, .. } => {
                places.push(place(&source, Access::ReadOnly, false)?);
            }
            _ => {}
        }
    }
    places.push(place(Path::new("/proc"), Access::ReadOnly, false)?);
    for path in NAMES.iter().filter_map(|path| fs::canonicalize(path).ok()) {
        places.push(place(&path, Access::ReadOnly, false)?);
    }
    Ok(places)
}

/// Protected paths, as the process tier would hold them, and the directories in which nothing can be
/// made or removed for their sake.
struct Held {
    paths: BTreeSet<PathBuf>,
}

impl Held {
    fn find(compiled: &Compiled, setting: &Setting<'_>) -> Result<Self, PlanError> {
        let holds = protect::plan(compiled, setting, None)?.mounts.into_iter();
        let holds = holds.filter(|mount| matches!(mount.kind, MountKind::Hold));
        Ok(Self { paths: holds.map(|mount| mount.target).collect() })
    }

    /// Opens `path` for writing but for what is held below it. A directory that holds something is
    /// opened entry by entry: what is there can be changed, nothing can be added, moved or removed.
    fn open(&self, path: &Path, exec: bool, places: &mut Vec<Mount>) -> Result<(), PlanError> {
        if !self.paths.iter().any(|held| held.starts_with(path)) {
            places.push(place(path, Access::ReadWrite, exec)?);
            return Ok(());
        }
        if self.paths.contains(path) {
            return Ok(());
        }
        let examine = |source| PlanError::Examine { path: path.to_owned(), source };
        let mut count = 0;
        for entry in fs::read_dir(path).map_err(examine)? {
            let entry = entry.map_err(examine)?;
            let kind = entry.file_type().map_err(examine)?;
            count += 1;
            if count > CARVED_ENTRIES {
                return Err(PlanError::TooWide { root: path.to_owned(), limit: CARVED_ENTRIES });
            }
            // A link leads to a place that has a rule of its own, or none.
            if kind.is_dir() || kind.is_file() {
                self.open(&entry.path(), exec, places)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beside the supervisor only an ancestor, or root, reads memory where Yama restricts it.
    #[test]
    fn where_yama_restricts_reading_nothing_is_kept_for_an_ordinary_user() {
        for (scope, root, reads) in [
            (None, false, true),
            (Some("0\n"), false, true),
            (Some("1\n"), false, false),
            (Some("3\n"), false, false),
            (Some("1\n"), true, true),
        ] {
            assert_eq!(keeper_reads(scope, root), reads, "{scope:?} {root}");
        }
    }

    /// F01: a directory of tools with a credential beside them is not shown at all.
    #[test]
    fn f01_tools_beside_a_credential_stay_outside() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        let part = |name: &str| {
            let path = base.join(name);
            fs::create_dir(&path).unwrap();
            bind(&path, &path, Access::ReadOnly, true, true).unwrap()
        };
        let secret = Mount { target: base.join("mixed/token"), kind: MountKind::Mask };
        let mut notes = Vec::new();
        let places = tool_places(vec![part("clean"), part("mixed"), secret], &mut notes).unwrap();
        let shown: Vec<_> = places.into_iter().map(|place| place.target).collect();
        assert_eq!(shown, [base.join("clean")]);
        assert!(matches!(&notes[..], [note] if note.contains("mixed/token holds a credential")));
    }
}
