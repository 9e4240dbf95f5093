//! What the supervisor and the keeper of a `pair` workspace say to each other, one packet each.

use std::io;

use ringfence_control::Taken;
use ringfence_model::event::Event;
use ringfence_sys::limits::PASSED_MESSAGE_BYTES;
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

impl FromKeeper {
    /// As one packet. What a program chose the length of is cut, and says so.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn packet(mut self) -> io::Result<Vec<u8>> {
        loop {
            let bytes = serde_json::to_vec(&self)?;
            if bytes.len() <= PASSED_MESSAGE_BYTES || !self.cut() {
                return Ok(bytes);
            }
        }
    }

    /// Makes it shorter; whether that was possible.
    fn cut(&mut self) -> bool {
        match self {
            Self::Exec { event: Event::Exec { argv, truncated, .. } } if !argv.is_empty() => {
                argv.truncate(argv.len() / 2);
                *truncated = true;
                true
            }
            Self::Done { outcome, .. } if !outcome.left.is_empty() => {
                outcome.left.truncate(outcome.left.len() / 2);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(argv: Vec<String>) -> FromKeeper {
        FromKeeper::Exec {
            event: Event::Exec { pid: 1, path: "/bin/x".to_owned(), argv, truncated: false },
        }
    }

    #[test]
    fn what_does_not_fit_one_packet_is_cut_and_says_so() {
        // Escaped, each takes six bytes.
        let long = exec(vec!["\u{1}".repeat(4096); 20]).packet().unwrap();
        assert!(long.len() <= PASSED_MESSAGE_BYTES);
        let back: FromKeeper = serde_json::from_slice(&long).unwrap();
        let FromKeeper::Exec { event: Event::Exec { argv, truncated, .. } } = back else {
            panic!("{back:?}")
        };
        assert!(truncated && !argv.is_empty() && argv.len() < 20);
        let whole = exec(vec!["a".to_owned()]).packet().unwrap();
        assert!(String::from_utf8(whole).unwrap().contains(r#""truncated":false"#));

        let left = vec![("p".repeat(4096), "why".to_owned()); 40];
        let outcome = Taken { left, left_count: 40, ..Taken::default() };
        let long = FromKeeper::Done { id: 1, outcome }.packet().unwrap();
        assert!(long.len() <= PASSED_MESSAGE_BYTES);
    }
}
