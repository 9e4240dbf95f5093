//! Reading records one after the other, also while the ledger is being written.
//!
//! For showing only: whether the ledger is whole is for [`crate::verify()`] to say.

use ringfence_model::event::Record;
use std::io::{self, BufRead};

use crate::limits::LINE_BYTES;

/// Why the next record cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read.
    #[error("the ledger cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A line is no record that this version knows; the next one may be.
    #[error("line {line} is not a record: {why}; `ringfence audit verify` checks the whole ledger")]
    Record {
        /// Line number, from 1.
        line: u64,
        /// What the parser said.
        why: String,
    },
    /// A line is longer than any record; nothing after it is read.
    #[error("line {line} is longer than {LINE_BYTES} bytes")]
    TooLong {
        /// Line number, from 1.
        line: u64,
    },
}

/// Reads records. `None` means that there is no further whole line yet: a later call goes on with
/// what has been written in between, so a follower polls it.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    partial: Vec<u8>,
    line: u64,
    broken: bool,
}

impl<R: BufRead> Reader<R> {
    /// A reader from the current position of `input`.
    pub fn new(input: R) -> Self {
        Self { input, partial: Vec::new(), line: 0, broken: false }
    }

    /// The next record with its line as it stands (newline excluded), for output as JSON lines.
    ///
    /// # Errors
    /// When the file cannot be read or the line is no record.
    pub fn next_line(&mut self) -> Result<Option<(Record, String)>, ReadError> {
        if !self.fill()? {
            return Ok(None);
        }
        self.line += 1;
        self.partial.pop();
        let bytes = std::mem::take(&mut self.partial);
        let wrong = |why: String| ReadError::Record { line: self.line, why };
        let text = String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))?;
        let record = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        Ok(Some((record, text)))
    }

    /// Fills `partial` up to a newline; whether there is one.
    fn fill(&mut self) -> Result<bool, ReadError> {
        loop {
            if self.broken {
                return Ok(false);
            }
            let chunk = match self.input.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if chunk.is_empty() {
                return Ok(false);
            }
            let end = memchr::memchr(b'\n', chunk).map(|at| at + 1);
            let take = end.unwrap_or(chunk.len());
            self.partial.extend_from_slice(chunk.get(..take).unwrap_or_default());
            self.input.consume(take);
            if self.partial.len() > LINE_BYTES + 1 {
                self.broken = true;
                return Err(ReadError::TooLong { line: self.line + 1 });
            }
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}

impl<R: BufRead> Iterator for Reader<R> {
    type Item = Result<Record, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line().map(|found| found.map(|(record, _)| record)).transpose()
    }
}
