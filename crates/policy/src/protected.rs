//! Paths of a project that programs outside the sandbox run or trust. They are data: one row each.
//!
//! A row is relative to the project's root. A directory protects everything below it.

/// One protected path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protected {
    /// Relative to the project's root, without a trailing slash.
    pub path: &'static str,
    /// Whether it is a directory (matters when it does not exist and must be held).
    pub directory: bool,
    /// Who acts on it, outside.
    pub why: &'static str,
}

const fn file(path: &'static str, why: &'static str) -> Protected {
    Protected { path, directory: false, why }
}

const fn tree(path: &'static str, why: &'static str) -> Protected {
    Protected { path, directory: true, why }
}

const EDITOR: &str = "the editor runs tasks and loads settings from it";
const AGENT: &str = "an agent outside takes orders and hooks from it";
const SHELL: &str = "a shell runs it when it starts";
const GIT: &str = "git on the host runs programs that it names";

/// Every protected path.
pub const PROTECTED: &[Protected] = &[
    tree(".git/hooks", GIT),
    file(".git/config", GIT),
    file(".git/config.worktree", GIT),
    tree(".git/modules", GIT),
    tree(".git/worktrees", GIT),
    tree(".git/remotes", GIT),
    tree(".git/branches", GIT),
    tree(".vscode", EDITOR),
    tree(".idea", EDITOR),
    tree(".zed", EDITOR),
    tree(".cursor", AGENT),
    tree(".claude", AGENT),
    tree(".codex", AGENT),
    tree(".gemini", AGENT),
    file(".mcp.json", "an agent outside starts the programs that it names"),
    tree(".github/workflows", "the code host runs it with the project's secrets"),
    file(".gitlab-ci.yml", "the code host runs it with the project's secrets"),
    tree(".devcontainer", "the editor builds and starts what it describes"),
    file(".envrc", "direnv runs it on entering the directory"),
    file(".bashrc", SHELL),
    file(".bash_profile", SHELL),
    file(".bash_login", SHELL),
    file(".profile", SHELL),
    file(".zshrc", SHELL),
    file(".zshenv", SHELL),
    file(".zprofile", SHELL),
    file("ringfence.toml", "it is the definition of this sandbox"),
    tree(".ringfence", "it belongs to ringfence"),
];

/// The row of a path, if it is protected as a whole.
pub fn find(path: &str) -> Option<&'static Protected> {
    let bare = path.trim_end_matches('/');
    PROTECTED.iter().find(|row| row.path == bare)
}

/// All of them, for a message.
pub fn list() -> String {
    let names: Vec<_> = PROTECTED.iter().map(|row| row.path).collect();
    names.join(", ")
}
