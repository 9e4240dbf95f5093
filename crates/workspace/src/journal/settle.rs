//! What the calls came to that were let go on.

use std::io;

use super::entry::{Act, Identity};
use super::pending::{Expected, Pending};
use super::spot::Spot;
use super::{Journal, TAKING_BACK};
use crate::limits::PENDING_CALLS;

/// What is known of a call when it is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    /// It has ended, and nobody else changed its name meanwhile.
    Surely,
    /// It may still be going on, or another call came between: it counts as one that changed something.
    Perhaps,
}

impl Journal {
    /// Whether calls wait for their outcome.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.pending.is_empty()
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

    /// The thread is heard of again: its last call has ended.
    pub(super) fn settle(&mut self, by: u32) -> io::Result<()> {
        self.settle_where(Over::Surely, |pending| pending.by == by)
    }

    /// Another call is about to change the same name.
    pub(super) fn disturb(&mut self, spot: &Spot) -> io::Result<()> {
        self.settle_where(Over::Perhaps, |pending| pending.spot.is(spot))
    }

    /// A moment is named while calls go on: what they make may be in it.
    pub(super) fn over_a_moment(&mut self) {
        for pending in &mut self.pending {
            if let Expected::Made { new } = &mut pending.expected {
                *new = false;
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

    fn settle_where(&mut self, over: Over, which: impl Fn(&Pending) -> bool) -> io::Result<()> {
        let mut at = 0;
        while let Some(pending) = self.pending.get(at) {
            if which(pending) {
                let pending = self.pending.swap_remove(at);
                self.outcome(&pending, over)?;
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    fn outcome(&mut self, pending: &Pending, over: Over) -> io::Result<()> {
        // Where it cannot be looked at it counts as done.
        let Ok(now) = pending.spot.look() else { return Ok(()) };
        match (pending.expected.came(now.as_ref()), over) {
            (true, Over::Surely) => {
                if let (Expected::Made { new: true }, Some(now)) = (pending.expected, &now) {
                    self.known.make(Identity::from(now));
                }
                Ok(())
            }
            (false, Over::Surely) => self.void(pending),
            (_, Over::Perhaps) => Ok(()),
        }
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
