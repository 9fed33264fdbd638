//! Sending a request: attempts, deadlines, and what their failures mean to the client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use demilune_core::snapshot::HostHeader;
use demilune_core::{Denial, Outgoing};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use http_body::{Body, Frame, SizeHint};
use smallvec::SmallVec;

use super::budget::Repeat;
use super::connect::ConnectFailure;
use super::open::{find, open};
use super::outcome::Outcome;
use super::{EndpointState, Lease, UnderWay, UpstreamState};
use crate::exchange::{MeteredBody, Refusal};
use crate::http::{Reply, SendFailure, Sending, WireError};
use crate::worker::Worker;

static WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// The body of a request on its way to the upstream.
pub(crate) enum Upload {
    Empty,
    Whole(Option<Bytes>),
    // Boxed: requests are handed on often, and most have no body.
    Streamed(Box<MeteredBody>),
}

impl Body for Upload {
    type Data = Bytes;
    type Error = WireError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Streamed(body) => Pin::new(&mut **body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Whole(None) => true,
            Self::Whole(Some(_)) => false,
            Self::Streamed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Whole(None) => SizeHint::with_exact(0),
            Self::Whole(Some(bytes)) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            Self::Streamed(body) => body.size_hint(),
        }
    }
}

/// An answer's head, with the connection it came on.
pub(crate) struct Sent {
    pub(crate) reply: Reply,
    pub(crate) lease: Lease,
}

/// What is known of the attempts, whether or not one succeeded.
#[derive(Default)]
pub(crate) struct Attempts {
    pub(crate) endpoint: Option<Arc<EndpointState>>,
    pub(crate) count: u32,
    pub(crate) head_after: Duration,
}

/// What a request needs besides itself.
pub(crate) struct Errand<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) upstream: &'a UpstreamState,
    /// The client's authority, for upstreams that want it.
    pub(crate) host: &'a str,
    /// By which requests that belong together go to the same endpoint.
    pub(crate) key: Option<u64>,
    pub(crate) websocket: bool,
    /// Whether the client reads trailers.
    pub(crate) trailers: bool,
    /// Why the upload broke off, where it did: a refusal of the client's body.
    pub(crate) refusal: Refusal,
}

/// Why there is no answer: the refusal, with the name under which the trail notes it.
pub(crate) type Failure = (&'static str, Box<Denial>);

/// Sends `outgoing` to an endpoint of the upstream and waits for the head of the answer.
///
/// It is sent again where `retry` says so and the upstream's budget allows: by default only to
/// another endpoint where no connection could be made. A kept connection that the upstream closed
/// in the meantime is replaced by a fresh one where nothing of the request was written, or where
/// the request has no body and is safe to repeat (RFC 9110 section 9.2.2).
pub(crate) async fn send(
    errand: Errand<'_>,
    outgoing: Outgoing,
    upload: Upload,
    attempts: &mut Attempts,
) -> Result<Sent, Failure> {
    let Errand { worker, upstream, .. } = errand;
    let (clock, telemetry) = (worker.clock(), &worker.shared.telemetry);
    let pass = match &upstream.circuit {
        None => None,
        Some(circuit) => Some(circuit.admit(clock.monotonic()).map_err(circuit_open)?),
    };
    let mut outcome = None;
    let result = try_endpoints(errand, outgoing, upload, attempts, &mut outcome).await;
    if let Some(pass) = pass {
        upstream.ended(pass, outcome, clock, telemetry);
    }
    result
}

/// As [`send`]; `outcome` is told how the last attempt ended.
async fn try_endpoints(
    errand: Errand<'_>,
    outgoing: Outgoing,
    upload: Upload,
    attempts: &mut Attempts,
    outcome: &mut Option<Outcome>,
) -> Result<Sent, Failure> {
    let Errand { worker, upstream, .. } = errand;
    let settings = &upstream.settings;
    upstream.budget.pay(settings.retry.budget);
    let host = match settings.host {
        HostHeader::Endpoint => None,
        HostHeader::Client => HeaderValue::from_str(errand.host).ok(),
    };
    let repeatable = matches!(upload, Upload::Empty) && outgoing.method.is_idempotent();
    let mut request =
        Request { errand, outgoing: &outgoing, host, repeatable, upload: Some(upload) };
    let now = || worker.clock().monotonic();
    let mut tried: SmallVec<[u64; 4]> = SmallVec::new();
    let mut last: Option<Result<Sent, Stopped>> = None;
    let mut next = request.next(&mut tried, None);
    if next.is_none()
        && let Some(pending) = settings.pending.filter(|_| upstream.is_full(now))
    {
        next = upstream.room.wait(pending, || request.next(&mut SmallVec::new(), None)).await;
        tried.extend(next.iter().map(|under_way| under_way.endpoint().id));
    }
    while let Some(under_way) = next {
        // The connection of an answer that is not passed on goes, and its endpoint has room.
        drop(last.take());
        let endpoint = Arc::clone(under_way.endpoint());
        attempts.count += 1;
        attempts.endpoint = Some(Arc::clone(&endpoint));
        let result = request.attempt(under_way, attempts).await;
        *outcome = match &result {
            Ok(sent) => Some(Outcome::Answered(sent.reply.status)),
            Err(Stopped::Unconnected(_)) => Some(Outcome::Unconnected),
            Err(Stopped::Late) => Some(Outcome::Late),
            Err(Stopped::Broken(_)) if request.errand.refusal.borrow().is_some() => None,
            Err(Stopped::Broken(_)) => Some(Outcome::Broken),
        };
        if let Some(outcome) = *outcome {
            let end = (outcome, attempts.head_after);
            upstream.note(&endpoint, end, worker.clock(), &worker.shared.telemetry);
        }
        let again = attempts.count <= settings.retry.attempts && request.may_repeat(&result);
        if !again {
            return result.map_err(|stopped| stopped.told(&request.errand));
        }
        next = request.next(&mut tried, Some(&result));
        last = Some(result);
    }
    match last {
        Some(result) => result.map_err(|stopped| stopped.told(&request.errand)),
        None => Err(("upstream", Box::new(unavailable(upstream.is_full(now))))),
    }
}

/// A request on its way.
struct Request<'a> {
    errand: Errand<'a>,
    outgoing: &'a Outgoing,
    /// What the upstream is told as `Host`, where it is not the endpoint's own name.
    host: Option<HeaderValue>,
    /// Whether it may be sent again after it was written.
    repeatable: bool,
    /// `None` once it was sent and cannot be sent again.
    upload: Option<Upload>,
}

/// Why an attempt brought no answer.
enum Stopped {
    Unconnected(ConnectFailure),
    Late,
    Broken(WireError),
}

impl Request<'_> {
    /// The endpoint to ask next, with a place among its requests: one that is not in `tried`, or,
    /// where a request is sent again that was sent, any. `None` where there is none, or the budget
    /// is used up.
    fn next(
        &self,
        tried: &mut SmallVec<[u64; 4]>,
        last: Option<&Result<Sent, Stopped>>,
    ) -> Option<UnderWay> {
        let Errand { worker, upstream, .. } = self.errand;
        let now = || worker.clock().monotonic();
        let unseen = matches!(last, Some(Err(Stopped::Unconnected(_))));
        if last.is_some() && !unseen && upstream.choose(tried, self.errand.key, now).is_none() {
            tried.clear();
        }
        let under_way = loop {
            let endpoint = upstream.choose(tried, self.errand.key, now)?;
            tried.push(endpoint.id);
            // Another worker may have taken the last place in the meantime.
            if let Some(under_way) = endpoint.begin(upstream.settings.requests) {
                break under_way;
            }
        };
        let repeat = if unseen { Repeat::Unseen } else { Repeat::Seen };
        (last.is_none() || self.pays(repeat)).then_some(under_way)
    }

    fn pays(&self, repeat: Repeat) -> bool {
        let Errand { worker, upstream, .. } = self.errand;
        let pays = upstream.budget.take(repeat);
        worker.shared.telemetry.upstream_retry(&upstream.settings.name, pays);
        pays
    }

    /// Whether an attempt that ended so may be followed by another.
    fn may_repeat(&self, result: &Result<Sent, Stopped>) -> bool {
        let retry = &self.errand.upstream.settings.retry;
        match result {
            Ok(Sent { reply, .. }) => {
                self.repeatable
                    && retry.statuses.contains(&reply.status)
                    && !reply.headers.contains_key(RETRY_AFTER)
            }
            Err(Stopped::Unconnected(_)) => retry.connect,
            Err(Stopped::Late) => retry.timeout && self.repeatable,
            // An answer that nobody understands is an answer.
            Err(Stopped::Broken(error)) => retry.reset && self.repeatable && error.code.is_none(),
        }
    }

    /// One endpoint: on a kept connection, and where that turns out to be dead, on a fresh one.
    async fn attempt(
        &mut self,
        mut under_way: UnderWay,
        attempts: &mut Attempts,
    ) -> Result<Sent, Stopped> {
        let Errand { worker, upstream, .. } = self.errand;
        let settings = &upstream.settings;
        let endpoint = Arc::clone(under_way.endpoint());
        let mut again = false;
        loop {
            let on = (worker, &endpoint, self.errand.websocket);
            let (connection, kept) = match find(on) {
                Some(connection) => (connection, true),
                // Boxed: most requests find a connection, and should not carry a handshake's state.
                None => match Box::pin(open(on, settings)).await {
                    Ok(opened) => opened,
                    Err(failure) => return Err(Stopped::Unconnected(failure)),
                },
            };
            let was_kept = kept && !again;
            let (pool, keep) = (worker.pool.clone(), settings.keep_alive);
            let mut lease = Lease { connection, pool, keep, under_way };
            let sending = Sending {
                method: &self.outgoing.method,
                target: self.outgoing.target.as_path_and_query(),
                host: self.host.as_ref().unwrap_or(&endpoint.endpoint.authority),
                headers: &self.outgoing.headers,
                upgrade: self.errand.websocket.then_some(&WEBSOCKET),
                trailers: self.errand.trailers,
                limit: settings.response_timeout,
            };
            let body = self.upload.take().unwrap_or(Upload::Empty);
            let began = worker.clock().monotonic();
            let result = lease.connection.send(sending, body).await;
            attempts.head_after = worker.clock().monotonic().saturating_sub(began);
            let SendFailure { unsent, error } = match result {
                Ok(reply) => return Ok(Sent { reply, lease }),
                Err(failure) => *failure,
            };
            let Some(error) = error else { return Err(Stopped::Late) };
            let written = unsent.is_none();
            self.upload = unsent.or_else(|| self.repeatable.then_some(Upload::Empty));
            if !was_kept || error.code.is_some() || self.upload.is_none() {
                return Err(Stopped::Broken(error));
            }
            // It ended while it was idle, most likely: the request was not seen.
            if written && !self.pays(Repeat::Unseen) {
                return Err(Stopped::Broken(error));
            }
            // The others of its age are likely dead too.
            worker.pool.forget(endpoint.id);
            again = true;
            under_way = lease.under_way;
        }
    }
}

impl Stopped {
    /// What the client is told.
    fn told(self, errand: &Errand<'_>) -> Failure {
        match self {
            Self::Unconnected(failure) => ("upstream", Box::new(unreachable(failure))),
            Self::Late => late(),
            Self::Broken(error) => broken(errand, &error),
        }
    }
}

/// Too many requests failed lately.
fn circuit_open(wait: Duration) -> Failure {
    let public = "the upstream fails, and gets no requests for a while";
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let seconds = Duration::from_secs(wait.as_millis().div_ceil(1000).try_into().unwrap_or(1));
    let denial = Denial::new(status, "upstream.circuit_open", public);
    ("upstream", Box::new(denial.retry_after(seconds)))
}

/// The answer's deadline passed.
fn late() -> Failure {
    let public = "the upstream did not answer in time";
    let status = StatusCode::GATEWAY_TIMEOUT;
    ("upstream", Box::new(Denial::new(status, "upstream.response_timeout", public)))
}

/// The exchange broke off after a connection was made: by the client's body, or by the upstream.
fn broken(errand: &Errand<'_>, error: &WireError) -> Failure {
    if let Some(refusal) = errand.refusal.borrow_mut().take() {
        return refusal;
    }
    let (code, public) = match error.code {
        Some(code) => (code, "the upstream's answer was not understood"),
        None => ("upstream.broken", "the upstream broke the exchange off"),
    };
    let denial = Denial::new(StatusCode::BAD_GATEWAY, code, public);
    ("upstream", Box::new(denial.log(error.reason.clone())))
}

/// No endpoint was asked.
fn unavailable(full: bool) -> Denial {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    if full {
        let public = "the upstream has too much to do";
        return Denial::new(status, "upstream.saturated", public)
            .retry_after(Duration::from_secs(1));
    }
    let public = "no endpoint of the upstream is available";
    Denial::new(status, "upstream.unavailable", public).retry_after(Duration::from_secs(5))
}

fn unreachable(failure: ConnectFailure) -> Denial {
    let reason = failure.reason().to_owned();
    let public = "the upstream could not be reached";
    match failure {
        ConnectFailure::TimedOut => {
            Denial::new(StatusCode::GATEWAY_TIMEOUT, "upstream.connect_timeout", public)
        }
        ConnectFailure::Unreachable(_) => {
            Denial::new(StatusCode::BAD_GATEWAY, "upstream.unreachable", public)
        }
        ConnectFailure::Http2(_) => Denial::new(StatusCode::BAD_GATEWAY, "upstream.http2", public),
        ConnectFailure::Tls(_) => Denial::new(StatusCode::BAD_GATEWAY, "upstream.tls", public),
    }
    .log(reason)
}
