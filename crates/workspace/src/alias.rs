//! What the project itself has the host run, under names that the table of names does not know:
//! links such as `.git/hooks/pre-commit -> ../../scripts/check`, and paths in git's configuration.
//!
//! The project is the person's own; it is read, never changed. Only what lies inside it matters:
//! nothing else can be changed through the workspace.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ringfence_model::text::visible_bytes;

use crate::beneath::{join, look, names, open_dir, open_file, read_link};
use crate::change::Node;
use crate::classify::{host_executed, leads_to_host_executed};
use crate::limits::{ALIAS_DEPTH, ALIAS_ENTRIES, ALIAS_LINKS, GIT_CONFIG_BYTES};

/// A path of the project that the host runs things from: the entry itself and all beneath it.
#[derive(Debug, Clone)]
pub(crate) struct Alias {
    pub(crate) path: Vec<u8>,
    pub(crate) why: String,
}

/// All of them. `root` is the project's canonical path, for links and settings that spell it out.
pub(crate) fn aliases(lower: BorrowedFd<'_>, root: &Path) -> Vec<Alias> {
    let mut search = Search { lower, root, left: ALIAS_ENTRIES, out: Vec::new() };
    search.links(b"", 0);
    search.git_config();
    search.out
}

struct Search<'a> {
    lower: BorrowedFd<'a>,
    root: &'a Path,
    /// Entries that may still be looked at.
    left: usize,
    out: Vec<Alias>,
}

impl Search<'_> {
    /// Links in places that the host runs things from. What cannot be read has no links that the
    /// host could follow either.
    fn links(&mut self, path: &[u8], depth: usize) {
        let Ok(dir) = open_dir(self.lower, path) else {
            return;
        };
        let Ok(all) = names(dir.as_fd(), ALIAS_ENTRIES) else {
            return;
        };
        for name in all {
            let full = join(path, &name);
            let runs = host_executed(&full, false, &[]).is_some();
            if !runs && !leads_to_host_executed(&full, &[]) {
                continue;
            }
            if self.left == 0 {
                return;
            }
            self.left -= 1;
            match look(dir.as_fd(), &name) {
                Ok(Some(meta)) if meta.node == Node::Symlink => {
                    let why = format!("the project's `{}` is a link to it", visible_bytes(&full));
                    self.link(full, &why);
                }
                Ok(Some(meta)) if meta.node == Node::Dir && depth < ALIAS_DEPTH => {
                    self.links(&full, depth + 1);
                }
                _ => {}
            }
        }
    }

    /// Everything that a link leads over is what the host runs: its target, and on from there.
    fn link(&mut self, mut path: Vec<u8>, why: &str) {
        for _ in 0..ALIAS_LINKS {
            let (above, name) = crate::beneath::split(&path);
            let Ok(target) =
                open_dir(self.lower, above).and_then(|dir| read_link(dir.as_fd(), name))
            else {
                return;
            };
            let Some(inside) = resolve(self.root, above, &target) else {
                return;
            };
            self.add(inside.clone(), why);
            path = inside;
        }
    }

    fn add(&mut self, path: Vec<u8>, why: &str) {
        if !path.is_empty() {
            let why = why.to_owned();
            self.out.push(Alias { path, why });
        }
    }

    /// `core.hooksPath` and included files (git-config(1)).
    fn git_config(&mut self) {
        let text = open_dir(self.lower, b".git").and_then(|git| {
            let mut text = Vec::new();
            open_file(git.as_fd(), b"config")?.take(GIT_CONFIG_BYTES).read_to_end(&mut text)?;
            Ok(text)
        });
        for line in String::from_utf8_lossy(&text.unwrap_or_default()).lines() {
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            // `[core] hooksPath = x` on one line is git's grammar too.
            let key = key.rsplit(']').next().unwrap_or_default().trim();
            let value = value.split([';', '#']).next().unwrap_or_default();
            let value = value.trim().trim_matches('"').as_bytes();
            let (from, why) = if key.eq_ignore_ascii_case("hookspath") {
                (&b""[..], "git runs hooks from it (core.hooksPath)")
            } else if key.eq_ignore_ascii_case("path") {
                (&b".git"[..], "git's configuration includes it")
            } else {
                continue;
            };
            if let Some(path) = resolve(self.root, from, value) {
                self.add(path.clone(), why);
                self.link(path, why);
            }
        }
    }
}

/// Where a target leads from a directory of the project, as a path of the project; `None` outside.
/// Links on the way are not followed: they are aliases or changes of their own.
fn resolve(root: &Path, from: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    let root = root.as_os_str().as_bytes();
    let (from, target) = match target.strip_prefix(b"/") {
        None => (from, target),
        Some(_) => {
            let inside = target.strip_prefix(root)?;
            (&b""[..], inside.strip_prefix(b"/")?)
        }
    };
    let mut out: Vec<&[u8]> = Vec::new();
    let names = |path| <[u8]>::split(path, |byte: &u8| *byte == b'/');
    for name in names(from).chain(names(target)) {
        match name {
            b"" | b"." => {}
            b".." => {
                out.pop()?;
            }
            name => out.push(name),
        }
    }
    Some(out.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_followed_inside_the_project_only() {
        let root = Path::new("/home/u/p");
        let to = |from: &str, target: &str| {
            resolve(root, from.as_bytes(), target.as_bytes())
                .map(|path| String::from_utf8(path).unwrap())
        };
        assert_eq!(to(".git/hooks", "../../s/x").as_deref(), Some("s/x"));
        assert_eq!(to("", "./hooks/").as_deref(), Some("hooks"));
        assert_eq!(to(".git", "/home/u/p/h").as_deref(), Some("h"));
        for outside in ["../x", "/home/u/px/h", "/etc", "a/../../x"] {
            assert_eq!(to("", outside), None, "{outside}");
        }
    }
}
