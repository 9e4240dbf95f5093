//! Reading a journal.

use std::io::{self, BufRead};

use super::entry::{Act, Entry};

/// Why a journal cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file.
    #[error("the journal cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A line that is no entry, or not the next one.
    #[error("line {line} of the journal is not understood ({why}); nothing is taken back")]
    Line {
        /// Which, from 1.
        line: u64,
        /// Why.
        why: String,
    },
}

/// What a journal holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The entries, without those that are about nothing.
    pub entries: Vec<Entry>,
    /// The number of the entry that is written next.
    pub next: u64,
    /// Bytes of whole lines.
    pub bytes: u64,
}

/// All entries. A last line without its end was being written when the writer died: what it was about
/// has not happened, so it is left out.
///
/// # Errors
/// [`ReadError`].
pub fn read(mut from: impl BufRead) -> Result<Log, ReadError> {
    let mut log = Log { entries: Vec::new(), next: 1, bytes: 0 };
    let mut line = Vec::new();
    loop {
        line.clear();
        from.read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            break;
        }
        let wrong = |why: String| ReadError::Line { line: log.next, why };
        let entry: Entry =
            serde_json::from_slice(&line).map_err(|error| wrong(error.to_string()))?;
        if entry.number != log.next {
            return Err(wrong(format!("it is numbered {}", entry.number)));
        }
        log.bytes += line.len() as u64;
        log.next += 1;
        match entry.act {
            Act::Void { first, last } => void(&mut log.entries, first, last),
            _ => log.entries.push(entry),
        }
    }
    Ok(log)
}

/// Takes out entries that are about nothing; they are among the last ones.
fn void(entries: &mut Vec<Entry>, first: u64, last: u64) {
    let mut at = entries.partition_point(|entry| entry.number < first);
    while entries.get(at).is_some_and(|entry| entry.number <= last) {
        match entries.get(at).map(|entry| &entry.act) {
            Some(Act::Mark { .. }) => at += 1,
            _ => drop(entries.remove(at)),
        }
    }
}

/// The marks of a journal: number, name and time.
pub fn marks(entries: &[Entry]) -> impl DoubleEndedIterator<Item = (u64, &str, i64)> {
    entries.iter().filter_map(|entry| match &entry.act {
        Act::Mark { name, unix_s } => Some((entry.number, name.as_str(), *unix_s)),
        _ => None,
    })
}
