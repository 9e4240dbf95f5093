//! The directory of one run: what it was allowed, what it did, and what it changed.
//!
//! ```text
//! runs/ID/run.json       who, where, what (RunInfo)
//! runs/ID/policy.json    the compiled policy        runs/ID/boundary.json   the plan
//! runs/ID/ledger.jsonl   the record                 runs/ID/control.sock    while it lives
//! runs/ID/lock           held by the supervisor     runs/ID/cleanup.json    what a crash may leave
//! runs/ID/control.token  what opens that socket, while it lives
//! runs/ID/screen         the end of a detached run's output, filtered
//! runs/ID/finished.json  what a person is told at its end
//! runs/ID/changes.lock   held by whoever works on a run that is over
//! runs/ID/layer/{upper,work}   the workspace's changes
//! runs/ID/brought        copies of the user's instructions for the agent, while it lives
//! runs/ID/login.json     which kept login the run was given, while it lives
//! runs/ID/home           the private home of an unnamed sandbox
//! runs/ID/tmp            what TMPDIR names in tier landlock
//! runs/ID/caches/N/{upper,work}
//! live/ID                exists until the run has been cleaned up after
//! ```

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ringfence_control::Token;
use ringfence_model::boundary::{Tier, WorkspaceMode};
use ringfence_model::id::{RunId, SandboxName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::paths::{Paths, open_lock};
use crate::plan::Excluded;

/// What is known of a run from outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Its id.
    pub id: RunId,
    /// The sandbox's name, if it has one.
    pub name: Option<SandboxName>,
    /// The profile or program.
    pub agent: String,
    /// Program and arguments as typed.
    pub argv: Vec<String>,
    /// The project.
    pub workspace: PathBuf,
    /// How the project is seen.
    pub mode: WorkspaceMode,
    /// What encloses the agent.
    #[serde(default = "process_tier")]
    pub tier: Tier,
    /// Unix time of the start, in seconds.
    pub started: i64,
    /// Nanoseconds behind `started`.
    pub started_ns: u32,
    /// Digest of the policy at the start.
    pub policy: String,
    /// Process id of the supervisor.
    pub supervisor: u32,
    /// When that process began, see [`start_ticks`]: a number alone may be another's by now.
    #[serde(default)]
    pub supervisor_start: Option<u64>,
    /// Who started it.
    pub person: String,
    /// Whether it has a terminal of its own that can be attached to.
    #[serde(default)]
    pub detached: bool,
}

/// What encloses runs that were started before there were tiers.
fn process_tier() -> Tier {
    Tier::Process
}

#[cfg(test)]
impl RunInfo {
    /// An ordinary review run, for tests.
    pub(crate) fn sample(run: &RunDir, workspace: PathBuf, start: crate::clock::Moment) -> Self {
        Self {
            id: run.id().clone(),
            name: None,
            agent: "sh".to_owned(),
            argv: vec!["sh".to_owned()],
            workspace,
            mode: WorkspaceMode::Review,
            tier: Tier::Process,
            started: start.unix_s,
            started_ns: start.unix_ns,
            policy: "p".to_owned(),
            supervisor: 1,
            supervisor_start: None,
            person: "p".to_owned(),
            detached: false,
        }
    }
}

/// What a crash may leave on the host, written before it is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleanup {
    /// Placeholders of protected paths.
    pub placeholders: Vec<PathBuf>,
    /// Control group directories.
    pub cgroups: Vec<PathBuf>,
    /// Lines that hide the placeholders from the host's git.
    #[serde(default)]
    pub excluded: Option<Excluded>,
}

/// A run that is over, held by one command; let go when dropped.
#[derive(Debug)]
pub struct Held {
    _own: OwnedFd,
    _supervisor: OwnedFd,
}

/// When a process began, in clock ticks since boot (proc_pid_stat(5), field 22); `None` if there is
/// no such process.
#[must_use]
pub fn start_ticks(pid: u32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name of the process's own choosing, in parentheses: it may hold both
    // parentheses and spaces, and need not be UTF-8. What follows its end is numbers.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let numbers = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    // The first word here is field 3.
    numbers.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

/// One run's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    id: RunId,
    path: PathBuf,
    live: PathBuf,
}

/// Why a run's files cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {path}: {source}")]
pub struct RunDirError {
    /// Which file or directory.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> RunDirError + '_ {
    move |source| RunDirError { path: path.to_owned(), source }
}

fn make(path: &Path) -> Result<(), RunDirError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

impl RunDir {
    /// The directory of a run that exists or will.
    #[must_use]
    pub fn new(paths: &Paths, id: RunId) -> Self {
        let path = paths.runs().join(id.as_str());
        let live = paths.live().join(id.as_str());
        Self { id, path, live }
    }

    /// The other runs that have not been cleaned up after.
    #[must_use]
    pub fn others(&self) -> Vec<Self> {
        let (Some(runs), Some(live)) = (self.path.parent(), self.live.parent()) else {
            return Vec::new();
        };
        fs::read_dir(live)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<RunId>().ok())
            .filter(|id| *id != self.id)
            .map(|id| Self { path: runs.join(id.as_str()), live: live.join(id.as_str()), id })
            .collect()
    }

    /// Waits for this run's turn at what all runs of the user share; it lasts as long as the
    /// descriptor.
    #[must_use]
    pub fn turn(&self) -> Option<OwnedFd> {
        let state = self.path.parent()?.parent()?;
        let file = open_lock(&state.join("shared.lock")).ok()?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).ok()?;
        Some(file.into())
    }

    /// The run's id.
    #[must_use]
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The ledger.
    #[must_use]
    pub fn ledger(&self) -> PathBuf {
        self.file("ledger.jsonl")
    }

    /// The control socket.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.file("control.sock")
    }

    /// The end of what a detached run showed, once it is over.
    #[must_use]
    pub fn screen(&self) -> PathBuf {
        self.file("screen")
    }

    /// The workspace's layer: `upper` and `work` are in it.
    #[must_use]
    pub fn layer(&self) -> PathBuf {
        self.file("layer")
    }

    /// The layer of one package cache.
    #[must_use]
    pub fn cache(&self, index: usize) -> PathBuf {
        self.path.join("caches").join(index.to_string())
    }

    /// The private home of an unnamed sandbox.
    #[must_use]
    pub fn home(&self) -> PathBuf {
        self.file("home")
    }

    /// What `TMPDIR` names where there is no `/tmp` of the sandbox's own.
    #[must_use]
    pub fn temporary(&self) -> PathBuf {
        self.file("tmp")
    }

    /// Makes the directory, marks the run as live and locks it.
    ///
    /// # Errors
    /// [`RunDirError`].
    pub fn create(&self) -> Result<OwnedFd, RunDirError> {
        make(&self.path)?;
        if let Some(parent) = self.live.parent() {
            make(parent)?;
        }
        let lock = self.lock_file("lock")?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| at(&self.path)(error.into()))?;
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.live)
            .map_err(at(&self.live))?;
        Ok(lock)
    }

    /// Makes a pair of directories for a copy-on-write layer.
    ///
    /// # Errors
    /// [`RunDirError`].
    pub fn make_layer(store: &Path) -> Result<(), RunDirError> {
        for name in ["upper", "work"] {
            let path = store.join(name);
            fs::DirBuilder::new().recursive(true).mode(0o755).create(&path).map_err(at(&path))?;
        }
        Ok(())
    }

    fn lock_file(&self, name: &str) -> Result<OwnedFd, RunDirError> {
        let path = self.file(name);
        Ok(open_lock(&path).map_err(at(&path))?.into())
    }

    /// Whether a supervisor holds the run: nobody else ever takes this lock for itself alone.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let Ok(lock) = fs::File::open(self.file("lock")) else { return false };
        let shared = rustix::fs::FlockOperation::NonBlockingLockShared;
        rustix::fs::flock(lock.as_fd(), shared).is_err()
    }

    /// Takes a run whose supervisor is gone; `None` while it lives, or while another command works
    /// on the run. It does not make the run look as if it ran: the supervisor's lock is only shared.
    #[must_use]
    pub fn try_lock(&self) -> Option<Held> {
        let own = self.lock_file("changes.lock").ok()?;
        rustix::fs::flock(&own, rustix::fs::FlockOperation::NonBlockingLockExclusive).ok()?;
        let supervisor = self.lock_file("lock").ok()?;
        rustix::fs::flock(&supervisor, rustix::fs::FlockOperation::NonBlockingLockShared).ok()?;
        Some(Held { _own: own, _supervisor: supervisor })
    }

    /// The run needs no clean-up any more.
    pub fn unmark_live(&self) {
        let _ = fs::remove_file(&self.live);
        let _ = fs::remove_file(self.control());
        let _ = fs::remove_file(Token::place(&self.control()));
        let _ = fs::remove_file(self.file("cleanup.json"));
    }

    /// Writes one of the JSON files, whole or not at all.
    ///
    /// # Errors
    /// [`RunDirError`].
    pub fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<(), RunDirError> {
        let (path, fresh) = (self.file(name), self.file(&format!("{name}.new")));
        let bytes = serde_json::to_vec(value).map_err(|e| at(&path)(e.into()))?;
        fs::write(&fresh, bytes).map_err(at(&fresh))?;
        fs::rename(&fresh, &path).map_err(at(&path))
    }

    /// Reads one of the JSON files.
    ///
    /// # Errors
    /// [`RunDirError`].
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T, RunDirError> {
        let path = self.file(name);
        let bytes = fs::read(&path).map_err(at(&path))?;
        serde_json::from_slice(&bytes).map_err(|error| at(&path)(error.into()))
    }

    /// `run.json`.
    ///
    /// # Errors
    /// [`RunDirError`].
    pub fn info(&self) -> Result<RunInfo, RunDirError> {
        self.read_json("run.json")
    }
}

/// All runs, oldest first.
#[must_use]
pub fn all(paths: &Paths) -> Vec<RunDir> {
    let mut ids: Vec<RunId> = fs::read_dir(paths.runs())
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    ids.sort();
    ids.into_iter().map(|id| RunDir::new(paths, id)).collect()
}

/// Runs that have not been cleaned up after, running or not.
#[must_use]
pub fn live(paths: &Paths) -> Vec<RunDir> {
    fs::read_dir(paths.live())
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .map(|id| RunDir::new(paths, id))
        .collect()
}

/// Why a run was not found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// No run in this directory.
    #[error("no run has been made in {}; `ringfence ps --all` lists all runs", .0.display())]
    NoneHere(PathBuf),
    /// No run of that name.
    #[error("no run is called `{0}`; `ringfence ps --all` lists all runs")]
    Unknown(String),
    /// Nothing runs in this directory.
    #[error(
        "no run of {} is running; `ringfence ps` lists those that are, `ringfence run -- CMD` starts one",
        .0.display()
    )]
    NoneRuns(PathBuf),
    /// Several runs begin so.
    #[error("several runs begin with `{0}`; give more of the id")]
    Ambiguous(String),
}

/// Finds a run by id, beginning of an id, or sandbox name (its latest); without a word, the latest
/// of this directory's project.
///
/// # Errors
/// [`FindError`].
pub fn find(paths: &Paths, word: Option<&str>, workspace: &Path) -> Result<RunDir, FindError> {
    let runs = all(paths);
    let Some(word) = word else {
        return runs
            .into_iter()
            .rev()
            .find(|run| run.info().is_ok_and(|info| info.workspace == workspace))
            .ok_or_else(|| FindError::NoneHere(workspace.to_owned()));
    };
    let named = |run: &RunDir| {
        run.info().is_ok_and(|info| info.name.is_some_and(|name| name.as_str() == word))
    };
    if let Some(run) = runs.iter().rev().find(|run| named(run)) {
        return Ok(run.clone());
    }
    let mut matching = runs.iter().filter(|run| run.id().as_str().starts_with(word));
    match (matching.next(), matching.next()) {
        (Some(run), None) => Ok(run.clone()),
        (Some(_), Some(_)) => Err(FindError::Ambiguous(word.to_owned())),
        (None, _) => Err(FindError::Unknown(word.to_owned())),
    }
}

/// As [`find`], but without a word it is the latest that is running.
///
/// # Errors
/// [`FindError`].
pub fn find_running(
    paths: &Paths,
    word: Option<&str>,
    workspace: &Path,
) -> Result<RunDir, FindError> {
    if word.is_some() {
        return find(paths, word, workspace);
    }
    all(paths)
        .into_iter()
        .rev()
        .filter(RunDir::is_running)
        .find(|run| run.info().is_ok_and(|info| info.workspace == workspace))
        .ok_or_else(|| FindError::NoneRuns(workspace.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> (tempfile::TempDir, RunDir) {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        let paths = Paths { home: at("home"), state: at("state"), config: at("config") };
        let run = RunDir::new(&paths, RunId::new(1, 1));
        (base, run)
    }

    /// FH2: only a supervisor's lock means that a run is running.
    #[test]
    fn fh2_a_command_that_works_on_a_run_is_not_its_supervisor() {
        let (_base, run) = run();
        let supervisor = run.create().unwrap();
        assert!(run.is_running());
        assert!(run.try_lock().is_none(), "taken away from a living supervisor");
        drop(supervisor);
        assert!(!run.is_running());
        let held = run.try_lock().unwrap();
        assert!(!run.is_running(), "an apply looks like a run");
        assert!(run.try_lock().is_none(), "two commands at once on one run");
        drop(held);
        assert!(run.try_lock().is_some());
    }

    #[test]
    fn fh2_a_process_is_known_by_its_start() {
        let own = start_ticks(std::process::id()).unwrap();
        assert_eq!(start_ticks(std::process::id()), Some(own));
        // A name that tries to look like the end of the field.
        let before = fs::read("/proc/thread-self/comm").unwrap();
        fs::write("/proc/thread-self/comm", "a) S 1 2 (b").unwrap();
        let tid: u32 = fs::read_link("/proc/thread-self")
            .unwrap()
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        let named = start_ticks(tid);
        fs::write("/proc/thread-self/comm", before).unwrap();
        assert!(named.is_some_and(|ticks| ticks >= own), "{named:?}, {own}");
        assert_eq!(start_ticks(u32::MAX), None);
    }
}
