//! Equal denials counted into one record, so that a busy agent cannot bury the ledger.
//!
//! The first of its kind is recorded at once, later ones at most once a second with their number.
//! No denial goes uncounted: what leaves the table is handed out to be recorded. Time is passed in.

use std::collections::HashMap;
use std::hash::Hash;

use crate::limits::{COALESCE_KEYS, COALESCE_WINDOW_NS};

/// What is to be recorded because of a denial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted<K> {
    /// Whether the denial itself is recorded now, with count 1.
    pub record: bool,
    /// Counts that made room for it, to be recorded now.
    pub evicted: Option<(K, u64)>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    /// Not yet recorded.
    pending: u64,
    /// When it was last recorded.
    recorded_ns: u64,
}

/// Counts by key. A key is all that makes two denials equal.
#[derive(Debug)]
pub struct Coalescer<K> {
    slots: HashMap<K, Slot>,
    window_ns: u64,
    most: usize,
}

impl<K: Hash + Eq + Clone> Default for Coalescer<K> {
    fn default() -> Self {
        Self::new(COALESCE_WINDOW_NS, COALESCE_KEYS)
    }
}

impl<K: Hash + Eq + Clone> Coalescer<K> {
    /// A table of at most `most` keys (at least 1), each recorded at most once per window.
    #[must_use]
    pub fn new(window_ns: u64, most: usize) -> Self {
        Self { slots: HashMap::new(), window_ns, most: most.max(1) }
    }

    /// Counts one denial at a monotonic time.
    pub fn note(&mut self, key: K, now_ns: u64) -> Noted<K> {
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.pending += 1;
            return Noted { record: false, evicted: None };
        }
        let evicted = if self.slots.len() >= self.most { self.evict() } else { None };
        self.slots.insert(key, Slot { pending: 0, recorded_ns: now_ns });
        Noted { record: true, evicted }
    }

    /// The counts whose window is over, to be recorded now. Keys that were quiet for a whole window
    /// are forgotten: the next one of their kind is again recorded at once.
    pub fn flush(&mut self, now_ns: u64) -> Vec<(K, u64)> {
        let window = self.window_ns;
        let mut due = Vec::new();
        self.slots.retain(|key, slot| {
            if now_ns.saturating_sub(slot.recorded_ns) < window {
                return true;
            }
            if slot.pending == 0 {
                return false;
            }
            due.push((key.clone(), slot.pending));
            *slot = Slot { pending: 0, recorded_ns: now_ns };
            true
        });
        due
    }

    /// Everything still uncounted: for the end of a run.
    pub fn drain(&mut self) -> Vec<(K, u64)> {
        let slots = self.slots.drain();
        slots.filter(|(_, slot)| slot.pending > 0).map(|(key, slot)| (key, slot.pending)).collect()
    }

    /// When the next [`Self::flush`] has something to do, if ever.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<u64> {
        let pending = self.slots.values().filter(|slot| slot.pending > 0);
        pending.map(|slot| slot.recorded_ns.saturating_add(self.window_ns)).min()
    }

    /// Makes room: the key that was recorded longest ago goes, one without a count if there is one.
    fn evict(&mut self) -> Option<(K, u64)> {
        let oldest = self.slots.iter().min_by_key(|(_, slot)| (slot.pending > 0, slot.recorded_ns));
        let key = oldest.map(|(key, _)| key.clone())?;
        let slot = self.slots.remove(&key)?;
        (slot.pending > 0).then_some((key, slot.pending))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c07_equal_denials_are_counted_once_a_window() {
        let mut c = Coalescer::new(1000, 8);
        assert!(c.note("a", 0).record);
        for now in 1..=5 {
            assert_eq!(c.note("a", now), Noted { record: false, evicted: None });
        }
        assert!(c.note("b", 10).record);
        assert_eq!(c.flush(999), []);
        assert_eq!(c.next_due_ns(), Some(1000));
        assert_eq!(c.flush(1000), [("a", 5)]);
        assert_eq!(c.flush(1500), []);
        assert!(!c.note("a", 1600).record);
        assert_eq!(c.flush(2000), [("a", 1)]);
        assert_eq!(c.flush(3000), []);
        assert!(c.note("a", 3001).record);
    }

    proptest::proptest! {
        #[test]
        fn al3_no_denial_goes_uncounted(keys in proptest::collection::vec(0u8..12, 1..300), most in 1usize..6) {
            let mut c = Coalescer::new(50, most);
            let mut counted = 0u64;
            for (now, key) in keys.iter().enumerate() {
                let noted = c.note(*key, now as u64);
                counted += u64::from(noted.record) + noted.evicted.map_or(0, |(_, n)| n);
                proptest::prop_assert!(c.slots.len() <= most);
                if now % 7 == 0 {
                    counted += c.flush(now as u64).iter().map(|(_, n)| n).sum::<u64>();
                }
            }
            counted += c.drain().iter().map(|(_, n)| n).sum::<u64>();
            proptest::prop_assert_eq!(counted, keys.len() as u64);
        }
    }
}
