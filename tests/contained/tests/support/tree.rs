//! The state of a directory tree, for "nothing has changed": every entry with kind, mode, owner,
//! link target and content.
//!
//! It reads only; symbolic links are never followed.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Every entry below a root, by its relative path.
pub type Tree = BTreeMap<String, String>;

/// The state of everything below `root`.
pub fn snapshot(root: &Path) -> Tree {
    let mut tree = Tree::new();
    enter(root, root, &mut tree);
    tree
}

/// Fails unless `root` is as it was, and names what is not.
pub fn assert_unchanged(root: &Path, before: &Tree, what: &str) {
    let after = snapshot(root);
    let gone: Vec<_> = before.keys().filter(|path| !after.contains_key(*path)).collect();
    let new: Vec<_> = after.keys().filter(|path| !before.contains_key(*path)).collect();
    let changed: Vec<_> = before
        .iter()
        .filter(|(path, state)| after.get(*path).is_some_and(|now| now != *state))
        .collect();
    assert!(
        gone.is_empty() && new.is_empty() && changed.is_empty(),
        "{what}: gone {gone:?}, new {new:?}, changed {changed:?}"
    );
}

fn enter(root: &Path, directory: &Path, tree: &mut Tree) {
    let Ok(listing) = fs::read_dir(directory) else {
        return;
    };
    for entry in listing.flatten() {
        let path = entry.path();
        let Ok(metadata) = path.symlink_metadata() else {
            continue;
        };
        let content = if metadata.is_symlink() {
            format!("-> {:?}", fs::read_link(&path).unwrap_or_default())
        } else if metadata.is_file() {
            format!("{:?}", fs::read(&path).unwrap_or_default())
        } else {
            String::new()
        };
        let state =
            format!("{:o} {}:{} {content}", metadata.mode(), metadata.uid(), metadata.gid());
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        tree.insert(name, state);
        if metadata.is_dir() {
            enter(root, &path, tree);
        }
    }
}
