//! The machine's clocks, and one that a test sets.
//!
//! This is the only file that reads the machine's clocks: everything else takes a `Moment`, or asks
//! the `Clock` it was given.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use demilune_core::time::{Clock, Moment};

/// The machine's clocks. Monotonic time counts from the first reading in this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
    fn now(&self) -> Moment {
        // A wall clock set before 1970 reads as 1970.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment { wall, monotonic: self.monotonic() }
    }

    fn monotonic(&self) -> Duration {
        START.elapsed()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A clock that stands still until it is moved: for tests and for `explain`.
#[derive(Debug, Default)]
pub struct TestClock(Mutex<Moment>);

impl TestClock {
    /// A clock that shows `moment`.
    #[must_use]
    pub fn at(moment: Moment) -> Self {
        Self(Mutex::new(moment))
    }

    /// Shows `moment` from now on.
    pub fn set(&self, moment: Moment) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = moment;
    }

    /// Moves both clocks on by `by`.
    pub fn advance(&self, by: Duration) {
        let mut moment = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        moment.wall = moment.wall.saturating_add(by);
        moment.monotonic = moment.monotonic.saturating_add(by);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Moment {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_monotonic_clock_never_goes_back() {
        let clock = SystemClock;
        let mut last = clock.now();
        assert!(last.wall > Duration::from_secs(1_700_000_000));
        for _ in 0..1_000 {
            let now = clock.now();
            assert!(now.monotonic >= last.monotonic);
            assert!(clock.monotonic() >= now.monotonic);
            last = now;
        }
    }

    #[test]
    fn a_test_clock_moves_only_when_it_is_told() {
        let clock = TestClock::default();
        assert_eq!(clock.now(), clock.now());
        clock.advance(Duration::from_secs(3));
        assert_eq!(clock.monotonic(), Duration::from_secs(3));
        let moment =
            Moment { wall: Duration::from_secs(1_800_000_000), monotonic: Duration::from_secs(1) };
        clock.set(moment);
        assert_eq!(clock.now(), moment);
    }
}
