//! The changes of a review workspace: shown, applied, thrown away, and recorded.

use std::fs;
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringfence_ledger::{Redactor, Stamp};
use ringfence_model::boundary::WorkspaceMode;
use ringfence_model::event::Event;
use ringfence_workspace::{ApplyOptions, Change, Layer, Report, Selection, Style, WorkspaceError};

use crate::clock;
use crate::heal::subject;
use crate::rundir::{RunDir, RunDirError, RunInfo};

/// Most paths that one record lists.
const RECORD_PATHS: usize = 1_000;

/// Why changes cannot be handled.
#[derive(Debug, thiserror::Error)]
pub enum ChangesError {
    /// The run's files.
    #[error(transparent)]
    File(#[from] RunDirError),
    /// The workspace.
    #[error(transparent)]
    Workspace(#[from] WorkspaceError),
    /// The run works on the project itself.
    #[error("run {0} had no layer of its own ({1}): its changes were made in the project at once")]
    NoLayer(String, &'static str),
    /// The layer is mounted.
    #[error(
        "run {0} is still running; wait for its end or end it with `ringfence kill {0}`, then {1} its changes"
    )]
    Running(String, &'static str),
    /// It cannot be recorded, so it is not done.
    #[error("it cannot be recorded, so it is not done: {0}")]
    Record(String),
}

fn mode_word(mode: WorkspaceMode) -> &'static str {
    match mode {
        WorkspaceMode::Direct => "direct",
        WorkspaceMode::ReadOnly => "read-only",
        WorkspaceMode::Review => "review",
    }
}

/// The layer of a run; `None` where there are no changes.
fn layer(run: &RunDir, info: &RunInfo) -> Result<Option<Layer>, ChangesError> {
    if info.mode != WorkspaceMode::Review {
        return Err(ChangesError::NoLayer(info.id.to_string(), mode_word(info.mode)));
    }
    let upper = run.layer().join("upper");
    if !upper.exists() {
        return Ok(None);
    }
    let seconds = Duration::from_secs(u64::try_from(info.started).unwrap_or(0));
    let started: SystemTime = UNIX_EPOCH + seconds + Duration::from_nanos(info.started_ns.into());
    Ok(Some(Layer::open(&upper, &info.workspace, started)?))
}

/// The changes of a run.
///
/// # Errors
/// [`ChangesError`].
pub fn changes(run: &RunDir) -> Result<Vec<Change>, ChangesError> {
    match layer(run, &run.info()?)? {
        Some(layer) => Ok(layer.changes()?),
        None => Ok(Vec::new()),
    }
}

/// How `diff` shows them.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Only names and sizes.
    pub stat: bool,
    /// For a terminal that shows colours.
    pub colour: bool,
    /// Contents as they are: for a file or a pipe, never for a terminal.
    pub raw: bool,
}

/// Writes the changes for a person.
///
/// # Errors
/// [`ChangesError`].
pub fn show(run: &RunDir, view: View, out: &mut dyn Write) -> Result<usize, ChangesError> {
    let Some(layer) = layer(run, &run.info()?)? else { return Ok(0) };
    let changes = layer.changes()?;
    let style = Style { colour: view.colour, raw: view.raw };
    if view.stat {
        ringfence_workspace::stat(&changes, style, out)?;
    } else {
        ringfence_workspace::render(&layer, &changes, style, out)?;
    }
    Ok(changes.len())
}

/// Brings changes into the project: all of them, or those at `paths`. What the host would execute
/// is applied only when its path is named.
///
/// # Errors
/// [`ChangesError`].
pub fn apply(run: &RunDir, paths: &[String]) -> Result<Report, ChangesError> {
    let info = run.info()?;
    let Some(_lock) = run.try_lock() else {
        return Err(ChangesError::Running(info.id.to_string(), "apply"));
    };
    let Some(layer) = layer(run, &info)? else { return Ok(Report::default()) };
    let named: Vec<Vec<u8>> = paths
        .iter()
        .map(|path| path.trim_start_matches("./").trim_end_matches('/').as_bytes().to_vec())
        .collect();
    let everything = named.is_empty() || named.iter().any(|path| path.is_empty() || path == b".");
    let selection = if everything { Selection::All } else { Selection::Paths(named.clone()) };
    let planned = layer.changes()?;
    record(run, &info, "apply", &planned)?;
    let options = ApplyOptions { selection, host_executed: named, mounted: false };
    let report = layer.apply(&options)?;
    drop(layer);
    if report.is_complete() && everything {
        ringfence_workspace::remove_tree(&run.layer())?;
    }
    Ok(report)
}

/// Throws all changes away; how many there were.
///
/// # Errors
/// [`ChangesError`].
pub fn discard(run: &RunDir) -> Result<usize, ChangesError> {
    let info = run.info()?;
    let Some(_lock) = run.try_lock() else {
        return Err(ChangesError::Running(info.id.to_string(), "discard"));
    };
    let Some(layer) = layer(run, &info)? else { return Ok(0) };
    let planned = layer.changes()?;
    drop(layer);
    record(run, &info, "discard", &planned)?;
    ringfence_workspace::remove_tree(&run.layer())?;
    Ok(planned.len())
}

/// The intention goes into the run's ledger before anything happens.
fn record(
    run: &RunDir,
    info: &RunInfo,
    verb: &str,
    changes: &[Change],
) -> Result<(), ChangesError> {
    let failed = |why: String| ChangesError::Record(why);
    let path = run.ledger();
    let file = fs::OpenOptions::new()
        .read(true)
        .append(true)
        .open(&path)
        .map_err(|error| failed(format!("{}: {error}", path.display())))?;
    let now = clock::now();
    let stamp = Stamp { unix_s: now.unix_s, unix_ns: now.unix_ns, boot_ns: now.boot_ns };
    let mut aside = Vec::new();
    let (mut writer, _) = ringfence_ledger::recover::resume(
        file,
        &path.display().to_string(),
        &mut aside,
        subject(info),
        Redactor::new(std::iter::empty::<String>()),
        stamp,
    )
    .map_err(|error| failed(error.to_string()))?;
    let event = Event::Workspace {
        verb: verb.to_owned(),
        paths: changes.iter().take(RECORD_PATHS).map(Change::shown).collect(),
        count: changes.len() as u64,
        digest: ringfence_workspace::change::digest(changes),
    };
    writer.append(&event, stamp).map(drop).map_err(|error| failed(error.to_string()))
}
