//! What the calls came to that were let go on.

use std::io;

use rustix::time::{ClockId, clock_gettime};

use super::entry::{Act, Identity};
use super::pending::{Expected, Pending};
use super::spot::Spot;
use super::{Journal, TAKING_BACK};
use crate::beneath::Meta;
use crate::limits::{MADE_WITHIN_MS, PENDING_CALLS};

impl Journal {
    /// Whether calls wait for their outcome.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether the last call of a thread is seen to have done what it was to do. A failed one never is.
    #[must_use]
    pub fn has_come(&self, by: u32) -> bool {
        let came = |pending: &Pending| {
            pending.spot.look().is_ok_and(|now| pending.expected.came(now.as_ref()))
        };
        let mut own = self.pending.iter().filter(|pending| pending.by == by).peekable();
        own.peek().is_some() && own.all(came)
    }

    /// Settles the calls of threads that have left them.
    ///
    /// # Errors
    /// A call that failed cannot be written down as such: nothing must change any more.
    pub fn settle_left(&mut self, has_left: impl Fn(u32) -> bool) -> io::Result<()> {
        let left: Vec<u32> =
            self.pending.iter().map(|pending| pending.by).filter(|by| has_left(*by)).collect();
        left.into_iter().try_for_each(|by| self.settle(by))
    }

    /// The thread is heard of again, or has left: its last call has ended.
    pub(super) fn settle(&mut self, by: u32) -> io::Result<()> {
        while let Some(at) = self.pending.iter().position(|pending| pending.by == by) {
            let pending = self.pending.swap_remove(at);
            self.outcome(&pending)?;
        }
        Ok(())
    }

    /// Another call is about to change the same name: one whose outcome is not known by now counts as
    /// one that changed something.
    pub(super) fn disturb(&mut self, spot: &Spot) {
        self.pending.retain(|pending| !pending.spot.is(spot));
    }

    /// A moment is named while calls go on: what they make may be in it.
    pub(super) fn over_a_moment(&mut self) {
        for pending in &mut self.pending {
            if let Expected::Made { since } = &mut pending.expected {
                *since = None;
            }
        }
    }

    /// Remembers a call until it is known what it came to.
    pub(super) fn wait(
        &mut self,
        by: u32,
        entries: Option<(u64, u64)>,
        spot: Spot,
        expected: Expected,
    ) {
        // Each holds a directory open.
        if by != TAKING_BACK && self.pending.len() < PENDING_CALLS {
            self.pending.push(Pending { by, entries, spot, expected });
        }
    }

    fn outcome(&mut self, pending: &Pending) -> io::Result<()> {
        // Where it cannot be looked at it counts as done.
        let Ok(now) = pending.spot.look() else { return Ok(()) };
        if !pending.expected.came(now.as_ref()) {
            return self.void(pending);
        }
        if let (Expected::Made { since: Some(since) }, Some(now)) = (pending.expected, &now)
            && is_from(now, since)
        {
            self.known.make(Identity::from(now));
        }
        Ok(())
    }

    fn void(&mut self, pending: &Pending) -> io::Result<()> {
        let Some((first, last)) = pending.entries else { return Ok(()) };
        self.writer.write(Act::Void { first, last })?;
        self.known.left(&pending.spot.path);
        for number in first..=last {
            self.known.drop_whole(number);
            self.store.drop(number);
        }
        Ok(())
    }
}

/// The time that file systems write down, in nanoseconds since 1970: of the last tick, not of now.
pub(super) fn tick() -> i64 {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// Whether a file is new since a call was let go on, and so soon that the call made it: nobody else's
/// that came to that name since must be taken for it.
fn is_from(now: &Meta, since: i64) -> bool {
    (0..=MADE_WITHIN_MS * 1_000_000).contains(&now.born.saturating_sub(since))
}
