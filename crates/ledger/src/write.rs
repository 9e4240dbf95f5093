//! Appending: one record, one line, one `write(2)`, and nothing after a failure.
//!
//! A writer that could not write a record whole is poisoned: every later append fails, so that
//! nothing happens unrecorded. It must never write a record twice, reorder or split one.

use ringfence_model::event::{Event, SCHEMA_VERSION, Subject};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Write};

use crate::GENESIS;
use crate::canonical::{CanonicalError, write_integer, write_string, write_value};
use crate::limits::INTERRUPTED_WRITES;
use crate::redact::Redactor;
use crate::shape::{ShapeError, event_bytes, short_text};
use crate::time::{Stamp, rfc3339};

/// Why a record was not appended. Whatever it is, the action it is about must not happen.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The event has no record. Nothing was written and the writer goes on.
    #[error("cannot record the event in {file}: {source}")]
    Event {
        /// The ledger.
        file: String,
        /// Why.
        source: ShapeError,
    },
    /// The record was not written whole. The writer is poisoned.
    #[error(
        "cannot write to the ledger {file}: {source}; the run must end (free the disk or repair \
         the file system, then `ringfence logs` shows what was recorded)"
    )]
    Write {
        /// The ledger.
        file: String,
        /// What the write said.
        source: io::Error,
    },
    /// An earlier append failed.
    #[error("the ledger {file} is closed since an earlier write failed: {cause}")]
    Poisoned {
        /// The ledger.
        file: String,
        /// The first failure.
        cause: String,
    },
}

/// Where a chain stands: what the next record continues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Records so far, which is the next `seq`.
    pub records: u64,
    /// `hash` of the last record, or [`GENESIS`].
    pub hash: String,
    /// `boot_ns` of the last record.
    pub boot_ns: u64,
}

impl Default for Head {
    fn default() -> Self {
        Self { records: 0, hash: GENESIS.to_owned(), boot_ns: 0 }
    }
}

/// Appends records to a chain.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    file: String,
    redactor: Redactor,
    subject: Subject,
    subject_json: Vec<u8>,
    labels_json: Vec<u8>,
    head: Head,
    poisoned: Option<String>,
    line: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// A writer of a new, empty ledger. `out` is a file opened to append; `file` names it in errors.
    ///
    /// # Errors
    /// When the subject has no canonical form.
    pub fn new(
        out: W,
        file: &str,
        subject: Subject,
        redactor: Redactor,
    ) -> Result<Self, AppendError> {
        Self::continued(out, file, subject, redactor, Head::default())
    }

    /// A writer that goes on where `head` stands (see [`crate::recover()`]).
    ///
    /// # Errors
    /// When the subject has no canonical form.
    pub fn continued(
        out: W,
        file: &str,
        subject: Subject,
        redactor: Redactor,
        head: Head,
    ) -> Result<Self, AppendError> {
        let mut writer = Self {
            out,
            file: file.to_owned(),
            redactor,
            subject,
            subject_json: Vec::new(),
            labels_json: b"[]".to_vec(),
            head,
            poisoned: None,
            line: Vec::with_capacity(1024),
        };
        writer.encode_subject()?;
        Ok(writer)
    }

    /// Where the chain stands.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Whether an append has failed for good.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.poisoned.is_some()
    }

    /// The policy digest that later records carry.
    ///
    /// # Errors
    /// When the subject has no canonical form.
    pub fn set_policy(&mut self, digest: &str) -> Result<(), AppendError> {
        digest.clone_into(&mut self.subject.policy);
        self.encode_subject()
    }

    /// The labels that later records carry.
    pub fn set_labels(&mut self, labels: &[String]) {
        self.labels_json = vec![b'['];
        for (index, label) in labels.iter().enumerate() {
            if index > 0 {
                self.labels_json.push(b',');
            }
            write_string(&mut self.labels_json, &short_text(label, &self.redactor));
        }
        self.labels_json.push(b']');
    }

    /// One more secret that is masked by its value from now on.
    pub fn add_secret(&mut self, value: &str) {
        self.redactor.add(value);
    }

    /// Appends a record and returns its `seq`. A `boot_ns` before the last record's (stamps taken
    /// by two threads) is lifted to it: order in the ledger is the order of appends.
    ///
    /// # Errors
    /// When the event has no record, the write fails or is short, or an earlier one did.
    pub fn append(&mut self, event: &Event, stamp: Stamp) -> Result<u64, AppendError> {
        if let Some(cause) = &self.poisoned {
            return Err(AppendError::Poisoned { file: self.file.clone(), cause: cause.clone() });
        }
        let event = event_bytes(event, &self.redactor)
            .map_err(|source| AppendError::Event { file: self.file.clone(), source })?;
        let boot_ns = stamp.boot_ns.max(self.head.boot_ns);
        let hash = self.build_line(&event, stamp, boot_ns);
        self.write_line()?;
        let seq = self.head.records;
        self.head = Head { records: seq + 1, hash, boot_ns };
        Ok(seq)
    }

    /// Builds the line with its newline; returns the record's hash.
    fn build_line(&mut self, event: &[u8], stamp: Stamp, boot_ns: u64) -> String {
        let line = &mut self.line;
        line.clear();
        line.extend_from_slice(b"{\"boot_ns\":");
        write_string(line, &boot_ns.to_string());
        line.extend_from_slice(b",\"event\":");
        line.extend_from_slice(event);
        let hash_at = line.len();
        line.extend_from_slice(b",\"hash\":\"");
        line.extend_from_slice(GENESIS.as_bytes());
        line.push(b'"');
        let after = line.len();
        line.extend_from_slice(b",\"labels\":");
        line.extend_from_slice(&self.labels_json);
        line.extend_from_slice(b",\"prev\":");
        write_string(line, &self.head.hash);
        line.extend_from_slice(b",\"schema\":");
        write_integer(line, i64::from(SCHEMA_VERSION));
        line.extend_from_slice(b",\"seq\":");
        // 2^53 records do not fit on any disk.
        write_integer(line, i64::try_from(self.head.records).unwrap_or(i64::MAX));
        line.extend_from_slice(b",\"subject\":");
        line.extend_from_slice(&self.subject_json);
        line.extend_from_slice(b",\"time\":");
        write_string(line, &rfc3339(stamp));
        line.push(b'}');
        let hash = record_hash(
            line.get(..hash_at).unwrap_or_default(),
            line.get(after..).unwrap_or_default(),
        );
        if let Some(place) = line.get_mut(after - 1 - hash.len()..after - 1) {
            place.copy_from_slice(hash.as_bytes());
        }
        line.push(b'\n');
        hash
    }

    /// One `write(2)`. Short or failed: poisoned.
    fn write_line(&mut self) -> Result<(), AppendError> {
        let mut tries = 0;
        let result = loop {
            match self.out.write(&self.line) {
                // Interrupted means that no byte was taken.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    tries += 1;
                    if tries > INTERRUPTED_WRITES {
                        break Err(error);
                    }
                }
                other => break other,
            }
        };
        let source = match result {
            Ok(written) if written == self.line.len() => return Ok(()),
            Ok(written) => io::Error::new(
                io::ErrorKind::StorageFull,
                format!("only {written} of {} bytes were taken", self.line.len()),
            ),
            Err(error) => error,
        };
        self.poisoned = Some(source.to_string());
        Err(AppendError::Write { file: self.file.clone(), source })
    }

    fn encode_subject(&mut self) -> Result<(), AppendError> {
        let mut subject = self.subject.clone();
        for text in [&mut subject.agent, &mut subject.principal, &mut subject.host] {
            *text = short_text(text, &self.redactor);
        }
        let encoded = serde_json::to_value(&subject)
            .map_err(|error| CanonicalError::Json(error.to_string()))
            .and_then(|value: Value| {
                let mut out = Vec::new();
                write_value(&mut out, &value, 1).map(|()| out)
            });
        self.subject_json = encoded.map_err(|source| AppendError::Event {
            file: self.file.clone(),
            source: ShapeError::Canonical(source),
        })?;
        Ok(())
    }
}

impl Writer<File> {
    /// Makes everything appended so far durable (`fdatasync`). Poisons on failure: after a failed
    /// sync nobody knows what the disk has.
    ///
    /// # Errors
    /// When the sync fails, or an earlier write did.
    pub fn sync(&mut self) -> Result<(), AppendError> {
        if let Some(cause) = &self.poisoned {
            return Err(AppendError::Poisoned { file: self.file.clone(), cause: cause.clone() });
        }
        self.out.sync_data().map_err(|source| {
            self.poisoned = Some(source.to_string());
            AppendError::Write { file: self.file.clone(), source }
        })
    }
}

/// SHA-256 in lower-case hex over a record's canonical bytes, given as the two parts around `hash`.
pub(crate) fn record_hash(before: &[u8], after: &[u8]) -> String {
    hex(&Sha256::new().chain_update(before).chain_update(after).finalize())
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            out.push(char::from(DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0')));
        }
    }
    out
}
