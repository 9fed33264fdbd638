//! How slow a client may be: drips that keep every deadline between two of them would hold a
//! connection, and what is behind it, for days (R-U-Dead-Yet, slow read).

use std::time::Duration;

/// The time a client may keep us waiting, all waits of a body together, before its pace counts.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pace of one body on its way from or to a client. Only the time in which the client was
/// waited for counts.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    waited: Duration,
    since: Option<Duration>,
    bytes: u64,
}

impl Pace {
    /// From `now` on it is waited for the client, if it was not already.
    pub(crate) fn waits(&mut self, now: Duration) {
        self.since.get_or_insert(now);
    }

    /// So many bytes moved. Whether it is slower than `least` bytes a second.
    pub(crate) fn moved(&mut self, now: Duration, bytes: usize, least: u64) -> bool {
        let waited = self.since.take().map_or(Duration::ZERO, |since| now.saturating_sub(since));
        self.waited = self.waited.saturating_add(waited);
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.waited > PATIENCE && self.bytes < least.saturating_mul(self.waited.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn drips_are_too_slow_once_patience_is_at_its_end() {
        let mut pace = Pace::default();
        for second in (0..10).step_by(5) {
            pace.waits(seconds(second));
            assert!(!pace.moved(seconds(second + 5), 1, 500), "{second}");
        }
        pace.waits(seconds(10));
        assert!(pace.moved(seconds(11), 1, 500));
    }

    #[test]
    fn who_is_fast_enough_or_not_waited_for_is_not_slow() {
        let mut pace = Pace::default();
        for second in 0..100 {
            pace.waits(seconds(second));
            assert!(!pace.moved(seconds(second + 1), 500, 500));
        }
        let mut pace = Pace::default();
        for second in 0..100 {
            assert!(!pace.moved(seconds(second), 1, 500));
        }
    }

    #[test]
    fn a_wait_counts_from_where_it_began() {
        let mut pace = Pace::default();
        pace.waits(seconds(0));
        pace.waits(seconds(9));
        assert!(pace.moved(seconds(11), 1, 500));
    }
}
