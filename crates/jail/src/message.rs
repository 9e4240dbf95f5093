//! What the inside tells the supervisor on the life line, and what init is ordered: one JSON object
//! per packet.
//!
//! Init is the launcher's own code, but it lives in zone 0: nothing said here is trusted for
//! enforcement. The line carries facts for the ledger, descriptors, and the end.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::step::StepError;

/// One finding of the self-test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// What was tried.
    pub tried: String,
    /// What the kernel answered.
    pub answer: String,
    /// Whether that is what a finished boundary answers.
    pub held: bool,
}

/// From inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum FromInside {
    /// A step of building failed; nothing was started.
    Failed {
        /// Which step, and why.
        error: StepError,
    },
    /// The boundary stands. Descriptors: the agent's pidfd, then the terminal's master if any.
    Built {
        /// How the network is captured: `redirect` or `ports`, and why.
        capture: String,
        /// Whether IPv6 is captured too.
        ipv6: bool,
        /// Whether a terminal's master follows.
        terminal: bool,
    },
    /// A program beside the agent has a process. Descriptors: its pidfd, then its terminal's master
    /// if any.
    Started {
        /// Whether a terminal's master follows.
        terminal: bool,
    },
    /// The filter is laid and the self-test begins. Descriptor: the listener of the calls that are
    /// told, if any are.
    Listening {},
    /// The process is confined and waits for the word.
    Ready {
        /// Landlock ABI in force.
        landlock: u32,
        /// What the self-test found.
        probes: Vec<Probe>,
    },
    /// The program could not be started.
    ExecFailed {
        /// As typed.
        program: String,
        /// Error number.
        errno: i32,
    },
    /// The agent's first process, or the program that the line belongs to, has ended.
    Exited {
        /// As a shell shows it.
        code: i32,
    },
}

/// What one standard descriptor of a program beside the agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Passed {
    /// A terminal of the sandbox's own.
    Terminal,
    /// A pipe, whose descriptor follows.
    Pipe,
    /// The sandbox's own `/dev/null`.
    Null,
}

/// To init: start one more program behind the same boundary. Descriptors: the program's own line, on
/// which everything about it is told, then its pipes in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Program and arguments; none for the user's shell inside.
    pub argv: Vec<String>,
    /// Where it begins.
    pub cwd: PathBuf,
    /// What its terminal is, where that differs from the agent's.
    pub term: Option<String>,
    /// Standard input, output and error.
    pub stdio: [Passed; 3],
}
