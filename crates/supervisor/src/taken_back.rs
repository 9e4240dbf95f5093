//! Moments of a `pair` workspace: named, listed, and gone back to, while the run lives and after.

use std::io;

use ringfence_control::{Answer, AskError, Taken, Verb};
use ringfence_ledger::Stamp;
use ringfence_model::event::Event;
use ringfence_workspace::journal::{self, Act, Net};

use crate::changes::{ChangesError, Journal, hold};
use crate::clock;
use crate::limits::MOMENT_NAME_BYTES;
use crate::pair::{Place, START, find};
use crate::recorder::by_a_person;
use crate::rundir::{RunDir, RunInfo};

/// Why there is nothing to go back to.
#[derive(Debug, thiserror::Error)]
pub enum TakeBackError {
    /// The workspace was of another mode.
    #[error("the workspace is `{0}`: only a `pair` workspace has moments to go back to")]
    NotPair(&'static str),
    /// Nobody can name a moment of a run that is over.
    #[error(
        "run {0} is over: a moment can be named only while it runs; `ringfence restore --list` shows those that there are"
    )]
    Over(String),
    /// No such moment.
    #[error("no moment is called `{0}`; `ringfence restore --list` lists them")]
    Unknown(String),
    /// A name that would be confused with another or spoil a terminal.
    #[error(
        "a moment's name is 1 to {MOMENT_NAME_BYTES} of a-z A-Z 0-9 . _ -, and not `{START}`: `{0}` is not"
    )]
    Name(String),
    /// The journal.
    #[error("the journal of the workspace: {0}")]
    Journal(io::Error),
    /// The living run.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// It was refused.
    #[error("{0}")]
    Refused(String),
}

/// A moment that a workspace can be taken back to.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Moment {
    /// Its name.
    pub name: String,
    /// When, in seconds since 1970.
    pub unix_s: i64,
    /// Steps that were taken since then.
    pub steps: usize,
}

fn place(run: &RunDir, info: &RunInfo) -> Result<Place, TakeBackError> {
    match info.mode {
        ringfence_model::boundary::WorkspaceMode::Pair => Ok(Place::of(run)),
        other => Err(TakeBackError::NotPair(other.word())),
    }
}

/// The changes since a moment.
///
/// # Errors
/// [`TakeBackError`].
pub(crate) fn net(run: &RunDir, info: &RunInfo, since: Option<&str>) -> Result<Net, TakeBackError> {
    let place = place(run, info)?;
    let entries = place.entries().map_err(TakeBackError::Journal)?;
    let name = since.unwrap_or(START);
    let since = find(&entries, name).ok_or_else(|| TakeBackError::Unknown(name.to_owned()))?;
    let store = place.store().map_err(TakeBackError::Journal)?;
    let roots = place.roots(&info.workspace).map_err(TakeBackError::Journal)?;
    journal::net(&info.workspace, roots, store, &entries, since).map_err(TakeBackError::Journal)
}

/// The moments of a run, the latest first.
///
/// # Errors
/// [`ChangesError`].
pub fn moments(run: &RunDir) -> Result<Vec<Moment>, ChangesError> {
    let info = run.info()?;
    let entries = place(run, &info)?.entries().map_err(TakeBackError::Journal)?;
    let steps = |since: u64| {
        let after = entries.iter().rev().take_while(|entry| entry.number > since);
        after.filter(|entry| !matches!(entry.act, Act::Mark { .. })).count()
    };
    let named = journal::marks(&entries).rev().map(|(number, name, unix_s)| Moment {
        name: name.to_owned(),
        unix_s,
        steps: steps(number),
    });
    let start = Moment { name: START.to_owned(), unix_s: info.started, steps: steps(0) };
    Ok(named.chain([start]).collect())
}

/// Names this moment of a living run; its name.
///
/// # Errors
/// [`ChangesError`].
pub fn checkpoint(run: &RunDir, name: Option<&str>) -> Result<String, ChangesError> {
    let info = run.info()?;
    let made_up = format!("point-{}", moments(run)?.len());
    let name = name.unwrap_or(&made_up);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty()
        || name.len() > MOMENT_NAME_BYTES
        || name == START
        || !name.bytes().all(plain)
    {
        return Err(TakeBackError::Name(name.to_owned()).into());
    }
    if !run.is_running() {
        return Err(TakeBackError::Over(info.id.to_string()).into());
    }
    match ask(run, Verb::Checkpoint { name: name.to_owned() })?.failed {
        Some(why) => Err(TakeBackError::Refused(why).into()),
        None => Ok(name.to_owned()),
    }
}

/// When a moment was, for people (RFC 3339, UTC).
#[must_use]
pub fn when(moment: &Moment) -> String {
    let stamp = Stamp { unix_s: moment.unix_s, unix_ns: 0, boot_ns: 0 };
    let text = ringfence_ledger::time::rfc3339(stamp);
    text.split('.').next().map_or_else(String::new, |second| format!("{second}Z"))
}

/// Takes the workspace back to a moment; the start where none is named.
///
/// # Errors
/// [`ChangesError`]; what was not put back is in the answer.
pub fn restore(run: &RunDir, to: Option<&str>) -> Result<Taken, ChangesError> {
    let info = run.info()?;
    let place = place(run, &info)?;
    let to = to.unwrap_or(START);
    if run.is_running() {
        return Ok(ask(run, Verb::Restore { to: to.to_owned() })?);
    }
    let _held = hold(run, &info, "restore")?;
    let mut ledger = Journal::open(run, &info).map_err(ChangesError::Record)?;
    let verb = format!("restore {to}");
    ledger
        .event(&by_a_person(&verb, rustix::process::geteuid().as_raw()))
        .map_err(ChangesError::Record)?;
    let mut journal = place.journal(&info.workspace).map_err(TakeBackError::Journal)?;
    let outcome = place.restore(&mut journal, to, clock::now().unix_s, &[]);
    {
        // What lay in the project while the run went on is not to come back with it.
        let _turn = run.turn();
        place.tidy();
    }
    ledger.event(&Event::Sensor { what: outcome.words() }).map_err(ChangesError::Record)?;
    Ok(outcome)
}

fn ask(run: &RunDir, verb: Verb) -> Result<Taken, TakeBackError> {
    match ringfence_control::ask(&run.control(), verb)? {
        Answer::Taken(taken) => Ok(taken),
        Answer::Refused { why } => Err(TakeBackError::Refused(why)),
        _ => Err(TakeBackError::Refused("the supervisor answered something else".to_owned())),
    }
}
