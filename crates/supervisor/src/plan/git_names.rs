//! Where a repository's settings lead git on the host: the hooks and further settings that they name
//! (`core.hooksPath`, `include.path`). What the agent wrote there the host would run.
//!
//! A name counts whether something is there or not: hooks that are made by a tool (`.husky/_`) are
//! missing in every new worktree, and would be made by the agent.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::home::git::settings_of;
use crate::limits::GIT_CONFIG_FILES;

/// What the settings name, as absolute paths with no link in what exists of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Directories of hooks.
    pub hooks: BTreeSet<PathBuf>,
    /// Files of settings.
    pub settings: BTreeSet<PathBuf>,
}

/// Reads settings files and what they include. A relative path of hooks counts from each of `trees`:
/// git takes it from the top of the worktree that it runs in.
pub fn named(files: &[PathBuf], trees: &[&Path], home: &Path) -> Named {
    let mut named = Named::default();
    let mut waiting = files.to_vec();
    let mut read = 0;
    while let Some(file) = waiting.pop() {
        read += 1;
        if read > GIT_CONFIG_FILES {
            break;
        }
        for setting in settings_of(&file) {
            let value = setting.value.unwrap_or_default();
            match (setting.section.as_str(), setting.key.as_str()) {
                ("core", "hookspath") => {
                    named.hooks.extend(trees.iter().filter_map(|tree| place(tree, &value, home)));
                }
                ("include" | "includeif", "path") => {
                    let beside = file.parent().unwrap_or(Path::new("/"));
                    let included = place(beside, &value, home);
                    let new = included.filter(|path| named.settings.insert(path.clone()));
                    waiting.extend(new);
                }
                _ => {}
            }
        }
    }
    named
}

/// Where a value of the settings leads.
fn place(base: &Path, value: &str, home: &Path) -> Option<PathBuf> {
    let path = match value.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None => base.join(value),
    };
    (!value.is_empty()).then(|| resolved(&path)).flatten()
}

/// The path without links in what exists of it; behind that, `..` leads back. A link that leads nowhere
/// stays, and cannot be held.
fn resolved(path: &Path) -> Option<PathBuf> {
    let mut whole = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(whole.pop()),
            component => whole.push(component),
        }
        whole = match fs::canonicalize(&whole) {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => whole,
            Err(_) => return None,
        };
    }
    Some(whole)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn f15_what_is_missing_counts_and_includes_are_followed() {
        let place = tempfile::tempdir().unwrap();
        let base = place.path().canonicalize().unwrap();
        let (git, tree, home) = (base.join("p/.git"), base.join("tree"), base.join("home"));
        for directory in [&git, &tree, &home] {
            fs::create_dir_all(directory).unwrap();
        }
        symlink("../../tree", git.join("link")).unwrap();
        let text = "[core]\nhooksPath = .husky/_\n[include]\npath = ../more\npath = ~/mine\n\
            [includeIf \"gitdir:/\"]\npath = link/x/../y\n";
        fs::write(git.join("config"), text).unwrap();
        fs::write(base.join("p/more"), "[core]\nhooksPath = ~/h\n[include]\npath = more\n")
            .unwrap();
        let files = [git.join("config"), git.join("config.worktree")];
        let found = named(&files, &[&tree, &base.join("p")], &home);
        let hooks = ["home/h", "p/.husky/_", "tree/.husky/_"].map(|path| base.join(path));
        assert_eq!(found.hooks, hooks.into());
        let settings = ["home/mine", "p/more", "tree/y"].map(|path| base.join(path));
        assert_eq!(found.settings, settings.into());
        fs::write(git.join("config.worktree"), "[core]\nhooksPath = w\n").unwrap();
        let found = named(&files, &[&tree], &home);
        assert!(found.hooks.contains(&tree.join("w")), "{found:?}");
    }
}
