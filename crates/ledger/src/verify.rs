//! Checking a ledger from its bytes alone: every record, their order, both clocks, the end.
//!
//! Streaming, in memory that does not grow with the ledger. It stops at the first fault and names
//! its index; it never repairs. What it cannot see: records cut off the end (then there is no end
//! record), and a chain that someone with the file's ownership rewrote whole; compare
//! [`Summary::head`] with a copy kept elsewhere for that.

use memchr::{memchr, memrchr};
use ringfence_model::event::SCHEMA_VERSION;
use sha2::{Digest, Sha256};
use std::io::{self, Read};

use crate::GENESIS;
use crate::limits::{LINE_BYTES, VERIFY_CHUNK_BYTES, VERIFY_PIECE_BYTES, VERIFY_WORKERS, WARNINGS};
use crate::scan::{Parts, ScanError, scan};
use crate::time::is_time;

/// What a ledger was found to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Whole records.
    pub records: u64,
    /// Time of the first record; empty without records.
    pub first_time: String,
    /// Time of the last record; empty without records.
    pub last_time: String,
    /// `hash` of the last record, or 64 zeros.
    pub head: String,
    /// `boot_ns` of the last record.
    pub boot_ns: u64,
    /// Whether there is an end record: without one the run was cut short, or the ledger was.
    pub ended: bool,
    /// What is odd but can happen to an honest ledger, at most 100.
    pub warnings: Vec<Warning>,
    /// How many warnings there were in all.
    pub warning_count: u64,
    /// Bytes of whole records.
    pub bytes: u64,
}

/// Something odd.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// The wall clock went back while the boot clock went on.
    #[error("record {index}: the wall clock went back from {from} to {to}")]
    WallClock {
        /// The record that is earlier than the one before.
        index: u64,
        /// Time of the record before.
        from: String,
        /// Its own time.
        to: String,
    },
}

/// The first thing that is wrong with a ledger.
#[derive(Debug, thiserror::Error)]
#[error("record {index} (byte {offset}): {what}")]
pub struct Fault {
    /// Index of the first bad record, from 0.
    pub index: u64,
    /// Where its line begins in the file, in bytes.
    pub offset: u64,
    /// What is wrong with it.
    pub what: FaultKind,
}

/// What is wrong with a record.
#[derive(Debug, thiserror::Error)]
pub enum FaultKind {
    /// It does not parse, or is not spelled canonically.
    #[error("it is not a canonical record: {0}")]
    Form(#[from] ScanError),
    /// It was written by another version.
    #[error("it has schema {0}; this version reads schema {SCHEMA_VERSION}")]
    Schema(u64),
    /// A record is missing, repeated or moved.
    #[error("its number is {found}: a record was removed, repeated or moved")]
    Sequence {
        /// What it says.
        found: u64,
    },
    /// Its bytes are not what was written.
    #[error("its bytes do not match its hash: it was changed")]
    Hash,
    /// It does not continue the record before.
    #[error("it does not continue the record before: one of the two was replaced")]
    Chain,
    /// Its time is not a time.
    #[error("its time is not RFC 3339 in UTC with nanoseconds")]
    Time,
    /// The boot clock went back.
    #[error("the boot clock went back from {from} to {to} ns")]
    BootClock {
        /// Of the record before.
        from: u64,
        /// Its own.
        to: u64,
    },
    /// Something other than a person's later act follows the end record.
    #[error("it follows the end of the run")]
    AfterEnd,
    /// The last line has no newline: the write was torn, or is still under way.
    #[error("it is torn: {bytes} bytes without an end of line")]
    Torn {
        /// How many bytes there are of it.
        bytes: usize,
    },
    /// Longer than any record.
    #[error("its line is longer than {LINE_BYTES} bytes")]
    TooLong,
    /// The file could not be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// Checks a whole ledger.
///
/// # Errors
/// The first fault, with its index.
pub fn verify<R: Read>(reader: R) -> Result<Summary, Fault> {
    let mut chain = Chain::default();
    match verify_into(reader, &mut chain)? {
        tail if tail.is_empty() => Ok(chain.finish()),
        tail => Err(chain.fault(FaultKind::Torn { bytes: tail.len() })),
    }
}

/// Checks all whole lines; returns the bytes after the last newline.
pub(crate) fn verify_into<R: Read>(mut reader: R, chain: &mut Chain) -> Result<Vec<u8>, Fault> {
    let workers = std::thread::available_parallelism().map_or(1, |n| n.get()).min(VERIFY_WORKERS);
    let mut buffer = vec![0; VERIFY_CHUNK_BYTES + LINE_BYTES + 1];
    let mut filled = 0;
    loop {
        let read = fill(&mut reader, buffer.get_mut(filled..).unwrap_or_default());
        let (read, failed) = match read {
            Ok(read) => (read, None),
            Err(error) => (0, Some(error)),
        };
        filled += read;
        let chunk = buffer.get(..filled).unwrap_or_default();
        let whole = memrchr(b'\n', chunk).map_or(0, |at| at + 1);
        chain.lines(chunk.get(..whole).unwrap_or_default(), workers)?;
        if let Some(error) = failed {
            return Err(chain.fault(FaultKind::Read(error)));
        }
        if filled - whole > LINE_BYTES {
            return Err(chain.fault(FaultKind::TooLong));
        }
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
        if read == 0 {
            break;
        }
    }
    buffer.truncate(filled);
    Ok(buffer)
}

/// Reads until the buffer is full or the file ends; what was read before an error counts.
fn fill<R: Read>(reader: &mut R, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match reader.read(room) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if filled == 0 => return Err(error),
            Err(_) => break,
        }
    }
    Ok(filled)
}

/// What can be said of a line alone: its parts, and whether its hash is right.
type Alone<'a> = (usize, Result<(Parts<'a>, bool), ScanError>);

fn check_alone(lines: &[u8]) -> Vec<Alone<'_>> {
    let mut out = Vec::with_capacity(lines.len() / 512);
    let mut at = 0;
    while let Some(length) = memchr(b'\n', lines.get(at..).unwrap_or_default()) {
        let line = lines.get(at..at + length).unwrap_or_default();
        let parts = scan(line);
        out.push((length, parts.map(|parts| (parts, has_its_hash(&parts)))));
        at += length + 1;
    }
    out
}

fn has_its_hash(parts: &Parts<'_>) -> bool {
    let hash = Sha256::new().chain_update(parts.before_hash).chain_update(parts.after_hash);
    same_digest(&hash.finalize(), parts.hash)
}

/// Cuts a chunk of whole lines into about `parts` pieces of whole lines.
fn split_lines(mut chunk: &[u8], parts: usize) -> Vec<&[u8]> {
    let mut out = Vec::with_capacity(parts);
    let size = chunk.len() / parts.max(1) + 1;
    while chunk.len() > size {
        let end = memchr(b'\n', chunk.get(size..).unwrap_or_default());
        let (piece, rest) = chunk.split_at(end.map_or(chunk.len(), |at| size + at + 1));
        out.push(piece);
        chunk = rest;
    }
    out.push(chunk);
    out
}

/// The state of a check between two records.
#[derive(Debug)]
pub(crate) struct Chain {
    summary: Summary,
    prev: [u8; 64],
    time: Vec<u8>,
}

impl Default for Chain {
    fn default() -> Self {
        let mut prev = [b'0'; 64];
        prev.copy_from_slice(GENESIS.as_bytes());
        Self { summary: Summary::default(), prev, time: Vec::new() }
    }
}

impl Chain {
    /// What the checked records say.
    pub(crate) fn finish(mut self) -> Summary {
        self.summary.head = String::from_utf8_lossy(&self.prev).into_owned();
        self.summary.last_time = String::from_utf8_lossy(&self.time).into_owned();
        self.summary
    }

    fn fault(&self, what: FaultKind) -> Fault {
        Fault { index: self.summary.records, offset: self.summary.bytes, what }
    }

    /// Checks the next lines. What a line is by itself is found by several threads; how it follows
    /// from the one before is then seen in order, so the first fault is the one that is named.
    fn lines(&mut self, chunk: &[u8], workers: usize) -> Result<(), Fault> {
        let mut pieces =
            split_lines(chunk, if chunk.len() < VERIFY_PIECE_BYTES { 1 } else { workers });
        let own = pieces.pop().unwrap_or_default();
        let checked = std::thread::scope(|scope| {
            let running: Vec<_> = pieces
                .iter()
                .map(|piece| (scope.spawn(move || check_alone(piece)), *piece))
                .collect();
            let last = check_alone(own);
            let mut all: Vec<Alone<'_>> = Vec::new();
            for (thread, piece) in running {
                // A thread that died has no answer; the work is done again here.
                all.extend(thread.join().unwrap_or_else(|_| check_alone(piece)));
            }
            all.extend(last);
            all
        });
        checked.into_iter().try_for_each(|line| self.line(line))
    }

    fn line(&mut self, (length, alone): Alone<'_>) -> Result<(), Fault> {
        if length > LINE_BYTES {
            return Err(self.fault(FaultKind::TooLong));
        }
        let (parts, hashed) = alone.map_err(|error| self.fault(error.into()))?;
        self.check(&parts, hashed).map_err(|what| self.fault(what))?;
        self.prev.copy_from_slice(parts.hash);
        let summary = &mut self.summary;
        if summary.records == 0 {
            summary.first_time = String::from_utf8_lossy(parts.time).into_owned();
        }
        self.time.clear();
        self.time.extend_from_slice(parts.time);
        summary.boot_ns = parts.boot_ns;
        summary.ended |= parts.kind == b"end";
        summary.records += 1;
        summary.bytes += length as u64 + 1;
        Ok(())
    }

    fn check(&mut self, parts: &Parts<'_>, hashed: bool) -> Result<(), FaultKind> {
        let index = self.summary.records;
        if parts.schema != u64::from(SCHEMA_VERSION) {
            return Err(FaultKind::Schema(parts.schema));
        }
        if !hashed {
            return Err(FaultKind::Hash);
        }
        if parts.seq != index {
            return Err(FaultKind::Sequence { found: parts.seq });
        }
        if parts.prev != self.prev {
            return Err(FaultKind::Chain);
        }
        if !is_time(parts.time) {
            return Err(FaultKind::Time);
        }
        if parts.boot_ns < self.summary.boot_ns {
            return Err(FaultKind::BootClock { from: self.summary.boot_ns, to: parts.boot_ns });
        }
        // A person applies or discards changes after the run; nothing else may follow its end.
        if self.summary.ended && !matches!(parts.kind, b"workspace" | b"control" | b"sensor") {
            return Err(FaultKind::AfterEnd);
        }
        if parts.time < self.time.as_slice() {
            self.warn_wall_clock(index, parts.time);
        }
        Ok(())
    }

    fn warn_wall_clock(&mut self, index: u64, time: &[u8]) {
        self.summary.warning_count += 1;
        if self.summary.warnings.len() < WARNINGS {
            self.summary.warnings.push(Warning::WallClock {
                index,
                from: String::from_utf8_lossy(&self.time).into_owned(),
                to: String::from_utf8_lossy(time).into_owned(),
            });
        }
    }
}

/// Whether hexadecimal digits (already known to be such) spell these bytes.
fn same_digest(bytes: &[u8], digits: &[u8]) -> bool {
    let value = |digit: u8| {
        if digit > b'9' { digit - b'a' + 10 } else { digit - b'0' }
    };
    digits.len() == bytes.len() * 2
        && bytes
            .iter()
            .zip(digits.as_chunks::<2>().0)
            .all(|(byte, [high, low])| *byte == value(*high).wrapping_shl(4) | value(*low))
}
