//! The circuit breaker of an upstream: where too many requests fail, none is sent for a while; then
//! a few are, and how they end decides.
//!
//! It is one for the whole upstream and all workers: what a single endpoint does is ejection's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use demilune_core::snapshot::CircuitBreaker;

/// While as many requests try the upstream as may: when to come back.
const PROBING: Duration = Duration::from_secs(1);

/// A circuit breaker with what all workers know.
pub(crate) struct Circuit {
    pub(super) settings: CircuitBreaker,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    state: State,
    /// Counts the changes of state: how a request ends that began before one says nothing.
    epoch: u64,
    /// When the newer half of the window began.
    began: Duration,
    newer: Counts,
    older: Counts,
    /// How often it opened without closing in between.
    times: u32,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open {
        until: Duration,
    },
    HalfOpen {
        under_way: u32,
        succeeded: u32,
    },
}

#[derive(Default, Clone, Copy)]
struct Counts {
    requests: u32,
    failures: u32,
}

/// What a request's end changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Changed {
    /// It opened, for so long.
    Opened(Duration),
    Closed,
}

/// Leave to send one request. Dropped without an end, it says nothing of the upstream.
pub(super) struct Pass {
    circuit: Arc<Circuit>,
    epoch: u64,
    ended: bool,
}

impl Circuit {
    pub(super) fn new(settings: CircuitBreaker) -> Self {
        Self { settings, inner: Mutex::default() }
    }

    /// Lets a request pass.
    ///
    /// # Errors
    /// After how long it may be worth to come back.
    pub(super) fn admit(self: &Arc<Self>, now: Duration) -> Result<Pass, Duration> {
        let mut inner = self.inner();
        if let State::Open { until } = inner.state {
            let wait = until.saturating_sub(now);
            if !wait.is_zero() {
                return Err(wait);
            }
            inner.enter(State::HalfOpen { under_way: 0, succeeded: 0 });
        }
        if let State::HalfOpen { under_way, succeeded } = &mut inner.state {
            if under_way.saturating_add(*succeeded) >= self.settings.probes {
                return Err(PROBING);
            }
            *under_way = under_way.saturating_add(1);
        }
        Ok(Pass { circuit: Arc::clone(self), epoch: inner.epoch, ended: false })
    }

    pub(super) fn is_open(&self) -> bool {
        self.inner().state != State::Closed
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request that passed in `epoch` has ended; `None` where that says nothing.
    fn end(&self, epoch: u64, failed: Option<(bool, Duration)>) -> Option<Changed> {
        let mut inner = self.inner();
        if inner.epoch != epoch {
            return None;
        }
        match (&mut inner.state, failed) {
            (State::HalfOpen { under_way, .. }, None) => {
                *under_way = under_way.saturating_sub(1);
                None
            }
            (State::HalfOpen { .. }, Some((true, now))) => Some(inner.open(&self.settings, now)),
            (State::HalfOpen { under_way, succeeded }, Some((false, _))) => {
                *under_way = under_way.saturating_sub(1);
                *succeeded = succeeded.saturating_add(1);
                let enough = *succeeded >= self.settings.probes;
                enough.then(|| {
                    inner.times = 0;
                    inner.enter(State::Closed);
                    Changed::Closed
                })
            }
            (State::Closed, Some((failed, now))) => {
                let too_many = inner.count(&self.settings, failed, now);
                too_many.then(|| inner.open(&self.settings, now))
            }
            (State::Closed, None) | (State::Open { .. }, _) => None,
        }
    }
}

impl Inner {
    fn enter(&mut self, state: State) {
        (self.newer, self.older) = (Counts::default(), Counts::default());
        self.epoch = self.epoch.wrapping_add(1);
        self.state = state;
    }

    fn open(&mut self, settings: &CircuitBreaker, now: Duration) -> Changed {
        let time = settings.open.saturating_mul(1 << self.times.min(20)).min(settings.longest);
        self.times = self.times.saturating_add(1);
        self.enter(State::Open { until: now.saturating_add(time) });
        Changed::Opened(time)
    }

    /// Counts a request; whether too many of the window's failed.
    fn count(&mut self, settings: &CircuitBreaker, failed: bool, now: Duration) -> bool {
        let half = settings.window / 2;
        let passed = now.saturating_sub(self.began);
        if passed >= half {
            self.older = if passed < settings.window { self.newer } else { Counts::default() };
            self.newer = Counts::default();
            self.began = now;
        }
        self.newer.requests = self.newer.requests.saturating_add(1);
        self.newer.failures = self.newer.failures.saturating_add(u32::from(failed));
        let requests = u64::from(self.newer.requests) + u64::from(self.older.requests);
        let failures = u64::from(self.newer.failures) + u64::from(self.older.failures);
        failed
            && requests >= u64::from(settings.requests)
            && failures * 100 >= requests * u64::from(settings.share)
    }
}

impl Pass {
    /// The request has ended, in a failure or not.
    pub(super) fn end(mut self, failed: bool, now: Duration) -> Option<Changed> {
        self.ended = true;
        self.circuit.end(self.epoch, Some((failed, now)))
    }

    pub(super) fn circuit(&self) -> &Arc<Circuit> {
        &self.circuit
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.ended {
            self.circuit.end(self.epoch, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circuit() -> Arc<Circuit> {
        let seconds = Duration::from_secs;
        Arc::new(Circuit::new(CircuitBreaker {
            share: 50,
            requests: 4,
            window: seconds(10),
            open: seconds(5),
            longest: seconds(15),
            probes: 2,
            statuses: Vec::new(),
        }))
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(1000 + seconds)
    }

    /// Requests one after the other, each failing or not; what came of the last one.
    fn send(circuit: &Arc<Circuit>, now: Duration, failed: &[bool]) -> Option<Changed> {
        failed.iter().fold(None, |_, failed| circuit.admit(now).ok().unwrap().end(*failed, now))
    }

    fn opened(circuit: &Arc<Circuit>) {
        let changed = send(circuit, at(0), &[false, false, true, true]);
        assert_eq!(changed, Some(Changed::Opened(Duration::from_secs(5))));
    }

    #[test]
    fn it_opens_where_the_share_of_enough_requests_has_failed() {
        opened(&circuit());
        assert_eq!(send(&circuit(), at(0), &[true, true, true]), None, "too few");
        assert_eq!(
            send(&circuit(), at(0), &[false, false, false, true, true]),
            None,
            "two of five"
        );
    }

    #[test]
    fn failures_are_forgotten_with_the_window() {
        let circuit = circuit();
        assert_eq!(send(&circuit, at(0), &[true, true, true]), None);
        assert_eq!(send(&circuit, at(6), &[false]), None);
        assert_eq!(send(&circuit, at(20), &[true, true, true]), None);
    }

    #[test]
    fn while_it_is_open_nothing_passes_and_the_time_left_is_told() {
        let circuit = circuit();
        opened(&circuit);
        assert_eq!(circuit.admit(at(0)).err(), Some(Duration::from_secs(5)));
        assert_eq!(circuit.admit(at(4)).err(), Some(Duration::from_secs(1)));
        assert!(circuit.is_open());
    }

    #[test]
    fn half_open_lets_a_few_try_and_closes_when_they_succeed() {
        let circuit = circuit();
        opened(&circuit);
        let first = circuit.admit(at(5)).ok().unwrap();
        let second = circuit.admit(at(5)).ok().unwrap();
        assert_eq!(circuit.admit(at(5)).err(), Some(PROBING));
        assert_eq!(first.end(false, at(6)), None);
        assert_eq!(circuit.admit(at(6)).err(), Some(PROBING));
        assert_eq!(second.end(false, at(6)), Some(Changed::Closed));
        assert!(circuit.admit(at(6)).is_ok() && !circuit.is_open());
    }

    #[test]
    fn one_that_fails_opens_it_for_longer_up_to_a_limit() {
        let circuit = circuit();
        opened(&circuit);
        let mut now = at(5);
        for time in [10, 15, 15] {
            let time = Duration::from_secs(time);
            assert_eq!(send(&circuit, now, &[true]), Some(Changed::Opened(time)));
            now += time;
        }
        assert_eq!(send(&circuit, now, &[false, false]), Some(Changed::Closed));
        assert_eq!(
            send(&circuit, now, &[true; 4]),
            Some(Changed::Opened(Duration::from_secs(5))),
            "it begins anew"
        );
    }

    #[test]
    fn a_probe_whose_client_leaves_makes_room_for_another() {
        let circuit = circuit();
        opened(&circuit);
        for _ in 0..10 {
            let both = [circuit.admit(at(5)), circuit.admit(at(5))];
            assert!(both.iter().all(Result::is_ok));
        }
    }

    #[test]
    fn requests_from_before_a_change_say_nothing_after_it() {
        let circuit = circuit();
        let late: Vec<_> = (0..9).map(|_| circuit.admit(at(0)).ok().unwrap()).collect();
        opened(&circuit);
        let probe = circuit.admit(at(5)).ok().unwrap();
        for pass in late {
            assert_eq!(pass.end(true, at(5)), None);
        }
        assert_eq!(probe.end(false, at(5)), None);
        assert_eq!(send(&circuit, at(5), &[false]), Some(Changed::Closed));
    }

    #[test]
    fn workers_at_once_let_no_more_probes_pass() {
        let circuit = circuit();
        opened(&circuit);
        let passed = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    if let Ok(pass) = circuit.admit(at(5)) {
                        passed.lock().unwrap().push(pass);
                    }
                });
            }
        });
        assert_eq!(passed.lock().unwrap().len(), 2);
    }
}
