//! A private host for one test: a home full of decoys, a project, and places for state.
//!
//! It must never show the real home, the real configuration or the real state to what it starts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::canary::CANARIES;
use crate::census::Census;
use crate::job::{Job, Outcome};
use crate::ledger::Ledger;
use crate::{attack_directory, copy_program, ringfence};

/// Variable that names another directory for fixtures than the system's temporary one.
const PLACE: &str = "RINGFENCE_TEST_DIR";

/// One test's host. Dropping it takes the census.
pub struct Fixture {
    root: PathBuf,
    binary: PathBuf,
    tools: PathBuf,
    _directory: TempDir,
}

impl Default for Fixture {
    fn default() -> Self {
        Self::new()
    }
}

impl Fixture {
    /// A fresh host: decoys in the home, a project with git and one commit, a sibling project.
    ///
    /// # Panics
    /// If it cannot be made, or a program under test was not built.
    #[must_use]
    pub fn new() -> Self {
        Census::adopt_orphans();
        let place = std::env::var_os(PLACE).map_or_else(std::env::temp_dir, PathBuf::from);
        let directory = tempfile::Builder::new().prefix("rf-").tempdir_in(place).unwrap();
        let root = directory.path().canonicalize().unwrap();
        let fixture =
            Self { binary: ringfence(), tools: root.join("tools"), root, _directory: directory };
        fixture.plant();
        fixture
    }

    fn plant(&self) {
        for canary in CANARIES {
            write(&self.home().join(canary.path), canary.secret);
        }
        write(&self.home().join(".bashrc"), "# untouched\n");
        write(&self.home().join(".gitconfig"), "[user]\n\tname = Test\n\temail = t@example.test\n");
        for place in [self.state(), self.config(), self.cache(), self.runtime(), self.project()] {
            fs::create_dir_all(&place).unwrap();
        }
        private(&self.runtime());
        write(&self.project().join("README.md"), "a project\n");
        write(&self.project().join("src/main.txt"), "one\ntwo\nthree\n");
        self.git(&["init", "--quiet", "--initial-branch=main"]);
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "--message=start"]);
        // A copy, so that only this one program of the build directory is seen inside.
        fs::create_dir_all(&self.tools).unwrap();
        let attack = attack_directory().join("ringfence-attack");
        copy_program(&attack, &self.tools.join("ringfence-attack"));
    }

    fn git(&self, arguments: &[&str]) {
        let mut command = Command::new("git");
        self.surround(&mut command);
        let done = command
            .args(arguments)
            .current_dir(self.project())
            .stdin(Stdio::null())
            .output()
            .expect("git is needed by the fixtures");
        assert!(done.status.success(), "git {arguments:?}: {done:?}");
    }

    /// The fixture's own directory; everything else is below it.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The decoy home.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// The project: `work/project` of the home.
    #[must_use]
    pub fn project(&self) -> PathBuf {
        self.root.join("home/work/project")
    }

    /// Another project beside it.
    #[must_use]
    pub fn sibling(&self) -> PathBuf {
        self.root.join("home/work/sibling")
    }

    /// `XDG_STATE_HOME`.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// `XDG_CONFIG_HOME`.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("config")
    }

    /// `XDG_CACHE_HOME`.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// `XDG_RUNTIME_DIR`.
    #[must_use]
    pub fn runtime(&self) -> PathBuf {
        self.root.join("runtime")
    }

    /// Where `ringfence-attack` is, inside and outside; `$TOOLS` in scripts.
    #[must_use]
    pub fn tools(&self) -> &Path {
        &self.tools
    }

    /// The program under test.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// Gives a command this host's environment and nothing of the real one.
    pub fn surround(&self, command: &mut Command) {
        command.env_clear();
        command.envs([
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
            ("LC_ALL", "C"),
            ("TERM", "xterm"),
            ("USER", "tester"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
        ]);
        command.env("HOME", self.home());
        command.env("TOOLS", &self.tools);
        command.env("XDG_STATE_HOME", self.state());
        command.env("XDG_CONFIG_HOME", self.config());
        command.env("XDG_CACHE_HOME", self.cache());
        command.env("XDG_RUNTIME_DIR", self.runtime());
    }

    /// A run to be described further.
    #[must_use]
    pub fn job(&self) -> Job<'_> {
        Job::new(self)
    }

    /// Runs a shell script inside the boundary, in the project, with the default policy.
    #[must_use]
    pub fn contained(&self, script: &str) -> Outcome {
        self.job().sh(script)
    }

    /// Runs the same kind of script without a boundary, against the same decoys: the control group.
    #[must_use]
    pub fn unprotected(&self, script: &str) -> Outcome {
        self.job().unprotected_sh(script)
    }

    /// Runs another verb of the program (`ps`, `diff`, `audit verify` …) in the project.
    #[must_use]
    pub fn ringfence(&self, arguments: &[&str]) -> Outcome {
        self.job().verb(arguments)
    }

    /// The ids of all runs so far, oldest first.
    #[must_use]
    pub fn runs(&self) -> Vec<String> {
        let Ok(listing) = fs::read_dir(self.state().join("ringfence/runs")) else {
            return Vec::new();
        };
        let mut ids: Vec<String> = listing
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect();
        ids.sort_unstable();
        ids
    }

    /// The ledger of the latest run.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        let run = self.runs().pop().expect("no run has been made");
        self.ledger_of(&run)
    }

    /// The ledger of one run.
    #[must_use]
    pub fn ledger_of(&self, run: &str) -> Ledger {
        let outcome = self.ringfence(&["logs", run, "--json"]);
        assert_eq!(outcome.code, 0, "ringfence logs {run} --json: {outcome:?}");
        Ledger::parse(&outcome.stdout)
    }

    /// Asserts that every ledger of this host is whole. A run that was killed before its ledger was
    /// begun has none, and has started nothing.
    pub fn verify_ledgers(&self) {
        let runs = self.state().join("ringfence/runs");
        for run in self.runs() {
            if !runs.join(&run).join("ledger.jsonl").exists() {
                continue;
            }
            let outcome = self.ringfence(&["audit", "verify", &run]);
            assert_eq!(outcome.code, 0, "ringfence audit verify {run}: {outcome:?}");
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // What a failed test has killed is tidied, and what it has started in the background is
            // ended, so that the machine stays clean.
            let asked = |words: &[&str]| {
                let mut command = Command::new(&self.binary);
                self.surround(&mut command);
                let _ = command.args(words).output();
            };
            self.runs().iter().for_each(|run| asked(&["kill", run]));
            asked(&["ps"]);
        }
        let left = Census::take(self).left();
        open_up(&self.root);
        // A second panic would abort and hide the first.
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
        } else if !left.is_empty() {
            eprintln!("left behind as well:\n{}", left.join("\n"));
        }
    }
}

/// Gives the owner all rights on every directory below: overlayfs leaves some without any, which an
/// ordinary user could not remove then.
fn open_up(directory: &Path) {
    let Ok(metadata) = directory.symlink_metadata() else {
        return;
    };
    if !metadata.is_dir() {
        return;
    }
    if metadata.permissions().mode() & 0o700 != 0o700 {
        private(directory);
    }
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        open_up(&entry.path());
    }
}

/// Writes a file and makes its directories.
fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn private(directory: &Path) {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
}
