//! One run, from the command line to its end.
//!
//! The supervisor is the process that was called: single-threaded on purpose, so that it may fork
//! at any time (gateway, sandbox, changes of mounts), and the only holder of authority and ledger.

mod controls;
mod controls_alone;
mod detach;
mod gateway;
mod manifest;
mod owner;
mod start;

use std::path::PathBuf;

use ringfence_jail::{LaunchError, StepError};
use ringfence_model::boundary::WorkspaceMode;
use ringfence_model::id::RunId;
use ringfence_policy::CommandLine;
use serde::{Deserialize, Serialize};

use crate::home::HomeError;
use crate::load::LoadError;
use crate::paths::PathsError;
use crate::plan::PlanError;
use crate::recorder::RecordError;
use crate::rundir::RunDirError;
use crate::trust::TrustError;

pub use crate::denials::Denied;
pub use detach::{Detached, detach};
pub use ringfence_policy::Widening;
pub use start::run;

/// What a person asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The policy part of the command line.
    pub command_line: CommandLine,
    /// `-d FILE`.
    pub definition: Option<PathBuf>,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Whether nobody sits in front of it: see [`detach`].
    pub detached: bool,
}

/// How the supervisor talks to the person who called it.
pub trait Person {
    /// The project's definition widens what may be reached and is not trusted: accept it?
    fn accept(&mut self, definition: &std::path::Path, widens: &[Widening]) -> bool;
    /// A hook or server of the person's own agent configuration: may the agent have it inside?
    fn bring(&mut self, words: &str) -> bool;
    /// One line that the person should see before the agent starts.
    fn note(&mut self, line: &str);
}

/// What the person sees when it is over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finished {
    /// The run.
    pub id: RunId,
    /// The exit code for the shell.
    pub code: i32,
    /// What ended it.
    pub cause: String,
    /// What went wrong on ringfence's side, if anything.
    pub failures: Vec<String>,
    /// What the person should know, nothing of it a fault.
    pub notes: Vec<String>,
    /// Denials, grouped.
    pub denied: Vec<Denied>,
    /// Groups that are not listed.
    pub more_denied: u64,
    /// Whether the workspace's layer holds changes.
    pub changes: bool,
    /// How the workspace was seen.
    pub mode: WorkspaceMode,
}

/// Why nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No home directory or state directory.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// No policy.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The trust record.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The definition is not trusted.
    #[error(
        "{definition} opens more than the defaults and you have not accepted it as it is now:\n{list}\n  accept it with: ringfence trust {definition}"
    )]
    Untrusted {
        /// Which.
        definition: String,
        /// What it widens, one line each.
        list: String,
    },
    /// The policy cannot become a boundary.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// What decides about the run could be changed by it.
    #[error(transparent)]
    Exposed(#[from] crate::outside::Exposed),
    /// The agent's home.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The run's directory.
    #[error(transparent)]
    RunDir(#[from] RunDirError),
    /// The ledger.
    #[error("the run cannot be recorded, so it is not started: {0}")]
    Record(#[from] RecordError),
    /// The jail.
    #[error("{error}{}", mend.as_ref().map(|m| format!("\n  {m}")).unwrap_or_default())]
    Launch {
        /// What failed.
        error: LaunchError,
        /// What the person can do about it.
        mend: Option<String>,
    },
    /// A step inside failed.
    #[error("the boundary could not be built: {error}{}", mend.as_ref().map(|m| format!("\n  {m}")).unwrap_or_default())]
    Build {
        /// What failed.
        error: StepError,
        /// What the person can do about it.
        mend: Option<String>,
    },
    /// The self-test found the boundary open.
    #[error(
        "the self-test could do what a boundary must refuse, so nothing was started:\n{0}\n  `ringfence doctor` examines this host; please report it"
    )]
    SelfTest(String),
    /// Below the policy's floor.
    #[error("{0}")]
    Floor(String),
    /// The gateway did not come up.
    #[error("the gateway did not start: {0}")]
    Gateway(String),
    /// Anything else of the operating system.
    #[error("cannot {what}: {source}")]
    System {
        /// What.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// The agent's program cannot be started.
    #[error("cannot start {program}: {source}")]
    Exec {
        /// As typed.
        program: String,
        /// Why.
        source: std::io::Error,
        /// 126 or 127, as shells do.
        code: i32,
    },
}

impl RunError {
    /// The exit code: 125 for ringfence's own refusals, 126 and 127 for the program's.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self {
            Self::Exec { code, .. } => *code,
            _ => 125,
        }
    }
}

fn system(what: &str) -> impl FnOnce(std::io::Error) -> RunError + '_ {
    move |source| RunError::System { what: what.to_owned(), source }
}
