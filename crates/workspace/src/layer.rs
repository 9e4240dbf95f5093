//! A layer: the two trees it is made of, when the run began, and what the project itself has the
//! host run. It opens both trees once and holds them; nothing is ever reached by path again.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::beneath::{Meta, Moment, open_dir, open_file, open_root, read_link};
use crate::change::Change;
use crate::classify::{Alias, host_executed};
use crate::error::WorkspaceError;
use crate::limits::GIT_CONFIG_BYTES;
use crate::walk;

/// An upper layer over a project.
#[derive(Debug)]
pub struct Layer {
    pub(crate) upper: OwnedFd,
    pub(crate) lower: OwnedFd,
    started: Moment,
    pub(crate) aliases: Vec<Alias>,
}

impl Layer {
    /// Opens a layer. `started` is when the run began: what changed in the project at or after it
    /// is a conflict.
    ///
    /// # Errors
    /// When one of the two directories cannot be opened.
    pub fn open(upper: &Path, lower: &Path, started: SystemTime) -> Result<Self, WorkspaceError> {
        let open = |path: &Path| {
            open_root(path).map_err(|source| WorkspaceError::Open {
                path: path.to_owned(),
                source,
            })
        };
        let since = started.duration_since(UNIX_EPOCH).unwrap_or_default();
        let lower = open(lower)?;
        Ok(Self {
            upper: open(upper)?,
            aliases: aliases(lower.as_fd()),
            lower,
            started: (
                i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
                i64::from(since.subsec_nanos()),
            ),
        })
    }

    /// All changes: parents before what they hold, names in byte order.
    ///
    /// # Errors
    /// When something cannot be read, or there are too many.
    pub fn changes(&self) -> Result<Vec<Change>, WorkspaceError> {
        walk::changes(self)
    }

    /// Whether the class of a directory with this path is "host-executed".
    pub(crate) fn holds_back(&self, path: &[u8]) -> bool {
        host_executed(path, true, &self.aliases).is_some()
    }

    /// Whether an entry of the project changed during the run.
    pub(crate) fn changed_since(&self, meta: &Meta) -> bool {
        meta.ctime >= self.started
    }
}

/// Directories that the project itself has the host run things from.
fn aliases(lower: BorrowedFd<'_>) -> Vec<Alias> {
    let mut out = Vec::new();
    // A protected name that is itself a link in the project: what it leads to is protected too.
    const LINKABLE: [&str; 11] = [
        ".claude",
        ".codex",
        ".cursor",
        ".gemini",
        ".vscode",
        ".idea",
        ".husky",
        ".github",
        ".devcontainer",
        ".mcp.json",
        ".envrc",
    ];
    for name in LINKABLE {
        if let Ok(target) = read_link(lower, name.as_bytes()) {
            add_alias(
                &mut out,
                &target,
                format!("the project's `{name}` is a link to it"),
            );
        }
    }
    if let Ok(target) = open_dir(lower, b".git").and_then(|git| read_link(git.as_fd(), b"hooks")) {
        let target = target
            .strip_prefix(b"../")
            .map(<[u8]>::to_vec)
            .unwrap_or_default();
        add_alias(
            &mut out,
            &target,
            "the project's `.git/hooks` is a link to it".to_owned(),
        );
    }
    let config = open_dir(lower, b".git").and_then(|git| {
        let mut text = Vec::new();
        open_file(git.as_fd(), b"config")?
            .take(GIT_CONFIG_BYTES)
            .read_to_end(&mut text)?;
        Ok(text)
    });
    for line in String::from_utf8_lossy(&config.unwrap_or_default()).lines() {
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        if key.trim().eq_ignore_ascii_case("hookspath") {
            let value = value.trim().trim_matches('"');
            add_alias(
                &mut out,
                value.as_bytes(),
                "git runs hooks from it (core.hooksPath)".to_owned(),
            );
        }
    }
    out
}

fn add_alias(out: &mut Vec<Alias>, target: &[u8], why: String) {
    let names: Vec<&[u8]> = target
        .split(|byte| *byte == b'/')
        .filter(|name| !matches!(*name, b"" | b"."))
        .collect();
    // What leads out of the project cannot be changed through the workspace.
    let inside = target.first() != Some(&b'/') && !names.is_empty() && !names.contains(&&b".."[..]);
    if inside {
        out.push(Alias {
            path: names.join(&b'/'),
            why,
        });
    }
}
