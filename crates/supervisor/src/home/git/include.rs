//! Reading the user's git configuration: system, XDG and home file, with what they include.
//!
//! Only these three and what they name are read, as data; git is not started, so nothing that a
//! project holds can make it run a program. The repository's own configuration is never opened.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::glob::matches;
use super::parse::{self, Setting};
use crate::limits::{GIT_CONFIG_FILES, GIT_INCLUDE_DEPTH};

/// What was read.
#[derive(Debug, Default)]
pub struct Read {
    /// All settings in order; later ones win.
    pub settings: Vec<Setting>,
    /// What a person should know.
    pub notes: Vec<String>,
    seen: BTreeSet<PathBuf>,
}

/// What includes are judged with.
pub struct Scope<'a> {
    /// The user's home.
    pub home: &'a Path,
    /// The git directory of the project, if it is a repository.
    pub git_directory: Option<&'a Path>,
}

impl Read {
    /// Reads one file and what it includes; a missing one is no fault.
    pub fn file(&mut self, path: &Path, scope: &Scope<'_>, depth: usize) {
        let Ok(canonical) = std::fs::canonicalize(path) else { return };
        if depth > GIT_INCLUDE_DEPTH || self.seen.len() >= GIT_CONFIG_FILES {
            self.notes.push(format!(
                "git settings: {} and what it includes are left out: too many files include each other",
                path.display()
            ));
            return;
        }
        self.seen.insert(canonical.clone());
        let settings = crate::load::read_bounded(&canonical)
            .map_err(|error| error.to_string())
            .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned()))
            .and_then(|text| parse::parse(&text).map_err(|error| error.to_string()));
        match settings {
            Ok(settings) => {
                for setting in settings {
                    if let Some(included) = included(&setting, path, scope) {
                        self.file(&included, scope, depth + 1);
                    } else {
                        self.settings.push(setting);
                    }
                }
            }
            Err(why) => self.notes.push(format!(
                "git settings of {} are left out: {why}; `git config --list` shows the fault",
                path.display()
            )),
        }
    }
}

/// The file that a setting includes here, if it is an include whose condition holds. Conditions on
/// branches and remotes need the repository's own configuration: they never hold.
fn included(setting: &Setting, file: &Path, scope: &Scope<'_>) -> Option<PathBuf> {
    if setting.key != "path" {
        return None;
    }
    let wanted = match (setting.section.as_str(), &setting.subsection) {
        ("include", None) => true,
        ("includeif", Some(condition)) => holds(condition, file, scope),
        _ => false,
    };
    let value = setting.value.as_deref().filter(|value| !value.is_empty() && wanted)?;
    Some(expand(value, file, scope.home))
}

fn expand(value: &str, file: &Path, home: &Path) -> PathBuf {
    match value.strip_prefix("~/") {
        Some(rest) => home.join(rest),
        None => file.parent().unwrap_or(Path::new("/")).join(value),
    }
}

/// `gitdir:PATTERN` and `gitdir/i:PATTERN`, by the rules of git-config(1).
fn holds(condition: &str, file: &Path, scope: &Scope<'_>) -> bool {
    let (pattern, fold) = match condition.split_once(':') {
        Some(("gitdir", pattern)) => (pattern, false),
        Some(("gitdir/i", pattern)) => (pattern, true),
        _ => return false,
    };
    let Some(directory) = scope.git_directory else { return false };
    let mut pattern = if let Some(rest) = pattern.strip_prefix("~/") {
        format!("{}/{rest}", scope.home.display())
    } else if let Some(rest) = pattern.strip_prefix("./") {
        format!("{}/{rest}", file.parent().unwrap_or(Path::new("/")).display())
    } else if pattern.starts_with('/') {
        pattern.to_owned()
    } else {
        format!("**/{pattern}")
    };
    if pattern.ends_with('/') {
        pattern.push_str("**");
    }
    let directory = directory.to_string_lossy();
    if fold {
        matches(&pattern.to_lowercase(), &directory.to_lowercase())
    } else {
        matches(&pattern, &directory)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What git reads in a repository at `project` with this home, and what we read, compared.
    fn compare(home: &Path, project: &Path) -> Vec<(String, Option<String>)> {
        let git_directory = project.join(".git");
        let scope = Scope { home, git_directory: Some(&git_directory) };
        let mut read = Read::default();
        read.file(&home.join(".gitconfig"), &scope, 0);
        assert!(read.notes.is_empty(), "{:?}", read.notes);
        let ours: Vec<(String, Option<String>)> = read
            .settings
            .into_iter()
            .filter(|s| !s.section.starts_with("include"))
            .map(|s| (s.name(), s.value))
            .collect();
        let mut command = Command::new("git");
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", home)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .current_dir(project)
            .args(["config", "--global", "--includes", "--list", "-z"]);
        let out = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let theirs: Vec<(String, Option<String>)> = out
            .split_terminator('\0')
            .map(|entry| match entry.split_once('\n') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (entry.to_owned(), None),
            })
            .filter(|(name, _)| !name.starts_with("include"))
            .collect();
        assert_eq!(ours, theirs);
        ours
    }

    #[test]
    fn includes_hold_where_git_says_so() {
        let base = tempfile::tempdir().unwrap();
        let home = base.path().canonicalize().unwrap();
        let project = home.join("src/Acme/app");
        std::fs::create_dir_all(&project).unwrap();
        let made = Command::new("git").args(["init", "-q"]).current_dir(&project).status().unwrap();
        assert!(made.success());
        let mut answers = BTreeSet::new();
        for condition in [
            "gitdir:~/src/",
            "gitdir:~/src",
            "gitdir:src/",
            "gitdir:Acme/",
            "gitdir:acme/",
            "gitdir/i:acme/",
            "gitdir:~/src/*/app/.git",
            "gitdir:~/src/?cme/app/.git",
            "gitdir:~/src/[A-B]cme/**",
            "gitdir:~/src/*/.git",
            "gitdir:./src/",
            "gitdir:/elsewhere/",
            "gitdir:**/app/.git",
            "gitdir:",
        ] {
            std::fs::write(
                home.join(".gitconfig"),
                format!(
                    "[user]\nname = A\n[includeIf \"{condition}\"]\npath = inc\n[init]\ndefaultBranch = x\n"
                ),
            )
            .unwrap();
            std::fs::write(home.join("inc"), "[user]\nname = B\n[include]\npath = ~/more\n")
                .unwrap();
            std::fs::write(home.join("more"), "[pull]\nrebase\n").unwrap();
            let read = compare(&home, &project);
            answers.insert(read.iter().any(|(_, value)| value.as_deref() == Some("B")));
        }
        assert_eq!(answers.len(), 2, "some hold and some do not");
    }

    #[test]
    fn files_that_include_each_other_end() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("a");
        std::fs::write(&file, "[include]\npath = a\n[include]\npath = a\n").unwrap();
        let scope = Scope { home: base.path(), git_directory: None };
        let mut read = Read::default();
        read.file(&file, &scope, 0);
        assert!(!read.notes.is_empty() && read.notes.len() < 5_000, "{}", read.notes.len());
        std::fs::write(&file, "not a setting\n").unwrap();
        let mut read = Read::default();
        read.file(&file, &scope, 0);
        assert!(read.settings.is_empty());
        assert!(read.notes[0].contains("line 1"), "{:?}", read.notes);
    }
}
