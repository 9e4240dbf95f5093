//! The control socket: what a person may ask of a running supervisor, and the client.
//!
//! One JSON line asks, one JSON line answers, then the connection closes. The socket lies in the
//! run's directory, which only its owner can enter; the supervisor checks the peer's credentials
//! (`SO_PEERCRED`, unix(7)) and the run's [`Token`] besides. No sandbox can reach it: it does not
//! exist inside, and no TCP port leads to it.
#![forbid(unsafe_code)]

mod client;
mod token;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use ringfence_model::decision::Decision;
use ringfence_model::enforcement::Control;
use ringfence_model::provenance::Source;
use ringfence_model::request::Request;
use serde::{Deserialize, Serialize};

pub use client::{Conversation, ask};
pub use token::Token;

/// Version of the conversation; another one is refused.
pub const VERSION: u32 = 2;
/// Longest line, in bytes.
pub const LINE_BYTES: u64 = 1024 * 1024;
/// Longest line of a [`Follow`], in bytes.
pub const FOLLOW_BYTES: usize = 4 * 1024;
/// Most descriptors that come with a question.
pub const DESCRIPTORS: usize = 4;
/// How long the client waits while a workspace is taken back.
pub(crate) const RESTORE_PATIENCE: Duration = Duration::from_secs(600);
/// How long the client waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A question.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// [`VERSION`].
    pub version: u32,
    /// The run's token.
    pub token: Token,
    /// What is wanted.
    pub verb: Verb,
}

/// What can be wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do", deny_unknown_fields)]
pub enum Verb {
    /// How the run is.
    Status {},
    /// End it: every process, every connection.
    Kill {},
    /// How would this be decided now? Nothing happens and nothing is recorded.
    Judge {
        /// The question.
        request: Request,
    },
    /// Start a program beside the agent. Descriptors: one for each [`Stream::Pipe`], then a stream
    /// socket for the terminal if any stream is one. The connection stays: [`Follow`] goes in,
    /// answers come out, and its end is the end of the person's terminal.
    Exec {
        /// Program and arguments; none for the user's shell inside.
        argv: Vec<String>,
        /// Where the person stands: it begins there if that is in the workspace.
        cwd: Option<PathBuf>,
        /// What the person's terminal is.
        term: Option<String>,
        /// Standard input, output and error.
        streams: [Stream; 3],
        /// Size of the person's terminal.
        size: Option<Size>,
    },
    /// Show the terminal of a detached run. Descriptor: a stream socket for it. The connection stays,
    /// as with [`Verb::Exec`].
    Attach {
        /// Size of the person's terminal.
        size: Option<Size>,
    },
    /// Name this moment of a `pair` workspace.
    Checkpoint {
        /// The name.
        name: String,
    },
    /// Take a `pair` workspace back to a moment.
    Restore {
        /// Its name.
        to: String,
    },
    /// Permit destinations from now on: all of them, or none.
    Allow {
        /// Which.
        hosts: Vec<Wanted>,
        /// For how long, in milliseconds; without, a policy says so in which they are written.
        for_ms: Option<u64>,
    },
}

/// A destination that is to be permitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// As `run --allow` takes it.
    pub text: String,
    /// Where it is written, if it is to last.
    pub written: Option<Source>,
}

/// What a standard descriptor of a program beside the agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// A terminal of the sandbox's own.
    Terminal,
    /// A pipe, passed as it is.
    Pipe,
    /// The sandbox's own `/dev/null`.
    Null,
}

/// Rows and columns of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

/// What a person says on a connection that stays; one JSON line each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "follow", deny_unknown_fields)]
pub enum Follow {
    /// The terminal has another size.
    Size {
        /// Which.
        size: Size,
    },
    /// Send this signal to the program's process group.
    Signal {
        /// Its number.
        number: i32,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "answer")]
pub enum Answer {
    /// To [`Verb::Status {}`].
    Status(Box<Status>),
    /// To [`Verb::Kill {}`]: it is over once the run's lock is free.
    Killing,
    /// To [`Verb::Judge`].
    Judged {
        /// The decision as it would be.
        decision: Decision,
    },
    /// To [`Verb::Exec`] and [`Verb::Attach`]: it runs, or is shown.
    Started,
    /// To [`Verb::Exec`]: it could not be started.
    Failed {
        /// Why.
        why: String,
        /// The exit code, as shells have it.
        code: i32,
    },
    /// The program, or the run, is over.
    Ended {
        /// Exit code as a shell shows it.
        code: i32,
        /// Why, where it did not end by itself.
        why: Option<String>,
    },
    /// To [`Verb::Checkpoint`] and [`Verb::Restore`].
    Taken(Taken),
    /// To [`Verb::Allow`]: it is in force.
    Allowed(Allowed),
    /// The question was not understood or not allowed.
    Refused {
        /// Why.
        why: String,
    },
}

/// What is in force after [`Verb::Allow`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowed {
    /// The policy generation that permits it.
    pub generation: u64,
    /// What was permitted already, and where that stands.
    pub already: Vec<(String, String)>,
    /// Ports that lead nowhere in this run, whatever is permitted: the kernel captures named ones only.
    pub closed_ports: Vec<u16>,
}

/// What came of naming a moment, or of taking back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Why nothing was done, or why it stopped.
    pub failed: Option<String>,
    /// Things that were put back.
    pub restored: u64,
    /// What was not put back: path and why; not all where there are many.
    pub left: Vec<(String, String)>,
    /// How much was not put back in all.
    pub left_count: u64,
    /// The moment to go back to if this was wrong.
    pub undo: Option<String>,
}

impl Taken {
    /// Nothing was done.
    #[must_use]
    pub fn failed(why: impl Into<String>) -> Self {
        Self { failed: Some(why.into()), ..Self::default() }
    }

    /// What came of it, in words for a record.
    #[must_use]
    pub fn words(&self) -> String {
        match &self.failed {
            Some(why) => format!("the workspace was not taken back: {why}"),
            None if self.undo.is_none() => "the moment was named".to_owned(),
            None => format!(
                "{} things of the workspace were put back, {} were not",
                self.restored, self.left_count
            ),
        }
    }
}

/// How a run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Process id of the sandbox's init on the host.
    pub init: i32,
    /// Policy generation in force.
    pub generation: u64,
    /// Milliseconds since the start.
    pub elapsed_ms: u64,
    /// What is enforced.
    pub controls: Vec<Control>,
    /// Decisions that allowed.
    pub allowed: u64,
    /// Decisions that denied.
    pub denied: u64,
    /// Programs started, as seen.
    pub execs: u64,
    /// Bytes that left.
    pub sent: u64,
    /// Bytes that came in.
    pub received: u64,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens.
    #[error("the run's supervisor does not answer on {socket}: {source}")]
    Connect {
        /// Where.
        socket: String,
        /// Why.
        source: io::Error,
    },
    /// The token cannot be read.
    #[error("the run's token {token} cannot be read: {source}")]
    Token {
        /// Where.
        token: String,
        /// Why.
        source: io::Error,
    },
    /// The supervisor hung up.
    #[error("the run's supervisor hung up without an answer")]
    HungUp,
    /// It did not answer in time.
    #[error(
        "the run's supervisor does not answer; it may be copying a large file: try again later"
    )]
    Silent,
    /// The conversation broke off.
    #[error("the conversation with the run's supervisor broke off: {0}")]
    Broken(#[from] io::Error),
    /// The answer does not parse.
    #[error("the supervisor's answer is not understood; is it another version of ringfence? ({0})")]
    Answer(#[from] serde_json::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_verbs_and_fields_are_refused() {
        for bad in [
            r#"{"version":2,"token":"0","verb":{"do":"approve"}}"#,
            r#"{"version":2,"token":"0","verb":{"do":"kill","force":true}}"#,
            r#"{"version":2,"token":"0","verb":{"do":"kill"},"sudo":1}"#,
            r#"{"version":2,"verb":{"do":"kill"}}"#,
        ] {
            assert!(serde_json::from_str::<Ask>(bad).is_err(), "{bad}");
        }
        let good = r#"{"version":2,"token":"0","verb":{"do":"kill"}}"#;
        assert!(serde_json::from_str::<Ask>(good).is_ok());
    }
}
