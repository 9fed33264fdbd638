//! Counters of limits, in memory: the generic cell rate algorithm (ATM Forum TM 4.1, section 4.4.2,
//! "virtual scheduling").
//!
//! One number is kept for each counter: the theoretical arrival time, at which it will be as if
//! untouched. It is fixed-point: nanoseconds with 32 binary places below, so that a rate such as
//! `7/min`, whose interval is no whole number of nanoseconds, is neither stricter nor laxer than
//! written by anything that a clock could show.
//!
//! Memory is bounded. Whoever invents subjects to count (addresses, most of all) makes room for
//! them at the cost of the counter that is nearest to untouched, so a client that is being held
//! off stays held off. Counters never refuse to count.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use demilune_core::env::{CounterKey, Counters, Spent};
use demilune_core::hook::Outcome;
use demilune_core::time::Moment;
use demilune_core::unit::Rate;
use demilune_core::verdict::Fault;

/// How many counters are kept unless said otherwise: about 70 MB once all are in use.
pub const CAPACITY: usize = 1_000_000;

/// A full shard is searched as a whole: this bounds the search to about a microsecond.
const SHARD: usize = 1_024;
const SHARDS_LIMIT: usize = 1_024;

/// Counters in memory, shared by all workers of the process.
#[derive(Debug)]
pub struct MemoryCounters {
    shards: Box<[Mutex<Shard>]>,
    shard_capacity: usize,
    // Keyed at random and differently: nobody outside can choose subjects that share a counter.
    hashers: (RandomState, RandomState),
    evictions: AtomicU64,
}

#[derive(Debug, Default)]
struct Shard {
    arrivals: HashMap<u128, Ticks, Hashed>,
    /// The latest time seen. A request that waited before it was counted brings an earlier one, and
    /// time that went back would free what was spent since.
    latest: Ticks,
}

impl Default for MemoryCounters {
    /// With room for [`CAPACITY`] counters.
    fn default() -> Self {
        Self::new(CAPACITY)
    }
}

impl MemoryCounters {
    /// With room for about `capacity` counters (one at least); those that are as if untouched do
    /// not count.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let shards = (capacity / SHARD).clamp(1, SHARDS_LIMIT).next_power_of_two();
        Self {
            shards: std::iter::repeat_with(Mutex::default).take(shards).collect(),
            shard_capacity: capacity.div_ceil(shards).max(1),
            hashers: (RandomState::new(), RandomState::new()),
            evictions: AtomicU64::new(0),
        }
    }

    /// How many counters had to be forgotten before their time, to make room.
    #[must_use]
    pub fn evictions(&self) -> u64 {
        self.evictions.load(Ordering::Relaxed)
    }

    fn spend_now(&self, key: CounterKey<'_>, rate: Rate, burst: u32, now: Moment) -> Spent {
        let limit = Limit::new(rate, burst);
        let (high, low) = (self.hashers.0.hash_one(key), self.hashers.1.hash_one(key));
        let hash = (u128::from(high) << 64) | u128::from(low);
        let at = usize::try_from(high).unwrap_or(0) & (self.shards.len() - 1);
        // There always is such a shard; a counter that finds none would count nothing.
        let Some(shard) = self.shards.get(at) else { return limit.spent(true, 0, 0) };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        let now = ticks(now.monotonic).max(shard.latest);
        shard.latest = now;
        if let Some(arrival) = shard.arrivals.get_mut(&hash) {
            return limit.spend(arrival, now);
        }
        if shard.arrivals.len() >= self.shard_capacity {
            self.make_room(&mut shard.arrivals, now);
        }
        limit.spend(shard.arrivals.entry(hash).or_default(), now)
    }

    /// Drops all counters that are as if untouched; where there are none, the one nearest to it.
    fn make_room(&self, arrivals: &mut HashMap<u128, Ticks, Hashed>, now: Ticks) {
        let mut nearest: Option<(Ticks, u128)> = None;
        arrivals.retain(|key, arrival| {
            if *arrival > now && nearest.is_none_or(|(least, _)| *arrival < least) {
                nearest = Some((*arrival, *key));
            }
            *arrival > now
        });
        if arrivals.len() >= self.shard_capacity
            && let Some((_, key)) = nearest
        {
            arrivals.remove(&key);
            self.evictions.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Counters for MemoryCounters {
    fn spend<'a>(
        &'a self,
        key: CounterKey<'a>,
        rate: Rate,
        burst: u32,
        now: Moment,
    ) -> Outcome<'a, Result<Spent, Fault>> {
        Outcome::Now(Ok(self.spend_now(key, rate, burst, now)))
    }
}

/// Nanoseconds, with [`PLACES`] binary places.
type Ticks = u128;

const PLACES: u32 = 32;
/// 86,400 s in nanoseconds is below 2^47, the largest burst below 2^32: their product with all
/// places is below 2^111. A period of any length at all is cut here, so that no sum can overflow.
const PERIOD_LIMIT: Ticks = 1 << 94;

fn ticks(time: Duration) -> Ticks {
    time.as_nanos().min(1 << 64) << PLACES
}

/// Rounded up: whoever comes back after it is not a moment early.
fn duration(ticks: Ticks) -> Duration {
    let nanos = ticks.div_ceil(1 << PLACES);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// A rate and a burst in ticks.
struct Limit {
    /// Between two units.
    interval: Ticks,
    /// All units of the burst.
    span: Ticks,
}

impl Limit {
    fn new(rate: Rate, burst: u32) -> Self {
        let period = ticks(rate.period).min(PERIOD_LIMIT);
        let interval = (period / Ticks::from(rate.count.max(1))).max(1);
        Self { interval, span: interval * Ticks::from(burst.max(1)) }
    }

    fn spend(&self, arrival: &mut Ticks, now: Ticks) -> Spent {
        // Never further away than a burst spent whole: a limit that was tightened does not hold
        // on to what was spent under the old one for longer than the new one would.
        let from = (*arrival).clamp(now, now + self.span);
        let next = from + self.interval;
        let admitted = next <= now + self.span;
        *arrival = if admitted { next } else { from };
        self.spent(admitted, *arrival, now)
    }

    fn spent(&self, admitted: bool, arrival: Ticks, now: Ticks) -> Spent {
        let used = arrival - now;
        let room = self.span.saturating_sub(used);
        Spent {
            admitted,
            remaining: u32::try_from(room / self.interval).unwrap_or(u32::MAX),
            retry_after: duration(self.interval.saturating_sub(room)),
            reset_after: duration(used),
        }
    }
}

/// The keys are hashes already.
#[derive(Debug, Clone, Copy, Default)]
struct Hashed(u64);

impl BuildHasher for Hashed {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, key: u128) {
        // The low half: the high one has chosen the shard.
        self.0 = u64::try_from(key & u128::from(u64::MAX)).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests;
