//! Patterns of names that are hidden: gitignore-like, without case, the same for files that do not
//! exist yet.
//!
//! A pattern without a slash holds at any depth, one with a slash from the top of the workspace or
//! grant. `*` and `?` stay within one name, `**` crosses directories, a trailing slash means
//! directories. There is no negation: nothing is ever shown again.

use ringfence_model::provenance::Source;
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fmt;
use std::path::{Component, Path};
use std::str::FromStr;

use crate::limits::PATH_BYTES;

/// A deny of a definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DenyRule {
    /// Stable id, such as `project.files.deny.1`.
    pub id: String,
    /// The names it hides.
    pub pattern: DenyPattern,
    /// Where it is written.
    pub source: Source,
}

/// A parsed pattern.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DenyPattern {
    text: String,
    segments: Vec<String>,
    directory_only: bool,
}

/// Why a text is no pattern, or one that can match nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct DenyError {
    /// The rule it breaks.
    pub why: &'static str,
    /// What to write instead.
    pub instead: &'static str,
}

impl FromStr for DenyPattern {
    type Err = DenyError;
    fn from_str(text: &str) -> Result<Self, DenyError> {
        let refuse = |why, instead| Err(DenyError { why, instead });
        if text.is_empty() || text == "/" {
            return refuse("it is empty", "name a file, such as \".env\"");
        }
        if text.len() > PATH_BYTES {
            return refuse("it is longer than any path", "shorten it");
        }
        if text.starts_with('~') {
            return refuse(
                "patterns are relative to the workspace and to each grant, and `~` is a plain name there",
                "remove `~/`; what is not granted is not visible anyway",
            );
        }
        if text.starts_with('!') {
            return refuse("a deny cannot be taken back", "deny less with a narrower pattern");
        }
        if text.contains(['[', ']', '{', '}', '\\', '\0']) {
            return refuse("only `*`, `?` and `**` are special here", "write one pattern per name");
        }
        if text != text.trim() {
            return refuse("it begins or ends with white space", "remove the white space");
        }
        let directory_only = text.ends_with('/');
        let body = text.strip_suffix('/').unwrap_or(text);
        let anchored = body.contains('/');
        let body = body.strip_prefix('/').unwrap_or(body);
        let mut segments: Vec<String> = Vec::new();
        if !anchored {
            segments.push("**".to_owned());
        }
        for part in body.split('/') {
            match part {
                "" => return refuse("it has an empty part between slashes", "remove one slash"),
                "." | ".." => {
                    return refuse("no name is `.` or `..`", "write the path without them");
                }
                _ if part.contains("**") && part != "**" => {
                    return refuse("`**` stands alone between slashes", "write `*` or `**/`");
                }
                _ => segments.push(part.to_lowercase()),
            }
        }
        if segments.iter().all(|part| part == "**" || part == "*") {
            return refuse("it hides everything", "name what must be hidden");
        }
        Ok(Self { text: text.to_owned(), segments, directory_only })
    }
}

impl fmt::Display for DenyPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for DenyPattern {
    type Error = DenyError;
    fn try_from(text: String) -> Result<Self, DenyError> {
        text.parse()
    }
}

impl From<DenyPattern> for String {
    fn from(pattern: DenyPattern) -> Self {
        pattern.text
    }
}

impl DenyPattern {
    /// Whether the pattern hides this path, relative to the workspace's or grant's top: itself, or
    /// one of the directories above it.
    #[must_use]
    pub fn matches(&self, relative: &Path, is_dir: bool) -> bool {
        let names: Vec<String> = relative
            .components()
            .filter_map(|part| match part {
                Component::Normal(name) => Some(folded(name)),
                _ => None,
            })
            .collect();
        (1..=names.len()).any(|end| {
            let directory = is_dir || end < names.len();
            let upto = names.get(..end).unwrap_or_default();
            (directory || !self.directory_only) && match_segments(&self.segments, upto)
        })
    }
}

impl crate::Compiled {
    /// The entries of `denies` that hide an absolute host path, in the workspace and in each grant
    /// that holds it. The path counts as a directory, as its kind is not known here.
    #[must_use]
    pub fn hidden_by(&self, path: &Path) -> Vec<usize> {
        if self.denies.is_empty() {
            return Vec::new();
        }
        let grants = self.files.iter().map(|rule| rule.path.as_path());
        let tops: Vec<&Path> = std::iter::once(self.workspace.root.as_path())
            .chain(grants)
            .filter_map(|top| {
                let relative = path.strip_prefix(top).ok()?;
                // A grant of a single file is judged by its own name.
                let own = path.file_name().map(Path::new);
                if relative.as_os_str().is_empty() { own } else { Some(relative) }
            })
            .collect();
        let hides = |rule: &DenyRule| tops.iter().any(|path| rule.pattern.matches(path, true));
        let all = self.denies.iter().enumerate();
        all.filter(|(_, rule)| hides(rule)).map(|(index, _)| index).collect()
    }
}

/// Case is folded, so that no spelling of a hidden name is visible on a file system without case.
fn folded(name: &OsStr) -> String {
    name.to_string_lossy().to_lowercase()
}

/// `**` matches any number of names; state is the set of pattern positions that are reachable.
fn match_segments(pattern: &[String], names: &[String]) -> bool {
    let mut reachable = vec![false; pattern.len() + 1];
    let spread = |reachable: &mut Vec<bool>| {
        for (index, part) in pattern.iter().enumerate() {
            if part == "**" && reachable[index] {
                reachable[index + 1] = true;
            }
        }
    };
    reachable[0] = true;
    spread(&mut reachable);
    for name in names {
        let mut next = vec![false; pattern.len() + 1];
        for (index, part) in pattern.iter().enumerate() {
            if !reachable[index] {
                continue;
            }
            if part == "**" {
                next[index] = true;
            } else if match_name(part, name) {
                next[index + 1] = true;
            }
        }
        spread(&mut next);
        reachable = next;
    }
    reachable[pattern.len()]
}

/// `*` and `?` within one name; linear in the product of the lengths at worst.
fn match_name(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hides(pattern: &str, path: &str, is_dir: bool) -> bool {
        pattern.parse::<DenyPattern>().unwrap().matches(Path::new(path), is_dir)
    }

    #[test]
    fn f04_f05_the_same_names_at_any_depth_and_in_any_case() {
        assert!(hides(".env", ".env", false));
        assert!(hides(".env", "a/b/.ENV", false));
        assert!(!hides(".env", ".envrc", false));
        assert!(hides("secrets/", "x/Secrets/key", false));
        assert!(hides("secrets/", "secrets", true));
        assert!(!hides("secrets/", "secrets", false));
        assert!(hides("**/*.pem", "k.pem", false));
        assert!(hides("**/*.pem", "a/b/K.PEM", false));
        assert!(hides("/top", "top", false));
        assert!(!hides("/top", "a/top", false));
        assert!(hides("a/b", "a/b/c/d", false));
        assert!(!hides("a/b", "x/a/b", false));
        assert!(hides("a/**/z", "a/z", false));
        assert!(hides("a/**/z", "a/b/c/z/q", false));
        assert!(hides("id_?sa", "id_rsa", false));
        assert!(hides("*a*a*b", "aaaaaaaab", false));
    }

    #[test]
    fn f06_patterns_that_can_match_nothing_are_refused() {
        for bad in [
            "", "/", "~/.ssh", "a//b", "a/./b", "../x", "!keep", "x//", " x", "a**b", "*", "**",
            "**/*", "a[b]", "a\\b",
        ] {
            assert!(bad.parse::<DenyPattern>().is_err(), "{bad:?}");
        }
    }
}
