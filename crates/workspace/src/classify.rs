//! Which changes are held back, and why. Pure: names, types and link targets in, a class out.
//!
//! Names are compared as the most forgiving file system would: without case, without invisible
//! characters, without trailing dots and spaces (`.GIT`, `.g\u{200c}it`, `.git.`, `git~1`).

use crate::alias::Alias;
use crate::beneath::{Meta, is_within, split};
use crate::change::{Class, Node};
use crate::host_executed::{HOST_EXECUTED, NOTED, leads, matches};

/// A name as the most forgiving file system compares it.
pub(crate) fn fold(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let mut folded: String = text
        .chars()
        .filter(|c| !is_ignorable(*c))
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase)
        .collect();
    // An NTFS stream (`.git::$INDEX_ALLOCATION`) names the same directory.
    if let Some(at) = folded.find(':') {
        folded.truncate(at);
    }
    folded.truncate(folded.trim_end_matches(['.', ' ']).len());
    match folded.as_str() {
        "git~1" => ".git".to_owned(),
        "" => text.into_owned(),
        _ => folded,
    }
}

/// Code points that HFS+ leaves out of comparisons, and others that show nothing.
fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn folded(path: &[u8]) -> Vec<String> {
    path.split(|byte| *byte == b'/').map(fold).collect()
}

/// Why the host would run what lies under this path, if it would.
pub(crate) fn host_executed(path: &[u8], is_dir: bool, aliases: &[Alias]) -> Option<String> {
    let names = folded(path);
    let row = HOST_EXECUTED.iter().find(|(pattern, _)| matches(*pattern, &names, is_dir));
    row.map(|(_, why)| (*why).to_owned()).or_else(|| {
        let alias = aliases.iter().find(|alias| is_within(path, &alias.path));
        alias.map(|alias| alias.why.clone())
    })
}

/// Whether something that the host runs would lie beneath this path: `.cargo`, `.github`. What is
/// there decides, so a link in such a place is as much as what it leads to.
pub(crate) fn leads_to_host_executed(path: &[u8], aliases: &[Alias]) -> bool {
    let names = folded(path);
    let row = HOST_EXECUTED.iter().any(|(pattern, _)| leads(*pattern, &names));
    row || aliases.iter().any(|alias| is_within(&alias.path, path))
}

/// Why a link at this path is held back, wherever it points.
fn link_in_place(path: &[u8], aliases: &[Alias]) -> Option<&'static str> {
    if folded(path).iter().any(|name| name == ".git") {
        return Some("it is a link inside a git directory");
    }
    leads_to_host_executed(path, aliases)
        .then_some("it is a link in place of a directory that the host runs things from")
}

/// What a person should know about a path that is applied.
pub(crate) fn note(path: &[u8], is_dir: bool) -> Option<&'static str> {
    let names = folded(split(path).1);
    NOTED.iter().find(|(pattern, _)| matches(*pattern, &names, is_dir)).map(|(_, why)| *why)
}

/// The class of an entry that is there after the change.
pub(crate) fn class(path: &[u8], meta: &Meta, target: Option<&[u8]>, aliases: &[Alias]) -> Class {
    let refused = match meta.node {
        Node::Device => "device nodes are never applied",
        Node::Socket => "sockets are never applied",
        Node::Fifo => "named pipes are never applied",
        Node::File | Node::Dir | Node::Symlink => "",
    };
    if !refused.is_empty() {
        return Class::Refused(refused.to_owned());
    }
    if let Some(why) = host_executed(path, meta.node == Node::Dir, aliases) {
        return Class::HostExecuted(why);
    }
    if meta.node == Node::File && meta.mode & 0o6000 != 0 {
        return Class::HostExecuted("it runs with its owner's or group's rights".to_owned());
    }
    let link = target.and_then(|target| {
        let placed = link_in_place(path, aliases);
        placed.or_else(|| leaves(path, target))
    });
    match link {
        Some(why) => Class::HostExecuted(why.to_owned()),
        None => Class::Ordinary,
    }
}

/// Why a symbolic link at `path` may lead out of the project.
pub(crate) fn leaves(path: &[u8], target: &[u8]) -> Option<&'static str> {
    if target.first() == Some(&b'/') {
        return Some("it is a link to an absolute path");
    }
    let mut depth = path.iter().filter(|byte| **byte == b'/').count();
    let mut named = false;
    for name in target.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." if named => return Some("it is a link with `..` behind a name"),
            b".." if depth == 0 => return Some("it is a link that leads out of the project"),
            b".." => depth -= 1,
            name if fold(name) == ".git" => return Some("it is a link into a git directory"),
            _ => named = true,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(path: &str) -> bool {
        host_executed(path.as_bytes(), false, &[]).is_some()
    }

    #[test]
    fn f13_f15_f18_s07_what_the_host_runs_is_known_at_any_depth_and_in_any_case() {
        for path in [
            ".git/hooks/pre-commit",
            "sub/.git/hooks/x/y",
            ".git/config",
            "a/.GIT/Config",
            ".git",
            "x/.git",
            ".git/modules/a/b/hooks/post-checkout",
            ".git/modules/a/config",
            ".git/worktrees/w/gitdir",
            ".gitmodules",
            ".envrc",
            "a/.envrc",
            ".venv/pyvenv.cfg",
            "v/lib/x.pth",
            ".husky/pre-push",
            ".cargo/config.toml",
            "a/.cargo/config",
            ".npmrc",
            ".yarnrc.yml",
            ".vscode/tasks.json",
            ".idea/x",
            "p.code-workspace",
            ".devcontainer/devcontainer.json",
            ".claude/settings.json",
            ".Claude/x",
            ".codex/config.toml",
            ".cursor/mcp.json",
            ".gemini/settings.json",
            ".mcp.json",
            ".bashrc",
            ".github/workflows/ci.yml",
            ".gitlab-ci.yml",
            ".circleci/config.yml",
            "Jenkinsfile",
            "azure-pipelines.yml",
            ".pre-commit-config.yaml",
            "ringfence.toml",
            ".ringfence/x",
            ".g\u{200c}it/hooks/x",
            ".git./hooks/x",
            "GIT~1/hooks/x",
            ".git::$INDEX_ALLOCATION/config",
            ".vſcode/tasks.json",
        ] {
            assert!(held(path), "{path}");
        }
        for path in [
            ".git/index",
            ".git/objects/ab/cd",
            ".git/refs/heads/main",
            ".gitignore",
            "src/config",
            "hooks/x",
            ".github/CODEOWNERS",
            "cargo/config.toml",
            "a.pthx",
            "claude/x",
            ".git/modules/a/index",
        ] {
            assert!(!held(path), "{path}");
        }
        assert!(host_executed(b".git", true, &[]).is_none());
        let alias = [Alias { path: b"conf".to_vec(), why: "w".to_owned() }];
        assert!(host_executed(b"conf/settings.json", false, &alias).is_some());
        assert!(host_executed(b"config", false, &alias).is_none());
    }

    #[test]
    fn f07_f31_links_that_could_leave_are_held_back() {
        for (path, target) in [
            ("l", "/etc/passwd"),
            ("l", ".."),
            ("a/l", "../.."),
            ("a/l", "../../x"),
            ("l", "d/../x"),
            ("l", "./../x"),
            ("l", "a/.GIT"),
            ("a/b/l", "../../../x"),
        ] {
            assert!(leaves(path.as_bytes(), target.as_bytes()).is_some(), "{path} -> {target}");
        }
        for (path, target) in
            [("l", "x"), ("l", "a/b"), ("a/l", ".."), ("a/l", "../x"), ("a/b/l", "../../x")]
        {
            assert!(leaves(path.as_bytes(), target.as_bytes()).is_none(), "{path} -> {target}");
        }
    }
}
