//! Calls of which it is not known yet whether they changed anything.
//!
//! An entry is written before its call happens, and the kernel does not say how the call ended. When
//! its thread is heard of again, or is seen to be out of the call, what is there tells; a call that
//! changed nothing gets a [`Void`](super::Act::Void). Without that, taking back would undo what an
//! agent only tried, in the place of what a person did there since.

use super::entry::Identity;
use super::spot::Spot;
use crate::beneath::Meta;

/// A call that was let go on.
#[derive(Debug)]
pub(super) struct Pending {
    /// The thread that called.
    pub(super) by: u32,
    /// The entries that were written for it, first and last.
    pub(super) entries: Option<(u64, u64)>,
    pub(super) spot: Spot,
    pub(super) expected: Expected,
}

/// What is at the spot if the call succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// Something where nothing was. What is new must be so since this [`tick`](super::settle::tick);
    /// `None`: it may be a further name of what was there.
    Made { since: Option<i64> },
    /// Something other than this.
    Gone(Identity),
    /// Other permission bits.
    Mode(Identity, u32),
}

impl Expected {
    /// Whether it came, by what is there now.
    pub(super) fn came(self, now: Option<&Meta>) -> bool {
        let is = |identity: Identity| now.is_some_and(|now| Identity::from(now) == identity);
        match self {
            Self::Made { .. } => now.is_some(),
            Self::Gone(identity) => !is(identity),
            Self::Mode(identity, mode) => !is(identity) || now.is_some_and(|now| now.mode != mode),
        }
    }
}
