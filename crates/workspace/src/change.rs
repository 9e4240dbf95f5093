//! One change of a workspace: plain data, for people, for programs and for `apply`.

use ringfence_model::text::visible_bytes;
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};
use sha2::{Digest, Sha256};

use crate::beneath::Meta;

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It is new.
    Added,
    /// Its content is another one.
    Modified,
    /// It is gone.
    Deleted,
    /// Only its permissions are others.
    ModeChanged,
    /// It became another kind of entry.
    TypeChanged,
}

impl Kind {
    /// One letter, as in `git status`.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Added => 'A',
            Self::Modified => 'M',
            Self::Deleted => 'D',
            Self::ModeChanged => 'P',
            Self::TypeChanged => 'T',
        }
    }
}

/// What kind of entry it is: the new one, or the old one where it was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Node {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character or block device.
    Device,
}

/// What `apply` does with a change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case", tag = "class", content = "why")]
pub enum Class {
    /// It is applied.
    Ordinary,
    /// Held back until it is named: the host runs it, or follows it out of the project.
    HostExecuted(String),
    /// Never applied.
    Refused(String),
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Relative to the project, as bytes: the agent chose the name.
    pub path: Vec<u8>,
    /// What happened.
    pub kind: Kind,
    /// To what.
    pub node: Node,
    /// What `apply` does with it.
    pub class: Class,
    /// What a person should know, though it is applied: a build runs it.
    pub note: Option<&'static str>,
    /// Size in bytes before, for files.
    pub size_before: Option<u64>,
    /// Size in bytes after, for files.
    pub size_after: Option<u64>,
    /// Permission bits before.
    pub mode_before: Option<u32>,
    /// Permission bits after.
    pub mode_after: Option<u32>,
    /// Where it points, for a symbolic link.
    pub target: Option<Vec<u8>>,
    /// A file that is new and executable, or was made executable.
    pub new_executable: bool,
    /// Why it cannot be applied as things stand in the project.
    pub conflict: Option<String>,
    /// What the project had there when it was looked at.
    pub(crate) seen: Option<Meta>,
}

impl Change {
    /// The path, safe to show.
    #[must_use]
    pub fn shown(&self) -> String {
        visible_bytes(&self.path)
    }
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Change", 14)?;
        // Exact where JSON can carry it; `path_hex` always is.
        out.serialize_field("path", &std::str::from_utf8(&self.path).ok())?;
        out.serialize_field("path_hex", &hex(&self.path))?;
        out.serialize_field("shown", &self.shown())?;
        out.serialize_field("kind", &self.kind)?;
        out.serialize_field("node", &self.node)?;
        let (class, why) = match &self.class {
            Class::Ordinary => ("ordinary", None),
            Class::HostExecuted(why) => ("host-executed", Some(why)),
            Class::Refused(why) => ("refused", Some(why)),
        };
        out.serialize_field("class", class)?;
        out.serialize_field("why", &why)?;
        out.serialize_field("note", &self.note)?;
        out.serialize_field("size_before", &self.size_before)?;
        out.serialize_field("size_after", &self.size_after)?;
        out.serialize_field("mode_before", &self.mode_before.map(octal))?;
        out.serialize_field("mode_after", &self.mode_after.map(octal))?;
        out.serialize_field("target", &self.target.as_deref().map(visible_bytes))?;
        out.serialize_field("new_executable", &self.new_executable)?;
        out.serialize_field("conflict", &self.conflict)?;
        out.end()
    }
}

/// Permission bits as people write them.
pub(crate) fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256, in hex, over the list of changes (their JSON, one a line): what a ledger record names.
#[must_use]
pub fn digest(changes: &[Change]) -> String {
    let mut hash = Sha256::new();
    for change in changes {
        hash.update(serde_json::to_vec(change).unwrap_or_default());
        hash.update(b"\n");
    }
    hex(&hash.finalize())
}
