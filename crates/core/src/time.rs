//! Time, as an argument.

use std::time::Duration;

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment {
    /// Wall-clock time since the UNIX epoch: for logs and expiry dates. May jump.
    pub wall: Duration,
    /// Time since an arbitrary start: for limits and durations. Never goes back.
    pub monotonic: Duration,
}

impl Moment {
    /// The time that passed from `earlier` to `self` on the monotonic clock; zero if none did.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.monotonic.saturating_sub(earlier.monotonic)
    }
}

/// A source of time. The one that reads the machine's clocks is in `backends`; tests set their own.
pub trait Clock: Send + Sync {
    /// Reads both clocks.
    fn now(&self) -> Moment;
    /// Reads the monotonic clock alone.
    fn monotonic(&self) -> Duration {
        self.now().monotonic
    }
}
