//! Hidden names: every existing match of a deny below the workspace or a grant is masked.
//!
//! The walk costs time in proportion to the tree, so it happens only when a policy hides names. A
//! file with several hard links is hidden under all its names in the walked trees.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ringfence_model::boundary::{Mount, MountKind};
use ringfence_policy::Compiled;

use super::PlanError;
use crate::limits::HIDE_WALK_ENTRIES;

/// One mask per hidden thing that exists, parents before children, nothing below a masked directory.
pub fn masks(compiled: &Compiled) -> Result<Vec<Mount>, PlanError> {
    let mut targets: Vec<PathBuf> = compiled
        .masks
        .iter()
        .map(|mask| mask.path.clone())
        .filter(|path| path.symlink_metadata().is_ok() && visible(compiled, path))
        .collect();
    if !compiled.denies.is_empty() {
        let mut roots = vec![compiled.workspace.root.clone()];
        roots.extend(compiled.files.iter().map(|grant| grant.path.clone()));
        for root in roots {
            let mut walk = Walk::new(compiled, &root);
            walk.enter(&root)?;
            targets.extend(walk.finish());
        }
    }
    targets.sort();
    targets.dedup();
    Ok(targets.into_iter().map(|target| Mount { target, kind: MountKind::Mask }).collect())
}

fn visible(compiled: &Compiled, path: &Path) -> bool {
    path.starts_with(&compiled.workspace.root)
        || compiled.files.iter().any(|grant| path.starts_with(&grant.path))
}

struct Walk<'a> {
    compiled: &'a Compiled,
    root: &'a Path,
    seen: usize,
    hidden: Vec<PathBuf>,
    /// Identities of hidden files that have other names.
    identities: HashSet<(u64, u64)>,
    /// Files with several names that no pattern hides.
    linked: Vec<(PathBuf, (u64, u64))>,
}

impl<'a> Walk<'a> {
    fn new(compiled: &'a Compiled, root: &'a Path) -> Self {
        Self {
            compiled,
            root,
            seen: 0,
            hidden: Vec::new(),
            identities: HashSet::new(),
            linked: Vec::new(),
        }
    }

    fn enter(&mut self, directory: &Path) -> Result<(), PlanError> {
        // A directory that this user cannot list is one that the agent cannot list either.
        let Ok(listing) = fs::read_dir(directory) else { return Ok(()) };
        for entry in listing.flatten() {
            self.seen += 1;
            if self.seen > HIDE_WALK_ENTRIES {
                return Err(PlanError::TooMany {
                    root: self.root.to_owned(),
                    limit: HIDE_WALK_ENTRIES,
                });
            }
            let path = entry.path();
            let Ok(metadata) = entry.metadata() else { continue };
            let identity = (metadata.dev(), metadata.ino());
            if self.is_hidden(&path, metadata.is_dir()) {
                if metadata.is_file() && metadata.nlink() > 1 {
                    self.identities.insert(identity);
                }
                if !metadata.is_symlink() {
                    self.hidden.push(path);
                }
            } else if metadata.is_dir() {
                self.enter(&path)?;
            } else if metadata.is_file() && metadata.nlink() > 1 {
                self.linked.push((path, identity));
            }
        }
        Ok(())
    }

    fn is_hidden(&self, path: &Path, directory: bool) -> bool {
        let Ok(relative) = path.strip_prefix(self.root) else { return false };
        self.compiled.denies.iter().any(|rule| rule.pattern.matches(relative, directory))
    }

    fn finish(self) -> Vec<PathBuf> {
        let identities = self.identities;
        let twins = self.linked.into_iter().filter(|(_, identity)| identities.contains(identity));
        self.hidden.into_iter().chain(twins.map(|(path, _)| path)).collect()
    }
}
