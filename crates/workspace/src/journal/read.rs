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

/// All entries. A last line without its end was being written when the writer died: what it was about
/// has not happened, so it is left out.
///
/// # Errors
/// [`ReadError`].
pub fn read(mut from: impl BufRead) -> Result<Vec<Entry>, ReadError> {
    let mut entries = Vec::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        from.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            break;
        }
        let entry: Entry = serde_json::from_slice(&line)
            .map_err(|error| ReadError::Line { line: number, why: error.to_string() })?;
        if entry.number != number {
            let why = format!("it is numbered {}", entry.number);
            return Err(ReadError::Line { line: number, why });
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// The marks of a journal: number, name and time.
pub fn marks(entries: &[Entry]) -> impl DoubleEndedIterator<Item = (u64, &str, i64)> {
    entries.iter().filter_map(|entry| match &entry.act {
        Act::Mark { name, unix_s } => Some((entry.number, name.as_str(), *unix_s)),
        _ => None,
    })
}
