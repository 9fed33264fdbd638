//! Sending a request: attempts, deadlines, and what their failures mean to the client.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use demilune_core::snapshot::HostHeader;
use demilune_core::{Denial, Outgoing};
use http::{HeaderValue, StatusCode};
use http_body::{Body, Frame, SizeHint};
use smallvec::SmallVec;

use super::connect::ConnectFailure;
use super::open::{find, open};
use super::{EndpointState, Lease, UpstreamState};
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
/// Another endpoint is tried only where no connection could be made. A kept connection that the
/// upstream closed in the meantime is replaced by a fresh one where nothing of the request was
/// written, or where the request has no body and is safe to repeat (RFC 9110 section 9.2.2).
pub(crate) async fn send(
    errand: Errand<'_>,
    outgoing: Outgoing,
    upload: Upload,
    attempts: &mut Attempts,
) -> Result<Sent, Failure> {
    let settings = &errand.upstream.settings;
    let repeatable = matches!(upload, Upload::Empty) && outgoing.method.is_idempotent();
    let host = match settings.host {
        HostHeader::Endpoint => None,
        HostHeader::Client => HeaderValue::from_str(errand.host).ok(),
    };
    let mut upload = Some(upload);
    let mut tried: SmallVec<[u64; 4]> = SmallVec::new();
    let mut last = None;
    while attempts.count <= settings.retries
        && let Some(endpoint) = errand.upstream.choose(&tried)
    {
        tried.push(endpoint.id);
        attempts.count += 1;
        attempts.endpoint = Some(Arc::clone(endpoint));
        let mut again = false;
        loop {
            let on = (errand.worker, &**endpoint, errand.websocket);
            let (connection, kept) = match find(on) {
                Some(connection) => (connection, true),
                // Boxed: most requests find a connection, and should not carry a handshake's state.
                None => match Box::pin(open(on, settings)).await {
                    Ok(opened) => opened,
                    Err(failure) => {
                        last = Some(failure);
                        break;
                    }
                },
            };
            let mut lease = Lease {
                connection,
                pool: errand.worker.pool.clone(),
                endpoint: endpoint.id,
                limit: settings.idle_connections,
                under_way: endpoint.begin(),
            };
            let Some(body) = upload.take() else { break };
            let sending = Sending {
                method: &outgoing.method,
                target: outgoing.target.as_path_and_query(),
                host: host.as_ref().unwrap_or(&endpoint.endpoint.authority),
                headers: &outgoing.headers,
                upgrade: errand.websocket.then_some(&WEBSOCKET),
                trailers: errand.trailers,
                limit: settings.response_timeout,
            };
            let began = errand.worker.clock().monotonic();
            let result = lease.connection.send(sending, body).await;
            attempts.head_after = errand.worker.clock().monotonic().saturating_sub(began);
            match result {
                Ok(reply) => return Ok(Sent { reply, lease }),
                Err(failure) => {
                    let SendFailure { unsent, error } = *failure;
                    let Some(error) = error else { return Err(late()) };
                    upload = unsent.or_else(|| repeatable.then_some(Upload::Empty));
                    if !kept || again || error.code.is_some() || upload.is_none() {
                        return Err(broken(&errand, &error));
                    }
                    again = true;
                    // The others of its age are likely dead too.
                    errand.worker.pool.forget(endpoint.id);
                }
            }
        }
    }
    Err(("upstream", Box::new(unreachable(last, errand.upstream.is_full()))))
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

fn unreachable(last: Option<ConnectFailure>, full: bool) -> Denial {
    let Some(failure) = last else {
        if full {
            let public = "the upstream has too much to do";
            return Denial::new(StatusCode::SERVICE_UNAVAILABLE, "upstream.saturated", public)
                .retry_after(Duration::from_secs(1));
        }
        let public = "no endpoint of the upstream is available";
        return Denial::new(StatusCode::SERVICE_UNAVAILABLE, "upstream.unavailable", public)
            .retry_after(Duration::from_secs(5));
    };
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
