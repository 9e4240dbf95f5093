//! The authority's answer. Never a boolean, and denial is what every unknown becomes.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::address::AddressClass;
use crate::provenance::Source;

/// Allow, deny or ask; the discriminants differ in many bits, so that a flipped bit is no `Allow`.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The effect may happen.
    Allow = 0x5a3c_96e1,
    /// The effect must not happen.
    Deny = 0xa5c3_691e,
    /// A person decides; until then, and when nobody answers, it is a denial.
    Ask = 0x3c69_5a87,
}

impl Verdict {
    /// Whether the effect may happen now.
    #[must_use]
    pub fn is_allow(self) -> bool {
        self == Self::Allow
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Ask => "ask",
        })
    }
}

/// A rule that took part in a decision.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RuleRef {
    /// Stable id within one policy generation, such as `project.network.allow.2`.
    pub id: String,
    /// Where it is written.
    pub source: Source,
}

/// Why the verdict is what it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "code")]
pub enum Reason {
    /// A permit covers it and no forbid does.
    Permitted,
    /// No permit covers it.
    NoRule,
    /// A forbid covers it.
    Forbidden,
    /// The name resolves to a place that no rule names.
    UnnamedAddress {
        /// What kind of place it is.
        class: AddressClass,
    },
    /// The connection claims another name than the one that was dialled.
    NameMismatch,
    /// The permit has come to its end.
    Expired,
    /// The bytes are not what the port is for, or do not parse.
    Malformed {
        /// What is wrong with them.
        what: String,
    },
    /// The name does not resolve outside, or nothing answers there.
    Unreachable {
        /// What the resolver or the dial said.
        what: String,
    },
    /// A limit of the gateway is reached.
    Limit {
        /// Which.
        what: String,
    },
    /// The decision could not be made or recorded, so it is a denial.
    Failed {
        /// What failed.
        what: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Permitted => f.write_str("a rule permits it"),
            Self::NoRule => f.write_str("no rule names it"),
            Self::Forbidden => f.write_str("a rule forbids it"),
            Self::UnnamedAddress { class } => {
                write!(f, "the name leads to a {class} address that no rule names")
            }
            Self::NameMismatch => {
                f.write_str("the connection claims another name than the one that was looked up")
            }
            Self::Expired => f.write_str("the permit has expired"),
            Self::Malformed { what } => write!(f, "malformed: {what}"),
            Self::Unreachable { what } => write!(f, "unreachable: {what}"),
            Self::Limit { what } => write!(f, "limit reached: {what}"),
            Self::Failed { what } => write!(f, "could not decide: {what}"),
        }
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Decision {
    /// Allow, deny or ask.
    pub verdict: Verdict,
    /// The rules that determined it: the permits of an allow, the forbids of a deny.
    pub rules: Vec<RuleRef>,
    /// Why.
    pub reason: Reason,
    /// The policy generation that decided, counted from 1.
    pub generation: u64,
    /// The unix time in seconds at which the permit ends, if it does.
    pub expires: Option<i64>,
}

impl Decision {
    /// A denial because something failed: the fail-closed default.
    #[must_use]
    pub fn failed(what: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Deny,
            rules: Vec::new(),
            reason: Reason::Failed { what: what.into() },
            generation: 0,
            expires: None,
        }
    }
}
