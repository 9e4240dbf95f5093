//! The journal's file: whole lines only, whatever fails between.

use std::fs::File;
use std::io::{self, Write};

use rustix::io::Errno;

use super::entry::{Act, Entry};
use super::read::Log;
use crate::limits::JOURNAL_BYTES;

/// Writes entries, one line each.
#[derive(Debug)]
pub(super) struct Writer {
    file: File,
    next: u64,
    /// Bytes of whole lines in the file.
    end: u64,
    /// Whether the file ends in a part of a line that could not be cut off.
    torn: bool,
}

impl Writer {
    /// Goes on with a file that is open for appending, behind its last whole line.
    pub(super) fn new(file: File, log: &Log) -> io::Result<Self> {
        if file.metadata()?.len() != log.bytes {
            file.set_len(log.bytes)?;
        }
        Ok(Self { file, next: log.next, end: log.bytes, torn: false })
    }

    /// The number of the entry that is written next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Writes an entry: its number. After an error the file is as it was before.
    pub(super) fn write(&mut self, act: Act) -> io::Result<u64> {
        let number = self.next;
        let mut line = serde_json::to_vec(&Entry { number, act })?;
        line.push(b'\n');
        if self.torn {
            self.cut()?;
        }
        if self.end + line.len() as u64 > JOURNAL_BYTES {
            return Err(Errno::NOSPC.into());
        }
        if let Err(error) = self.file.write_all(&line) {
            self.torn = true;
            let _ = self.cut();
            return Err(error);
        }
        self.end += line.len() as u64;
        self.next += 1;
        Ok(number)
    }

    fn cut(&mut self) -> io::Result<()> {
        self.file.set_len(self.end)?;
        self.torn = false;
        Ok(())
    }
}
