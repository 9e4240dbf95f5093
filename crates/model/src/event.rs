//! Ledger records: what happened, who asked, what was decided and what came of it.
//!
//! Numbers that may pass 2^53 are strings (RFC 8785 knows only IEEE doubles). Field order does not
//! matter: the ledger writes canonical JSON.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

use crate::decision::Decision;
use crate::enforcement::Control;
use crate::id::{RunId, SandboxName};
use crate::provenance::Layer;
use crate::request::Request;

/// Version of the record's shape.
pub const SCHEMA_VERSION: u32 = 1;

/// Who the record is about; the same in every record of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The run.
    pub run: RunId,
    /// The sandbox's name, if it has one.
    pub sandbox: Option<SandboxName>,
    /// The agent: profile name, or the program's base name.
    pub agent: String,
    /// The person on whose behalf it runs: `name (uid N)`.
    pub principal: String,
    /// The machine.
    pub host: String,
    /// SHA-256 over the compiled policy of the current generation, hex.
    pub policy: String,
}

/// One record, before the chain adds its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// [`SCHEMA_VERSION`].
    pub schema: u32,
    /// Position in the run's ledger, from 0, without gaps.
    pub seq: u64,
    /// Wall clock, RFC 3339 UTC with nanoseconds.
    pub time: String,
    /// `CLOCK_BOOTTIME` in nanoseconds, as a decimal string.
    pub boot_ns: String,
    /// Who.
    pub subject: Subject,
    /// Labels the run has risen to.
    pub labels: Vec<String>,
    /// What happened.
    pub event: Event,
    /// SHA-256 of the record before it (64 zeros for the first), hex.
    pub prev: String,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Event {
    /// A run begins: written before the agent's first instruction.
    Start(Box<Start>),
    /// The agent's first instruction follows.
    Released {
        /// What is in force, as measured from inside and outside.
        controls: Vec<Control>,
        /// The self-test's findings, one per probe.
        self_test: Vec<String>,
    },
    /// A decision, before its effect.
    Decision {
        /// The connection, if it is about one.
        flow: Option<u64>,
        /// The question.
        request: Request,
        /// The answer.
        decision: Decision,
        /// How many equal questions this record stands for; more than 1 only for denials.
        count: u64,
    },
    /// What came of an allowed connection.
    Outcome {
        /// The connection.
        flow: u64,
        /// Bytes from the sandbox.
        sent: u64,
        /// Bytes to the sandbox.
        received: u64,
        /// How long it was open, in microseconds.
        duration_us: u64,
        /// What ended it, if not a plain close.
        error: Option<String>,
    },
    /// A name was looked up inside.
    Dns {
        /// The name.
        name: String,
        /// Record type.
        record: String,
        /// Synthetic answer, if any.
        answer: Option<String>,
        /// How many equal questions this record stands for.
        count: u64,
    },
    /// A program was started, as seen from outside at that moment; what it maps later is not seen.
    Exec {
        /// Process id on the host.
        pid: u32,
        /// Path as given to the kernel.
        path: String,
        /// Arguments, secrets redacted.
        argv: Vec<String>,
        /// Whether path or arguments were cut.
        truncated: bool,
    },
    /// A limit was hit.
    Limit {
        /// Which: `memory`, `processes`, `disk`, `wall`, `idle`, …
        name: String,
        /// The limit, in words.
        limit: String,
        /// What was done.
        action: String,
    },
    /// The policy changed under a running sandbox.
    Policy {
        /// The new generation.
        generation: u64,
        /// The new digest.
        digest: String,
        /// The layer that changed.
        layer: Layer,
        /// In words.
        summary: String,
    },
    /// A person acted on the run through the control socket.
    Control {
        /// The verb.
        verb: String,
        /// Who: `name (uid N)`.
        by: String,
        /// The program that it is about, if any: `exec`, and `exec-ended` with the code.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        argv: Vec<String>,
        /// The program's exit code as a shell shows it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i32>,
    },
    /// Something that watches was lost or fell behind.
    Sensor {
        /// Which, and what happened.
        what: String,
    },
    /// Changes of the workspace were applied or thrown away.
    Workspace {
        /// Before: `apply` or `discard`. After an apply: `applied` and, for what was left out,
        /// `held-back`, `conflict`, `refused`, `failed`.
        verb: String,
        /// Paths, relative to the workspace, escaped; at most 1,000.
        paths: Vec<String>,
        /// How many in all.
        count: u64,
        /// SHA-256 over the list of changes, hex.
        digest: String,
    },
    /// The run is over.
    End(Box<End>),
}

/// The first record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Version of ringfence.
    pub version: String,
    /// SHA-256 of the ringfence binary, hex, or why it is not known.
    pub binary: String,
    /// The boundary manifest: the whole plan, file contents excepted.
    pub manifest: serde_json::Value,
    /// The files that the policy was read from, with their SHA-256.
    pub sources: Vec<PolicySource>,
    /// What this boundary does not contain, by id.
    pub residual_risks: Vec<String>,
}

/// A file that policy was read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySource {
    /// Which layer.
    pub layer: Layer,
    /// The file, or the name of a built-in profile.
    pub file: PathBuf,
    /// SHA-256 of its bytes, hex.
    pub digest: String,
}

/// The last record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// What ended it: `exit`, `signal`, `killed`, `limit`, `gateway-lost`, `failed`.
    pub cause: String,
    /// Exit code as a shell would show it (128 + n for a signal).
    pub code: i32,
    /// Wall time in milliseconds.
    pub duration_ms: u64,
    /// Decisions that allowed.
    pub allowed: u64,
    /// Decisions that denied.
    pub denied: u64,
    /// Bytes that left.
    pub sent: u64,
    /// Bytes that came in.
    pub received: u64,
    /// Programs started, as seen.
    pub execs: u64,
}
