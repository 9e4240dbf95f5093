//! The clock: the only place that reads time. Everything else is told.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Unix time, whole seconds.
    pub unix_s: i64,
    /// Nanoseconds behind `unix_s`.
    pub unix_ns: u32,
    /// Nanoseconds since boot, suspension included: it cannot be set.
    pub boot_ns: u64,
}

/// Reads both clocks.
#[must_use]
pub fn now() -> Moment {
    let wall = clock_gettime(ClockId::Realtime);
    let boot = clock_gettime(ClockId::Boottime);
    Moment {
        unix_s: wall.tv_sec,
        unix_ns: u32::try_from(wall.tv_nsec).unwrap_or(0),
        boot_ns: u64::try_from(boot.tv_sec).unwrap_or(0) * 1_000_000_000
            + u64::try_from(boot.tv_nsec).unwrap_or(0),
    }
}

/// A span as `poll(2)` takes it.
#[must_use]
pub fn timespec(milliseconds: u64) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(milliseconds / 1000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(milliseconds % 1000 * 1_000_000).unwrap_or(0),
    }
}

impl Moment {
    /// Milliseconds from `start` to this moment, on the clock that cannot be set.
    #[must_use]
    pub fn elapsed_ms(&self, start: &Self) -> u64 {
        self.boot_ns.saturating_sub(start.boot_ns) / 1_000_000
    }

    /// Unix time in milliseconds.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        u64::try_from(self.unix_s).unwrap_or(0) * 1000 + u64::from(self.unix_ns) / 1_000_000
    }
}
