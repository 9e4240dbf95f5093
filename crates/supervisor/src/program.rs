//! Which file a run's program is, and which profile goes with it.
//!
//! It is found as the run will find it. A profile opens hosts and passes logins, so a name is not enough:
//! nothing that an agent could have put there may get one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use ringfence_model::boundary::Access;
use ringfence_policy::{Compiled, ProgramProfile, profile_of_program};

use crate::limits::LINK_HOPS;
use crate::plan::search_path;

/// The program's name and every link on the way to its file, each below a canonical directory.
/// Empty if it is not found.
pub fn hops(program: &str, cwd: &Path, path: &[PathBuf]) -> Vec<PathBuf> {
    let found = if program.contains('/') {
        Some(cwd.join(program))
    } else {
        path.iter().map(|entry| entry.join(program)).find(|at| at.exists())
    };
    found.map_or_else(Vec::new, links)
}

/// A file and every link on the way to it, each below a canonical directory.
pub fn links(mut at: PathBuf) -> Vec<PathBuf> {
    let mut hops = Vec::new();
    while hops.len() < LINK_HOPS {
        let Ok(here) = normal(&at) else { break };
        hops.push(here.clone());
        let Ok(link) = fs::read_link(&here) else { break };
        at = here.parent().map_or_else(|| link.clone(), |parent| parent.join(&link));
    }
    hops
}

/// The path without `.` and `..`, links on the way resolved in the parent only.
pub fn normal(path: &Path) -> io::Result<PathBuf> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default();
    Ok(fs::canonicalize(parent)?.join(name))
}

/// What goes with a program by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// The profile, if the program may have it.
    pub profile: Option<ProgramProfile>,
    /// Why it has none although there is one of its name.
    pub refused: Option<String>,
}

impl Beside {
    /// Looks at the program of a run in this workspace, as the run will find it.
    #[must_use]
    pub fn find(argv: &[String], cwd: &Path, workspace: &Path, home: &Path) -> Self {
        let Some(program) = argv.first() else { return Self::default() };
        let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
        let Some(profile) = profile_of_program(&name) else { return Self::default() };
        let search = std::env::var("PATH").unwrap_or_default();
        let hops = hops(program, cwd, &search_path(&search, home, workspace));
        let whole = hops.last().and_then(|last| fs::canonicalize(last).ok());
        let Some(first) = hops.first().cloned() else { return Self::default() };
        let inside = hops.iter().chain(&whole).find(|hop| hop.starts_with(workspace));
        match (inside, whole.is_some()) {
            (Some(inside), _) => Self::refuse(profile, inside, "lies in the project"),
            (None, false) => Self::default(),
            (None, true) => {
                Self { profile: Some(ProgramProfile { profile, program: first }), refused: None }
            }
        }
    }

    /// The same without the profile, if the policy lets an agent change the program.
    #[must_use]
    pub fn unless_writable(&self, compiled: &Compiled, cwd: &Path) -> Option<Self> {
        let own = self.profile.as_ref()?;
        let program = own.program.to_string_lossy();
        let writable = hops(&program, cwd, &[]).into_iter().find(|hop| {
            compiled
                .files
                .iter()
                .any(|rule| rule.access == Access::ReadWrite && hop.starts_with(&rule.path))
        })?;
        Some(Self::refuse(own.profile, &writable, "may be changed by an agent"))
    }

    fn refuse(profile: &str, at: &Path, why: &str) -> Self {
        let words = format!(
            "the profile {profile} is not used: {} {why}; `-p {profile}` uses it all the same",
            at.display()
        );
        Self { profile: None, refused: Some(words) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn find(program: &str, base: &Path) -> Beside {
        let workspace = base.join("project");
        Beside::find(&[program.to_owned()], &workspace, &workspace, base)
    }

    #[test]
    fn c01_a_name_in_the_project_gets_no_profile() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        fs::create_dir_all(base.join("project/bin")).unwrap();
        fs::create_dir(base.join("bin")).unwrap();
        fs::write(base.join("project/bin/claude"), "").unwrap();
        fs::write(base.join("bin/claude"), "").unwrap();
        symlink("../project/bin/claude", base.join("bin/codex")).unwrap();
        symlink("../../bin/claude", base.join("project/bin/gemini")).unwrap();

        let outside = find(&base.join("bin/claude").to_string_lossy(), &base);
        assert_eq!(outside.profile.as_ref().map(|own| own.profile), Some("claude-code"));
        assert_eq!(find("../bin/claude", &base), outside);
        // In the project; by a link out of it; by a link into it.
        for program in ["bin/claude", "./bin/../bin/claude", "bin/gemini", "../bin/codex"] {
            let own = find(program, &base);
            assert!(own.profile.is_none(), "{program}");
            assert!(
                own.refused.is_some_and(|why| why.contains("lies in the project")),
                "{program}"
            );
        }
        // Another name, and one that is nowhere.
        assert_eq!(find("bin/../../bin/sh", &base), Beside::default());
        assert_eq!(find("nowhere/claude", &base), Beside::default());
    }
}
