//! Protected paths of a direct workspace and of writable grants: existing ones are held read-only with every parent
//! pinned, missing ones are held by placeholders that the end of the run removes.
//!
//! In `review` nothing needs holding: a change reaches the host only by `apply`, which holds back
//! what the host would execute. In `read-only` nothing can change.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use ringfence_model::boundary::{Access, Mount, MountKind};
use ringfence_policy::{Compiled, PROTECTED};
use ringfence_sys::mounts;
use rustix::fs::{Mode, OFlags};

use super::git_names::{Named, named};
use super::worktree::{self, Linked};
use super::{PlanError, Setting};
use crate::home::git;
use crate::rundir::Cleanup;

/// A linked worktree's pointer: a missing one is held too, or git on the host would follow it to a
/// configuration of the agent's.
const COMMON_DIRECTORY: &str = ".git/commondir";

/// Files of settings in a repository's directory.
const SETTINGS: [&str; 2] = ["config", "config.worktree"];

/// What a placeholder says where an empty file would be an error to its reader: the same as none.
const NEUTRAL: [(&str, &str); 3] =
    [("commondir", ".\n"), (".mcp.json", "{}\n"), ("ringfence.toml", "version = 1\n")];

const LONGEST_NEUTRAL: u64 = 12;

fn neutral(relative: &Path) -> &'static str {
    NEUTRAL.iter().find(|(name, _)| relative.ends_with(name)).map_or("", |(_, text)| text)
}

/// What to create on the host for the time of the run, parents first.
#[derive(Debug, Default)]
pub struct Placeholders {
    entries: Vec<Placeholder>,
}

#[derive(Debug, PartialEq, Eq)]
struct Placeholder {
    path: PathBuf,
    directory: bool,
    content: &'static str,
}

impl Placeholders {
    /// Where they will be.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.entries.iter().map(|entry| entry.path.clone()).collect()
    }

    /// For git inside: names that are no part of the project, one per line.
    #[must_use]
    pub fn ignore(&self, root: &Path) -> String {
        self.entries
            .iter()
            .filter_map(|entry| entry.path.strip_prefix(root).ok())
            .filter(|relative| !relative.starts_with(".git"))
            .map(|relative| format!("/{}\n", relative.display()))
            .collect()
    }

    /// Makes them; one that has come to exist meanwhile is left as it is.
    ///
    /// # Errors
    /// What the file system says; the caller removes what was made.
    pub fn create(&self) -> io::Result<()> {
        for entry in &self.entries {
            make(&entry.path, entry.directory, entry.content)?;
        }
        Ok(())
    }
}

/// Made beneath its opened parent, so that a link that was planted on the way leads nowhere.
fn make(path: &Path, directory: bool, content: &str) -> io::Result<()> {
    let parent = mounts::open_place(path.parent().unwrap_or(Path::new("/")))?;
    let name = path.file_name().unwrap_or_default();
    let result = if directory {
        rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o755))
    } else {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o644))
            .and_then(|file| rustix::io::write(&file, content.as_bytes()).map(drop))
    };
    match result {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Makes one placeholder again that was removed outside during the run.
///
/// # Errors
/// What the file system says.
pub fn make_placeholder(path: &Path, directory: bool) -> io::Result<()> {
    make(path, directory, neutral(path))
}

/// Removes placeholders: only empty directories and files with nothing but a placeholder's content,
/// so that something real that took the place is never lost.
pub fn remove_placeholders(paths: &[PathBuf]) {
    for path in paths.iter().rev() {
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_dir() => {
                let _ = fs::remove_dir(path);
            }
            Ok(metadata) if metadata.is_file() && metadata.len() <= LONGEST_NEUTRAL => {
                let content = fs::read(path).unwrap_or_default();
                let own = NEUTRAL
                    .iter()
                    .any(|(name, text)| path.ends_with(name) && content == text.as_bytes());
                if content.is_empty() || own {
                    let _ = fs::remove_file(path);
                }
            }
            _ => {}
        }
    }
}

/// Mounts and placeholders of a plan.
#[derive(Default)]
pub struct Protection {
    /// Pins first, then holds.
    pub mounts: Vec<Mount>,
    /// To be made before the mounts.
    pub placeholders: Placeholders,
}

/// Plans the protection of everything that the agent may change in place: the workspace in the modes
/// `pair` and `direct`, and every directory that is granted for writing.
pub fn plan(
    compiled: &Compiled,
    setting: &Setting<'_>,
    linked: Option<&Linked>,
) -> Result<Protection, PlanError> {
    let mut protection = Protection::default();
    let workspace = &compiled.workspace.root;
    if setting.mode.writes_in_place() {
        let names = match linked {
            Some(linked) => linked_names(linked, workspace, setting),
            None => git_names(workspace, setting),
        };
        protection.add(protect(workspace, compiled, setting, &names)?);
        if let Some(linked) = linked {
            protection.add(protect_linked(linked, compiled, setting, &names)?);
        }
    }
    for grant in &compiled.files {
        if grant.access == Access::ReadWrite && grant.path.is_dir() {
            let names = git_names(&grant.path, setting);
            protection.add(protect(&grant.path, compiled, setting, &names)?);
        }
    }
    Ok(protection)
}

fn protect(
    root: &Path,
    compiled: &Compiled,
    setting: &Setting<'_>,
    names: &Named,
) -> Result<Protection, PlanError> {
    let mut found = Found::new(root, setting);
    for relative in &compiled.workspace.protected {
        let directory =
            PROTECTED.iter().find(|row| row.path == relative).is_none_or(|row| row.directory);
        found.add(Path::new(relative), directory)?;
    }
    if compiled.workspace.protected.iter().any(|path| path == ".git/config") {
        found.add(Path::new(COMMON_DIRECTORY), false)?;
    }
    for repository in worktree::inner(root) {
        if let Ok(relative) = repository.strip_prefix(root) {
            found.add_repository(relative, compiled)?;
        }
    }
    found.add_named(names, compiled)?;
    for definition in setting.definitions {
        if let Ok(relative) = definition.strip_prefix(root) {
            found.add(relative, false)?;
        }
    }
    Ok(found.finish())
}

/// A worktree's repository: what is protected in `.git` elsewhere, and all other worktrees.
fn protect_linked(
    linked: &Linked,
    compiled: &Compiled,
    setting: &Setting<'_>,
    names: &Named,
) -> Result<Protection, PlanError> {
    let protected = &compiled.workspace.protected;
    let mut found = Found::new(&linked.repository, setting);
    found.add_repository(Path::new(""), compiled)?;
    found.add_named(names, compiled)?;
    let mut protection = found.finish();
    if protected.iter().any(|path| path == ".git/worktrees") {
        protection.mounts.push(linked.own_mount()?);
        let mut own = Found::new(&linked.own, setting);
        for name in ["commondir", "gitdir", "config.worktree"] {
            own.add(Path::new(name), false)?;
        }
        // Where git keeps the repositories of a linked worktree's submodules.
        if protected.iter().any(|path| path == ".git/modules") {
            own.add(Path::new("modules"), true)?;
        }
        own.add_named(names, compiled)?;
        protection.add(own.finish());
    }
    Ok(protection)
}

/// What the settings of the repository at the top of `tree` name, and the person's own: a path of hooks
/// in them counts from the top of each project.
fn git_names(tree: &Path, setting: &Setting<'_>) -> Named {
    let mut repositories = worktree::inner(tree);
    repositories.push(tree.join(".git"));
    let mut files = git::files(setting.home, setting.variable);
    files.extend(repositories.iter().flat_map(|place| SETTINGS.map(|name| place.join(name))));
    named(&files, &[tree], setting.home)
}

/// The same of a linked worktree: git runs in it and in the main one.
fn linked_names(linked: &Linked, tree: &Path, setting: &Setting<'_>) -> Named {
    let mut files = git::files(setting.home, setting.variable);
    files.extend(SETTINGS.map(|name| linked.repository.join(name)));
    files.push(linked.own.join("config.worktree"));
    let main = linked.repository.parent().unwrap_or(Path::new("/"));
    named(&files, &[tree, main], setting.home)
}

impl Protection {
    fn add(&mut self, other: Self) {
        self.mounts.extend(other.mounts);
        self.placeholders.entries.extend(other.placeholders.entries);
    }
}

struct Found<'a> {
    root: &'a Path,
    pins: BTreeSet<PathBuf>,
    holds: BTreeSet<PathBuf>,
    missing: Vec<Placeholder>,
    shared: BTreeSet<PathBuf>,
}

impl<'a> Found<'a> {
    fn new(root: &'a Path, setting: &Setting<'_>) -> Self {
        // Placeholders of another living run are placeholders here too: whoever ends last removes them.
        let others = setting.run.others();
        let cleanups =
            others.iter().filter_map(|other| other.read_json::<Cleanup>("cleanup.json").ok());
        Self::sharing(root, cleanups.flat_map(|cleanup| cleanup.placeholders).collect())
    }

    fn sharing(root: &'a Path, shared: BTreeSet<PathBuf>) -> Self {
        let (pins, holds) = (BTreeSet::new(), BTreeSet::new());
        Self { root, pins, holds, missing: Vec::new(), shared }
    }

    /// What is protected in `.git`, in a repository's directory of another name.
    fn add_repository(&mut self, directory: &Path, compiled: &Compiled) -> Result<(), PlanError> {
        let protected = &compiled.workspace.protected;
        for row in PROTECTED.iter().filter(|row| protected.iter().any(|path| path == row.path)) {
            if let Ok(relative) = Path::new(row.path).strip_prefix(".git") {
                self.add(&directory.join(relative), row.directory)?;
            }
        }
        self.add(&directory.join("commondir"), false)
    }

    /// Places that settings of git name, as long as hooks are protected. What lies outside of the root
    /// cannot be changed through it; what is the root itself cannot be held.
    fn add_named(&mut self, names: &Named, compiled: &Compiled) -> Result<(), PlanError> {
        if !compiled.workspace.protected.iter().any(|path| path == ".git/hooks") {
            return Ok(());
        }
        for (list, directory) in [(&names.hooks, true), (&names.settings, false)] {
            for path in list {
                match path.strip_prefix(self.root) {
                    Ok(relative) if !relative.as_os_str().is_empty() => {
                        let relative = relative.to_owned();
                        self.add(&relative, directory)?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Walks down to one protected path: pins what exists above it, holds it or the first
    /// component that is missing.
    fn add(&mut self, relative: &Path, directory: bool) -> Result<(), PlanError> {
        let names: Vec<_> = relative
            .components()
            .filter(|component| matches!(component, Component::Normal(_)))
            .collect();
        let mut path = self.root.to_owned();
        for (index, name) in names.iter().enumerate() {
            path.push(name);
            let last = index + 1 == names.len();
            match fs::symlink_metadata(&path) {
                Ok(metadata) if metadata.is_symlink() => {
                    return Err(PlanError::ProtectedLink {
                        path,
                        relative: relative.display().to_string(),
                    });
                }
                Ok(_) if self.shared.contains(&path) => {
                    let content = if last { neutral(relative) } else { "" };
                    self.hold_missing(path, !last || directory, content);
                    return Ok(());
                }
                Ok(_) if last => {
                    self.holds.insert(path.clone());
                }
                Ok(metadata) if metadata.is_dir() => {
                    self.pins.insert(path.clone());
                }
                // A file where a parent directory would be (a linked worktree's `.git`): hold it.
                Ok(_) => {
                    self.holds.insert(path);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let content = if last { neutral(relative) } else { "" };
                    self.hold_missing(path, !last || directory, content);
                    return Ok(());
                }
                Err(source) => return Err(PlanError::Examine { path, source }),
            }
        }
        Ok(())
    }

    fn hold_missing(&mut self, path: PathBuf, directory: bool, content: &'static str) {
        if self.holds.insert(path.clone()) {
            self.missing.push(Placeholder { path, directory, content });
        }
    }

    fn finish(self) -> Protection {
        let mount = |target: PathBuf, kind: MountKind| Mount { target, kind };
        let pins = self.pins.into_iter().map(|path| mount(path, MountKind::Pin));
        let holds = self.holds.into_iter().map(|path| mount(path, MountKind::Hold));
        Protection {
            mounts: pins.chain(holds).collect(),
            placeholders: Placeholders { entries: self.missing },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(root: &Path) -> Found<'_> {
        Found::sharing(root, BTreeSet::new())
    }

    #[test]
    fn f10_f11_parents_are_pinned_and_missing_names_held() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join(".git/hooks")).unwrap();
        let mut found = found(root.path());
        for (path, directory) in
            [(".git/hooks", true), (".git/config", false), (".github/workflows", true)]
        {
            found.add(Path::new(path), directory).unwrap();
        }
        let protection = found.finish();
        let targets: Vec<_> = protection
            .mounts
            .iter()
            .map(|m| m.target.strip_prefix(root.path()).unwrap().display().to_string())
            .collect();
        assert_eq!(targets, [".git", ".git/config", ".git/hooks", ".github"]);
        protection.placeholders.create().unwrap();
        assert!(root.path().join(".github").is_dir());
        assert!(root.path().join(".git/config").is_file());
        remove_placeholders(&protection.placeholders.paths());
        assert!(!root.path().join(".github").exists());
        assert!(!root.path().join(".git/config").exists());
        assert!(root.path().join(".git/hooks").exists());
    }

    #[test]
    fn f08_a_protected_link_is_refused() {
        let root = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/tmp", root.path().join(".claude")).unwrap();
        let error = found(root.path()).add(Path::new(".claude"), true).unwrap_err();
        assert!(matches!(error, PlanError::ProtectedLink { .. }));
    }

    #[test]
    fn something_real_in_a_placeholders_place_is_never_removed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join(".mcp.json");
        fs::write(&path, "{\"real\":1}").unwrap();
        remove_placeholders(std::slice::from_ref(&path));
        assert!(path.exists());
    }
}
