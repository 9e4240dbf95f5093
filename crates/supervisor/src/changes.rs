//! The changes of a review workspace: shown, applied, thrown away, and recorded.

use std::fs::{self, File};
use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ringfence_ledger::{Redactor, Stamp, Writer};
use ringfence_model::boundary::WorkspaceMode;
use ringfence_model::event::Event;
use ringfence_workspace::apply::LeftOut;
use ringfence_workspace::{
    ApplyOptions, Change, Layer, Report, Selection, Style, WorkspaceError, diff::Sides,
};

use crate::clock;
use crate::heal::subject;
use crate::rundir::{Held, RunDir, RunDirError, RunInfo};
use crate::taken_back;

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
    #[error(
        "run {0} had no layer of its own ({1}): its changes were made in the project at once{hint}",
        hint = if *.1 == "pair" { "; take them back with `ringfence restore`" } else { "" }
    )]
    NoLayer(String, &'static str),
    /// The layer is mounted.
    #[error(
        "run {0} is still running; wait for its end or end it with `ringfence kill {0}`, then {1} its changes"
    )]
    Running(String, &'static str),
    /// Another command works on it.
    #[error("another command works on the changes of run {0}; wait for its end, then {1} them")]
    Busy(String, &'static str),
    /// Taking back.
    #[error(transparent)]
    TakeBack(#[from] taken_back::TakeBackError),
    /// It cannot be recorded, so it is not done.
    #[error("it cannot be recorded, so it is not done: {0}")]
    Record(String),
    /// It was done, and the ledger does not say what came of it.
    #[error(
        "{applied} changes are in the project now and {left} are not, but the ledger does not say so: {why}; the layer is kept, `ringfence diff` shows what is in it"
    )]
    Outcome {
        /// Changes that landed.
        applied: usize,
        /// Changes that did not.
        left: usize,
        /// Why it is not recorded.
        why: String,
    },
}

/// The layer of a run; `None` where there are no changes.
fn layer(run: &RunDir, info: &RunInfo) -> Result<Option<Layer>, ChangesError> {
    if info.mode != WorkspaceMode::Review {
        return Err(ChangesError::NoLayer(info.id.to_string(), info.mode.word()));
    }
    let upper = run.layer().join("upper");
    if !upper.exists() {
        return Ok(None);
    }
    let seconds = Duration::from_secs(u64::try_from(info.started).unwrap_or(0));
    let started: SystemTime = UNIX_EPOCH + seconds + Duration::from_nanos(info.started_ns.into());
    Ok(Some(Layer::open(&upper, &info.workspace, started)?))
}

/// The run for one command alone, while no supervisor lives.
pub(crate) fn hold(run: &RunDir, info: &RunInfo, verb: &'static str) -> Result<Held, ChangesError> {
    run.try_lock().ok_or_else(|| {
        let id = info.id.to_string();
        if run.is_running() {
            ChangesError::Running(id, verb)
        } else {
            ChangesError::Busy(id, verb)
        }
    })
}

/// Changes, and where both sides of each are.
type Compared = (Vec<Change>, Box<dyn Sides>);

/// The changes of a run; `None` where it left nothing to compare. Of a `pair` workspace those since a
/// moment, its start where none is named.
fn look(run: &RunDir, since: Option<&str>) -> Result<Option<Compared>, ChangesError> {
    let info = run.info()?;
    if info.mode == WorkspaceMode::Pair {
        let mut net = taken_back::net(run, &info, since)?;
        return Ok(Some((std::mem::take(&mut net.changes), Box::new(net))));
    }
    if since.is_some() {
        return Err(taken_back::TakeBackError::NotPair(info.mode.word()).into());
    }
    let Some(layer) = layer(run, &info)? else { return Ok(None) };
    Ok(Some((layer.changes()?, Box::new(layer))))
}

/// The changes of a run; of a `pair` workspace those since a moment.
///
/// # Errors
/// [`ChangesError`].
pub fn changes(run: &RunDir, since: Option<&str>) -> Result<Vec<Change>, ChangesError> {
    Ok(look(run, since)?.map(|(changes, _)| changes).unwrap_or_default())
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
pub fn show(
    run: &RunDir,
    since: Option<&str>,
    view: View,
    out: &mut dyn Write,
) -> Result<usize, ChangesError> {
    let Some((changes, sides)) = look(run, since)? else { return Ok(0) };
    let style = Style { colour: view.colour, raw: view.raw };
    if view.stat {
        ringfence_workspace::stat(&changes, style, out)?;
    } else {
        ringfence_workspace::render(&*sides, &changes, style, out)?;
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
    let _held = hold(run, &info, "apply")?;
    let Some(layer) = layer(run, &info)? else { return Ok(Report::default()) };
    let named: Vec<Vec<u8>> = paths
        .iter()
        .map(|path| path.trim_start_matches("./").trim_end_matches('/').as_bytes().to_vec())
        .collect();
    let everything = named.is_empty() || named.iter().any(|path| path.is_empty() || path == b".");
    let selection = if everything { Selection::All } else { Selection::Paths(named.clone()) };
    let options = ApplyOptions { selection, host_executed: named, mounted: false };
    let mut journal = Journal::open(run, &info).map_err(ChangesError::Record)?;
    let report = layer.apply_observed(&options, &mut |due: &[Change]| {
        journal.note("apply", due).map_err(ChangesError::Record)
    })?;
    journal.note_outcome(&report).map_err(|why| ChangesError::Outcome {
        applied: report.applied.len(),
        left: left_out(&report).iter().map(|(_, list)| list.len()).sum(),
        why,
    })?;
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
    let _held = hold(run, &info, "discard")?;
    let Some(layer) = layer(run, &info)? else { return Ok(0) };
    let planned = layer.changes()?;
    drop(layer);
    let mut journal = Journal::open(run, &info).map_err(ChangesError::Record)?;
    journal.note("discard", &planned).map_err(ChangesError::Record)?;
    ringfence_workspace::remove_tree(&run.layer())?;
    Ok(planned.len())
}

/// What was selected and is not in the project, by the verb of its record.
fn left_out(report: &Report) -> [(&'static str, &[LeftOut]); 4] {
    [
        ("held-back", &report.held_back),
        ("conflict", &report.conflicts),
        ("refused", &report.refused),
        ("failed", &report.failed),
    ]
}

/// The run's ledger, gone on with after its end: the intention goes in before anything happens, and
/// what came of it after.
pub(crate) struct Journal {
    writer: Writer<File>,
}

impl Journal {
    pub(crate) fn open(run: &RunDir, info: &RunInfo) -> Result<Self, String> {
        let path = run.ledger();
        let file = fs::OpenOptions::new()
            .read(true)
            .append(true)
            .open(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let mut aside = Vec::new();
        let (writer, _) = ringfence_ledger::recover::resume(
            file,
            &path.display().to_string(),
            &mut aside,
            subject(info),
            Redactor::new(std::iter::empty::<String>()),
            stamp(),
        )
        .map_err(|error| error.to_string())?;
        Ok(Self { writer })
    }

    fn note(&mut self, verb: &str, changes: &[Change]) -> Result<(), String> {
        let event = Event::Workspace {
            verb: verb.to_owned(),
            paths: changes.iter().take(RECORD_PATHS).map(Change::shown).collect(),
            count: changes.len() as u64,
            digest: ringfence_workspace::change::digest(changes),
        };
        self.event(&event)
    }

    /// Any event of a person's command.
    pub(crate) fn event(&mut self, event: &Event) -> Result<(), String> {
        self.writer.append(event, stamp()).map(drop).map_err(|error| error.to_string())
    }

    /// What landed, always; what did not, one record for each reason that there was.
    fn note_outcome(&mut self, report: &Report) -> Result<(), String> {
        self.note("applied", &report.applied)?;
        for (verb, list) in left_out(report) {
            if !list.is_empty() {
                let changes: Vec<Change> = list.iter().map(|left| left.change.clone()).collect();
                self.note(verb, &changes)?;
            }
        }
        Ok(())
    }
}

fn stamp() -> Stamp {
    let now = clock::now();
    Stamp { unix_s: now.unix_s, unix_ns: now.unix_ns, boot_ns: now.boot_ns }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ringfence_model::id::RunId;

    use super::*;
    use crate::paths::Paths;
    use crate::recorder::Recorder;

    struct Fixture {
        base: tempfile::TempDir,
        run: RunDir,
    }

    /// A review run that is over; its agent wrote these files.
    fn fixture(files: &[&str]) -> Fixture {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        fs::create_dir(at("project")).unwrap();
        let paths = Paths { home: at("home"), state: at("state"), config: at("config") };
        let run = RunDir::new(&paths, RunId::new(1, 1));
        drop(run.create().unwrap());
        RunDir::make_layer(&run.layer()).unwrap();
        for file in files {
            write(&run.layer().join("upper").join(file), "by the agent\n");
        }
        let start = clock::now();
        let info = RunInfo::sample(&run, at("project"), start);
        run.write_json("run.json", &info).unwrap();
        let mut recorder = Recorder::create(&run, subject(&info), start).unwrap();
        recorder.record(&Event::Sensor { what: "a run".to_owned() }).unwrap();
        Fixture { base, run }
    }

    fn write(path: &Path, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    impl Fixture {
        fn project(&self, file: &str) -> std::path::PathBuf {
            self.base.path().join("project").join(file)
        }

        /// Verb, paths and count of each workspace record.
        fn recorded(&self) -> Vec<(String, Vec<String>, u64)> {
            crate::view::verify(&self.run).unwrap();
            let records = crate::view::records(&self.run).unwrap();
            let events = records.into_iter().filter_map(|record| match record.event {
                Event::Workspace { verb, paths, count, .. } => Some((verb, paths, count)),
                _ => None,
            });
            events.collect()
        }
    }

    fn row(verb: &str, paths: &[&str]) -> (String, Vec<String>, u64) {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        (verb.to_owned(), paths.clone(), paths.len() as u64)
    }

    /// AL1: the intention is exactly what was selected, the outcome what came of it.
    #[test]
    fn al1_apply_records_the_selection_and_then_the_outcome() {
        let f = fixture(&["a", "b", "c"]);
        let report = apply(&f.run, &["a".to_owned(), "./c".to_owned()]).unwrap();
        assert!(report.is_complete(), "{report:?}");
        assert!(f.project("a").exists() && !f.project("b").exists());
        assert_eq!(f.recorded(), [row("apply", &["a", "c"]), row("applied", &["a", "c"])]);
    }

    /// AL1, F18: what the host would run, and what the project changed meanwhile, is recorded as left.
    #[test]
    fn al1_f18_what_is_left_out_is_recorded_as_left_out() {
        let f = fixture(&["a", ".envrc", "mine"]);
        // Made after the run began, on the coarse clock that files are stamped by: a conflict.
        std::thread::sleep(std::time::Duration::from_millis(20));
        write(&f.project("mine"), "by the person\n");
        let report = apply(&f.run, &[]).unwrap();
        assert!(!report.is_complete());
        assert_eq!(
            f.recorded(),
            [
                row("apply", &["a"]),
                row("applied", &["a"]),
                row("held-back", &[".envrc"]),
                row("conflict", &["mine"]),
            ]
        );
        assert_eq!(fs::read_to_string(f.project("mine")).unwrap(), "by the person\n");
        assert!(!f.project(".envrc").exists());
    }

    /// AL1: a change that fails is in the intention and not in what landed.
    #[test]
    fn al1_what_cannot_be_done_is_not_recorded_as_applied() {
        let f = fixture(&["a", "b"]);
        let mut planned = changes(&f.run, None).unwrap();
        let change = planned.pop().unwrap();
        let failed = vec![LeftOut { change, why: "no space".to_owned() }];
        let report = Report { applied: planned, failed, ..Report::default() };
        let mut journal = Journal::open(&f.run, &f.run.info().unwrap()).unwrap();
        journal.note_outcome(&report).unwrap();
        assert_eq!(f.recorded(), [row("applied", &["a"]), row("failed", &["b"])]);
    }

    /// AL1: without its record, nothing is applied or thrown away.
    #[test]
    fn al1_without_a_ledger_nothing_is_done() {
        let f = fixture(&["a"]);
        fs::remove_file(f.run.ledger()).unwrap();
        assert!(matches!(apply(&f.run, &[]), Err(ChangesError::Record(_))));
        assert!(matches!(discard(&f.run), Err(ChangesError::Record(_))));
        assert!(!f.project("a").exists());
        assert!(f.run.layer().join("upper/a").exists());
    }

    #[test]
    fn a_run_that_another_command_works_on_is_not_said_to_run() {
        let f = fixture(&["a"]);
        let held = f.run.try_lock().unwrap();
        assert!(matches!(apply(&f.run, &[]), Err(ChangesError::Busy(..))));
        drop(held);
        let lock = fs::File::open(f.run.file("lock")).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        assert!(matches!(discard(&f.run), Err(ChangesError::Running(..))));
        drop(lock);
        assert_eq!(discard(&f.run).unwrap(), 1);
        assert_eq!(f.recorded(), [row("discard", &["a"])]);
    }
}
