//! When a permission ends. No permission of a definition is renewed by anything but its text.

use serde::{Deserialize, Serialize};

/// The end of a permission; the earlier of the two counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ends {
    /// Milliseconds after the start of the run, on a clock that cannot be set.
    pub for_ms: Option<u64>,
    /// Unix time in seconds.
    pub at_unix: Option<i64>,
}

impl Ends {
    /// Whether it never ends within a run.
    #[must_use]
    pub fn never(self) -> bool {
        self.for_ms.is_none() && self.at_unix.is_none()
    }

    /// The Unix second at which it ends, for a run that has lasted `elapsed_ms` at `unix_s`: rounded
    /// up, so that what has not ended yet never ends "now", and asking again at that second is
    /// asking once.
    #[must_use]
    pub fn unix(self, unix_s: i64, elapsed_ms: u64) -> Option<i64> {
        let relative = self.for_ms.map(|for_ms| {
            let left_s = for_ms.saturating_sub(elapsed_ms).div_ceil(1000);
            unix_s.saturating_add(i64::try_from(left_s).unwrap_or(i64::MAX))
        });
        match (relative, self.at_unix) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An open connection is judged again at the end of its permit; were that end not later than
    /// now, the answer would ask for the next question at once, and so on until the end.
    #[test]
    fn what_has_not_ended_ends_later_than_now() {
        let ends = Ends { for_ms: Some(5_000), at_unix: None };
        for elapsed_ms in [0, 1, 999, 1_000, 4_001, 4_999] {
            let at = ends.unix(100, elapsed_ms).unwrap();
            assert!(at > 100, "{elapsed_ms}");
            let over = (at - 100) * 1000 - i64::try_from(5_000 - elapsed_ms).unwrap();
            assert!((0..1_000).contains(&over), "{elapsed_ms}: {over} ms late");
        }
        assert_eq!(ends.unix(100, 5_000), Some(100));
    }
}
