use std::sync::Arc;
use std::thread;

use super::*;

fn at(monotonic: Duration) -> Moment {
    Moment { wall: Duration::ZERO, monotonic }
}

fn spend(counters: &MemoryCounters, subject: &str, rate: &str, burst: u32, now: Duration) -> Spent {
    let key = CounterKey { limit: "defaults", subject };
    counters.spend_now(key, rate.parse().unwrap(), burst, at(now))
}

/// A small generator of numbers that look random (SplitMix64): the same ones in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// The same limit told as a leaky bucket, in exact fractions: its level is in units of 1/period.
struct Reference {
    level: u128,
    last: u128,
}

impl Reference {
    fn spend(&mut self, rate: Rate, burst: u32, now: Duration) -> (bool, u32, Duration, Duration) {
        let (count, period) = (u128::from(rate.count), rate.period.as_nanos());
        let full = u128::from(burst) * period;
        let now = now.as_nanos();
        self.level = self.level.saturating_sub((now - self.last) * count);
        self.last = now;
        let admitted = self.level + period <= full;
        if admitted {
            self.level += period;
        }
        let room = full - self.level;
        let wait =
            |units: u128| Duration::from_nanos(u64::try_from(units.div_ceil(count)).unwrap());
        let remaining = u32::try_from(room / period).unwrap();
        (admitted, remaining, wait(period.saturating_sub(room)), wait(self.level))
    }
}

#[test]
fn a_burst_is_admitted_at_once_and_then_one_unit_each_interval() {
    let counters = MemoryCounters::default();
    for left in (0..5).rev() {
        let spent = spend(&counters, "a", "10/s", 5, Duration::ZERO);
        assert!(spent.admitted);
        assert_eq!(spent.remaining, left);
    }
    let refused = Spent {
        admitted: false,
        remaining: 0,
        retry_after: Duration::from_millis(100),
        reset_after: Duration::from_millis(500),
    };
    assert_eq!(spend(&counters, "a", "10/s", 5, Duration::ZERO), refused);
    let early = Duration::from_millis(100) - Duration::from_nanos(1);
    assert_eq!(spend(&counters, "a", "10/s", 5, early).retry_after, Duration::from_nanos(1));
    assert!(spend(&counters, "a", "10/s", 5, Duration::from_millis(100)).admitted);
    assert!(!spend(&counters, "a", "10/s", 5, Duration::from_millis(100)).admitted);
}

#[test]
fn refusals_spend_nothing() {
    let counters = MemoryCounters::default();
    assert!(spend(&counters, "a", "1/s", 1, Duration::ZERO).admitted);
    for ms in 1..1_000 {
        assert!(!spend(&counters, "a", "1/s", 1, Duration::from_millis(ms)).admitted);
    }
    assert!(spend(&counters, "a", "1/s", 1, Duration::from_secs(1)).admitted);
}

#[test]
fn while_time_stands_still_no_more_than_the_burst_is_admitted() {
    let counters = MemoryCounters::default();
    let now = Duration::from_secs(77);
    let admitted = (0..1_000).filter(|_| spend(&counters, "a", "600/min", 42, now).admitted);
    assert_eq!(admitted.count(), 42);
}

#[test]
fn requests_that_waited_before_they_are_counted_free_nothing() {
    let counters = MemoryCounters::default();
    let admitted = (0..100_u64).filter(|number| {
        let now = Duration::from_millis(10_000 + number);
        let waited = if number % 2 == 0 { Duration::from_secs(9) } else { Duration::ZERO };
        spend(&counters, "a", "10/s", 1, now - waited).admitted
    });
    // One at 1 s, one at 10.001 s; the next would be at 10.101 s.
    assert_eq!(admitted.count(), 2);
    assert!(!spend(&counters, "a", "10/s", 1, Duration::from_secs(1)).admitted);
}

#[test]
fn a_rate_whose_interval_is_no_whole_number_of_nanoseconds_is_exact() {
    let counters = MemoryCounters::default();
    for round in 0..1_000 {
        let now = Duration::from_secs(60) * round;
        for left in (0..7).rev() {
            let spent = spend(&counters, "a", "7/min", 7, now);
            assert_eq!((spent.admitted, spent.remaining), (true, left), "round {round}");
        }
        assert!(!spend(&counters, "a", "7/min", 7, now).admitted);
    }
}

#[test]
fn random_sequences_agree_with_an_exact_leaky_bucket() {
    let mut numbers = Numbers(1);
    for _ in 0..200 {
        let count = u32::try_from(1 + numbers.below(2_000)).unwrap();
        let seconds = [1, 60, 3_600, 86_400][usize::try_from(numbers.below(4)).unwrap()];
        let rate = Rate { count, period: Duration::from_secs(seconds) };
        let burst = u32::try_from(1 + numbers.below(50)).unwrap();
        let counters = MemoryCounters::new(10);
        let mut reference = Reference { level: 0, last: 0 };
        let step = 2 * rate.period.as_nanos() / u128::from(count);
        let mut now = Duration::from_nanos(numbers.below(1 << 40));
        reference.last = now.as_nanos();
        for _ in 0..300 {
            now += Duration::from_nanos(numbers.below(u64::try_from(step).unwrap()));
            let expected = reference.spend(rate, burst, now);
            let key = CounterKey { limit: "l", subject: "s" };
            let spent = counters.spend_now(key, rate, burst, at(now));
            let found = (spent.admitted, spent.remaining, spent.retry_after, spent.reset_after);
            assert_agree(found, expected, rate);
        }
    }
}

/// All the same, but for the binary places: an interval is cut to 2^-32 ns, so that after some
/// units a wait may be the nanosecond before.
fn assert_agree(
    found: (bool, u32, Duration, Duration),
    expected: (bool, u32, Duration, Duration),
    rate: Rate,
) {
    let near = |a: Duration, b: Duration| a.abs_diff(b) <= Duration::from_nanos(1);
    assert_eq!((found.0, found.1), (expected.0, expected.1), "{rate:?}");
    assert!(near(found.2, expected.2), "{rate:?}: {found:?}, expected {expected:?}");
    assert!(near(found.3, expected.3), "{rate:?}: {found:?}, expected {expected:?}");
}

#[test]
fn whoever_waits_as_long_as_told_is_admitted_and_a_nanosecond_less_is_not() {
    let mut numbers = Numbers(2);
    for _ in 0..500 {
        let count = u32::try_from(1 + numbers.below(100_000)).unwrap();
        let rate = Rate { count, period: Duration::from_secs(60) };
        let burst = u32::try_from(1 + numbers.below(20)).unwrap();
        let [patient, hasty] = [MemoryCounters::new(1), MemoryCounters::new(1)];
        let key = CounterKey { limit: "l", subject: "s" };
        let mut now = Duration::from_secs(5);
        let refused = loop {
            let spent = patient.spend_now(key, rate, burst, at(now));
            assert_eq!(hasty.spend_now(key, rate, burst, at(now)), spent);
            if !spent.admitted {
                break spent;
            }
            now += Duration::from_nanos(numbers.below(100));
        };
        let enough = now + refused.retry_after;
        let early = enough - Duration::from_nanos(1);
        assert!(!hasty.spend_now(key, rate, burst, at(early)).admitted);
        assert!(patient.spend_now(key, rate, burst, at(enough)).admitted);
    }
}

#[test]
fn as_if_untouched_after_the_reset() {
    let counters = MemoryCounters::default();
    let first = spend(&counters, "a", "7/min", 3, Duration::ZERO);
    let spent = spend(&counters, "a", "7/min", 3, Duration::from_millis(10));
    let again = spend(&counters, "a", "7/min", 3, Duration::from_millis(10) + spent.reset_after);
    assert_eq!(again, first);
}

#[test]
fn absurd_rates_and_bursts_neither_overflow_nor_admit_too_much() {
    let counters = MemoryCounters::default();
    for rate in ["1/d", "1000000000/s", "1000000000/d", "1/s"] {
        for burst in [0, 1, 1_000_000_000, u32::MAX] {
            let late = Duration::from_nanos(u64::MAX);
            for now in [Duration::ZERO, Duration::from_secs(1), late, Duration::MAX] {
                let subject = format!("{rate} {burst} {now:?}");
                let spent = spend(&counters, &subject, rate, burst, now);
                assert!(spent.admitted, "{subject}");
                assert_eq!(spent.remaining, burst.max(1) - 1, "{subject}");
            }
        }
    }
    let endless = Rate { count: 1, period: Duration::MAX };
    let key = CounterKey { limit: "l", subject: "endless" };
    assert!(counters.spend_now(key, endless, u32::MAX, at(Duration::MAX)).admitted);
    let empty = Rate { count: 0, period: Duration::ZERO };
    let key = CounterKey { limit: "l", subject: "empty" };
    assert!(counters.spend_now(key, empty, 0, at(Duration::ZERO)).admitted);
}

#[test]
fn a_very_large_burst_of_a_very_slow_rate_can_be_spent_to_its_end() {
    let limit = Limit::new("1/d".parse().unwrap(), 1_000_000_000);
    // One unit short of spent: 999,999,999 days, far beyond what 64 bits of nanoseconds hold.
    let mut arrival = limit.interval * 999_999_999;
    assert!(limit.spend(&mut arrival, 0).admitted);
    let refused = limit.spend(&mut arrival, 0);
    assert!(!refused.admitted);
    assert_eq!(refused.retry_after, Duration::from_secs(86_400));
}

#[test]
fn a_limit_that_was_tightened_forgets_what_the_old_one_held() {
    let counters = MemoryCounters::default();
    for _ in 0..50 {
        spend(&counters, "a", "1/d", 1_000, Duration::ZERO);
    }
    let spent = spend(&counters, "a", "1/s", 2, Duration::ZERO);
    assert!(!spent.admitted);
    assert_eq!(spent.reset_after, Duration::from_secs(2));
}

#[test]
fn limits_and_subjects_are_counted_apart() {
    let counters = MemoryCounters::default();
    let keys = [("a", "bc"), ("ab", "c"), ("abc", ""), ("", "abc"), ("a", "b")];
    for (limit, subject) in keys {
        let key = CounterKey { limit, subject };
        let spent = counters.spend_now(key, "1/d".parse().unwrap(), 1, at(Duration::ZERO));
        assert!(spent.admitted, "{key:?}");
    }
}

#[test]
fn threads_together_are_admitted_exactly_the_burst() {
    let counters = Arc::new(MemoryCounters::default());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let counters = Arc::clone(&counters);
            thread::spawn(move || {
                let spent = |_: &u32| spend(&counters, "a", "1/d", 1_000, Duration::ZERO).admitted;
                (0..2_000).filter(spent).count()
            })
        })
        .collect();
    let admitted: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    assert_eq!(admitted, 1_000);
}

#[test]
fn counters_that_are_as_if_untouched_make_room_first() {
    let counters = MemoryCounters::new(8);
    for number in 0..8 {
        spend(&counters, &number.to_string(), "1/s", 1, Duration::ZERO);
    }
    spend(&counters, "next", "1/s", 1, Duration::from_secs(1));
    assert_eq!(counters.evictions(), 0);
    assert_eq!(counters.shards[0].lock().unwrap().arrivals.len(), 1);
}

#[test]
fn a_flood_of_subjects_does_not_free_the_one_that_is_held_off() {
    let counters = MemoryCounters::new(16);
    for _ in 0..5 {
        spend(&counters, "heavy", "1/d", 5, Duration::ZERO);
    }
    for number in 0..10_000 {
        let spent = spend(&counters, &number.to_string(), "1/d", 5, Duration::ZERO);
        assert!(spent.admitted, "never refuses to count");
    }
    assert!(!spend(&counters, "heavy", "1/d", 5, Duration::ZERO).admitted);
    assert_eq!(counters.evictions(), 10_000 - 15);
    let kept: usize =
        counters.shards.iter().map(|shard| shard.lock().unwrap().arrivals.len()).sum();
    assert_eq!(kept, 16);
}

#[test]
fn memory_is_bounded_over_all_shards() {
    let counters = MemoryCounters::new(4_096);
    for number in 0..20_000 {
        spend(&counters, &number.to_string(), "1/d", 1, Duration::ZERO);
    }
    let kept: usize =
        counters.shards.iter().map(|shard| shard.lock().unwrap().arrivals.len()).sum();
    assert_eq!(kept, 4_096);
    assert_eq!(counters.evictions(), 20_000 - 4_096);
}
