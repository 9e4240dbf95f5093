//! Tier landlock in tests: runs in it, and whether this kernel has what it stands on.

use crate::{Fixture, Job, skip};

/// A run in tier landlock.
#[must_use]
pub fn alone(fixture: &Fixture) -> Job<'_> {
    fixture.job().flags(["--tier", "landlock"])
}

/// Whether this kernel has what the tier stands on; says that `what` is skipped if not.
///
/// # Panics
/// If a run in it fails for another reason, or where every part must run.
#[must_use]
pub fn has_tier(what: &str, fixture: &Fixture) -> bool {
    let outcome = alone(fixture).sh("true");
    let lacks = outcome.code == 125 && outcome.stderr.contains("stands on ABI 6");
    if lacks {
        skip(what, &outcome.stderr);
    }
    assert!(lacks || outcome.code == 0, "{outcome:?}");
    !lacks
}

/// Ends a test, and says so, where the kernel lacks what tier landlock stands on.
#[macro_export]
macro_rules! needs_tier {
    ($fixture:expr) => {
        if !$crate::tier::has_tier(concat!(file!(), ":", line!()), $fixture) {
            return;
        }
    };
}
