//! What a journal holds: one line of JSON for each thing that was about to change.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::beneath::Meta;
use crate::change::hex;

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the journal, from 1, without gaps; also the name of what it kept.
    pub number: u64,
    /// What was about to happen.
    #[serde(flatten)]
    pub act: Act,
}

/// What was about to happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "act")]
pub enum Act {
    /// Something is written, replaced, removed or made at a path.
    Before {
        /// Where, relative to the workspace.
        path: Path,
        /// What was there.
        was: State,
    },
    /// A name is moved.
    Moved {
        /// From where.
        from: Path,
        /// To where.
        to: Path,
        /// What is moved.
        identity: Identity,
        /// Whether it was made since the last mark: it may be gone without an entry.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        made: bool,
        /// Whether the two names change places.
        exchange: bool,
    },
    /// Permission bits are changed.
    Mode {
        /// Where.
        path: Path,
        /// The bits that it had.
        mode: u32,
        /// Which it is.
        identity: Identity,
    },
    /// The call that these entries were written for failed: they are about nothing.
    Void {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// A moment to which the workspace can be taken back.
    Mark {
        /// Its name.
        name: String,
        /// When, in seconds since 1970.
        unix_s: i64,
    },
}

impl Act {
    /// Every path that it is about.
    pub(super) fn paths(&self) -> impl Iterator<Item = &[u8]> {
        let (one, other) = match self {
            Self::Before { path, .. } | Self::Mode { path, .. } => (Some(path), None),
            Self::Moved { from, to, .. } => (Some(to), Some(from)),
            Self::Void { .. } | Self::Mark { .. } => (None, None),
        };
        one.into_iter().chain(other).map(|path| path.0.as_slice())
    }

    /// The path under which it is told.
    pub(super) fn path(&self) -> Option<&[u8]> {
        self.paths().next()
    }
}

/// What was at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum State {
    /// Nothing.
    Absent,
    /// A regular file.
    File(Kept),
    /// A symbolic link.
    Link {
        /// Where it led.
        target: Path,
        /// Which it was.
        identity: Identity,
    },
    /// A directory, which was about to be removed.
    Dir {
        /// Its permission bits.
        mode: u32,
        /// Which it was.
        identity: Identity,
    },
    /// A named pipe or a socket: there is nothing in it to keep.
    Special {
        /// Which it was.
        identity: Identity,
    },
}

impl State {
    /// Which file, link or directory it was.
    pub(super) fn identity(&self) -> Option<Identity> {
        match self {
            Self::Absent => None,
            Self::File(kept) => Some(kept.identity),
            Self::Link { identity, .. }
            | Self::Dir { identity, .. }
            | Self::Special { identity } => Some(*identity),
        }
    }
}

/// An inode, told from a later one of the same number: device, inode, and when it was made in
/// nanoseconds since 1970 (0 where the file system does not say).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity(pub u64, pub u64, pub i64);

impl From<&Meta> for Identity {
    fn from(meta: &Meta) -> Self {
        Self(meta.device.0, meta.device.1, meta.born)
    }
}

/// A regular file as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Why its content is not in the store; `None`: it is, under the entry's number.
    pub missing: Option<String>,
    /// Whether what is in the store is the file itself under a further name, and no copy.
    pub itself: bool,
    /// Permission bits.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// Owner and group.
    pub owner: (u32, u32),
    /// Which it was.
    pub identity: Identity,
}

impl Kept {
    /// What is to be told of a file whose content is in the store.
    pub(super) fn of(meta: &Meta) -> Self {
        Self {
            missing: None,
            itself: false,
            mode: meta.mode,
            size: meta.size,
            owner: meta.owner,
            identity: Identity::from(meta),
        }
    }
}

/// A path relative to the workspace: any bytes. As JSON a string, or its bytes in hex where it is not
/// UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(pub Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Bytes { hex: String },
}

impl Serialize for Path {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Written::Bytes { hex: hex(&self.0) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Path {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Text(text) => Ok(Self(text.into_bytes())),
            Written::Bytes { hex } => {
                unhex(&hex).map(Self).ok_or_else(|| serde::de::Error::custom("a path's bytes"))
            }
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_survives_its_writing() {
        for bytes in [&b"src/a"[..], b"", b"with\nnewline \"quoted\"", b"\xff\xfe", b"a/\x00"] {
            let path = Path(bytes.to_vec());
            let text = serde_json::to_string(&path).unwrap();
            assert!(!text.contains('\n'));
            assert_eq!(serde_json::from_str::<Path>(&text).unwrap(), path);
        }
        assert!(serde_json::from_str::<Path>(r#"{"hex":"f"}"#).is_err());
        assert!(serde_json::from_str::<Path>(r#"{"hex":"zz"}"#).is_err());
    }
}
