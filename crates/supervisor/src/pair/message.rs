//! What the supervisor and the keeper of a `pair` workspace say to each other, one packet each.

use ringfence_model::event::Event;
use serde::{Deserialize, Serialize};

/// To the keeper.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum ToKeeper {
    /// The descriptor that comes with this is a further listener.
    Listen {},
    /// The answer to [`FromKeeper::Exec`].
    Recorded {
        /// Whether it is in the ledger.
        ok: bool,
    },
    /// Name this moment.
    Mark {
        /// To find the answer by.
        id: u64,
        /// The name.
        name: String,
        /// Now, in seconds since 1970.
        unix_s: i64,
    },
    /// Take back what was changed since a moment.
    Restore {
        /// To find the answer by.
        id: u64,
        /// The moment's name.
        to: String,
        /// Now, in seconds since 1970.
        unix_s: i64,
    },
}

/// From the keeper.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "say")]
pub enum FromKeeper {
    /// A program is about to start: it waits until this is recorded.
    Exec {
        /// What was seen.
        event: Event,
    },
    /// Done, in words for a person.
    Done {
        /// Of which question.
        id: u64,
        /// What came of it.
        outcome: Outcome,
    },
    /// Something that the ledger should say.
    Sensor {
        /// What.
        what: String,
    },
}

/// What came of a mark or of taking back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Why nothing was done, or why it stopped.
    pub failed: Option<String>,
    /// Things that were put back.
    pub restored: u64,
    /// What was not put back: path and why, at most [`LEFT_SHOWN`].
    pub left: Vec<(String, String)>,
    /// How much was not put back in all.
    pub left_count: u64,
    /// The moment to go back to if this was wrong.
    pub undo: Option<String>,
}

/// Paths that an outcome names: it must fit one packet.
pub const LEFT_SHOWN: usize = 40;

impl Outcome {
    /// Nothing was done.
    pub fn failed(why: impl Into<String>) -> Self {
        Self { failed: Some(why.into()), ..Self::done() }
    }

    /// It was done, and there is nothing to tell.
    pub const fn done() -> Self {
        Self { failed: None, restored: 0, left: Vec::new(), left_count: 0, undo: None }
    }
}
