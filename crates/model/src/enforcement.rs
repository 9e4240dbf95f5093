//! What was requested, what the host supports and what is enforced: a value, never a log line.

use serde::{Deserialize, Serialize};

/// How far a control holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strength {
    /// The kernel enforces it.
    Enforced,
    /// Something outside watches and acts after the fact, within a stated time.
    Watched,
    /// Weaker than requested, above the policy's floor.
    Reduced,
    /// Not there.
    Missing,
    /// Nobody asked for it.
    NotRequested,
}

/// One control of a boundary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Control {
    /// Which: `landlock`, `seccomp`, `user-namespace`, `limit.memory`, …
    pub name: String,
    /// What the policy asks for.
    pub requested: String,
    /// What the host can do.
    pub supported: String,
    /// What is in force, in words a person understands.
    pub enforced: String,
    /// How far it holds.
    pub strength: Strength,
}

impl Control {
    /// A control in force as requested.
    #[must_use]
    pub fn enforced(name: &str, what: impl Into<String>) -> Self {
        let what = what.into();
        Self {
            name: name.to_owned(),
            requested: what.clone(),
            supported: what.clone(),
            enforced: what,
            strength: Strength::Enforced,
        }
    }
}
