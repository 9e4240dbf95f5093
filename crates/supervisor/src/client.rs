//! The person's side of a run that somebody else's process owns: programs beside the agent, the
//! terminal of a detached run, its end.
//!
//! It decides nothing. It relays between the person's terminal and the supervisor's sockets, and puts
//! the terminal back as it was however it ends.

mod keys;
mod relay;

use std::os::fd::{AsFd, OwnedFd};

use ringfence_control::{Answer, AskError, Conversation, Stream, Verb};
use ringfence_jail::Stdio;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

pub use self::keys::{KeyError, KeyWatch};
use self::relay::{Ending, Relay};
use crate::run::Finished;
use crate::rundir::RunDir;
use crate::stdio::{self, Pump};
use crate::view;

/// Why nothing was shown or started.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The run is over.
    #[error(
        "run {0} is over, and nothing runs in it any more; `ringfence logs {0}` shows what it did, `ringfence run -- CMD` starts another"
    )]
    Over(String),
    /// The supervisor cannot be asked.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// It does not want to.
    #[error("{0}")]
    Refused(String),
    /// It could not be started.
    #[error("{why}")]
    Failed {
        /// Why.
        why: String,
        /// The exit code: 125, 126 or 127.
        code: i32,
    },
    /// The operating system.
    #[error("cannot {what}: {source}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The supervisor died.
    #[error("the run's supervisor is gone, and the run with it")]
    Lost,
}

impl ClientError {
    /// The exit code.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self {
            Self::Failed { code, .. } => *code,
            Self::Lost => 137,
            _ => 125,
        }
    }
}

fn system<E: Into<std::io::Error>>(what: &'static str) -> impl FnOnce(E) -> ClientError {
    move |source| ClientError::System { what, source: source.into() }
}

/// How a program beside the agent ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its exit code as a shell shows it.
    pub code: i32,
    /// Why, where it did not end by itself.
    pub why: Option<String>,
}

/// Starts a program beside the agent (none: the user's shell) and stays with it to its end.
///
/// # Errors
/// [`ClientError`].
pub fn exec(run: &RunDir, argv: Vec<String>) -> Result<Ended, ClientError> {
    if !run.is_running() {
        return Err(ClientError::Over(run.id().to_string()));
    }
    let plan = stdio::plan().map_err(system("examine the standard descriptors"))?;
    let streams = [&plan.inside[0], &plan.inside[1], &plan.inside[2]].map(|stdio| match stdio {
        Stdio::Terminal => Stream::Terminal,
        Stdio::Pass(_) => Stream::Pipe,
        Stdio::Null => Stream::Null,
    });
    let (own, other) = if streams.contains(&Stream::Terminal) {
        let (own, other) = sockets()?;
        (Some(own), Some(other))
    } else {
        (None, None)
    };
    let pipes = plan.inside.iter().filter_map(|stdio| match stdio {
        Stdio::Pass(pipe) => Some(pipe.as_fd()),
        Stdio::Terminal | Stdio::Null => None,
    });
    let passed: Vec<_> = pipes.chain(other.iter().map(AsFd::as_fd)).collect();
    let verb = Verb::Exec {
        argv,
        cwd: std::env::current_dir().and_then(std::fs::canonicalize).ok(),
        term: std::env::var("TERM").ok(),
        streams,
        size: stdio::size(),
    };
    let signals = relay::watch()?;
    let conversation = begin(run, verb, &passed)?;
    drop(passed);
    drop((other, plan.inside));
    let ending = serve(conversation, own, plan.pumps, signals, None)?;
    match ending {
        Ending::Ended { code, why } => Ok(Ended { code, why }),
        Ending::LetGo => Ok(Ended { code: 129, why: None }),
    }
}

/// What came of looking at a detached run.
#[derive(Clone, Debug)]
pub enum Attached {
    /// It goes on.
    LetGo,
    /// It is over.
    Ended(Box<Over>),
}

/// The end of a run.
#[derive(Clone, Debug)]
pub struct Over {
    /// The agent's exit code.
    pub code: i32,
    /// What its person is told; none for a run whose supervisor did not get to say it.
    pub finished: Option<Finished>,
}

/// Shows the terminal of a detached run until it ends or `keys` are typed; what is left of it if it
/// is over.
///
/// # Errors
/// [`ClientError`].
pub fn attach(run: &RunDir, keys: KeyWatch) -> Result<Attached, ClientError> {
    if !run.is_running() {
        show_the_rest(run)?;
        return Ok(Attached::Ended(Box::new(over(run)?)));
    }
    let (own, other) = sockets()?;
    let verb = Verb::Attach { size: stdio::size() };
    let signals = relay::watch()?;
    let conversation = begin(run, verb, &[other.as_fd()])?;
    drop(other);
    match serve(conversation, Some(own), Vec::new(), signals, Some(keys))? {
        Ending::LetGo => Ok(Attached::LetGo),
        Ending::Ended { .. } => Ok(Attached::Ended(Box::new(over(run)?))),
    }
}

/// Waits until a run is over; how it ended.
///
/// # Errors
/// [`ClientError`].
pub fn over(run: &RunDir) -> Result<Over, ClientError> {
    let lock = std::fs::File::open(run.file("lock")).map_err(system("open the run's lock"))?;
    // Its supervisor holds it for itself alone; many may wait.
    while let Err(error) = rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockShared) {
        if error != rustix::io::Errno::INTR {
            return Err(system("wait for the run")(error));
        }
    }
    drop(lock);
    let finished = run.read_json::<Finished>("finished.json").ok();
    let recorded = || view::end_of(run).map(|end| end.code);
    let code = finished.as_ref().map(|finished| finished.code).or_else(recorded);
    Ok(Over { code: code.unwrap_or(137), finished })
}

/// The end of the output of a run that is over.
fn show_the_rest(run: &RunDir) -> Result<(), ClientError> {
    use std::io::Write;
    let detached = run.info().is_ok_and(|info| info.detached);
    if !detached {
        let id = run.id();
        return Err(ClientError::Refused(format!(
            "run {id} is over and was not started with --detach: its output went to where it was \
             started; `ringfence logs {id}` shows what it did"
        )));
    }
    // It was filtered when it was kept. A supervisor that was killed has kept none.
    let kept = std::fs::read(run.screen()).unwrap_or_default();
    std::io::stdout().write_all(&kept).map_err(system("show the end of the output"))
}

fn sockets() -> Result<(OwnedFd, OwnedFd), ClientError> {
    socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(system("make a pair of sockets"))
}

/// Asks; the conversation, once it was said that it goes on.
fn begin(
    run: &RunDir,
    verb: Verb,
    passed: &[std::os::fd::BorrowedFd<'_>],
) -> Result<Conversation, ClientError> {
    let asked = Conversation::open(&run.control(), verb, passed);
    let answered = asked.and_then(|mut conversation| {
        let answer = conversation.answer()?.ok_or(AskError::HungUp)?;
        Ok((conversation, answer))
    });
    match answered {
        Ok((conversation, Answer::Started)) => Ok(conversation),
        Ok((_, Answer::Refused { why })) => Err(ClientError::Refused(why)),
        Ok((_, Answer::Failed { why, code })) => Err(ClientError::Failed { why, code }),
        Ok((_, Answer::Ended { why: Some(why), .. })) => Err(ClientError::Refused(why)),
        Ok(_) => Err(AskError::HungUp.into()),
        // It may just have ended.
        Err(_) if !run.is_running() => Err(ClientError::Over(run.id().to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Relays to the end, then puts the terminal back.
fn serve(
    conversation: Conversation,
    socket: Option<OwnedFd>,
    mut pumps: Vec<Pump>,
    signals: OwnedFd,
    keys: Option<KeyWatch>,
) -> Result<Ending, ClientError> {
    let looks = keys.is_some();
    let mut raw = None;
    if let Some(socket) = socket {
        let connected = stdio::connect_relay(&socket, keys);
        let (more, terminal) = connected.map_err(system("connect the terminal"))?;
        pumps.extend(more);
        raw = terminal;
    }
    let ending = Relay::new(conversation, pumps, signals, looks).run();
    drop(raw);
    ending
}
