//! Anchors: a directory inside a writable place that leads to a mount point must not be renamed.
//!
//! A mount point itself cannot be renamed, but the directories above it can: the agent could move
//! `~/src` away, build another `~/src/project`, and everything that is later held, hidden or
//! unmounted by path would meet the decoy. So each such directory becomes a mount point itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ringfence_model::boundary::{Access, Mount, MountKind};

/// Inserts an anchor for each such directory before the first mount that needs it.
pub fn anchor(mounts: Vec<Mount>) -> Vec<Mount> {
    let mut out: Vec<Mount> = Vec::with_capacity(mounts.len() + 8);
    let mut points: BTreeSet<PathBuf> = BTreeSet::new();
    for mount in mounts {
        if is_mount(&mount.kind) || is_made(&mount.kind) {
            for directory in between(&out, &mount.target) {
                if points.insert(directory.clone()) {
                    out.push(Mount { target: directory, kind: MountKind::Anchor });
                }
            }
            if is_mount(&mount.kind) {
                points.insert(mount.target.clone());
            }
        }
        out.push(mount);
    }
    out
}

/// The directories above `target` that lie strictly below a home or memory of the sandbox's own.
/// Inside a workspace or grant nothing is anchored: what lies there moves with its directories, and
/// protected paths have their own pins.
fn between(before: &[Mount], target: &Path) -> Vec<PathBuf> {
    let Some(parent) = target.parent() else { return Vec::new() };
    let covering = before
        .iter()
        .filter(|mount| is_mount(&mount.kind) && parent.starts_with(&mount.target))
        .max_by_key(|mount| mount.target.components().count());
    let Some(covering) = covering.filter(|mount| is_own(mount)) else { return Vec::new() };
    let mut directories: Vec<PathBuf> = parent
        .ancestors()
        .take_while(|directory| *directory != covering.target)
        .map(Path::to_owned)
        .collect();
    directories.reverse();
    directories
}

fn is_mount(kind: &MountKind) -> bool {
    matches!(kind, MountKind::Bind { .. } | MountKind::Tmpfs { .. } | MountKind::Overlay { .. })
}

/// A file that is made for the sandbox: in a home it is mounted, so that what a kept home already has
/// there is no obstacle.
fn is_made(kind: &MountKind) -> bool {
    matches!(kind, MountKind::File { .. } | MountKind::Copy { .. })
}

/// The private home is bound from another place than it is seen at; host trees are not.
fn is_own(mount: &Mount) -> bool {
    match &mount.kind {
        MountKind::Tmpfs { .. } => true,
        MountKind::Bind { source, access, .. } => {
            *access == Access::ReadWrite && *source != mount.target
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(source: &str, target: &str) -> Mount {
        let kind = MountKind::Bind {
            source: source.into(),
            access: Access::ReadWrite,
            exec: true,
            owned: true,
            identity: None,
        };
        Mount { target: target.into(), kind }
    }

    fn file(target: &str) -> Mount {
        let kind = MountKind::File { content: String::new(), mode: 0o644 };
        Mount { target: target.into(), kind }
    }

    #[test]
    fn f10_a_file_that_is_made_in_the_home_is_on_no_directory_that_moves() {
        let mounts = anchor(vec![
            file("/etc/a/b"),
            bind("/state/home", "/home/a"),
            file("/home/a/.config/tool/settings"),
            file("/home/a/plain"),
        ]);
        let anchors: Vec<_> =
            mounts.iter().filter(|m| m.kind == MountKind::Anchor).map(|m| &m.target).collect();
        assert_eq!(anchors, [Path::new("/home/a/.config"), Path::new("/home/a/.config/tool")]);
    }

    #[test]
    fn f10_every_directory_on_the_way_to_a_mount_point_is_anchored_once() {
        let mounts = anchor(vec![
            bind("/state/home", "/home/a"),
            bind("/home/a/w/x/proj", "/home/a/w/x/proj"),
            bind("/home/a/w/y", "/home/a/w/y"),
            bind("/home/a/w/x/proj/sub/deep", "/home/a/w/x/proj/sub/deep"),
        ]);
        let targets: Vec<_> = mounts.iter().map(|m| m.target.display().to_string()).collect();
        assert_eq!(
            targets,
            [
                "/home/a",
                "/home/a/w",
                "/home/a/w/x",
                "/home/a/w/x/proj",
                "/home/a/w/y",
                "/home/a/w/x/proj/sub/deep",
            ]
        );
    }
}
