//! What the supervisor and the keeper of a `pair` workspace say to each other, one packet each.

use ringfence_control::Taken;
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
        outcome: Taken,
    },
    /// Something that the ledger should say.
    Sensor {
        /// What.
        what: String,
    },
}
