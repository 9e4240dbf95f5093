//! `prune`: what nobody has used for a while.
//!
//! Three kinds: what a run left beside its record (`Run`), the record with everything else of the run
//! (`Ledger`), and the kept homes of named sandboxes (`Home`). A record is evidence, so it goes only when
//! it is asked for by name.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ringfence_model::id::SandboxName;
use ringfence_workspace::Usage;
use serde::Serialize;

use super::aside::Aside;
use super::rm::hold;
use super::used::{self, HomeUse};
use super::{RemovalError, unapplied};
use crate::paths::Paths;
use crate::rundir::{self, RunDir};
use crate::{clock, heal};

/// What a run leaves beside its record; everything else in its directory stays with the record.
const BESIDE_THE_RECORD: [&str; 3] = ["layer", "home", "caches"];

/// A time without use, such as `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    seconds: i64,
}

impl FromStr for Age {
    type Err = &'static str;

    /// A duration of the definition's shape, or `0s` for everything that is not in use.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "0s" {
            return Ok(Self { seconds: 0 });
        }
        let milliseconds = ringfence_policy::duration(text)?;
        Ok(Self { seconds: i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX) })
    }
}

/// What is pruned.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Only what was not used for so long.
    pub older_than: Age,
    /// What runs left beside their records.
    pub runs: bool,
    /// Kept homes.
    pub homes: bool,
    /// Records, with everything else of their runs.
    pub ledgers: bool,
    /// Nothing is removed.
    pub dry_run: bool,
    /// Changes that are not in the project go, too.
    pub force: bool,
}

/// A kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Layer, home and caches of an ended run.
    Run,
    /// An ended run as a whole, its record too.
    Ledger,
    /// The kept home of a named sandbox.
    Home,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "outcome", content = "why")]
pub enum Outcome {
    /// It is gone.
    Removed,
    /// It would be.
    WouldRemove,
    /// It stays, for this reason.
    Kept(String),
    /// It could not be removed.
    Failed(String),
}

/// One thing that was not used for so long.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Of which kind.
    pub kind: Kind,
    /// A run's id or a sandbox's name.
    pub name: String,
    /// Unix time of its last use, in seconds.
    pub last_used: i64,
    /// What it takes.
    #[serde(flatten)]
    pub usage: Usage,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// Removes what was not used for so long; what may not go is listed with the reason.
///
/// # Errors
/// [`RemovalError`]: nothing could be looked at. What fails for one thing is in its row.
pub fn prune(options: &Options) -> Result<Vec<Row>, RemovalError> {
    let paths = Paths::find()?;
    heal::heal(&paths);
    let before = clock::now().unix_s.saturating_sub(options.older_than.seconds);
    let mut pass = Pass { options, paths: &paths, before, aside: None, rows: Vec::new() };
    for run in rundir::all(&paths) {
        pass.run(&run)?;
    }
    if options.homes {
        let runs = last_runs(&paths);
        for (name, path) in homes(&paths) {
            pass.home(&name, &path, runs.get(name.as_str()).copied())?;
        }
    }
    Ok(pass.rows)
}

struct Pass<'a> {
    options: &'a Options,
    paths: &'a Paths,
    /// What was used later stays.
    before: i64,
    aside: Option<Aside>,
    rows: Vec<Row>,
}

impl Pass<'_> {
    fn run(&mut self, run: &RunDir) -> Result<(), RemovalError> {
        let last_used = last_use(run);
        if last_used > self.before {
            return Ok(());
        }
        let (kind, parts) = if self.options.ledgers {
            (Kind::Ledger, vec![run.path().to_owned()])
        } else if self.options.runs {
            let there = BESIDE_THE_RECORD.iter().map(|name| run.file(name));
            (Kind::Run, there.filter(|path| path.symlink_metadata().is_ok()).collect())
        } else {
            return Ok(());
        };
        if parts.is_empty() {
            return Ok(());
        }
        let usage = usage(&parts);
        let outcome = match hold(self.paths, run) {
            Err(error) => Outcome::Kept(first_line(&error)),
            Ok(_held) => match unapplied::check(run) {
                Err(error) if !self.options.force => Outcome::Kept(first_line(&error)),
                _ => self.remove(&parts)?,
            },
        };
        self.rows.push(Row { kind, name: run.id().to_string(), last_used, usage, outcome });
        Ok(())
    }

    fn home(
        &mut self,
        name: &SandboxName,
        path: &Path,
        last_run: Option<i64>,
    ) -> Result<(), RemovalError> {
        // What the home itself says is the agent's word.
        let known = last_run.max(used::last(self.paths, name));
        let last_used = known.or_else(|| changed(path)).unwrap_or(i64::MAX);
        if last_used > self.before {
            return Ok(());
        }
        let parts = [path.to_owned()];
        let usage = usage(&parts);
        let used = || Outcome::Kept("a run uses it".to_owned());
        let outcome = if self.options.dry_run {
            if HomeUse::is_used(self.paths, name) { used() } else { Outcome::WouldRemove }
        } else {
            match HomeUse::alone(self.paths, name) {
                None => used(),
                Some(_alone) => self.remove(&parts)?,
            }
        };
        let name = name.to_string();
        self.rows.push(Row { kind: Kind::Home, name, last_used, usage, outcome });
        Ok(())
    }

    fn remove(&mut self, parts: &[PathBuf]) -> Result<Outcome, RemovalError> {
        if self.options.dry_run {
            return Ok(Outcome::WouldRemove);
        }
        let aside = match &mut self.aside {
            Some(aside) => aside,
            none => none.insert(Aside::take(self.paths)?),
        };
        let failed = parts.iter().find_map(|part| aside.remove(part).err());
        Ok(failed.map_or(Outcome::Removed, |error| Outcome::Failed(error.to_string())))
    }
}

/// The first line of a refusal: the commands behind it are for one run, not for a list.
fn first_line(error: &RemovalError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

fn usage(parts: &[PathBuf]) -> Usage {
    parts.iter().map(|part| ringfence_workspace::usage(part)).fold(Usage::default(), Usage::and)
}

/// When something last changed, in Unix seconds; `None` where there is nothing.
pub(super) fn changed(path: &Path) -> Option<i64> {
    fs::symlink_metadata(path).ok().map(|metadata| metadata.mtime())
}

/// The last record of a run, be it of the agent's or of what was done with its changes.
fn last_use(run: &RunDir) -> i64 {
    let started = run.info().ok().map(|info| info.started);
    changed(&run.ledger())
        .into_iter()
        .chain(started)
        .max()
        .or_else(|| changed(run.path()))
        .unwrap_or(i64::MAX)
}

/// The last use of each sandbox that has a name, by its runs that are still there.
fn last_runs(paths: &Paths) -> BTreeMap<String, i64> {
    let mut last = BTreeMap::new();
    for run in rundir::all(paths) {
        if let Some(name) = run.info().ok().and_then(|info| info.name) {
            let own = last.entry(name.to_string()).or_insert(i64::MIN);
            *own = last_use(&run).max(*own);
        }
    }
    last
}

/// The kept homes.
fn homes(paths: &Paths) -> Vec<(SandboxName, PathBuf)> {
    let entries = fs::read_dir(paths.homes()).into_iter().flatten().flatten();
    let mut homes: Vec<(SandboxName, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path())))
        .collect();
    homes.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
    homes
}
