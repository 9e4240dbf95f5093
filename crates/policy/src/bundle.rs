//! Bundles: names that stand for the hosts which a tool of this host asks, such as `npm`.
//!
//! Which hosts those are is no business of this crate: the caller reads the tools' configuration.
//! A name without a dot is never looked up, so no bundle takes the place of a host.

use ringfence_model::address::Cidr;
use ringfence_model::host::Destination;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bundle {
    /// The registries that npm asks.
    Npm,
    /// The indexes that pip and uv ask.
    Pypi,
    /// The registries that cargo asks.
    Crates,
    /// The sources of apt.
    Debian,
    /// The module proxy and the checksum database of Go.
    Go,
    /// The repositories that Maven asks.
    Maven,
    /// Clones and downloads from GitHub.
    GithubRead,
}

impl Bundle {
    /// Every bundle.
    pub const ALL: [Self; 7] = [
        Self::Npm,
        Self::Pypi,
        Self::Crates,
        Self::Debian,
        Self::Go,
        Self::Maven,
        Self::GithubRead,
    ];

    /// Its name in a definition.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pypi => "pypi",
            Self::Crates => "crates",
            Self::Debian => "debian",
            Self::Go => "go",
            Self::Maven => "maven",
            Self::GithubRead => "github-read",
        }
    }

    /// The bundle of a name, as it is written.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|bundle| bundle.name() == text)
    }

    /// All names, for messages.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }
}

impl fmt::Display for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One host of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleHost {
    /// What may be reached.
    pub destination: Destination,
    /// Private ranges to which it may lead.
    pub addresses: Vec<Cidr>,
    /// Where the tool is told so, such as `~/.npmrc:1`.
    pub from: String,
}

/// What stands behind a bundle on this host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BundleHosts {
    /// The hosts.
    pub hosts: Vec<BundleHost>,
    /// What a person should know: what was left out, and why.
    pub notes: Vec<String>,
}

/// Why nothing stands behind a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoBundle {
    /// The tool, and what was looked at.
    pub why: String,
    /// What helps.
    pub fix: String,
}

/// The bundle that a rule was made for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Via {
    /// Which.
    pub bundle: Bundle,
    /// Where its tool is told of the host.
    pub from: String,
}
