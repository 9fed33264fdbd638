//! Sending a request: attempts, deadlines, and what their failures mean to the client.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use demilune_core::snapshot::HostHeader;
use demilune_core::{Denial, Outgoing};
use http::header::{CONNECTION, HOST, UPGRADE};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use smallvec::SmallVec;

use super::connect::{ConnectFailure, connect};
use super::{EndpointState, Lease, UpstreamState};
use crate::exchange::{MeteredBody, Refusal};
use crate::http::{Reply, SendFailure, WireError};
use crate::worker::Worker;

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
    /// When the upload last made progress; the response deadline counts from there.
    pub(crate) progress: Rc<Cell<Duration>>,
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
    let mut spare = repeatable.then(|| outgoing.clone());
    let mut request = Some(request(outgoing, upload, &errand));
    let mut tried: SmallVec<[u64; 4]> = SmallVec::new();
    let mut last = None;
    while attempts.count <= settings.retries
        && let Some(endpoint) = errand.upstream.choose(&tried)
    {
        tried.push(endpoint.id);
        attempts.count += 1;
        attempts.endpoint = Some(Arc::clone(endpoint));
        let mut kept = errand.worker.pool.take(endpoint.id);
        loop {
            let was_kept = kept.is_some();
            let connection = match kept.take() {
                Some(connection) => connection,
                None => match connect(endpoint, settings, &errand.worker.background).await {
                    Ok(connection) => connection,
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
                _under_way: endpoint.begin(),
            };
            let Some(mut message) = request.take() else { break };
            address(&mut message, endpoint, settings, errand.host);
            let began = errand.worker.clock().monotonic();
            errand.progress.set(began);
            let result = respond(&errand, &mut lease, message).await;
            attempts.head_after = errand.worker.clock().monotonic().saturating_sub(began);
            match result {
                Ok(Ok(reply)) => return Ok(Sent { reply, lease }),
                Ok(Err(failure)) if was_kept => {
                    let SendFailure { unsent, error } = *failure;
                    let again = || {
                        let outgoing = spare.take()?;
                        Some(self::request(outgoing, Upload::Empty, &errand))
                    };
                    request = unsent.or_else(again);
                    if request.is_none() {
                        return Err(broken(&errand, &error));
                    }
                    // The others of its age are likely dead too.
                    errand.worker.pool.forget(endpoint.id);
                }
                Ok(Err(failure)) => return Err(broken(&errand, &failure.error)),
                Err(late) => return Err(late),
            }
        }
    }
    Err(("upstream", Box::new(unreachable(last, errand.upstream.is_full()))))
}

/// The request for the wire, but for what depends on the endpoint.
fn request(outgoing: Outgoing, upload: Upload, errand: &Errand<'_>) -> Request<Upload> {
    let mut request = Request::new(upload);
    *request.method_mut() = outgoing.method;
    *request.uri_mut() = Uri::from(outgoing.target.as_path_and_query().clone());
    *request.headers_mut() = outgoing.headers;
    if errand.websocket {
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
        request.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    request
}

fn address(
    request: &mut Request<Upload>,
    endpoint: &EndpointState,
    settings: &demilune_core::snapshot::Upstream,
    host: &str,
) {
    let value = match settings.host {
        HostHeader::Endpoint => Some(endpoint.endpoint.authority.clone()),
        HostHeader::Client => HeaderValue::from_str(host).ok(),
    };
    if let Some(value) = value {
        request.headers_mut().insert(HOST, value);
    }
}

/// Waits for the head of the answer; `Err` where its deadline passed.
async fn respond(
    errand: &Errand<'_>,
    lease: &mut Lease,
    request: Request<Upload>,
) -> Result<Result<Reply, Box<SendFailure<Upload>>>, Failure> {
    let limit = errand.upstream.settings.response_timeout;
    let sending = lease.connection.send(request);
    let mut sending = std::pin::pin!(sending);
    let mut left = limit;
    loop {
        match tokio::time::timeout(left, sending.as_mut()).await {
            Ok(result) => return Ok(result),
            Err(_) => {
                // Counted from the last byte uploaded: a long upload is not a slow answer.
                let waited =
                    errand.worker.clock().monotonic().saturating_sub(errand.progress.get());
                left = limit.saturating_sub(waited);
                if left.is_zero() {
                    let public = "the upstream did not answer in time";
                    let status = StatusCode::GATEWAY_TIMEOUT;
                    let denial = Denial::new(status, "upstream.response_timeout", public);
                    return Err(("upstream", Box::new(denial)));
                }
            }
        }
    }
}

/// The exchange broke off after a connection was made: by the client's body, or by the upstream.
fn broken(errand: &Errand<'_>, error: &WireError) -> Failure {
    if let Some(refusal) = errand.refusal.borrow_mut().take() {
        return refusal;
    }
    let public = "the upstream broke the exchange off";
    let denial = Denial::new(StatusCode::BAD_GATEWAY, "upstream.broken", public);
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
        ConnectFailure::Tls(_) => Denial::new(StatusCode::BAD_GATEWAY, "upstream.tls", public),
    }
    .log(reason)
}
