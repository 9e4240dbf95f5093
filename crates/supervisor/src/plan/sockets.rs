//! Unix sockets that host programs listen on inside the workspace or a grant: connecting to one is
//! talking to the host, so they are masked.
//!
//! The kernel lists bound sockets with the path they were bound to (proc_pid_net(5)), which costs
//! nothing in proportion to the tree. A `review` workspace needs no mask: overlayfs's inode is
//! another one than the host's, and the connection is refused.

use std::fs;
use std::path::{Path, PathBuf};

use ringfence_model::boundary::{Mount, MountKind, WorkspaceMode};
use ringfence_policy::Compiled;

/// One mask per socket that would be visible.
pub fn masks(compiled: &Compiled, mode: WorkspaceMode) -> Vec<Mount> {
    let mut roots: Vec<&Path> = compiled.files.iter().map(|grant| grant.path.as_path()).collect();
    let root = compiled.workspace.root.as_path();
    if mode != WorkspaceMode::Review {
        roots.push(root);
    }
    if roots.is_empty() {
        return Vec::new();
    }
    let list = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let mut paths: Vec<PathBuf> = bound(&list, root)
        .filter_map(|path| fs::canonicalize(path).ok())
        .filter(|path| roots.iter().any(|root| path.starts_with(root)))
        .collect();
    paths.sort();
    paths.dedup();
    paths.into_iter().map(|target| Mount { target, kind: MountKind::Mask }).collect()
}

/// The paths of the list; one that is relative was most likely bound in the project's root.
fn bound<'a>(list: &'a str, root: &'a Path) -> impl Iterator<Item = PathBuf> + 'a {
    list.lines().skip(1).filter_map(move |line| {
        // Num RefCount Protocol Flags Type St Inode Path
        let path = line.split_whitespace().nth(7)?;
        let start = line.find(path)?;
        let path = Path::new(line.get(start..)?);
        match path.to_string_lossy().chars().next()? {
            '@' => None,
            '/' => Some(path.to_owned()),
            _ => Some(root.join(path)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n21_bound_paths_are_read_from_the_kernels_list() {
        let list = "Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 17 /p/a b.sock\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 18 @abstract\n\
            0000000000000000: 00000003 00000000 00000000 0001 03 19\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 20 ./dev.sock\n";
        let paths: Vec<PathBuf> = bound(list, Path::new("/w")).collect();
        assert_eq!(paths, [PathBuf::from("/p/a b.sock"), PathBuf::from("/w/./dev.sock")]);
    }
}
