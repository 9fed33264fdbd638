//! Choosing an endpoint.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use demilune_core::snapshot::Balance;

use super::{EndpointState, UpstreamState};

impl UpstreamState {
    /// The next endpoint among the healthy ones that are not in `tried`; `None` where there is
    /// none.
    pub(crate) fn choose(&self, tried: &[u64]) -> Option<&Arc<EndpointState>> {
        let count = self.endpoints.len();
        let start = if count > 1 { self.turn.fetch_add(1, Ordering::Relaxed) } else { 0 };
        let (before, after) = self.endpoints.split_at_checked(start % count.max(1))?;
        let mut candidates = after
            .iter()
            .chain(before)
            .filter(|endpoint| endpoint.is_healthy() && !tried.contains(&endpoint.id))
            .filter(|endpoint| endpoint.requests() < self.settings.requests);
        match self.settings.balance {
            Balance::RoundRobin => candidates.next(),
            // The first of several minima is taken, and where we start moves on: ties go in turn.
            Balance::LeastRequest => candidates.min_by_key(|endpoint| endpoint.requests()),
        }
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
        (0..6).filter_map(|_| state.choose(tried).map(index)).collect()
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
        let busy = [state.endpoints[0].begin(), state.endpoints[2].begin()];
        assert_eq!(picks(&state, &[]), [1; 6]);
        drop(busy);
        assert_eq!(picks(&state, &[]), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_full_endpoint_gets_no_more() {
        let state = upstream(2, Balance::RoundRobin);
        let busy = [state.endpoints[0].begin(), state.endpoints[0].begin()];
        assert_eq!(picks(&state, &[]), [1; 6]);
        assert!(!state.is_full());
        let more = [state.endpoints[1].begin(), state.endpoints[1].begin()];
        assert!(picks(&state, &[]).is_empty() && state.is_full());
        drop((busy, more));
        assert!(!state.is_full());
    }

    #[test]
    fn where_all_are_unhealthy_or_tried_there_is_none() {
        let state = upstream(1, Balance::LeastRequest);
        assert!(picks(&state, &[state.endpoints[0].id]).is_empty());
        state.endpoints[0].set_healthy(false);
        assert!(picks(&state, &[]).is_empty());
    }
}
