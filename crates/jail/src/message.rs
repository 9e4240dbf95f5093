//! What the inside tells the supervisor on the life line: one JSON object per packet.
//!
//! Init is the launcher's own code, but it lives in zone 0: nothing said here is trusted for
//! enforcement. The line carries facts for the ledger, descriptors, and the end.

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
    /// The filter is laid and the self-test begins. Descriptor: the listener of the calls that are
    /// told, if any are.
    Listening {},
    /// The agent's process is confined and waits for the word.
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
    /// The agent's first process has ended.
    Exited {
        /// As a shell shows it.
        code: i32,
    },
}
