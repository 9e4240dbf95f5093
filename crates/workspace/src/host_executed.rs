//! What the host runs by itself, as data: each row with its reason.
//!
//! Patterns are in lower case and match at any depth, so nested repositories are covered. A row is
//! added when a tool is found that runs something just because it lies in a tree.

/// How a row matches.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Match {
    /// These names in a row anywhere in the path: the directory itself and all beneath it.
    Tree(&'static [&'static str]),
    /// The path ends with these names.
    Entry(&'static [&'static str]),
    /// As `Entry`, but not for a directory.
    NoDir(&'static [&'static str]),
    /// Below the first names, the last name is one of the second.
    Below(&'static [&'static str], &'static [&'static str]),
    /// The last name ends so.
    Ending(&'static str),
}

use Match::{Below, Ending, Entry, NoDir, Tree};

const GIT_CONFIG: &str = "git reads commands from it (hooks, filters, fsmonitor, ssh)";
const GIT_HOOK: &str = "git runs it";
const GIT_LINK: &str = "it tells git where its repository is, and so whose hooks to run";
const GIT_TODO: &str = "a rebase that goes on runs commands from it";
const HG: &str = "mercurial reads commands from it";
const EDITOR: &str = "an editor runs tasks and settings from it when the folder is opened";
const AGENT: &str = "a coding agent takes commands and permissions from it";
const CI: &str = "a CI system runs it with its own credentials";
const PACKAGES: &str = "a package manager takes its registry, credentials or programs from it";
const TOOLCHAIN: &str = "rustup takes the directory of cargo and rustc from it";
const SHELL: &str = "a shell or a program runs it at its start";
const PYTHON: &str = "python runs code from it at every start";
const OWN: &str = "it is ringfence's own policy";
const HOOKS: &str = "git runs it once its hook manager is installed";

/// Held back until named.
pub(crate) const HOST_EXECUTED: &[(Match, &str)] = &[
    (Tree(&[".git", "hooks"]), GIT_HOOK),
    (Entry(&[".git", "config"]), GIT_CONFIG),
    (Entry(&[".git", "config.worktree"]), GIT_CONFIG),
    (Entry(&[".git", "commondir"]), GIT_LINK),
    (NoDir(&[".git"]), GIT_LINK),
    (Below(&[".git", "modules"], &["config", "config.worktree", "commondir"]), GIT_CONFIG),
    (
        Below(&[".git", "worktrees"], &["config", "config.worktree", "commondir", "gitdir"]),
        GIT_CONFIG,
    ),
    (Entry(&[".git", "info", "attributes"]), GIT_CONFIG),
    (Entry(&[".git", "objects", "info", "alternates"]), GIT_LINK),
    (Tree(&[".git", "rebase-merge"]), GIT_TODO),
    (Tree(&[".git", "rebase-apply"]), GIT_TODO),
    (Tree(&[".git", "remotes"]), GIT_CONFIG),
    (Tree(&[".git", "branches"]), GIT_CONFIG),
    (Entry(&[".hg", "hgrc"]), HG),
    (Entry(&[".hg", "hgrc-not-shared"]), HG),
    (Entry(&[".hg", "sharedpath"]), HG),
    (Entry(&[".gitmodules"]), GIT_CONFIG),
    (Entry(&[".gitconfig"]), GIT_CONFIG),
    (Tree(&[".config", "git"]), GIT_CONFIG),
    (Tree(&[".husky"]), HOOKS),
    (Tree(&[".githooks"]), HOOKS),
    (Tree(&[".lefthook"]), HOOKS),
    (Entry(&["lefthook.yml"]), HOOKS),
    (Entry(&["lefthook.yaml"]), HOOKS),
    (Entry(&[".lefthook.yml"]), HOOKS),
    (Entry(&["lefthook-local.yml"]), HOOKS),
    (Entry(&[".pre-commit-config.yaml"]), HOOKS),
    (Entry(&[".pre-commit-config.yml"]), HOOKS),
    (Entry(&[".envrc"]), "direnv runs it when a shell enters the directory"),
    (Tree(&[".direnv"]), "direnv runs it when a shell enters the directory"),
    (Entry(&["mise.toml"]), SHELL),
    (Entry(&[".mise.toml"]), SHELL),
    (Entry(&["mise.local.toml"]), SHELL),
    (Entry(&[".mise.local.toml"]), SHELL),
    (Tree(&[".mise"]), SHELL),
    (Entry(&["pyvenv.cfg"]), PYTHON),
    (Ending(".pth"), PYTHON),
    (Entry(&["sitecustomize.py"]), PYTHON),
    (Entry(&["usercustomize.py"]), PYTHON),
    (Entry(&[".cargo", "config"]), "cargo takes programs to run from it (linker, runner, wrapper)"),
    (
        Entry(&[".cargo", "config.toml"]),
        "cargo takes programs to run from it (linker, runner, wrapper)",
    ),
    (Entry(&["rust-toolchain"]), TOOLCHAIN),
    (Entry(&["rust-toolchain.toml"]), TOOLCHAIN),
    (Entry(&[".npmrc"]), PACKAGES),
    (Entry(&[".yarnrc"]), PACKAGES),
    (Entry(&[".yarnrc.yml"]), PACKAGES),
    (Entry(&[".yarnrc.yaml"]), PACKAGES),
    (Tree(&[".yarn", "releases"]), PACKAGES),
    (Tree(&[".yarn", "plugins"]), PACKAGES),
    (Entry(&[".pnpmfile.cjs"]), PACKAGES),
    (Entry(&["pip.conf"]), PACKAGES),
    (Entry(&[".pypirc"]), PACKAGES),
    (Entry(&[".bazelrc"]), PACKAGES),
    (Tree(&[".mvn"]), PACKAGES),
    (Tree(&[".vscode"]), EDITOR),
    (Tree(&[".idea"]), EDITOR),
    (Tree(&[".zed"]), EDITOR),
    (Tree(&[".fleet"]), EDITOR),
    (Tree(&[".devcontainer"]), EDITOR),
    (Entry(&[".devcontainer.json"]), EDITOR),
    (Ending(".code-workspace"), EDITOR),
    (Ending(".sublime-project"), EDITOR),
    (Entry(&[".exrc"]), EDITOR),
    (Entry(&[".nvimrc"]), EDITOR),
    (Entry(&[".nvim.lua"]), EDITOR),
    (Entry(&[".vimrc"]), EDITOR),
    (Entry(&[".dir-locals.el"]), EDITOR),
    (Entry(&[".emacs"]), EDITOR),
    (Entry(&[".gdbinit"]), SHELL),
    (Entry(&[".lldbinit"]), SHELL),
    (Entry(&[".tmux.conf"]), SHELL),
    (Entry(&[".rprofile"]), SHELL),
    (Entry(&[".renviron"]), SHELL),
    (Entry(&[".irbrc"]), SHELL),
    (Entry(&[".pryrc"]), SHELL),
    (Entry(&[".pdbrc"]), SHELL),
    (Tree(&[".claude"]), AGENT),
    (Entry(&[".claude.json"]), AGENT),
    (Tree(&[".codex"]), AGENT),
    (Tree(&[".cursor"]), AGENT),
    (Entry(&[".cursorrules"]), AGENT),
    (Tree(&[".gemini"]), AGENT),
    (Tree(&[".windsurf"]), AGENT),
    (Tree(&[".continue"]), AGENT),
    (Tree(&[".opencode"]), AGENT),
    (Entry(&["opencode.json"]), AGENT),
    (Tree(&[".roo"]), AGENT),
    (Tree(&[".kiro"]), AGENT),
    (Tree(&[".aider"]), AGENT),
    (Entry(&[".aider.conf.yml"]), AGENT),
    (Entry(&[".mcp.json"]), AGENT),
    (Tree(&[".github", "workflows"]), CI),
    (Tree(&[".github", "actions"]), CI),
    (Entry(&[".gitlab-ci.yml"]), CI),
    (Tree(&[".gitlab", "ci"]), CI),
    (Tree(&[".circleci"]), CI),
    (Tree(&[".buildkite"]), CI),
    (Tree(&[".woodpecker"]), CI),
    (Entry(&[".woodpecker.yml"]), CI),
    (Entry(&[".drone.yml"]), CI),
    (Entry(&[".travis.yml"]), CI),
    (Entry(&["jenkinsfile"]), CI),
    (Entry(&["azure-pipelines.yml"]), CI),
    (Entry(&["bitbucket-pipelines.yml"]), CI),
    (Entry(&[".bashrc"]), SHELL),
    (Entry(&[".bash_profile"]), SHELL),
    (Entry(&[".bash_login"]), SHELL),
    (Entry(&[".bash_logout"]), SHELL),
    (Entry(&[".bash_aliases"]), SHELL),
    (Entry(&[".profile"]), SHELL),
    (Entry(&[".zshrc"]), SHELL),
    (Entry(&[".zshenv"]), SHELL),
    (Entry(&[".zprofile"]), SHELL),
    (Entry(&[".zlogin"]), SHELL),
    (Entry(&[".zlogout"]), SHELL),
    (Entry(&[".kshrc"]), SHELL),
    (Entry(&[".cshrc"]), SHELL),
    (Entry(&[".tcshrc"]), SHELL),
    (Entry(&[".login"]), SHELL),
    (Entry(&[".inputrc"]), SHELL),
    (Tree(&[".config", "fish"]), SHELL),
    (Tree(&[".config", "autostart"]), SHELL),
    (Tree(&[".config", "systemd"]), SHELL),
    (Tree(&[".config", "environment.d"]), SHELL),
    (Tree(&[".ssh"]), "ssh takes keys and commands from it"),
    (Entry(&["ringfence.toml"]), OWN),
    (Tree(&[".ringfence"]), OWN),
];

const BUILD: &str = "a build, test or install runs code from it";
const READ_BY_AGENTS: &str = "coding agents follow it as instructions";

/// Applied, but marked for the person who looks.
pub(crate) const NOTED: &[(Match, &str)] = &[
    (Entry(&["package.json"]), BUILD),
    (Entry(&["makefile"]), BUILD),
    (Entry(&["gnumakefile"]), BUILD),
    (Ending(".mk"), BUILD),
    (Entry(&["justfile"]), BUILD),
    (Entry(&["taskfile.yml"]), BUILD),
    (Entry(&["cmakelists.txt"]), BUILD),
    (Entry(&["meson.build"]), BUILD),
    (Entry(&["build.rs"]), BUILD),
    (Entry(&["cargo.toml"]), BUILD),
    (Entry(&["setup.py"]), BUILD),
    (Entry(&["setup.cfg"]), BUILD),
    (Entry(&["pyproject.toml"]), BUILD),
    (Entry(&["conftest.py"]), BUILD),
    (Entry(&["tox.ini"]), BUILD),
    (Entry(&["noxfile.py"]), BUILD),
    (Entry(&["build.gradle"]), BUILD),
    (Entry(&["build.gradle.kts"]), BUILD),
    (Entry(&["pom.xml"]), BUILD),
    (Entry(&["rakefile"]), BUILD),
    (Entry(&["gemfile"]), BUILD),
    (Entry(&["dockerfile"]), BUILD),
    (Entry(&["docker-compose.yml"]), BUILD),
    (Entry(&["compose.yml"]), BUILD),
    (Entry(&["compose.yaml"]), BUILD),
    (Entry(&["vagrantfile"]), BUILD),
    (Entry(&["flake.nix"]), BUILD),
    (Entry(&["shell.nix"]), BUILD),
    (Entry(&["agents.md"]), READ_BY_AGENTS),
    (Entry(&["claude.md"]), READ_BY_AGENTS),
    (Entry(&["gemini.md"]), READ_BY_AGENTS),
    (Entry(&["copilot-instructions.md"]), READ_BY_AGENTS),
];

/// Whether a row matches a path, given as its folded names.
pub(crate) fn matches(pattern: Match, names: &[String], is_dir: bool) -> bool {
    let last = names.last().map_or("", String::as_str);
    let contains = |want: &[&str]| names.windows(want.len()).position(|window| window == want);
    match pattern {
        Tree(want) => contains(want).is_some(),
        Entry(want) => ends_with(names, want),
        NoDir(want) => !is_dir && matches(Entry(want), names, is_dir),
        Below(above, last_is) => contains(above).is_some_and(|at| {
            let rest = names.get(at + above.len()..).unwrap_or_default();
            rest.iter().any(|name| name == "hooks")
                || (!rest.is_empty() && !is_dir && last_is.contains(&last))
        }),
        Ending(end) => last.len() > end.len() && last.ends_with(end),
    }
}

/// Whether the names end with the beginning of a row, but not with all of it: `.cargo` of
/// `.cargo/config.toml`. A link there decides what lies at the row's place.
pub(crate) fn leads(pattern: Match, names: &[String]) -> bool {
    let row = match pattern {
        Tree(want) | Entry(want) | NoDir(want) | Below(want, _) => want,
        Ending(_) => return false,
    };
    let most = if matches!(pattern, Below(..)) { row.len() } else { row.len().saturating_sub(1) };
    (1..=most).any(|length| row.get(..length).is_some_and(|begin| ends_with(names, begin)))
}

/// Whether a path's names end with these.
fn ends_with(names: &[String], want: &[&str]) -> bool {
    names.len() >= want.len() && names[names.len() - want.len()..] == *want
}
