//! Going on after a crash: find the last whole record, keep what was torn, continue the chain.
//!
//! Nothing is removed before it is safe elsewhere, and only bytes after the last newline ever are.
//! A record that is whole but wrong is no crash: it is a fault, and the ledger is left as it is.

use ringfence_model::event::{Event, Subject};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

use crate::redact::Redactor;
use crate::time::Stamp;
use crate::verify::{Chain, Fault, Summary, verify_into};
use crate::write::{AppendError, Head, Writer, hex};

/// What a ledger holds after a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// What the whole records say.
    pub summary: Summary,
    /// The bytes of the torn last line; empty if there is none.
    pub tail: Vec<u8>,
}

impl Recovered {
    /// Where the chain goes on.
    #[must_use]
    pub fn head(&self) -> Head {
        Head {
            records: self.summary.records,
            hash: self.summary.head.clone(),
            boot_ns: self.summary.boot_ns,
        }
    }
}

/// Why a ledger cannot be continued.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// A whole record is wrong.
    #[error("the ledger {file} cannot be continued: {source}; `ringfence audit verify` shows it")]
    Fault {
        /// The ledger.
        file: String,
        /// The first fault.
        source: Fault,
    },
    /// The torn bytes could not be put aside, or the ledger could not be cut.
    #[error("cannot set {bytes} torn bytes of the ledger {file} aside: {source}")]
    Aside {
        /// The ledger.
        file: String,
        /// How many.
        bytes: usize,
        /// Why.
        source: io::Error,
    },
    /// The note about it could not be appended.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Checks a ledger that may end in a torn line.
///
/// # Errors
/// The first fault in its whole records.
pub fn recover<R: Read>(reader: R) -> Result<Recovered, Fault> {
    let mut chain = Chain::default();
    let tail = verify_into(reader, &mut chain)?;
    Ok(Recovered { summary: chain.finish(), tail })
}

/// Opens a ledger to go on with it. `file` must be open for reading and appending, and nobody else
/// may write to it. A torn last line is first written to `aside` and made durable there, then cut
/// from the ledger, and a record says so.
///
/// # Errors
/// When a whole record is wrong, or the torn bytes cannot be put aside.
pub fn resume(
    mut file: File,
    name: &str,
    aside: &mut dyn Aside,
    subject: Subject,
    redactor: Redactor,
    stamp: Stamp,
) -> Result<(Writer<File>, Recovered), RecoverError> {
    let fault = |source| RecoverError::Fault { file: name.to_owned(), source };
    let found = recover(&mut file).map_err(fault)?;
    let bytes = found.tail.len();
    let failed = |source| RecoverError::Aside { file: name.to_owned(), bytes, source };
    if bytes > 0 {
        aside.keep(&found.tail).map_err(failed)?;
        file.set_len(found.summary.bytes).map_err(failed)?;
        file.sync_all().map_err(failed)?;
    }
    file.seek(SeekFrom::End(0)).map_err(failed)?;
    let mut writer = Writer::continued(file, name, subject, redactor, found.head())?;
    if bytes > 0 {
        let digest = hex(&Sha256::digest(&found.tail));
        let what =
            format!("ledger: a torn record of {bytes} bytes was kept aside (SHA-256 {digest})");
        writer.append(&Event::Sensor { what }, stamp)?;
    }
    Ok((writer, found))
}

/// Where torn bytes are kept.
pub trait Aside {
    /// Keeps the bytes durably.
    ///
    /// # Errors
    /// When they are not safe.
    fn keep(&mut self, bytes: &[u8]) -> io::Result<()>;
}

impl Aside for File {
    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)?;
        self.sync_all()
    }
}

impl Aside for Vec<u8> {
    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}
