//! One worker's cells, found without a lock and without copying a label.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use demilune_core::record::{Attempt, End, Record};
use demilune_core::stage::Stage;

use super::Metrics;
use super::labels::{
    AttemptLabels, DecisionLabels, NO_ROUTE, RequestLabels, RouteLabels, UpstreamLabels,
};
use super::sharded::{Count, Histogram};
use crate::verdict::{Refusal, words};

/// Names change with the document: beyond so many the cells are looked up anew.
const LIMIT: usize = 4_096;

/// The cells that this worker counts in.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    routes: HashMap<Box<str>, RouteCells>,
    decisions: HashMap<Decision, Arc<Count>, Mixed>,
    authenticators: HashMap<Box<str>, Counts<&'static str>>,
    upstreams: HashMap<Box<str>, UpstreamCells>,
}

/// By two further labels.
type Counts<T> = Vec<(T, Box<str>, Arc<Count>)>;

#[derive(Debug)]
struct RouteCells {
    duration: Arc<Histogram>,
    requests: Counts<u16>,
}

#[derive(Debug)]
struct UpstreamCells {
    head_duration: Arc<Histogram>,
    requests: Counts<&'static str>,
}

impl Cells {
    /// Counts everything that is to be counted of one exchange.
    pub(crate) fn count(
        &mut self,
        metrics: &Metrics,
        record: &Record<'_>,
        refusal: Option<&Refusal<'_>>,
    ) {
        self.count_request(metrics, record);
        for step in record.trail.steps() {
            let (verdict, code) = words(&step.verdict);
            match &step.policy {
                Cow::Borrowed(policy) => self.count_decision(metrics, policy, verdict, code),
                Cow::Owned(name) => self.count_authenticator(metrics, name, verdict, code),
            }
        }
        if let Some(attempt) = &record.attempt {
            self.count_attempt(metrics, attempt, outcome(record, refusal));
        }
    }

    fn count_request(&mut self, metrics: &Metrics, record: &Record<'_>) {
        let route = record.route.unwrap_or(NO_ROUTE);
        let listener = &*record.downstream.listener;
        let make = || RouteCells {
            duration: metrics.request_duration.cell(RouteLabels { route: route.into() }),
            requests: Vec::new(),
        };
        with(&mut self.routes, route, make, |cells| {
            cells.duration.observe(record.duration);
            let make = || {
                metrics.requests.cell(RequestLabels {
                    listener: listener.into(),
                    route: route.into(),
                    status: record.status,
                })
            };
            increment(&mut cells.requests, record.status, listener, make);
        });
    }

    fn count_decision(
        &mut self,
        metrics: &Metrics,
        policy: &'static str,
        verdict: &'static str,
        code: &'static str,
    ) {
        let key = Decision([policy, verdict, code]);
        let make =
            || metrics.decisions.cell(DecisionLabels { policy: policy.into(), verdict, code });
        self.decisions.entry(key).or_insert_with(make).increment();
    }

    fn count_authenticator(
        &mut self,
        metrics: &Metrics,
        name: &str,
        verdict: &'static str,
        code: &'static str,
    ) {
        with(&mut self.authenticators, name, Vec::new, |cells| {
            let labels = || DecisionLabels { policy: name.into(), verdict, code };
            increment(cells, verdict, code, || metrics.decisions.cell(labels()));
        });
    }

    fn count_attempt(&mut self, metrics: &Metrics, attempt: &Attempt<'_>, outcome: &'static str) {
        let Attempt { upstream, endpoint, .. } = *attempt;
        let labels = || UpstreamLabels { upstream: upstream.into() };
        let make = || UpstreamCells {
            head_duration: metrics.upstream_head_duration.cell(labels()),
            requests: Vec::new(),
        };
        with(&mut self.upstreams, upstream, make, |cells| {
            if matches!(outcome, ANSWERED | CUT) {
                cells.head_duration.observe(attempt.head_after);
            }
            let make = || {
                metrics.upstream_requests.cell(AttemptLabels {
                    upstream: upstream.into(),
                    endpoint: endpoint.into(),
                    outcome,
                })
            };
            increment(&mut cells.requests, outcome, endpoint, make);
        });
    }
}

const ANSWERED: &str = "answered";
const CUT: &str = "cut";
const CLIENT_LEFT: &str = "client_left";

/// How the exchange with the upstream went: the code of the refusal where it failed.
fn outcome(record: &Record<'_>, refusal: Option<&Refusal<'_>>) -> &'static str {
    match refusal {
        Some(refusal) if refusal.stage == Stage::Upstream => refusal.code,
        _ if record.end == End::UpstreamCut => CUT,
        _ if record.status == 0 => CLIENT_LEFT,
        _ => ANSWERED,
    }
}

fn with<V>(
    map: &mut HashMap<Box<str>, V>,
    key: &str,
    make: impl FnOnce() -> V,
    then: impl FnOnce(&mut V),
) {
    if let Some(value) = map.get_mut(key) {
        return then(value);
    }
    if map.len() >= LIMIT {
        map.clear();
    }
    then(map.entry(key.into()).or_insert_with(make));
}

/// There are few of these beneath one key: looking at each is quicker than hashing.
fn increment<T: PartialEq>(
    cells: &mut Counts<T>,
    first: T,
    second: &str,
    make: impl FnOnce() -> Arc<Count>,
) {
    let mut found = cells.iter().filter(|(f, s, _)| *f == first && **s == *second);
    if let Some((_, _, count)) = found.next() {
        return count.increment();
    }
    if cells.len() >= LIMIT {
        cells.clear();
    }
    let count = make();
    count.increment();
    cells.push((first, second.into(), count));
}

/// Policy, verdict and code, told apart by where they stand in the program: several times a
/// request, and never outside's choice. The same words at two places are two cells, which are
/// added up.
#[derive(Debug, Clone, Copy)]
struct Decision([&'static str; 3]);

impl PartialEq for Decision {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).all(|(mine, others)| std::ptr::eq(*mine, others))
    }
}

impl Eq for Decision {}

impl Hash for Decision {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for word in self.0 {
            state.write_usize(word.as_ptr().addr());
        }
    }
}

/// Mixes addresses; no defence against chosen ones.
#[derive(Debug, Clone, Copy, Default)]
struct Mixed(u64);

impl BuildHasher for Mixed {
    type Hasher = Self;

    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, number: usize) {
        // The golden ratio in 64 bits: spreads neighbours over all bits.
        self.0 = (self.0.rotate_left(23) ^ number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
