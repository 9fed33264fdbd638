//! Choosing an endpoint.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use demilune_core::snapshot::Balance;

use super::{EndpointState, UpstreamState};

impl UpstreamState {
    /// The next endpoint among those that may get requests and are not in `tried`; `None` where
    /// there is none. `now` is asked only where endpoints can be ejected.
    pub(crate) fn choose(
        &self,
        tried: &[u64],
        now: impl Fn() -> Duration,
    ) -> Option<&Arc<EndpointState>> {
        let count = self.endpoints.len();
        let start = if count > 1 { self.turn.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let (before, after) = self.endpoints.split_at_checked(start % count.max(1))?;
        let stay = self.stay(now);
        let mut candidates = after
            .iter()
            .chain(before)
            .filter(|endpoint| endpoint.is_healthy() && !tried.contains(&endpoint.id))
            .filter(|endpoint| stay.is_none_or(|now| !endpoint.conduct.is_ejected(now)))
            .filter(|endpoint| endpoint.requests() < self.settings.requests);
        match self.settings.balance {
            Balance::RoundRobin => candidates.next(),
            // The first of several minima is taken, and where we start moves on: ties go in turn.
            Balance::LeastRequest => candidates.min_by_key(|endpoint| endpoint.requests()),
        }
    }

    /// Whether it is for the number of requests under way that no endpoint takes one more.
    pub(crate) fn is_full(&self, now: impl Fn() -> Duration) -> bool {
        let stay = self.stay(now);
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
    fn stay(&self, now: impl Fn() -> Duration) -> Option<Duration> {
        self.settings.ejection.as_ref()?;
        let now = now();
        let stays = |e: &Arc<EndpointState>| e.is_healthy() && !e.conduct.is_ejected(now);
        self.endpoints.iter().any(stays).then_some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::tests_support::upstream;

    fn picks(state: &UpstreamState, tried: &[u64]) -> Vec<usize> {
        let index = |picked: &Arc<EndpointState>| {
            state.endpoints.iter().position(|e| Arc::ptr_eq(e, picked)).unwrap()
        };
        (0..6).filter_map(|_| state.choose(tried, || Duration::ZERO).map(index)).collect()
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
}
