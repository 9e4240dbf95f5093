//! What is known of the workspace since the last mark, so that nothing is kept twice or for nothing.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::entry::Identity;
use crate::beneath::below;
use crate::limits::KNOWN_THINGS;

/// What is known since the last mark.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Files whose content has been kept.
    kept: HashSet<Identity>,
    /// What was made: no moment holds it.
    made: HashSet<Identity>,
    /// Paths at which nothing was, as is written already: once is enough.
    absent: BTreeSet<Vec<u8>>,
    /// Files that are kept as a further name of themselves, by the numbers of their entries. Whoever
    /// still has them open could change them, whenever they were kept.
    whole: HashMap<Identity, Vec<u64>>,
}

impl Known {
    /// A moment was named: from now on everything is kept anew.
    pub(super) fn forget(&mut self) {
        self.kept.clear();
        self.made.clear();
        self.absent.clear();
    }

    /// More is remembered; what is forgotten for it costs only that something is kept again.
    fn room(&mut self) {
        if self.kept.len() + self.made.len() + self.absent.len() >= KNOWN_THINGS {
            self.forget();
        }
    }

    pub(super) fn kept(&self, identity: Identity) -> bool {
        self.kept.contains(&identity)
    }

    pub(super) fn keep(&mut self, identity: Identity) {
        self.room();
        self.kept.insert(identity);
    }

    /// A file that was kept may be another now: it is kept again when it is written.
    pub(super) fn keep_anew(&mut self) {
        self.kept.clear();
    }

    pub(super) fn made(&self, identity: Identity) -> bool {
        self.made.contains(&identity)
    }

    /// Without the time of its making an inode cannot be told from a later one: it is kept like any other.
    pub(super) fn make(&mut self, identity: Identity) {
        if identity.2 != 0 {
            self.room();
            self.made.insert(identity);
        }
    }

    /// From now on it is kept like any other.
    pub(super) fn keep_from_now(&mut self, identity: Identity) {
        self.made.remove(&identity);
    }

    pub(super) fn absent(&self, path: &[u8]) -> bool {
        self.absent.contains(path)
    }

    pub(super) fn nothing(&mut self, path: &[u8]) {
        self.room();
        self.absent.insert(path.to_vec());
    }

    /// What is made at this path is to be written down anew.
    pub(super) fn left(&mut self, path: &[u8]) {
        self.absent.remove(path);
    }

    /// What is made at either path, or below it, is to be written down anew.
    pub(super) fn moved(&mut self, from: &[u8], to: &[u8]) {
        for path in [from, to] {
            self.left(path);
            let below: Vec<Vec<u8>> = self.absent.range(below(path)).cloned().collect();
            below.iter().for_each(|path| self.left(path));
        }
    }

    pub(super) fn keep_whole(&mut self, identity: Identity, number: u64) {
        self.whole.entry(identity).or_default().push(number);
    }

    /// A file is about to be written: what was kept of it as itself, which is not to be for long.
    pub(super) fn kept_whole(&self, identity: Identity) -> Vec<u64> {
        self.whole.get(&identity).cloned().unwrap_or_default()
    }

    /// What was kept under this number is kept no more.
    pub(super) fn drop_whole(&mut self, number: u64) {
        self.whole.retain(|_, numbers| {
            numbers.retain(|kept| *kept != number);
            !numbers.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_forgets_what_is_below_and_nothing_else() {
        let mut known = Known::default();
        for path in ["a", "a/b", "a/b/c", "a-", "a0", "b/x", "c"] {
            known.nothing(path.as_bytes());
        }
        known.moved(b"a", b"b");
        let left: Vec<_> = known.absent.iter().map(|path| path.as_slice()).collect();
        assert_eq!(left, [b"a-".as_slice(), b"a0", b"c"]);
    }
}
