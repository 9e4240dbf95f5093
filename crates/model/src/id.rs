//! Names of runs and sandboxes: what they may look like, so that they are safe as paths.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use crate::limits::SANDBOX_NAME_BYTES;

/// Crockford's base 32 alphabet in lower case: no `i`, `l`, `o`, `u`, so ids can be read aloud.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Characters of a run id: 9 of time (45 bits of milliseconds) and 7 of chance (35 bits).
const RUN_ID_CHARS: usize = 16;

/// One execution in a sandbox: 16 characters of base 32, sortable by start time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// Builds an id from Unix milliseconds and random bits; the caller owns clock and chance.
    #[must_use]
    pub fn new(unix_ms: u64, random: u64) -> Self {
        let mut bits =
            (u128::from(unix_ms & ((1 << 45) - 1)) << 35) | u128::from(random & ((1 << 35) - 1));
        let mut chars = [0u8; RUN_ID_CHARS];
        for slot in chars.iter_mut().rev() {
            *slot = ALPHABET.get((bits & 31) as usize).copied().unwrap_or(b'0');
            bits >>= 5;
        }
        Self(chars.iter().map(|byte| char::from(*byte)).collect())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not a run id or sandbox name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not 16 characters of the alphabet.
    #[error("`{0}` is not a run id (16 characters of 0-9 and a-z without i, l, o, u)")]
    RunId(String),
    /// Not a sandbox name.
    #[error(
        "`{0}` is not a sandbox name (1 to 40 of a-z, 0-9, `-`, `_`, beginning with a letter or digit)"
    )]
    SandboxName(String),
}

impl FromStr for RunId {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let fits = text.len() == RUN_ID_CHARS && text.bytes().all(|b| ALPHABET.contains(&b));
        if fits { Ok(Self(text.to_owned())) } else { Err(NameError::RunId(text.to_owned())) }
    }
}

impl TryFrom<String> for RunId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

/// A sandbox that persists: its private home is kept under this name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SandboxName(String);

impl SandboxName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SandboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SandboxName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed =
            |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        let first =
            text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if first && text.len() <= SANDBOX_NAME_BYTES && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::SandboxName(text.to_owned()))
        }
    }
}

impl TryFrom<String> for SandboxName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<SandboxName> for String {
    fn from(name: SandboxName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_ids_sort_by_time_and_round_trip() {
        let early = RunId::new(1_700_000_000_000, u64::MAX);
        let late = RunId::new(1_700_000_000_001, 0);
        assert!(early < late);
        assert_eq!(early.as_str().parse::<RunId>().unwrap(), early);
    }

    #[test]
    fn names_that_could_leave_a_directory_are_refused() {
        for bad in ["", ".", "..", "a/b", "A", "-x", "a\0", "ä", &"x".repeat(41)] {
            assert!(bad.parse::<SandboxName>().is_err(), "{bad:?}");
            assert!(bad.parse::<RunId>().is_err(), "{bad:?}");
        }
        assert!("fix-login_2".parse::<SandboxName>().is_ok());
    }
}
