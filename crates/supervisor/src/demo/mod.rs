//! The demo: one rogue agent, twenty attempts, once free and once contained.
//!
//! Both rounds run against a decoy host below a private temporary directory; the real home, real
//! servers and real addresses are never touched, and nothing is left behind.

mod attempts;
pub(crate) mod decoy;
mod processes;
mod round;
mod servers;

use std::io;
use std::os::fd::OwnedFd;

use serde::Serialize;

use attempts::{ATTEMPTS, Sign};
use decoy::Scratch;
use round::{Kind, Outcome, Played};

/// How long the decoy daemon lives at most, in seconds.
const DAEMON_SECONDS: u32 = 120;

/// Numbers of the signals that a person ends the demo with: SIGHUP, SIGINT, SIGTERM.
const INTERRUPTS: [i32; 3] = [1, 2, 15];

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The operating system.
    #[error("cannot {what}: {source}")]
    System {
        /// What.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The person has had enough; everything is cleaned up.
    #[error("interrupted; nothing is left behind")]
    Interrupted(i32),
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Short name.
    pub id: &'static str,
    /// What was tried.
    pub what: &'static str,
    /// What came of it without a boundary.
    pub free: String,
    /// What came of it within one.
    pub contained: String,
    /// Whether it succeeded without a boundary, as it should to prove anything.
    pub succeeded_free: bool,
    /// Whether it was tried within the boundary and failed.
    pub held: bool,
}

/// The whole table.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Twenty rows.
    pub rows: Vec<Row>,
    /// Duration of the free round, in milliseconds.
    pub free_ms: u64,
    /// Duration of the contained round, boundary and ledger included, in milliseconds.
    pub contained_ms: u64,
    /// Denials that the contained run's ledger holds.
    pub denials: u64,
    /// Records of that ledger, if it is there and whole.
    pub records: Option<u64>,
    /// What ringfence said, if the contained round did not come to its end.
    pub refused: Option<String>,
    /// All twenty succeeded free, and none contained.
    pub passed: bool,
}

/// Signals that end the demo early, taken when they come instead of ending the process.
struct Interrupts(Option<OwnedFd>);

impl Interrupts {
    fn take() -> Self {
        Self(ringfence_sys::process::signals(&INTERRUPTS).ok())
    }

    fn pending(&self) -> Option<i32> {
        ringfence_sys::process::drain_signals(self.0.as_ref()?).first().copied()
    }
}

/// Plays both rounds. `progress` is told what happens, one line each.
///
/// # Errors
/// [`DemoError`]; nothing is left behind.
pub fn run(progress: &mut dyn FnMut(&str)) -> Result<Report, DemoError> {
    let interrupts = Interrupts::take();
    let scratch = Scratch::new("ringfence-demo").map_err(|source| DemoError::System {
        what: "make a temporary directory".to_owned(),
        source,
    })?;
    progress("a rogue agent runs free, on a decoy home ...");
    let free = round::play(Kind::Free, scratch.path().join("f"), &interrupts)?;
    progress("the same agent runs contained ...");
    let contained = round::play(Kind::Contained, scratch.path().join("c"), &interrupts)?;
    Ok(report(&free, &contained))
}

fn report(free: &Played, contained: &Played) -> Report {
    let rows: Vec<Row> = ATTEMPTS
        .iter()
        .zip(free.outcomes.iter().zip(&contained.outcomes))
        .map(|(attempt, (one, other))| Row {
            id: attempt.id,
            what: attempt.what,
            free: word(attempt, *one, free),
            contained: word(attempt, *other, contained),
            succeeded_free: *one == Outcome::Done,
            held: *other == Outcome::Held,
        })
        .collect();
    let tried = contained.outcomes.iter().all(|outcome| *outcome != Outcome::NotTried);
    Report {
        passed: rows.iter().all(|row| row.succeeded_free && row.held),
        rows,
        free_ms: free.elapsed_ms,
        contained_ms: contained.elapsed_ms,
        denials: contained.denials,
        records: contained.records,
        refused: (!tried).then(|| contained.words.clone()),
    }
}

fn word(attempt: &attempts::Attempt, outcome: Outcome, played: &Played) -> String {
    match outcome {
        Outcome::NotTried => "not tried".to_owned(),
        Outcome::Done | Outcome::Held if attempt.sign == Sign::Bomb => {
            let word = if outcome == Outcome::Done { attempt.done } else { attempt.held };
            format!("{word} ({})", played.bomb)
        }
        Outcome::Done => attempt.done.to_owned(),
        Outcome::Held => attempt.held.to_owned(),
    }
}

/// Whether `bytes` contain `word`; an empty word is in nothing.
fn contains(bytes: &[u8], word: &str) -> bool {
    !word.is_empty() && bytes.windows(word.len()).any(|part| part == word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(outcome: Outcome) -> Played {
        Played {
            outcomes: vec![outcome; ATTEMPTS.len()],
            bomb: 9,
            elapsed_ms: 1,
            words: "ringfence: no".to_owned(),
            denials: 3,
            records: Some(8),
        }
    }

    #[test]
    fn only_a_control_group_that_succeeds_and_a_boundary_that_holds_pass() {
        let report_of = |free, contained| report(&played(free), &played(contained));
        assert!(report_of(Outcome::Done, Outcome::Held).passed);
        for (free, contained) in [
            (Outcome::Held, Outcome::Held),
            (Outcome::NotTried, Outcome::Held),
            (Outcome::Done, Outcome::Done),
            (Outcome::Done, Outcome::NotTried),
        ] {
            assert!(!report_of(free, contained).passed, "{free:?} {contained:?}");
        }
        let mut one = played(Outcome::Done);
        if let Some(last) = one.outcomes.last_mut() {
            *last = Outcome::Held;
        }
        let report = report(&one, &played(Outcome::Held));
        assert!(!report.passed, "one control that fails is enough");
        assert_eq!(report.rows.iter().filter(|row| row.succeeded_free).count(), 19);
        assert_eq!(report.rows.len(), 20);
    }

    #[test]
    fn a_refused_run_is_told_in_its_own_words() {
        let refused = report(&played(Outcome::Done), &played(Outcome::NotTried));
        assert_eq!(refused.refused.as_deref(), Some("ringfence: no"));
        assert!(refused.rows.iter().all(|row| row.contained == "not tried" && !row.held));
        let held = report(&played(Outcome::Done), &played(Outcome::Held));
        assert_eq!(held.refused, None);
        assert_eq!(held.rows.last().map(|row| row.contained.as_str()), Some("limited (9)"));
    }

    #[test]
    fn words_are_looked_for_whole() {
        assert!(contains(b"abc", "bc"));
        assert!(!contains(b"abc", "bd"));
        assert!(!contains(b"abc", ""));
    }
}
