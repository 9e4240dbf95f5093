//! The directory of one run: what it was allowed, what it did, and what it changed.
//!
//! ```text
//! runs/ID/run.json       who, where, what (RunInfo)
//! runs/ID/policy.json    the compiled policy        runs/ID/boundary.json   the plan
//! runs/ID/ledger.jsonl   the record                 runs/ID/control.sock    while it lives
//! runs/ID/lock           held by the supervisor     runs/ID/cleanup.json    what a crash may leave
//! runs/ID/layer/{upper,work}   the workspace's changes
//! runs/ID/home           the private home of an unnamed sandbox
//! runs/ID/caches/N/{upper,work}
//! live/ID                exists until the run has been cleaned up after
//! ```

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ringfence_model::boundary::WorkspaceMode;
use ringfence_model::id::{RunId, SandboxName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::paths::Paths;

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
    /// Unix time of the start, in seconds.
    pub started: i64,
    /// Nanoseconds behind `started`.
    pub started_ns: u32,
    /// Digest of the policy at the start.
    pub policy: String,
    /// Process id of the supervisor.
    pub supervisor: u32,
    /// Who started it.
    pub person: String,
}

/// What a crash may leave on the host, written before it is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleanup {
    /// Placeholders of protected paths.
    pub placeholders: Vec<PathBuf>,
    /// Control group directories.
    pub cgroups: Vec<PathBuf>,
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

    /// Makes the directory, marks the run as live and locks it.
    ///
    /// # Errors
    /// [`RunDirError`].
    pub fn create(&self) -> Result<OwnedFd, RunDirError> {
        make(&self.path)?;
        if let Some(parent) = self.live.parent() {
            make(parent)?;
        }
        let lock = self.lock_file()?;
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

    fn lock_file(&self) -> Result<OwnedFd, RunDirError> {
        let path = self.file("lock");
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(at(&path))?;
        Ok(file.into())
    }

    /// Whether a supervisor holds the run.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let Ok(lock) = fs::File::open(self.file("lock")) else { return false };
        let shared = rustix::fs::FlockOperation::NonBlockingLockShared;
        rustix::fs::flock(lock.as_fd(), shared).is_err()
    }

    /// Takes the lock of a run whose supervisor is gone; `None` while it lives.
    #[must_use]
    pub fn try_lock(&self) -> Option<OwnedFd> {
        let lock = self.lock_file().ok()?;
        let exclusive = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        rustix::fs::flock(lock.as_fd(), exclusive).ok()?;
        Some(lock)
    }

    /// The run needs no clean-up any more.
    pub fn unmark_live(&self) {
        let _ = fs::remove_file(&self.live);
        let _ = fs::remove_file(self.control());
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
