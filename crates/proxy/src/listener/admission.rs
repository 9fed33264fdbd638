//! How many connections a listener has, over all workers: in all, of one address, and in their
//! handshake.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Parts of the table of addresses, each under its own lock.
const SHARDS: usize = 16;

/// The counts of one listener. The table holds open connections only, so that it is bounded by
/// their number.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    open: AtomicUsize,
    handshakes: AtomicUsize,
    addresses: [Mutex<HashMap<u128, usize>>; SHARDS],
    mixer: RandomState,
    /// The second in which a refusal was last told of.
    told: AtomicU64,
}

impl Admission {
    /// One more connection, where there are fewer than `limit`.
    pub(crate) fn open(self: &Arc<Self>, limit: usize) -> Option<Slot> {
        self.enter(Counter::Open, limit)
    }

    /// One more handshake.
    pub(crate) fn handshake(self: &Arc<Self>, limit: usize) -> Option<Slot> {
        self.enter(Counter::Handshakes, limit)
    }

    fn enter(self: &Arc<Self>, counter: Counter, limit: usize) -> Option<Slot> {
        if self.counter(counter).fetch_add(1, Ordering::Relaxed) < limit {
            return Some(Slot { admission: Arc::clone(self), counter });
        }
        self.counter(counter).fetch_sub(1, Ordering::Relaxed);
        None
    }

    fn counter(&self, counter: Counter) -> &AtomicUsize {
        match counter {
            Counter::Open => &self.open,
            Counter::Handshakes => &self.handshakes,
        }
    }

    /// One more connection of a client; IPv6 is counted by /64, of which one client has all.
    pub(crate) fn of_address(self: &Arc<Self>, address: IpAddr, limit: usize) -> Option<OfAddress> {
        let network = network(address);
        let mut table = self.table(network);
        let count = table.entry(network).or_insert(0);
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(OfAddress { admission: Arc::clone(self), network })
    }

    fn table(&self, network: u128) -> MutexGuard<'_, HashMap<u128, usize>> {
        let shard = usize::try_from(self.mixer.hash_one(network) % SHARDS as u64);
        let [first, ..] = &self.addresses;
        let table = shard.ok().and_then(|shard| self.addresses.get(shard)).unwrap_or(first);
        match table.lock() {
            Ok(table) => table,
            Err(poisoned) => poisoned.into_inner(),
        }
    }

    /// Whether a refusal of now is to be told of in the log: one a second is. All are counted.
    pub(crate) fn tells(&self, now: Duration) -> bool {
        let second = now.as_secs().saturating_add(1);
        self.told.swap(second, Ordering::Relaxed) != second
    }
}

/// The address that connections are counted under.
fn network(address: IpAddr) -> u128 {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits() >> 64 << 64,
    }
}

#[derive(Debug, Clone, Copy)]
enum Counter {
    Open,
    Handshakes,
}

/// A place among all; given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    admission: Arc<Admission>,
    counter: Counter,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.admission.counter(self.counter).fetch_sub(1, Ordering::Relaxed);
    }
}

/// A place among those of one address; given back when dropped.
#[derive(Debug)]
pub(crate) struct OfAddress {
    admission: Arc<Admission>,
    network: u128,
}

impl Drop for OfAddress {
    fn drop(&mut self) {
        let mut table = self.admission.table(self.network);
        if let Some(count) = table.get_mut(&self.network) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                table.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(admission: &Admission) -> usize {
        admission.addresses.iter().map(|table| table.lock().unwrap().len()).sum()
    }

    #[test]
    fn each_address_has_its_own_count_and_nothing_is_kept_of_those_that_left() {
        let admission = Arc::<Admission>::default();
        let enter = |address: &str| admission.of_address(address.parse().unwrap(), 2);
        let first = [enter("192.0.2.7"), enter("::ffff:192.0.2.7")];
        assert!(first.iter().all(Option::is_some) && enter("192.0.2.7").is_none());
        assert!(enter("192.0.2.8").is_some());
        let near = [enter("2001:db8::1"), enter("2001:db8::ffff:0:0:1")];
        assert!(near.iter().all(Option::is_some) && enter("2001:db8:0:0:9::").is_none());
        assert!(enter("2001:db8:0:1::1").is_some());
        drop(first);
        assert!(enter("192.0.2.7").is_some());
        drop(near);
        assert_eq!(kept(&admission), 0);
    }

    #[test]
    fn a_place_that_is_given_back_can_be_taken_again() {
        let admission = Arc::<Admission>::default();
        let one = admission.handshake(1);
        assert!(one.is_some() && admission.handshake(1).is_none());
        assert!(admission.open(1).is_some());
        drop(one);
        assert!(admission.handshake(1).is_some());
    }

    #[test]
    fn one_refusal_a_second_is_told_of() {
        let admission = Admission::default();
        let tells = [0, 0, 1, 1, 2].map(|second| admission.tells(Duration::from_secs(second)));
        assert_eq!(tells, [true, false, true, false, true]);
    }
}
