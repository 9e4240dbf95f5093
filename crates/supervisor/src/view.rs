//! What can be asked about runs without owning one: lists, records, explanations, the end.

use std::fs::File;
use std::io::BufReader;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ringfence_control::{Answer, Status, Verb};
use ringfence_ledger::{Reader, Summary};
use ringfence_model::decision::Decision;
use ringfence_model::event::{End, Event, Record};
use ringfence_model::request::{Action, Context, Endpoint, Request, Resource};
use ringfence_policy::{Compiled, Explanation};
use serde::Serialize;

use crate::clock;
use crate::denials::{Denied, Explainer, Groups};
use crate::heal;
use crate::host;
use crate::paths::{Paths, PathsError};
use crate::rundir::{self, FindError, RunDir, RunDirError, RunInfo};

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// No home or state directory.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// No such run.
    #[error(transparent)]
    Find(#[from] FindError),
    /// A file of the run cannot be used.
    #[error(transparent)]
    File(#[from] RunDirError),
    /// The ledger cannot be read.
    #[error("cannot read the ledger {}: {why}", path.display())]
    Ledger {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The supervisor does not answer.
    #[error(transparent)]
    Ask(#[from] ringfence_control::AskError),
    /// The supervisor refuses.
    #[error("the supervisor refused: {0}")]
    Refused(String),
    /// The run is over.
    #[error("run {0} is not running")]
    NotRunning(String),
    /// It did not end in time.
    #[error("run {0} did not end within {1} s; {2}")]
    DidNotEnd(String, u64, String),
    /// Nothing to explain.
    #[error("{0}")]
    Nothing(String),
}

/// Finds a run for a person who stands in the working directory.
///
/// # Errors
/// [`ViewError`].
pub fn find(word: Option<&str>) -> Result<(Paths, RunDir), ViewError> {
    let paths = Paths::find()?;
    heal::heal(&paths);
    let cwd = std::env::current_dir().and_then(std::fs::canonicalize).unwrap_or_default();
    let workspace = host::project_root(&cwd, &paths.home);
    let run = rundir::find(&paths, word, &workspace)?;
    Ok((paths, run))
}

/// Finds a run that something is to be done in: without a word, the latest that is running.
///
/// # Errors
/// [`ViewError`].
pub fn find_running(word: Option<&str>) -> Result<(Paths, RunDir), ViewError> {
    let paths = Paths::find()?;
    heal::heal(&paths);
    let cwd = std::env::current_dir().and_then(std::fs::canonicalize).unwrap_or_default();
    let workspace = host::project_root(&cwd, &paths.home);
    let run = rundir::find_running(&paths, word, &workspace)?;
    Ok((paths, run))
}

/// One row of `ps`.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What is known of it.
    #[serde(flatten)]
    pub info: RunInfo,
    /// Whether its supervisor lives.
    pub running: bool,
    /// How it ended, once it has.
    pub end: Option<End>,
    /// Whether its workspace layer holds changes.
    pub changes: bool,
}

/// All runs, or only those that run, oldest first.
///
/// # Errors
/// [`ViewError`].
pub fn list(all: bool) -> Result<Vec<Row>, ViewError> {
    let paths = Paths::find()?;
    heal::heal(&paths);
    let runs = if all { rundir::all(&paths) } else { rundir::live(&paths) };
    let mut rows: Vec<Row> = runs.iter().filter_map(row).collect();
    rows.sort_by(|a, b| a.info.id.cmp(&b.info.id));
    Ok(rows)
}

fn row(run: &RunDir) -> Option<Row> {
    let info = run.info().ok()?;
    let running = run.is_running();
    let end = if running { None } else { end_of(run) };
    Some(Row { info, running, end, changes: run.layer().exists() })
}

/// The last `end` record.
#[must_use]
pub fn end_of(run: &RunDir) -> Option<End> {
    let records = records(run).ok()?;
    records.into_iter().rev().find_map(|record| match record.event {
        Event::End(end) => Some(*end),
        _ => None,
    })
}

/// Every whole record of a run.
///
/// # Errors
/// [`ViewError::Ledger`].
pub fn records(run: &RunDir) -> Result<Vec<Record>, ViewError> {
    let failed = |why: String| ViewError::Ledger { path: run.ledger(), why };
    let file = File::open(run.ledger()).map_err(|error| failed(error.to_string()))?;
    Reader::new(BufReader::new(file))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| failed(error.to_string()))
}

/// Calls `show` with each record and its line, to the end or, with `follow`, until the run is over.
///
/// # Errors
/// [`ViewError::Ledger`].
pub fn logs(
    run: &RunDir,
    follow: bool,
    show: &mut dyn FnMut(&Record, &str) -> std::io::Result<()>,
) -> Result<(), ViewError> {
    let failed = |why: String| ViewError::Ledger { path: run.ledger(), why };
    let file = File::open(run.ledger()).map_err(|error| failed(error.to_string()))?;
    let mut reader = Reader::new(BufReader::new(file));
    loop {
        // Before the read: what is written after it is seen by the next turn.
        let running = run.is_running();
        while let Some((record, line)) = reader.next_line().map_err(|e| failed(e.to_string()))? {
            if show(&record, &line).is_err() {
                return Ok(());
            }
        }
        if !follow || !running {
            return Ok(());
        }
        std::thread::sleep(FOLLOW_INTERVAL);
    }
}

/// How often `logs -f` looks for more.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(50);

/// Checks a run's ledger from the first record to the last.
///
/// # Errors
/// [`ViewError::Ledger`] names the first bad record.
pub fn verify(run: &RunDir) -> Result<Summary, ViewError> {
    let failed = |why: String| ViewError::Ledger { path: run.ledger(), why };
    let file = File::open(run.ledger()).map_err(|error| failed(error.to_string()))?;
    ringfence_ledger::verify(BufReader::new(file)).map_err(|fault| failed(fault.to_string()))
}

/// Everything that is known of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Inspection {
    /// Who, where, what.
    pub run: RunInfo,
    /// Whether its supervisor lives, and what it says.
    pub status: Option<Status>,
    /// The first record: manifest, sources, residual risks.
    pub start: Option<ringfence_model::event::Start>,
    /// What was in force when the agent was released.
    pub controls: Vec<ringfence_model::enforcement::Control>,
    /// What the self-test found.
    pub self_test: Vec<String>,
    /// How it ended.
    pub end: Option<End>,
}

/// Looks at one run.
///
/// # Errors
/// [`ViewError`].
pub fn inspect(run: &RunDir) -> Result<Inspection, ViewError> {
    let mut inspection = Inspection {
        run: run.info()?,
        status: None,
        start: None,
        controls: Vec::new(),
        self_test: Vec::new(),
        end: None,
    };
    for record in records(run)? {
        match record.event {
            Event::Start(start) => inspection.start = Some(*start),
            Event::Released { controls, self_test } => {
                inspection.controls = controls;
                inspection.self_test = self_test;
            }
            Event::End(end) => inspection.end = Some(*end),
            _ => {}
        }
    }
    if run.is_running()
        && let Answer::Status(status) = ringfence_control::ask(&run.control(), Verb::Status {})?
    {
        inspection.status = Some(*status);
    }
    Ok(inspection)
}

/// How long `kill` waits for the run's lock.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// Ends a run and waits until it is over.
///
/// # Errors
/// [`ViewError`].
pub fn kill(paths: &Paths, run: &RunDir) -> Result<(), ViewError> {
    if !run.is_running() {
        return Err(ViewError::NotRunning(run.id().to_string()));
    }
    let asked = ringfence_control::ask(&run.control(), Verb::Kill {});
    let info = run.info()?;
    if let Ok(Answer::Refused { why }) = asked {
        return Err(ViewError::Refused(why));
    }
    if asked.is_err() && run.is_running() {
        // A supervisor that does not answer is ended itself: its sandbox dies with it.
        if let Some(process) = supervisor(&info) {
            let _ = rustix::process::pidfd_send_signal(&process, rustix::process::Signal::KILL);
        }
    }
    let begun = clock::now();
    while run.is_running() {
        if clock::now().elapsed_ms(&begun) > KILL_PATIENCE.as_millis() as u64 {
            let seconds = KILL_PATIENCE.as_secs();
            return Err(ViewError::DidNotEnd(run.id().to_string(), seconds, holder(run, &info)));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    heal::heal(paths);
    Ok(())
}

/// The process that `run.json` names, if it still is that process. A number is given to another one
/// as soon as the first is gone, so it is held by a descriptor before it is looked at.
fn supervisor(info: &RunInfo) -> Option<OwnedFd> {
    let start = info.supervisor_start?;
    let pid = i32::try_from(info.supervisor).ok().filter(|pid| *pid > 0);
    let pid = pid.and_then(rustix::process::Pid::from_raw)?;
    let process = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()?;
    (rundir::start_ticks(info.supervisor) == Some(start)).then_some(process)
}

/// In words, who keeps a run from being over and what to do.
fn holder(run: &RunDir, info: &RunInfo) -> String {
    let pid = info.supervisor;
    if supervisor(info).is_some() {
        format!("its supervisor is process {pid}: kill -9 {pid}")
    } else {
        let lock = run.file("lock");
        format!(
            "process {pid} is not its supervisor (any more), so nothing was killed; see who holds the run with: fuser {}",
            lock.display()
        )
    }
}

/// A decision and its explanation.
#[derive(Clone, Debug, Serialize)]
pub struct Why {
    /// The question.
    pub request: Request,
    /// The answer.
    pub decision: Decision,
    /// The record, if it is about one.
    pub record: Option<u64>,
    /// In words: what, why, and what would change it.
    #[serde(skip)]
    pub words: Option<Explanation>,
}

/// Explains a recorded decision (a record's number, or something that it is about), or how
/// something that never happened would be decided under the run's policy.
///
/// # Errors
/// [`ViewError`].
pub fn why(run: &RunDir, what: Option<&str>) -> Result<Why, ViewError> {
    let compiled: Compiled = run.read_json("policy.json")?;
    if !compiled.is_intact() {
        return Err(ViewError::Nothing(format!(
            "the stored policy of run {} was changed after it was written; nothing can be explained from it",
            run.id()
        )));
    }
    let found = records(run)?.into_iter().rev().find_map(|record| recorded(record, what));
    let mut why = match (found, what) {
        (Some(why), _) => why,
        (None, None) => {
            return Err(ViewError::Nothing(format!("run {} denied nothing", run.id())));
        }
        (None, Some(what)) => hypothetical(run, &compiled, what)?,
    };
    let explainer = Explainer::new(&compiled, run, run.is_running());
    why.words = Some(explainer.explain(&why.request, &why.decision));
    Ok(why)
}

/// Denials of a run in words, grouped.
///
/// # Errors
/// [`ViewError`].
pub fn denied(run: &RunDir, groups: &Groups) -> Result<Vec<Denied>, ViewError> {
    if groups.listed().is_empty() {
        return Ok(Vec::new());
    }
    let compiled: Compiled = run.read_json("policy.json")?;
    let explainer = Explainer::new(&compiled, run, run.is_running());
    Ok(groups.explained(&explainer))
}

fn recorded(record: Record, what: Option<&str>) -> Option<Why> {
    let Event::Decision { request, decision, .. } = record.event else { return None };
    let wanted = match what {
        None => !decision.verdict.is_allow(),
        Some(text) => {
            let number = text.parse::<u64>().is_ok_and(|number| number == record.seq);
            number || is_about(&request.resource, text)
        }
    };
    wanted.then_some(Why { request, decision, record: Some(record.seq), words: None })
}

fn is_about(resource: &Resource, text: &str) -> bool {
    match resource {
        Resource::Endpoint(endpoint) => {
            endpoint.to_string() == text
                || endpoint.host() == text
                || endpoint.address.is_some_and(|address| address.to_string() == text)
        }
        Resource::Path(path) => path == Path::new(text),
        Resource::Port(port) => port.to_string() == text,
        Resource::Variable(name) => name == text,
    }
}

/// How it would be decided: by the running supervisor, else by the stored policy.
fn hypothetical(run: &RunDir, compiled: &Compiled, what: &str) -> Result<Why, ViewError> {
    let request = parse_question(what)?;
    if run.is_running()
        && let Ok(Answer::Judged { decision }) =
            ringfence_control::ask(&run.control(), Verb::Judge { request: request.clone() })
    {
        return Ok(Why { request, decision, record: None, words: None });
    }
    let authority = ringfence_authority::Authority::new(std::sync::Arc::new(compiled.clone()), 1);
    let now = ringfence_authority::Now { unix_s: clock::now().unix_s, elapsed_ms: 0 };
    let decision = authority.decide(&request, now);
    Ok(Why { request, decision, record: None, words: None })
}

fn parse_question(what: &str) -> Result<Request, ViewError> {
    if what.starts_with('/') {
        return Ok(Request {
            action: Action::Read,
            resource: Resource::Path(what.into()),
            context: Context::default(),
        });
    }
    let unclear = |why: String| {
        ViewError::Nothing(format!(
            "`{what}` was never decided in this run, and is no host or path to be judged now: {why}"
        ))
    };
    let destination: ringfence_model::host::Destination = what
        .parse()
        .map_err(|error: ringfence_model::host::HostError| unclear(error.to_string()))?;
    let port = destination.ports.first;
    let endpoint = match destination.target {
        ringfence_model::host::Target::Name(ringfence_model::host::HostPattern::Exact(name)) => {
            Endpoint { name: Some(name), claimed: None, address: None, port }
        }
        ringfence_model::host::Target::Name(_) => {
            return Err(unclear("it is a pattern".to_owned()));
        }
        ringfence_model::host::Target::Address(cidr) => {
            Endpoint { name: None, claimed: None, address: Some(cidr.address()), port }
        }
    };
    let action = if endpoint.name.is_some() { Action::Resolve } else { Action::Connect };
    Ok(Request { action, resource: Resource::Endpoint(endpoint), context: Context::default() })
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use ringfence_model::boundary::WorkspaceMode;
    use ringfence_model::id::RunId;

    use super::*;

    /// Killed and waited for however the test ends.
    struct Bystander(Child);

    impl Drop for Bystander {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn bystander() -> Bystander {
        Bystander(Command::new("sleep").arg("600").spawn().unwrap())
    }

    fn info(pid: u32, start: Option<u64>) -> RunInfo {
        RunInfo {
            id: RunId::new(1, 1),
            name: None,
            agent: "sh".to_owned(),
            argv: vec!["sh".to_owned()],
            workspace: "/p".into(),
            mode: WorkspaceMode::Review,
            tier: ringfence_model::boundary::Tier::Process,
            started: 0,
            started_ns: 0,
            policy: String::new(),
            supervisor: pid,
            supervisor_start: start,
            person: "p".to_owned(),
            detached: false,
        }
    }

    #[test]
    fn fh2_only_the_process_that_began_then_is_the_supervisor() {
        let other = bystander();
        let pid = other.0.id();
        let start = rundir::start_ticks(pid).unwrap();
        assert!(supervisor(&info(pid, Some(start))).is_some());
        assert!(supervisor(&info(pid, Some(start - 1))).is_none(), "the number was reused");
        assert!(supervisor(&info(pid, None)).is_none(), "nothing but a number is known");
        assert!(supervisor(&info(0, Some(start))).is_none());
        drop(other);
        assert!(supervisor(&info(pid, Some(start))).is_none(), "it is gone");
    }

    fn fixture(supervisor: u32, start: Option<u64>) -> (tempfile::TempDir, Paths, RunDir) {
        let base = tempfile::tempdir().unwrap();
        let at = |name: &str| base.path().join(name);
        let paths = Paths { home: at("home"), state: at("state"), config: at("config") };
        let run = RunDir::new(&paths, RunId::new(1, 1));
        drop(run.create().unwrap());
        run.write_json("run.json", &info(supervisor, start)).unwrap();
        (base, paths, run)
    }

    /// What a supervisor does that answers nobody.
    fn hold(run: &RunDir) -> File {
        let lock = File::open(run.file("lock")).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        lock
    }

    /// A run that only `apply` works on is not running: there is nothing to kill.
    #[test]
    fn fh2_kill_leaves_an_apply_alone() {
        let mut other = bystander();
        let (_base, paths, run) = fixture(other.0.id(), rundir::start_ticks(other.0.id()));
        let _apply = run.try_lock().unwrap();
        assert!(matches!(kill(&paths, &run), Err(ViewError::NotRunning(_))));
        assert!(other.0.try_wait().unwrap().is_none(), "a bystander was killed");
    }

    #[test]
    fn fh2_kill_leaves_a_process_alone_that_only_has_the_number() {
        let mut other = bystander();
        let pid = other.0.id();
        let start = rundir::start_ticks(pid).unwrap() + 1;
        let (_base, paths, run) = fixture(pid, Some(start));
        let lock = hold(&run);
        let waiter = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(lock);
        });
        kill(&paths, &run).unwrap();
        waiter.join().unwrap();
        assert!(other.0.try_wait().unwrap().is_none(), "a bystander was killed");
        assert!(holder(&run, &info(pid, Some(start))).contains("nothing was killed"));
    }

    #[test]
    fn fh2_kill_ends_a_supervisor_that_does_not_answer() {
        use std::os::unix::process::ExitStatusExt;
        let mut other = bystander();
        let (_base, paths, run) = fixture(other.0.id(), rundir::start_ticks(other.0.id()));
        let lock = hold(&run);
        let waiter = std::thread::spawn(move || {
            let status = other.0.wait().unwrap();
            drop(lock);
            status
        });
        kill(&paths, &run).unwrap();
        assert_eq!(waiter.join().unwrap().signal(), Some(9));
    }
}
