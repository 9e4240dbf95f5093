//! Where a value came from: layer, file, line and column. Explanations are built from this.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// The layers of policy, from the one nobody below can loosen to the most specific.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// `/etc/ringfence/policy.toml`: forbids for good.
    Organisation,
    /// Built into the binary: what ringfence itself refuses (private addresses, metadata).
    BuiltIn,
    /// A built-in or named profile.
    Profile,
    /// The user's own `~/.config/ringfence/policy.toml`.
    User,
    /// The project's `ringfence.toml`.
    Project,
    /// Options on the command line.
    CommandLine,
    /// Given to a running sandbox by a person, for a time.
    Grant,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Organisation => "organisation",
            Self::BuiltIn => "built-in",
            Self::Profile => "profile",
            Self::User => "user",
            Self::Project => "project",
            Self::CommandLine => "command line",
            Self::Grant => "granted",
        })
    }
}

/// The place that a value was read from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Source {
    /// The layer it belongs to.
    pub layer: Layer,
    /// The file, or `None` for the command line and built-in values.
    pub file: Option<PathBuf>,
    /// Line, counted from 1; 0 where there is no file.
    pub line: u32,
    /// Column in characters, counted from 1; 0 where there is no file.
    pub column: u32,
    /// The option or key as the person wrote it, such as `--allow example.com`.
    pub text: String,
}

impl Source {
    /// A source on the command line.
    #[must_use]
    pub fn command_line(text: impl Into<String>) -> Self {
        Self { layer: Layer::CommandLine, file: None, line: 0, column: 0, text: text.into() }
    }

    /// A source in a person's answer during the run, such as `allowed by ann (uid
    /// 1000) at 10:02Z for 10m`.
    #[must_use]
    pub fn grant(text: impl Into<String>) -> Self {
        Self { layer: Layer::Grant, file: None, line: 0, column: 0, text: text.into() }
    }

    /// A source inside ringfence itself.
    #[must_use]
    pub fn built_in(text: impl Into<String>) -> Self {
        Self { layer: Layer::BuiltIn, file: None, line: 0, column: 0, text: text.into() }
    }
}

impl fmt::Display for Source {
    /// `file:line` where there is a file, the words of a grant, else the layer and the text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}:{}", file.display(), self.line),
            None if self.text.is_empty() => write!(f, "{}", self.layer),
            // A sentence of its own: who allowed it, when and for how long.
            None if self.layer == Layer::Grant => f.write_str(&self.text),
            None => write!(f, "{}: {}", self.layer, self.text),
        }
    }
}
