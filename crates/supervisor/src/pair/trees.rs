//! Which trees a `pair` workspace is, and how the journal calls what is in them.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ringfence_model::boundary::{Access, Boundary, MountKind, Workspace};
use ringfence_workspace::journal::{self, REPOSITORY, Roots};

/// The project and, of a linked worktree, its repository.
#[derive(Clone, Debug)]
pub struct Trees {
    workspace: PathBuf,
    repository: Option<PathBuf>,
}

impl Trees {
    /// Of a boundary's workspace; `None` for a repository that cannot be changed.
    pub fn of(workspace: &Workspace) -> Self {
        Self::new(&workspace.root, workspace.repository.as_deref())
    }

    /// By their paths.
    pub fn new(workspace: &Path, repository: Option<&Path>) -> Self {
        Self { workspace: workspace.to_owned(), repository: repository.map(Path::to_owned) }
    }

    /// The project.
    pub fn workspace(&self) -> &Path {
        &self.workspace
    }

    /// The repository, if it lies elsewhere.
    pub fn repository(&self) -> Option<&Path> {
        self.repository.as_deref()
    }

    /// Opened.
    ///
    /// # Errors
    /// What `open(2)` says.
    pub fn open(&self) -> io::Result<Roots> {
        Roots::open(&self.workspace, self.repository())
    }

    /// What the journal calls an absolute path; `None` for one that lies in neither.
    pub fn inside(&self, path: &[u8]) -> Option<Vec<u8>> {
        if let Some(rest) = below(path, &self.workspace) {
            return Some(rest.to_vec());
        }
        let rest = below(path, self.repository.as_deref()?)?;
        Some(if rest.is_empty() { REPOSITORY.to_vec() } else { [REPOSITORY, b"/", rest].concat() })
    }
}

fn below<'a>(path: &'a [u8], tree: &Path) -> Option<&'a [u8]> {
    match path.strip_prefix(tree.as_os_str().as_bytes())? {
        [] => Some(&[]),
        [b'/', rest @ ..] => Some(rest),
        _ => None,
    }
}

/// The paths that the agent cannot change, whatever the journal hears of its calls: `more` than the
/// plan's mounts tell.
pub fn held(boundary: &Boundary, more: &[PathBuf]) -> Vec<journal::Path> {
    let trees = Trees::of(&boundary.workspace);
    let (mut fixed, mut open) = (Vec::new(), Vec::new());
    for mount in &boundary.mounts {
        match mount.kind {
            MountKind::Bind { access: Access::ReadWrite, .. } => open.push(&*mount.target),
            MountKind::Pin | MountKind::Anchor | MountKind::Directory { .. } => {}
            _ => fixed.push(mount.target.clone()),
        }
    }
    fixed.extend(boundary.workspace.placeholders.iter().chain(more).cloned());
    let is_tree = |path: &Path| {
        trees
            .inside(path.as_os_str().as_bytes())
            .is_none_or(|inside| inside.is_empty() || inside == REPOSITORY)
    };
    // A tree that can be read alone, but for parts of it, holds nothing by itself.
    let fixed = fixed.into_iter().filter(|path| !is_tree(path));
    let mut held: Vec<_> = fixed
        .flat_map(|path| around(path, &open))
        .filter_map(|path| trees.inside(path.as_os_str().as_bytes()).map(journal::Path))
        .collect();
    held.sort_unstable();
    held.dedup();
    held
}

/// A held path; where something below it is open again, what is beside that.
fn around(path: PathBuf, open: &[&Path]) -> Vec<PathBuf> {
    if !open.iter().any(|open| open.starts_with(&path) && **open != path) {
        return vec![path];
    }
    let listed = fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path());
    listed.filter(|beside| !open.iter().any(|open| open.starts_with(beside))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_in_one_tree_or_in_none() {
        let trees = Trees::new(Path::new("/p/tree"), Some(Path::new("/p/main/.git")));
        let inside =
            |path: &str| trees.inside(path.as_bytes()).map(|path| String::from_utf8(path).unwrap());
        assert_eq!(inside("/p/tree").as_deref(), Some(""));
        assert_eq!(inside("/p/tree/a/b").as_deref(), Some("a/b"));
        assert_eq!(inside("/p/main/.git").as_deref(), Some("//repository"));
        assert_eq!(inside("/p/main/.git/refs").as_deref(), Some("//repository/refs"));
        for outside in ["/p/tree2", "/p/main", "/p/main/.gitx", "/"] {
            assert_eq!(inside(outside), None, "{outside}");
        }
    }
}
