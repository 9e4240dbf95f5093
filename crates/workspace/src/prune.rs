//! Taking applied entries out of an unmounted layer, so that they are no changes any more.
//!
//! An entry of a directory that hides the project's (opaque) cannot be taken out alone: the
//! project's own would stay hidden. Such a directory goes as a whole once nothing in it differs.

use rustix::fs::AtFlags;
use rustix::io::Errno;
use std::collections::HashSet;
use std::io;
use std::os::fd::AsFd;

use crate::beneath::{c_name, is_within, look, open_dir, split};
use crate::change::{Change, Kind, Node};
use crate::error::WorkspaceError;
use crate::layer::Layer;
use crate::mark::is_opaque;
use crate::remove::empty_dir;

/// Removes the entries of these changes from the layer.
pub(crate) fn prune(layer: &Layer, applied: &[Change]) -> Result<(), WorkspaceError> {
    let mut left = layer.changes()?;
    // The mark of an applied deletion says nothing any more.
    let done: HashSet<&[u8]> = applied
        .iter()
        .filter(|change| change.kind == Kind::Deleted)
        .map(|change| change.path.as_slice())
        .collect();
    left.retain(|change| change.seen.is_some() || !done.contains(change.path.as_slice()));
    let failed = |path: &[u8], source| WorkspaceError::Remove {
        path: ringfence_model::text::visible_bytes(path),
        source,
    };
    if left.is_empty() {
        return empty_dir(layer.upper.as_fd()).map_err(|error| failed(b".", error));
    }
    // Children before their directories.
    for change in applied.iter().rev() {
        let path = match hiding(layer, &change.path) {
            Some(top) if left.iter().any(|other| is_within(&other.path, &top)) => continue,
            Some(top) => top,
            None => change.path.clone(),
        };
        if left.iter().any(|other| is_within(&other.path, &path)) {
            continue;
        }
        remove(layer, &path).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// The topmost directory at or above a path that hides what the project has there.
fn hiding(layer: &Layer, path: &[u8]) -> Option<Vec<u8>> {
    let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    ends.chain([path.len()]).find_map(|end| {
        let above = path.get(..end)?;
        let dir = open_dir(layer.upper.as_fd(), above).ok()?;
        is_opaque(dir).unwrap_or(false).then(|| above.to_vec())
    })
}

fn remove(layer: &Layer, path: &[u8]) -> io::Result<()> {
    let (above, name) = split(path);
    let parent = match open_dir(layer.upper.as_fd(), above) {
        Err(error) if gone(&error) => return Ok(()),
        other => other?,
    };
    let Some(meta) = look(parent.as_fd(), name)? else {
        return Ok(());
    };
    let flags = if meta.node == Node::Dir {
        empty_dir(open_dir(parent.as_fd(), name)?.as_fd())?;
        AtFlags::REMOVEDIR
    } else {
        AtFlags::empty()
    };
    Ok(rustix::fs::unlinkat(parent, c_name(name)?, flags)?)
}

fn gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR))
}
