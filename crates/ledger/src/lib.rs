//! The ledger: canonical JSON records in a hash chain, written before their effect.
//!
//! This crate reads no clock, makes no random numbers and opens no file: times are passed in, and
//! the caller hands over what is written to and read from. A record that cannot be written is an
//! error for good; nothing here drops, repairs or rewrites a record.
//!
//! One line per record: the canonical JSON (RFC 8785) of a [`ringfence_model::event::Record`] with
//! one more member, `hash`, the SHA-256 of the same object without `hash`. `prev` is the `hash` of
//! the line before. So each line can be checked alone (the last one too), and the order by the chain.
#![forbid(unsafe_code)]

pub mod canonical;
pub mod coalesce;
pub mod limits;
pub mod read;
pub mod recover;
pub mod redact;
pub mod render;
mod scan;
mod shape;
mod shapes;
pub mod time;
pub mod verify;
pub mod write;

pub use canonical::{canonical, canonical_record};
pub use coalesce::Coalescer;
pub use read::Reader;
pub use recover::{Recovered, recover};
pub use redact::Redactor;
pub use time::Stamp;
pub use verify::{Fault, Summary, verify};
pub use write::{AppendError, Writer};

/// `prev` of the first record: 64 zeros.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
