//! A linked worktree as the workspace: its repository lies elsewhere, and belongs to it. In the modes that
//! change the project in place the agent commits to it; elsewhere it is shown, so that git can look at
//! history and state.
//!
//! The worktree's `.git` file came with the project and may name any place. It counts only where that place
//! is a repository that names this worktree in turn, and the repository is where it lies, never where
//! `commondir` says: a project cannot open a directory of the host by naming it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use ringfence_model::boundary::{Access, Mount, WorkspaceMode};
use ringfence_policy::Compiled;

use super::{PlanError, bind};
use crate::limits::GIT_POINTER_BYTES;

/// A repository with its linked worktree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linked {
    /// The repository's directory: `.git` of the main worktree, or a bare one.
    pub repository: PathBuf,
    /// The worktree's own directory in it: `worktrees/NAME`.
    pub own: PathBuf,
}

/// The workspace's repository, where it lies elsewhere and is not visible already.
#[must_use]
pub fn linked(compiled: &Compiled, home: &Path) -> Option<Linked> {
    let root = &compiled.workspace.root;
    let linked = of(root)?;
    let repository = &linked.repository;
    let seen = compiled.files.iter().any(|grant| repository.starts_with(&grant.path));
    let holds_it = root.starts_with(repository) || repository.starts_with(root);
    let hidden = seen
        || holds_it
        || holds_trees(repository)
        || ringfence_policy::is_sensitive(repository, home);
    (!hidden).then_some(linked)
}

/// Whether worktrees lie within the repository's directory, as some people keep them in a bare one: it
/// is a directory of projects then, with secrets and settings of their own.
fn holds_trees(repository: &Path) -> bool {
    let owns = fs::read_dir(repository.join("worktrees")).into_iter().flatten().flatten();
    owns.filter_map(|own| Some(own.path().join(pointer(&own.path().join("gitdir"))?.trim())))
        .filter_map(|link| fs::canonicalize(link).ok())
        .any(|link| link.starts_with(repository))
}

impl Linked {
    /// How it is seen inside.
    pub fn mount(&self, mode: WorkspaceMode) -> Result<Mount, PlanError> {
        let access = match mode.writes_in_place() {
            true => Access::ReadWrite,
            false => Access::ReadOnly,
        };
        bind(&self.repository, &self.repository, access, false, true)
    }

    /// The worktree's own directory: writable among those of the other worktrees, which are held.
    pub fn own_mount(&self) -> Result<Mount, PlanError> {
        bind(&self.own, &self.own, Access::ReadWrite, false, true)
    }
}

/// The repository that claims `root` as a linked worktree of its own.
fn of(root: &Path) -> Option<Linked> {
    let link = root.join(".git");
    let named = pointer(&link)?;
    let own = fs::canonicalize(root.join(named.strip_prefix("gitdir:")?.trim())).ok()?;
    let back = pointer(&own.join("gitdir"))?;
    let names_us = fs::canonicalize(own.join(back.trim())).ok()? == fs::canonicalize(&link).ok()?;
    let list = own.parent().filter(|list| list.ends_with("worktrees"))?;
    let repository = list.parent()?.to_owned();
    let whole = repository.join("HEAD").is_file()
        && repository.join("objects").is_dir()
        && repository.join("refs").is_dir();
    (names_us && whole).then_some(Linked { repository, own })
}

/// The directories within `root` that its `.git` file, and what that one's `commondir`, lead git to. They
/// lie in the project under any name, such as `.bare`, and are a repository all the same.
pub fn inner(root: &Path) -> Vec<PathBuf> {
    let led = |base: &Path, text: String| {
        let path = text.trim_start_matches("gitdir:").trim().to_owned();
        fs::canonicalize(base.join(path)).ok()
    };
    let own = pointer(&root.join(".git")).and_then(|text| led(root, text));
    let common = own.as_deref().and_then(|own| led(own, pointer(&own.join("commondir"))?));
    own.into_iter().chain(common).filter(|path| path.starts_with(root) && path != root).collect()
}

/// The text of a small regular file that is no link.
fn pointer(path: &Path) -> Option<String> {
    let metadata = fs::symlink_metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > GIT_POINTER_BYTES {
        return None;
    }
    let mut text = String::new();
    let file = fs::File::open(path).ok()?;
    file.take(GIT_POINTER_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository with one linked worktree, as git lays them out.
    fn linked(place: &Path) -> (PathBuf, PathBuf) {
        let (repository, tree) = (place.join("main/.git"), place.join("tree"));
        let own = repository.join("worktrees/tree");
        for directory in [&own, &repository.join("objects"), &repository.join("refs"), &tree] {
            fs::create_dir_all(directory).unwrap();
        }
        fs::write(repository.join("HEAD"), "ref: refs/heads/main\n").unwrap();
        fs::write(own.join("gitdir"), format!("{}\n", tree.join(".git").display())).unwrap();
        fs::write(own.join("commondir"), "../..\n").unwrap();
        fs::write(tree.join(".git"), format!("gitdir: {}\n", own.display())).unwrap();
        (repository, tree)
    }

    #[test]
    fn the_repository_that_names_the_worktree_is_found() {
        let place = tempfile::tempdir().unwrap();
        let (repository, tree) = linked(place.path());
        let repository = fs::canonicalize(repository).unwrap();
        let own = repository.join("worktrees/tree");
        assert_eq!(of(&tree), Some(Linked { repository, own }));
    }

    #[test]
    fn f14_a_repository_that_does_not_name_the_worktree_stays_unseen() {
        let place = tempfile::tempdir().unwrap();
        let (repository, tree) = linked(place.path());
        let own = repository.join("worktrees/tree");
        let other = place.path().join("other");
        fs::create_dir_all(&other).unwrap();
        fs::write(other.join(".git"), fs::read(tree.join(".git")).unwrap()).unwrap();
        assert_eq!(of(&other), None, "a copied `.git` file opens nothing");
        fs::write(own.join("gitdir"), "/nowhere/.git\n").unwrap();
        assert_eq!(of(&tree), None, "nor one that is not named in turn");
    }

    /// F01: the tree of another worktree, with all that lies in it, is none of this one's.
    #[test]
    fn f01_a_repository_that_worktrees_lie_in_stays_unseen() {
        let place = tempfile::tempdir().unwrap();
        let (repository, _) = linked(place.path());
        assert!(!holds_trees(&fs::canonicalize(&repository).unwrap()));
        let (own, tree) = (repository.join("worktrees/beside"), repository.join("beside"));
        fs::create_dir_all(&own).unwrap();
        fs::create_dir_all(&tree).unwrap();
        fs::write(tree.join(".git"), format!("gitdir: {}\n", own.display())).unwrap();
        for named in [tree.join(".git").display().to_string(), "../../beside/.git".to_owned()] {
            fs::write(own.join("gitdir"), format!("{named}\n")).unwrap();
            assert!(holds_trees(&fs::canonicalize(&repository).unwrap()), "{named}");
        }
    }

    #[test]
    fn f14_commondir_and_invented_repositories_open_no_directory() {
        let place = tempfile::tempdir().unwrap();
        let secret = place.path().join("secret");
        fs::create_dir_all(&secret).unwrap();
        let tree = place.path().join("tree");
        let own = tree.join("fake/worktrees/x");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("gitdir"), format!("{}\n", tree.join(".git").display())).unwrap();
        fs::write(own.join("commondir"), format!("{}\n", secret.display())).unwrap();
        fs::write(tree.join(".git"), "gitdir: fake/worktrees/x\n").unwrap();
        assert_eq!(of(&tree), None, "it is no repository");
        for name in ["objects", "refs"] {
            fs::create_dir_all(tree.join("fake").join(name)).unwrap();
        }
        fs::write(tree.join("fake/HEAD"), "ref: refs/heads/main\n").unwrap();
        let found = of(&tree).unwrap();
        let fake = fs::canonicalize(tree.join("fake")).unwrap();
        assert_eq!(found.repository, fake, "never the secret");
    }
}
