//! git inside: the user's name and harmless settings, and the placeholders' names, in one place.
//!
//! The files are `/etc/gitconfig` and `/etc/ringfence-gitignore` of the sandbox, so that what the
//! agent sets for itself (`git config --global`) wins over them.

mod allowed;
pub mod foretold;
mod glob;
mod include;
pub mod local;
mod parse;

use std::path::{Path, PathBuf};

use ringfence_ledger::Redactor;
use ringfence_model::boundary::{Mount, MountKind, WorkspaceMode};

use self::include::{Read, Scope};
use self::parse::Setting;
use crate::limits::{GIT_IGNORE_BYTES, GIT_SETTINGS};

/// What the sandbox's git is told.
#[derive(Debug, Default)]
pub struct Git {
    settings: Vec<Setting>,
    ignore: String,
    /// Settings of the user's and of the repository that say whether commits are signed.
    signing: Vec<Setting>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// What one settings file says, its includes not followed; nothing where git itself would refuse it.
pub fn settings_of(file: &Path) -> Vec<Setting> {
    let bytes = crate::load::read_bounded(file).unwrap_or_default();
    parse::parse(&String::from_utf8_lossy(&bytes)).unwrap_or_default()
}

/// The files of the system's and the user's settings, in git's order.
pub fn files(home: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let system = place("GIT_CONFIG_SYSTEM", variable).unwrap_or_else(|| "/etc/gitconfig".into());
    let mut files = vec![system];
    files.retain(|_| variable("GIT_CONFIG_NOSYSTEM").is_none());
    match place("GIT_CONFIG_GLOBAL", variable) {
        Some(global) => files.push(global),
        None => files.extend([xdg(home, variable).join("config"), home.join(".gitconfig")]),
    }
    files
}

fn xdg(home: &Path, variable: &dyn Fn(&str) -> Option<String>) -> PathBuf {
    place("XDG_CONFIG_HOME", variable).unwrap_or_else(|| home.join(".config")).join("git")
}

fn place(name: &str, variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    variable(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Reads the user's settings for the project at `workspace`.
///
/// `repository` is that of the project, where it lies elsewhere.
pub fn read(
    home: &Path,
    workspace: &Path,
    repository: Option<&Path>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Git {
    let above = workspace.ancestors().map(|above| above.join(".git"));
    let git_directory = above.into_iter().find(|path| path.symlink_metadata().is_ok());
    let repository = repository.map(Path::to_owned).or_else(|| git_directory.clone());
    let scope = Scope { home, git_directory: git_directory.as_deref() };
    let mut read = Read::default();
    for file in files(home, variable) {
        read.file(&file, &scope, 0);
    }
    let ignore = ignore_file(&read.settings, home, &xdg(home, variable));
    let local =
        repository.map_or_else(Vec::new, |directory| settings_of(&directory.join("config")));
    let all = read.settings.iter().chain(&local);
    let signing = all.filter(|setting| setting.key == "gpgsign").cloned().collect();
    Git { settings: safe(read.settings), ignore, signing, notes: read.notes }
}

/// The settings that come inside: named by the table, and without anything that looks secret.
fn safe(settings: Vec<Setting>) -> Vec<Setting> {
    let redactor = Redactor::default();
    let mut safe: Vec<Setting> = settings
        .into_iter()
        .filter(allowed::allowed)
        .filter(|setting| {
            let value = setting.value.as_deref().unwrap_or_default();
            let sub = setting.subsection.as_deref().unwrap_or_default();
            redactor.text(value) == value && redactor.text(sub) == sub
        })
        .collect();
    // Later ones win, so the first ones go.
    let over = safe.len().saturating_sub(GIT_SETTINGS);
    safe.drain(..over);
    safe
}

/// The content of `core.excludesFile`, secrets masked; nothing if it is too large or no text.
fn ignore_file(settings: &[Setting], home: &Path, xdg: &Path) -> String {
    let named = settings.iter().rev().find(|setting| setting.name() == "core.excludesfile");
    let path = match named.and_then(|setting| setting.value.as_deref()) {
        Some(value) => match value.strip_prefix("~/") {
            Some(rest) => home.join(rest),
            None => PathBuf::from(value),
        },
        None => xdg.join("ignore"),
    };
    let Ok(path) = std::fs::canonicalize(path) else { return String::new() };
    // The name comes from a file of the user's: it must not make a key into a list of names.
    if ringfence_policy::is_sensitive(&path, home) {
        return String::new();
    }
    crate::load::read_bounded(&path)
        .ok()
        .filter(|bytes| bytes.len() <= GIT_IGNORE_BYTES)
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .map(|text| Redactor::default().text(&text).into_owned())
        .unwrap_or_default()
}

impl Git {
    /// Whether the person's commits are signed, which needs a key that is not inside.
    #[must_use]
    pub fn signs(&self) -> bool {
        foretold::signs(self.signing.iter())
    }

    /// What will not work, as lines for the person.
    #[must_use]
    pub fn refusals(&self, workspace: &Path, mode: WorkspaceMode, linked: bool) -> Vec<String> {
        let signs = self.signs();
        foretold::refusals(&foretold::Uses { workspace, mode, linked, signs })
    }

    /// The sandbox's two files. `placeholders` are names that are no part of the project, so that
    /// `git status` and `git add` do not see them.
    #[must_use]
    pub fn mounts(&self, workspace: &Path, placeholders: &str) -> Vec<Mount> {
        let mut settings = self.settings_for(workspace);
        let mut ignore = self.ignore.clone();
        if !ignore.is_empty() && !ignore.ends_with('\n') {
            ignore.push('\n');
        }
        ignore.push_str(placeholders);
        let file = |target: &str, content: String| Mount {
            target: target.into(),
            kind: MountKind::File { content, mode: 0o644 },
        };
        let mut mounts = Vec::new();
        if !ignore.is_empty() {
            let place = "/etc/ringfence-gitignore";
            settings.push(setting("core", "excludesfile", place.to_owned()));
            mounts.push(file(place, ignore));
        }
        mounts.push(file("/etc/gitconfig", parse::render(&settings)));
        mounts
    }

    /// The text of the settings alone, where nothing can be put in `/etc`.
    #[must_use]
    pub fn system_file(&self, workspace: &Path) -> String {
        parse::render(&self.settings_for(workspace))
    }

    fn settings_for(&self, workspace: &Path) -> Vec<Setting> {
        let mut settings = self.settings.clone();
        // The project belongs to whoever started the run; git inside may see another number.
        settings.push(setting("safe", "directory", workspace.display().to_string()));
        settings
    }
}

fn setting(section: &str, key: &str, value: String) -> Setting {
    Setting {
        section: section.to_owned(),
        subsection: None,
        key: key.to_owned(),
        value: Some(value),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn inside(git: &Git, target: &str) -> String {
        let mounts = git.mounts(Path::new("/w"), "/held\n");
        let mount = mounts.into_iter().find(|mount| mount.target == Path::new(target));
        match mount.map(|mount| mount.kind) {
            Some(MountKind::File { content, .. }) => content,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn c14_the_users_name_comes_in_and_secrets_do_not() {
        let base = tempfile::tempdir().unwrap();
        let home = base.path().canonicalize().unwrap();
        fs::write(
            home.join(".gitconfig"),
            "[user]\nname = Ann \"x\\\\\"\n[alias]\nst = status\npush2 = push https://me:CANARY@h\n[core]\nexcludesFile = ~/ign\nfsmonitor = /CANARY\n",
        )
        .unwrap();
        fs::write(home.join("ign"), "*.swp\nghp_0123456789abcdefghijABCDEFGHIJ012345").unwrap();
        let git = read(&home, &home.join("p"), None, &|_| None);
        let (config, ignore) =
            (inside(&git, "/etc/gitconfig"), inside(&git, "/etc/ringfence-gitignore"));
        assert!(config.contains("name = \"Ann x\\\\\""), "{config}");
        assert!(
            config.contains("st = \"status\"") && config.contains("directory = \"/w\""),
            "{config}"
        );
        assert!(!config.contains("CANARY"), "{config}");
        assert!(ignore.starts_with("*.swp\n") && ignore.ends_with("\n/held\n"), "{ignore}");
        assert!(!ignore.contains("ghp_"), "{ignore}");
    }

    #[test]
    fn c14_a_list_of_names_to_ignore_is_no_way_to_a_key() {
        let base = tempfile::tempdir().unwrap();
        let home = base.path().canonicalize().unwrap();
        fs::create_dir(home.join(".ssh")).unwrap();
        fs::write(home.join(".ssh/id"), "CANARY\n").unwrap();
        std::os::unix::fs::symlink(".ssh/id", home.join("ign")).unwrap();
        for value in ["~/.ssh/id", "~/ign"] {
            fs::write(home.join(".gitconfig"), format!("[core]\nexcludesFile = {value}\n"))
                .unwrap();
            let git = read(&home, &home.join("p"), None, &|_| None);
            assert_eq!(inside(&git, "/etc/ringfence-gitignore"), "/held\n");
        }
    }
}
