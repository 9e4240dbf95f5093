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

    /// The Unix second at which it ends, for a run that has lasted `elapsed_ms` at `unix_s`.
    #[must_use]
    pub fn unix(self, unix_s: i64, elapsed_ms: u64) -> Option<i64> {
        let relative = self.for_ms.map(|for_ms| {
            let left_s = for_ms.saturating_sub(elapsed_ms) / 1000;
            unix_s.saturating_add(i64::try_from(left_s).unwrap_or(i64::MAX))
        });
        match (relative, self.at_unix) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}
