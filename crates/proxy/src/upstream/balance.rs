//! Choosing an endpoint.

use std::cmp::Ordering as CmpOrdering;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use demilune_core::snapshot::Balance;

use super::affinity::mix;
use super::{EndpointState, UpstreamState};

impl UpstreamState {
    /// The next endpoint among those that may get requests and are not in `tried`; `None` where
    /// there is none. `key` is that of the request, where it has one. `now` is asked only where the
    /// time counts.
    pub(crate) fn choose(
        &self,
        tried: &[u64],
        key: Option<u64>,
        now: impl Fn() -> Duration,
    ) -> Option<&Arc<EndpointState>> {
        let count = self.endpoints.len();
        let turn = if count > 1 { self.turn.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let stay = self.stay(&now);
        let may = |endpoint: &Arc<EndpointState>| {
            endpoint.is_healthy()
                && !tried.contains(&endpoint.id)
                && stay.is_none_or(|now| !endpoint.conduct.is_ejected(now))
                && endpoint.requests() < self.settings.requests
        };
        if let (Balance::RoundRobin, false) = (&self.settings.balance, self.schedule.is_empty()) {
            return self.in_schedule(turn, may);
        }
        let (before, after) = self.endpoints.split_at_checked(turn % count.max(1))?;
        let mut candidates = after.iter().chain(before).filter(|endpoint| may(endpoint));
        match &self.settings.balance {
            Balance::RoundRobin => candidates.next(),
            Balance::PeakEwma if count > 1 => self.likely_sooner(turn, may, now()),
            Balance::ConsistentHash(settings) if key.is_some() => {
                self.of_key(key.unwrap_or_default(), settings.overload, may)
            }
            // The first of several minima is taken, and where we start moves on: ties go in turn.
            _ if self.schedule.is_empty() => candidates.min_by_key(|endpoint| endpoint.requests()),
            _ => self.weighed(turn).filter(|(e, _)| may(e)).min_by(lighter).map(|(e, _)| e),
        }
    }

    /// All endpoints with their weights, the one whose turn it is first.
    fn weighed(&self, turn: usize) -> impl Iterator<Item = (&Arc<EndpointState>, u16)> {
        let all = self.endpoints.iter().zip(self.settings.weights.iter().copied());
        let count = self.endpoints.len();
        all.clone().chain(all).skip(turn % count.max(1)).take(count)
    }

    fn in_schedule(
        &self,
        turn: usize,
        may: impl Fn(&Arc<EndpointState>) -> bool,
    ) -> Option<&Arc<EndpointState>> {
        let length = self.schedule.len();
        let turns = self.schedule.iter().chain(&self.schedule).skip(turn % length.max(1));
        let mut endpoints = turns.take(length).filter_map(|i| self.endpoints.get(usize::from(*i)));
        endpoints.find(|endpoint| may(endpoint))
    }

    /// Of two, taken at random, the one whose latency times the requests under way is less: the
    /// power of two choices (Mitzenmacher 2001).
    fn likely_sooner(
        &self,
        turn: usize,
        may: impl Fn(&Arc<EndpointState>) -> bool,
        now: Duration,
    ) -> Option<&Arc<EndpointState>> {
        let candidates = || self.weighed(0).filter(|(endpoint, _)| may(endpoint));
        let count = candidates().count();
        let random = mix(u64::try_from(turn).unwrap_or_default());
        let below = |random: u64, limit: usize| {
            usize::try_from(random % u64::try_from(limit.max(1)).unwrap_or(1)).unwrap_or(0)
        };
        let one = below(random >> 32, count);
        let other = one + 1 + below(random & 0xffff_ffff, count.saturating_sub(1));
        let other = other % count.max(1);
        let cost = |(endpoint, weight): (&Arc<EndpointState>, u16)| {
            let waiting = u32::try_from(endpoint.requests()).unwrap_or(u32::MAX);
            // What was never measured is as good as the best, until requests are under way.
            let latency = endpoint.latency.now(now).max(1000.0);
            latency * (f64::from(waiting) + 1.0) / f64::from(weight)
        };
        let (one, other) = (candidates().nth(one)?, candidates().nth(other)?);
        Some(if cost(one) <= cost(other) { one.0 } else { other.0 })
    }

    /// The endpoint of a key by rendezvous hashing (Thaler and Ravishankar 1998), weighted; the
    /// next one of the key where it has too much to do for its share (bounded loads: Mirrokni,
    /// Thorup and Zadimoghaddam 2018).
    fn of_key(
        &self,
        key: u64,
        overload: u8,
        may: impl Fn(&Arc<EndpointState>) -> bool,
    ) -> Option<&Arc<EndpointState>> {
        let candidates = || self.weighed(0).filter(|(endpoint, _)| may(endpoint));
        let mut requests = 1_u64;
        let mut weights = 0_u64;
        for (endpoint, weight) in candidates() {
            requests = requests.saturating_add(u64::try_from(endpoint.requests()).unwrap_or(0));
            weights = weights.saturating_add(u64::from(weight));
        }
        let most = |weight: u16| {
            let share = requests.saturating_mul(u64::from(weight));
            let share = share.saturating_mul(100 + u64::from(overload));
            share.div_ceil(weights.saturating_mul(100).max(1))
        };
        let room = |(endpoint, weight): &(&Arc<EndpointState>, u16)| {
            u64::try_from(endpoint.requests()).unwrap_or(u64::MAX) < most(*weight)
        };
        let scored = candidates()
            .filter(room)
            .map(|(endpoint, weight)| (endpoint, score(mix(key ^ endpoint.hash), weight)));
        scored.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(endpoint, _)| endpoint)
    }

    /// Whether it is for the number of requests under way that no endpoint takes one more.
    pub(crate) fn is_full(&self, now: impl Fn() -> Duration) -> bool {
        let stay = self.stay(&now);
        let mut serving = self
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.is_healthy())
            .filter(|endpoint| stay.is_none_or(|now| !endpoint.conduct.is_ejected(now)))
            .peekable();
        serving.peek().is_some() && serving.all(|e| e.requests() >= self.settings.requests)
    }

    /// The time, where endpoints that are ejected now get no requests: there are others. Where
    /// health checks took all others out, those ejected are better than none.
    fn stay(&self, now: &impl Fn() -> Duration) -> Option<Duration> {
        self.settings.ejection.as_ref()?;
        let now = now();
        let stays = |e: &Arc<EndpointState>| e.is_healthy() && !e.conduct.is_ejected(now);
        self.endpoints.iter().any(stays).then_some(now)
    }
}

/// Which of two has fewer requests under way for its weight.
fn lighter(one: &(&Arc<EndpointState>, u16), other: &(&Arc<EndpointState>, u16)) -> CmpOrdering {
    let next = |endpoint: &EndpointState| endpoint.requests().saturating_add(1);
    let (mine, theirs) = (next(one.0), next(other.0));
    mine.saturating_mul(usize::from(other.1)).cmp(&theirs.saturating_mul(usize::from(one.1)))
}

/// An endpoint's score for a key: the greatest is chosen, by each as often as its weight says.
fn score(hash: u64, weight: u16) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let uniform = ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(weight) / uniform.ln()
}

/// The turns of one round, in which each endpoint comes as often as its weight says, spread evenly
/// (smooth weighted round robin); empty where all weights are the same.
pub(super) fn schedule(weights: &[u16]) -> Vec<u16> {
    if weights.iter().all(|weight| weights.first() == Some(weight)) {
        return Vec::new();
    }
    // The k-th turn of an endpoint of weight w belongs at (2k + 1) / 2w of the round.
    let mut turns: Vec<(u64, u16)> = Vec::new();
    for (index, weight) in (0_u16..).zip(weights) {
        let at = |k: u64| (2 * k + 1) * (1 << 32) / (2 * u64::from((*weight).max(1)));
        turns.extend((0..u64::from(*weight)).map(|k| (at(k), index)));
    }
    turns.sort_unstable();
    turns.into_iter().map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use demilune_core::snapshot::{ConsistentHash, HashOn};

    use super::*;
    use crate::upstream::tests_support::{prepared, settings, upstream};

    fn picks(state: &UpstreamState, tried: &[u64]) -> Vec<usize> {
        let index = |picked: &Arc<EndpointState>| {
            state.endpoints.iter().position(|e| Arc::ptr_eq(e, picked)).unwrap()
        };
        (0..6).filter_map(|_| state.choose(tried, None, || Duration::ZERO).map(index)).collect()
    }

    #[test]
    fn round_robin_takes_each_in_turn_and_skips_the_unhealthy() {
        let state = upstream(3, Balance::RoundRobin);
        assert_eq!(picks(&state, &[]), [0, 1, 2, 0, 1, 2]);
        state.endpoints[1].set_healthy(false);
        assert!(!picks(&state, &[]).contains(&1));
    }

    #[test]
    fn least_request_takes_the_one_with_the_fewest_under_way() {
        let state = upstream(3, Balance::LeastRequest);
        let busy = [state.endpoints[0].begin(9), state.endpoints[2].begin(9)];
        assert_eq!(picks(&state, &[]), [1; 6]);
        drop(busy);
        assert_eq!(picks(&state, &[]), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_full_endpoint_gets_no_more() {
        let state = upstream(2, Balance::RoundRobin);
        let busy = [state.endpoints[0].begin(9), state.endpoints[0].begin(9)];
        assert_eq!(picks(&state, &[]), [1; 6]);
        assert!(!state.is_full(|| Duration::ZERO));
        let more = [state.endpoints[1].begin(9), state.endpoints[1].begin(9)];
        assert!(picks(&state, &[]).is_empty() && state.is_full(|| Duration::ZERO));
        drop((busy, more));
        assert!(!state.is_full(|| Duration::ZERO));
    }

    #[test]
    fn where_all_are_unhealthy_or_tried_there_is_none() {
        let state = upstream(1, Balance::LeastRequest);
        assert!(picks(&state, &[state.endpoints[0].id]).is_empty());
        state.endpoints[0].set_healthy(false);
        assert!(picks(&state, &[]).is_empty());
    }

    const NOW: fn() -> Duration = || Duration::from_secs(1000);

    fn weighted(weights: &[u16], balance: Balance) -> Arc<UpstreamState> {
        let mut settings = settings(u16::try_from(weights.len()).unwrap(), balance);
        settings.weights = weights.to_vec();
        settings.requests = 100_000;
        prepared(settings, None)
    }

    fn index(state: &UpstreamState, endpoint: &Arc<EndpointState>) -> usize {
        state.endpoints.iter().position(|other| other.id == endpoint.id).unwrap()
    }

    fn hashing(overload: u8) -> Balance {
        Balance::ConsistentHash(ConsistentHash { on: HashOn::Address, overload })
    }

    /// How often each is chosen, one request after the other.
    fn counts(state: &UpstreamState, requests: usize, key: impl Fn(usize) -> u64) -> Vec<usize> {
        let mut counts = vec![0; state.endpoints.len()];
        for number in 0..requests {
            let chosen = state.choose(&[], Some(key(number)), NOW).unwrap();
            counts[index(state, chosen)] += 1;
        }
        counts
    }

    #[test]
    fn round_robin_spreads_turns_by_weight_and_skips_who_may_not() {
        let state = weighted(&[4, 1, 1], Balance::RoundRobin);
        assert_eq!(state.schedule, [0, 0, 1, 2, 0, 0]);
        assert_eq!(counts(&state, 60, |_| 0), [40, 10, 10]);
        state.endpoints[0].set_healthy(false);
        let left = counts(&state, 60, |_| 0);
        assert_eq!((left[0], left[1] + left[2]), (0, 60));
        assert!(schedule(&[3, 3, 3]).is_empty());
    }

    #[test]
    fn least_request_fills_endpoints_by_weight() {
        let state = weighted(&[3, 1], Balance::LeastRequest);
        let busy: Vec<_> =
            (0..40).map(|_| state.choose(&[], None, NOW).unwrap().begin(1000).unwrap()).collect();
        assert_eq!([state.endpoints[0].requests(), state.endpoints[1].requests()], [30, 10]);
        drop(busy);
    }

    #[test]
    fn one_key_goes_to_one_endpoint_and_moves_only_when_that_may_not_have_it() {
        let state = weighted(&[1; 5], hashing(25));
        let key = |number: usize| u64::try_from(number).unwrap();
        let of = |number: usize| index(&state, state.choose(&[], Some(key(number)), NOW).unwrap());
        let before: Vec<usize> = (0..1000).map(of).collect();
        assert_eq!(before, (0..1000).map(of).collect::<Vec<_>>());
        state.endpoints[2].set_healthy(false);
        for (number, was) in before.iter().enumerate() {
            let is = of(number);
            assert!(if *was == 2 { is != 2 } else { is == *was }, "{number}: {was} {is}");
        }
    }

    #[test]
    fn keys_spread_by_weight() {
        let key = |number: usize| u64::try_from(number).unwrap();
        let even = counts(&weighted(&[1; 4], hashing(25)), 10_000, key);
        assert!(even.iter().all(|count| (2300..2700).contains(count)), "{even:?}");
        let three = counts(&weighted(&[3, 1], hashing(25)), 10_000, key);
        assert!((7300..7700).contains(&three[0]), "{three:?}");
    }

    #[test]
    fn one_key_that_everybody_has_does_not_bury_its_endpoint() {
        let state = weighted(&[1; 4], hashing(25));
        let busy: Vec<_> = (0..100)
            .map(|_| state.choose(&[], Some(7), NOW).unwrap().begin(1000).unwrap())
            .collect();
        let most = state.endpoints.iter().map(|endpoint| endpoint.requests()).max();
        // 125 % of a quarter, rounded up.
        assert_eq!(most, Some(32));
        drop(busy);
    }

    #[test]
    fn peak_ewma_asks_who_answers_sooner_and_those_not_known_yet() {
        let state = weighted(&[1; 3], Balance::PeakEwma);
        for (endpoint, time) in state.endpoints.iter().zip([10, 200, 10]) {
            endpoint.latency.measured(Some(Duration::from_millis(time)), NOW());
        }
        let counts = counts(&state, 3000, |_| 0);
        // Of two, the slow one is never the better.
        assert!(counts[1] == 0 && counts[0] > 1000 && counts[2] > 1000, "{counts:?}");
        state.endpoints[0].latency.measured(None, NOW());
        let failing = self::counts(&state, 3000, |_| 0);
        assert!(failing[0] == 0 && failing[1] > 500, "{failing:?}");
        let later = || NOW() + Duration::from_secs(600);
        let again = (0..100).filter_map(|_| state.choose(&[], None, later));
        assert!(again.map(|e| index(&state, e)).any(|i| i == 0), "it is tried again");
    }

    #[test]
    fn one_endpoint_is_chosen_however_it_is_chosen() {
        for balance in [Balance::PeakEwma, hashing(0), Balance::RoundRobin, Balance::LeastRequest] {
            let state = weighted(&[7], balance);
            assert!((0..9).all(|n| state.choose(&[], Some(n), NOW).is_some()));
            state.endpoints[0].set_healthy(false);
            assert!(state.choose(&[], Some(1), NOW).is_none());
        }
    }
}
