//! The journal of a run on disk, and taking back with it: the same for the keeper of a living run and
//! for a command after its end.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use ringfence_control::Taken;
use ringfence_model::text::visible_bytes;
use ringfence_workspace::journal::{self, Entry, Journal, Log, Roots, Store};
use serde::{Deserialize, Serialize};

use super::trees::Trees;

use crate::limits::RESTORE_LEFT_SHOWN;
use crate::plan::Excluded;
use crate::rundir::RunDir;

/// The name of the moment at which a run began.
pub const START: &str = "start";
/// What the moments before a taking back are called, with a number behind.
const BEFORE: &str = "before-restore-";

/// Where the journal of a run is.
#[derive(Clone, Debug)]
pub struct Place {
    log: PathBuf,
    kept: PathBuf,
    trees: PathBuf,
}

/// What is written down of the trees for those who take back after the run.
#[derive(Serialize, Deserialize)]
struct Written {
    repository: Option<PathBuf>,
    held: Vec<journal::Path>,
    excluded: Option<Excluded>,
}

impl Place {
    /// In the run's directory.
    pub fn of(run: &RunDir) -> Self {
        let at = run.file("pair");
        Self { log: at.join("journal.jsonl"), kept: at.join("kept"), trees: at.join("trees.json") }
    }

    /// Makes it, for trees of which the agent cannot change the paths `held`; `excluded` is in git's
    /// exclude list while the run lasts.
    ///
    /// # Errors
    /// What the file system says.
    pub fn make(
        &self,
        trees: &Trees,
        held: Vec<journal::Path>,
        excluded: Option<Excluded>,
    ) -> io::Result<()> {
        crate::paths::make_private(&self.kept)
            .map_err(|error| io::Error::other(error.to_string()))?;
        let written =
            Written { repository: trees.repository().map(Path::to_owned), held, excluded };
        fs::write(&self.trees, serde_json::to_vec(&written)?)?;
        File::create(&self.log).map(drop)
    }

    /// Whether a file of the workspace can be kept as a further name of itself.
    pub fn shares_a_file_system(&self, workspace: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let device = |path: &Path| fs::metadata(path).map(|meta| meta.dev());
        matches!((device(&self.kept), device(workspace)), (Ok(a), Ok(b)) if a == b)
    }

    /// What the journal holds.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        self.read().map(|log| log.entries)
    }

    fn read(&self) -> io::Result<Log> {
        let file = File::open(&self.log)?;
        journal::read(BufReader::new(file)).map_err(io::Error::other)
    }

    fn written(&self) -> io::Result<Written> {
        Ok(serde_json::from_slice(&fs::read(&self.trees)?)?)
    }

    /// The trees of the workspace, opened.
    ///
    /// # Errors
    /// They are not known, or cannot be opened.
    pub fn roots(&self, workspace: &Path) -> io::Result<Roots> {
        Trees::new(workspace, self.written()?.repository.as_deref()).open()
    }

    /// After taking back what was a run's: takes its lines in git's exclude list away again.
    pub fn tidy(&self) {
        if let Ok(Written { excluded: Some(excluded), .. }) = self.written() {
            excluded.take_away();
        }
    }

    /// Whether anything was changed.
    pub fn has_changes(&self) -> bool {
        fs::metadata(&self.log).is_ok_and(|meta| meta.len() > 0)
    }

    /// The kept files.
    ///
    /// # Errors
    /// They cannot be opened.
    pub fn store(&self) -> io::Result<Store> {
        Store::open(&self.kept)
    }

    /// The journal, to go on with.
    ///
    /// # Errors
    /// It or the workspace cannot be opened.
    pub fn journal(&self, workspace: &Path) -> io::Result<Journal> {
        let file = fs::OpenOptions::new().append(true).open(&self.log)?;
        let held = self.written()?.held.into_iter().map(|path| path.0).collect();
        Journal::new(self.roots(workspace)?, self.store()?, file, &self.read()?, held)
    }

    /// Names a moment. `open` are files that programs have open for writing: they are kept as they
    /// are now.
    pub fn mark(&self, journal: &mut Journal, name: &str, unix_s: i64, open: &[Vec<u8>]) -> Taken {
        match self.entries() {
            Err(error) => Taken::failed(error.to_string()),
            Ok(entries) if find(&entries, name).is_some() => {
                Taken::failed(format!("a moment is called `{name}` already; choose another name"))
            }
            Ok(_) => match mark(journal, name, unix_s, open) {
                Ok(()) => Taken::default(),
                Err(error) => Taken::failed(error.to_string()),
            },
        }
    }

    /// Takes back what was changed since a moment, after naming this one; `open` as for
    /// [`Place::mark`].
    pub fn restore(&self, journal: &mut Journal, to: &str, unix_s: i64, open: &[Vec<u8>]) -> Taken {
        let entries = match self.entries() {
            Ok(entries) => entries,
            Err(error) => return Taken::failed(error.to_string()),
        };
        let Some(since) = find(&entries, to) else {
            return Taken::failed(format!(
                "no moment is called `{to}`; `ringfence restore --list` lists them"
            ));
        };
        let count = journal::marks(&entries).filter(|mark| mark.1.starts_with(BEFORE)).count();
        let undo = format!("{BEFORE}{}", count + 1);
        if let Err(error) = mark(journal, &undo, unix_s, open) {
            return Taken::failed(error.to_string());
        }
        match journal::restore(journal, &entries, since) {
            Err(error) => Taken { undo: Some(undo), ..Taken::failed(error.to_string()) },
            Ok(done) => Taken {
                failed: None,
                restored: done.restored,
                left_count: done.left.len() as u64,
                left: done
                    .left
                    .into_iter()
                    .take(RESTORE_LEFT_SHOWN)
                    .map(|left| (visible_bytes(&left.path), left.why))
                    .collect(),
                undo: Some(undo),
            },
        }
    }
}

/// Names a moment, and keeps what is changed after it without a further call.
fn mark(journal: &mut Journal, name: &str, unix_s: i64, open: &[Vec<u8>]) -> io::Result<()> {
    journal.mark(name, unix_s)?;
    open.iter().try_for_each(|path| journal.open_over_a_moment(path))
}

/// The entry after which a moment begins.
pub fn find(entries: &[Entry], name: &str) -> Option<u64> {
    if name == START {
        return Some(0);
    }
    journal::marks(entries).find(|mark| mark.1 == name).map(|mark| mark.0)
}
