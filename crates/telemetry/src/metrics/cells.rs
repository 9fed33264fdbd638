//! One worker's cells, found without a lock and without copying a label; and beside each what the
//! lines of the log say in the same words, so that these are looked at and written only once.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::ptr;
use std::sync::Arc;

use demilune_core::record::{Attempt, End, Record};
use demilune_core::stage::Stage;
use demilune_core::trail::Step;

use super::Metrics;
use super::found::{Counts, Found, Known};
use super::labels::{
    AttemptLabels, DecisionLabels, NO_ROUTE, RequestLabels, RouteLabels, UpstreamLabels,
};
use super::sharded::Histogram;
use crate::access;
use crate::json::{self, Json};
use crate::verdict::{Refusal, words};

/// How many steps of an exchange are remembered where they are.
const STEPS: usize = 16;

/// The cells that this worker counts in.
#[derive(Debug, Default)]
pub(crate) struct Cells {
    routes: Found<String, RouteCells>,
    decisions: Decisions,
    authenticators: Found<String, Decisions>,
    upstreams: Found<String, UpstreamCells>,
    last: Last,
}

/// Where the things of the last exchange were found.
#[derive(Debug, Default)]
struct Last {
    route: usize,
    upstream: usize,
    steps: [LastStep; STEPS],
}

#[derive(Debug, Clone, Copy, Default)]
struct LastStep {
    authenticator: usize,
    decision: usize,
}

#[derive(Debug)]
struct RouteCells {
    duration: Arc<Histogram>,
    /// By status and listener; what is written is the listener.
    requests: Counts<u16>,
    written: Vec<u8>,
}

#[derive(Debug)]
struct UpstreamCells {
    head_duration: Arc<Histogram>,
    /// By outcome and endpoint; what is written are the endpoint and the upstream.
    requests: Counts<&'static str>,
}

/// Of policies that have their names from the program, or all the same one from the document.
type Decisions = Found<Decision, Known>;

/// What the lines say of an exchange in words of the document.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written<'a> {
    pub(crate) listener: &'a [u8],
    pub(crate) route: &'a [u8],
    pub(crate) upstream: &'a [u8],
}

impl Cells {
    /// Counts what is to be counted of one exchange, but for its steps.
    pub(crate) fn count(
        &mut self,
        metrics: &Metrics,
        record: &Record<'_>,
        refusal: Option<&Refusal<'_>>,
    ) {
        self.count_request(metrics, record);
        if let Some(attempt) = &record.attempt {
            self.count_attempt(metrics, attempt, outcome(record, refusal));
        }
    }

    fn count_request(&mut self, metrics: &Metrics, record: &Record<'_>) {
        let route = record.route.unwrap_or(NO_ROUTE);
        let listener = &*record.downstream.listener;
        let status = record.status;
        let make = || RouteCells {
            duration: metrics.request_duration.cell(RouteLabels { route: route.into() }),
            requests: Counts::default(),
            written: json::written(|line| access::route(line, route)),
        };
        self.routes.with(&mut self.last.route, route, make, |cells| {
            cells.duration.observe(record.duration);
            cells.requests.increment(status, listener, || {
                let (listener_label, route) = (listener.into(), route.into());
                let labels = RequestLabels { listener: listener_label, route, status };
                let written = json::written(|line| access::listener(line, listener));
                Known { count: metrics.requests.cell(labels), written }
            });
        });
    }

    /// Counts each step and writes it to `line`: one look-up gives what both need.
    pub(crate) fn count_steps(&mut self, metrics: &Metrics, steps: &[Step], line: &mut Json<'_>) {
        for (at, step) in steps.iter().enumerate() {
            if at == 0 {
                line.raw(br#","trail":["#);
            } else {
                line.raw(b",");
            }
            let mut nowhere = LastStep::default();
            let last = self.last.steps.get_mut(at).unwrap_or(&mut nowhere);
            let decision = Decision::new(step);
            let Decision { verdict, code, .. } = decision;
            let make = || {
                let labels = DecisionLabels { policy: (&*step.policy).into(), verdict, code };
                let written = json::written(|line| access::step(line, step));
                Known { count: metrics.decisions.cell(labels), written }
            };
            let tell = |known: &mut Known| {
                known.count.increment();
                line.written(&known.written);
                access::step_duration(line, step.duration);
            };
            match &step.policy {
                Cow::Borrowed(_) => self.decisions.with(&mut last.decision, &decision, make, tell),
                Cow::Owned(name) => {
                    let then = |decisions: &mut Decisions| {
                        decisions.with(&mut last.decision, &decision, make, tell);
                    };
                    let last = &mut last.authenticator;
                    self.authenticators.with(last, &**name, Decisions::default, then);
                }
            }
        }
        if !steps.is_empty() {
            line.raw(b"]");
        }
    }

    fn count_attempt(&mut self, metrics: &Metrics, attempt: &Attempt<'_>, outcome: &'static str) {
        let Attempt { upstream, endpoint, .. } = *attempt;
        let make = || {
            let labels = UpstreamLabels { upstream: upstream.into() };
            let head_duration = metrics.upstream_head_duration.cell(labels);
            UpstreamCells { head_duration, requests: Counts::default() }
        };
        self.upstreams.with(&mut self.last.upstream, upstream, make, |cells| {
            if matches!(outcome, ANSWERED | CUT) {
                cells.head_duration.observe(attempt.head_after);
            }
            cells.requests.increment(outcome, endpoint, || {
                let (upstream, endpoint) = (upstream.into(), endpoint.into());
                let labels = AttemptLabels { upstream, endpoint, outcome };
                let written = json::written(|line| access::upstream(line, attempt));
                Known { count: metrics.upstream_requests.cell(labels), written }
            });
        });
    }

    /// What the lines say of `record`, which was the last to be counted.
    pub(crate) fn written(&self, record: &Record<'_>) -> Written<'_> {
        let cells = self.routes.get(self.last.route);
        let upstream = record.attempt.and_then(|_| self.upstreams.get(self.last.upstream));
        Written {
            listener: cells.map(|cells| cells.requests.last_written()).unwrap_or_default(),
            route: record.route.and(cells).map(|cells| &*cells.written).unwrap_or_default(),
            upstream: upstream.map(|cells| cells.requests.last_written()).unwrap_or_default(),
        }
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

/// What a step says, told apart by where its words stand in the program: several times a request,
/// and never outside's choice. The same words at two places are two cells, which are added up.
#[derive(Debug, Clone, Copy)]
struct Decision {
    /// Empty where the document names it.
    policy: &'static str,
    stage: Stage,
    verdict: &'static str,
    code: &'static str,
}

impl Decision {
    fn new(step: &Step) -> Self {
        let policy = if let Cow::Borrowed(policy) = &step.policy { policy } else { "" };
        let (verdict, code) = words(&step.verdict);
        Self { policy, stage: step.stage, verdict, code }
    }
}

impl PartialEq for Decision {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self.policy, other.policy)
            && ptr::eq(self.verdict, other.verdict)
            && ptr::eq(self.code, other.code)
            && self.stage == other.stage
    }
}

impl Eq for Decision {}

impl Hash for Decision {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Those that differ in the stage only are few.
        let words = [self.policy, self.verdict, self.code];
        let [policy, verdict, code] = words.map(|word| word.as_ptr().addr());
        state.write_usize(policy ^ verdict.rotate_left(20) ^ code.rotate_left(40));
    }
}
