//! Endpoints that fail requests are taken out for a while (passive health checks).
//!
//! What is counted is shared by all workers. One endpoint always stays, so an attacker who can make
//! an upstream fail takes part of it out at most, and ill answers never become no answers.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use demilune_core::snapshot::Ejection;

use super::{EndpointState, UpstreamState};

/// What is known of one endpoint.
#[derive(Default)]
pub(super) struct Conduct {
    /// Failures in a row.
    failures: AtomicU32,
    /// Until when it is out, in milliseconds of the monotonic clock; 0 where it never was.
    until: AtomicU64,
    /// How often it was taken out, without behaving in between.
    times: AtomicU32,
    /// Whether its return is to be told.
    out: AtomicBool,
}

/// Held while an endpoint is taken out: two of them at once could leave none.
#[derive(Default)]
pub(super) struct Ejecting(Mutex<()>);

/// An endpoint was taken out, for so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ejected(pub(super) Duration);

impl Conduct {
    pub(super) fn is_ejected(&self, now: Duration) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        until != 0 && until > milliseconds(now)
    }

    /// Whether it is back, and that was not told yet.
    pub(super) fn has_returned(&self, now: Duration) -> bool {
        !self.is_ejected(now) && self.out.swap(false, Ordering::Relaxed)
    }

    fn failed(&self) -> u32 {
        self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    pub(super) fn succeeded(&self) {
        // Mostly there is nothing to write.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    fn eject(&self, settings: &Ejection, now: Duration) -> Ejected {
        let behaved = milliseconds(now).saturating_sub(self.until.load(Ordering::Relaxed));
        let times = self.times.load(Ordering::Relaxed);
        let times = if behaved > milliseconds(settings.longest) { 0 } else { times };
        let time = settings.time.saturating_mul(1 << times.min(20)).min(settings.longest);
        self.times.store(times.saturating_add(1), Ordering::Relaxed);
        // The first failure after its return takes it out again.
        self.failures.store(settings.after.saturating_sub(1), Ordering::Relaxed);
        self.until.store(milliseconds(now.saturating_add(time)).max(1), Ordering::Relaxed);
        self.out.store(true, Ordering::Relaxed);
        Ejected(time)
    }
}

impl UpstreamState {
    /// Notes a failure of `endpoint`, and takes it out where it was one too many.
    pub(super) fn failed(
        &self,
        settings: &Ejection,
        endpoint: &EndpointState,
        now: Duration,
    ) -> Option<Ejected> {
        if endpoint.conduct.failed() < settings.after {
            return None;
        }
        let _alone = self.ejecting.0.lock().unwrap_or_else(PoisonError::into_inner);
        if endpoint.conduct.is_ejected(now) {
            return None;
        }
        let others = || self.endpoints.iter().filter(|other| other.id != endpoint.id);
        let out = others().filter(|other| other.conduct.is_ejected(now)).count();
        let stays = others().any(|other| other.is_healthy() && !other.conduct.is_ejected(now));
        let allowed = self.endpoints.len().saturating_mul(usize::from(settings.share)) / 100;
        (stays && out < allowed).then(|| endpoint.conduct.eject(settings, now))
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use demilune_core::snapshot::Balance;

    use super::*;
    use crate::upstream::tests_support::{prepared, settings};

    const START: Duration = Duration::from_secs(1000);

    fn ejection(share: u8) -> Ejection {
        Ejection {
            after: 3,
            statuses: Vec::new(),
            time: Duration::from_secs(10),
            longest: Duration::from_secs(35),
            share,
        }
    }

    fn upstream(count: u16, share: u8) -> Arc<UpstreamState> {
        let mut upstream = settings(count, Balance::RoundRobin);
        upstream.ejection = Some(ejection(share));
        prepared(upstream, None)
    }

    /// Fails requests of one endpoint; what came of each.
    fn fail(state: &UpstreamState, endpoint: usize, count: usize, now: Duration) -> Vec<u64> {
        let settings = state.settings.ejection.clone().unwrap();
        let endpoint = &state.endpoints[endpoint];
        let each = (0..count).map(|_| state.failed(&settings, endpoint, now));
        each.map(|ejected| ejected.map_or(0, |Ejected(time)| time.as_secs())).collect()
    }

    fn chosen(state: &UpstreamState, now: Duration) -> Vec<usize> {
        let index = |endpoint: &Arc<EndpointState>| {
            state.endpoints.iter().position(|other| other.id == endpoint.id).unwrap()
        };
        let mut all: Vec<_> =
            (0..8).filter_map(|_| state.choose(&[], None, || now).map(index)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    #[test]
    fn failures_in_a_row_take_an_endpoint_out_until_its_time_has_passed() {
        let state = upstream(2, 50);
        assert_eq!(fail(&state, 0, 3, START), [0, 0, 10]);
        assert_eq!(chosen(&state, START), [1]);
        assert_eq!(chosen(&state, START + Duration::from_millis(9_999)), [1]);
        assert!(!state.endpoints[0].conduct.has_returned(START));
        let later = START + Duration::from_secs(10);
        assert_eq!(chosen(&state, later), [0, 1]);
        assert!(state.endpoints[0].conduct.has_returned(later));
        assert!(!state.endpoints[0].conduct.has_returned(later), "told once");
    }

    #[test]
    fn a_success_in_between_starts_the_count_anew() {
        let state = upstream(2, 50);
        for _ in 0..5 {
            assert_eq!(fail(&state, 0, 2, START), [0, 0]);
            state.endpoints[0].conduct.succeeded();
        }
        assert_eq!(chosen(&state, START), [0, 1]);
    }

    #[test]
    fn the_time_grows_while_it_fails_on_its_return_and_is_forgotten_when_it_behaves() {
        let state = upstream(2, 50);
        assert_eq!(fail(&state, 0, 3, START), [0, 0, 10]);
        let mut now = START + Duration::from_secs(10);
        for time in [20, 35, 35] {
            assert_eq!(fail(&state, 0, 1, now), [time]);
            now += Duration::from_secs(time);
        }
        state.endpoints[0].conduct.succeeded();
        assert_eq!(fail(&state, 0, 3, now + Duration::from_secs(36)), [0, 0, 10]);
    }

    #[test]
    fn never_more_than_the_share_is_out_and_one_stays() {
        let state = upstream(4, 50);
        for endpoint in 0..4 {
            fail(&state, endpoint, 9, START);
        }
        assert_eq!(chosen(&state, START), [2, 3]);
        let state = upstream(3, 100);
        for endpoint in 0..3 {
            fail(&state, endpoint, 9, START);
        }
        assert_eq!(chosen(&state, START), [2]);
        let alone = upstream(1, 100);
        fail(&alone, 0, 9, START);
        assert_eq!(chosen(&alone, START), [0]);
    }

    #[test]
    fn those_that_health_checks_took_out_do_not_count_as_staying() {
        let state = upstream(2, 100);
        state.endpoints[1].set_healthy(false);
        fail(&state, 0, 9, START);
        assert_eq!(chosen(&state, START), [0]);
    }

    #[test]
    fn where_health_checks_take_the_rest_out_those_ejected_are_better_than_none() {
        let state = upstream(2, 50);
        fail(&state, 0, 3, START);
        assert_eq!(chosen(&state, START), [1]);
        state.endpoints[1].set_healthy(false);
        assert_eq!(chosen(&state, START), [0]);
        state.endpoints[0].set_healthy(false);
        assert!(chosen(&state, START).is_empty());
    }

    #[test]
    fn workers_that_see_all_endpoints_fail_at_once_leave_one() {
        for _ in 0..50 {
            let state = upstream(3, 100);
            std::thread::scope(|scope| {
                for endpoint in 0..3 {
                    let state = &state;
                    scope.spawn(move || fail(state, endpoint, 20, START));
                }
            });
            assert_eq!(chosen(&state, START).len(), 1);
        }
    }

    #[test]
    fn a_reload_brings_nobody_back() {
        let state = upstream(3, 50);
        fail(&state, 0, 3, START);
        let mut changed = settings(3, Balance::LeastRequest);
        changed.ejection = Some(ejection(60));
        let after = prepared(changed, Some(&state));
        assert_eq!(chosen(&after, START), [1, 2]);
        // Without the setting nobody is out.
        let without = prepared(settings(3, Balance::RoundRobin), Some(&after));
        assert_eq!(chosen(&without, START), [0, 1, 2]);
    }
}
