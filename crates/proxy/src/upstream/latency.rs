//! How long an endpoint takes to answer: a mean in which what is long ago counts less, and a peak
//! counts at once (Finagle's peak EWMA).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// After so long a measurement counts a good third.
const FADES: Duration = Duration::from_secs(10);
/// What a failure counts as: an endpoint that refuses quickly is not quick.
const FAILURE: Duration = Duration::from_secs(5);

/// What is known of one endpoint. Workers that write at the same time may lose one of their
/// measurements.
#[derive(Default)]
pub(super) struct Latency {
    nanoseconds: AtomicU64,
    /// When it was measured last, in milliseconds of the monotonic clock.
    at: AtomicU64,
}

impl Latency {
    /// An answer's head came after `time`, or the attempt failed.
    pub(super) fn measured(&self, time: Option<Duration>, now: Duration) {
        let measured = nanoseconds(time.unwrap_or(FAILURE));
        let before = self.nanoseconds.load(Ordering::Relaxed);
        let next = if measured >= before {
            measured
        } else {
            // At least a hundredth counts, also where many come in one millisecond.
            let old = self.kept(now).min(0.99);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a mean of two numbers that fit; below zero is none of them"
            )]
            let mean = (as_f64(before) * old + as_f64(measured) * (1.0 - old)) as u64;
            mean
        };
        self.nanoseconds.store(next, Ordering::Relaxed);
        self.at.store(milliseconds(now), Ordering::Relaxed);
    }

    /// What it is now, in nanoseconds; it fades, so that an endpoint that was slow is tried again.
    pub(super) fn now(&self, now: Duration) -> f64 {
        as_f64(self.nanoseconds.load(Ordering::Relaxed)) * self.kept(now)
    }

    fn kept(&self, now: Duration) -> f64 {
        let passed = milliseconds(now).saturating_sub(self.at.load(Ordering::Relaxed));
        (-as_f64(passed) / as_f64(milliseconds(FADES))).exp()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a weighing does not need the last digits")]
fn as_f64(number: u64) -> f64 {
    number as f64
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1000);

    fn ms(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let latency = Latency::default();
        latency.measured(Some(ms(10)), START);
        latency.measured(Some(ms(500)), START + ms(1));
        assert!(latency.now(START + ms(1)) >= 499e6);
        latency.measured(Some(ms(10)), START + ms(2));
        assert!(latency.now(START + ms(2)) > 400e6);
        for n in 3..2000 {
            latency.measured(Some(ms(10)), START + ms(n));
        }
        assert!(latency.now(START + ms(2000)) < 20e6);
    }

    #[test]
    fn what_nobody_measures_is_forgotten() {
        let latency = Latency::default();
        latency.measured(None, START);
        assert!(latency.now(START) >= 5e9);
        assert!(latency.now(START + Duration::from_secs(120)) < 1e6);
    }
}
