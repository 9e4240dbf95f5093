//! What decides about a run lies where no agent can write: policy, trust record, records, kept homes.
//!
//! The directories themselves are judged with the workspace and the grants. Here it is about links in
//! them, which lead one of these things into a tree that the agent may change.

use std::fs;
use std::path::{Path, PathBuf};

use ringfence_model::boundary::{Access, Boundary, MountKind};

use crate::paths::Paths;

/// Something of ringfence's own that a sandbox could change.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what}, {}, leads into {}, which the agent may change; replace the link by what it leads to, or start elsewhere",
    path.display(), tree.display()
)]
pub struct Exposed {
    what: &'static str,
    path: PathBuf,
    tree: PathBuf,
}

/// Fails if one of ringfence's own places leads into what the boundary lets the agent change; changes
/// that wait for a review count as well.
///
/// # Errors
/// [`Exposed`]: the first of them.
pub fn check(paths: &Paths, boundary: &Boundary) -> Result<(), Exposed> {
    let places = [
        ("your own policy", paths.user_policy()),
        ("the trust record", paths.trusted()),
        ("the place of the runs' records", paths.runs()),
        ("the list of living runs", paths.live()),
        ("the place of the kept homes", paths.homes()),
    ];
    for (what, path) in places {
        // Only a link leads elsewhere, and most are none.
        if !fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink()) {
            continue;
        }
        let Ok(real) = fs::canonicalize(&path) else { continue };
        if let Some(tree) = changeable(boundary).find(|tree| real.starts_with(tree)) {
            return Err(Exposed { what, path, tree: tree.to_owned() });
        }
    }
    Ok(())
}

/// Host trees that the agent may change, now or at `apply`.
fn changeable(boundary: &Boundary) -> impl Iterator<Item = &Path> {
    boundary.mounts.iter().filter_map(|mount| match &mount.kind {
        MountKind::Bind { source, access: Access::ReadWrite, .. } => Some(source.as_path()),
        MountKind::Overlay { lower, .. } => Some(lower.as_path()),
        _ => None,
    })
}
