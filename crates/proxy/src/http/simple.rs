//! A small HTTP/1.1 server for our own endpoints: probes, metrics, the demo's API. It shares the
//! codec of the data plane.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use demilune_core::Clock;
use demilune_wire::HeadLimits;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use tokio::net::TcpListener;

use super::stream::{Begun, Stream};
use super::{Deadlines, Unparsed, WireError, WireRequest, WireResponse, h1};
use crate::timer::Timers;
use crate::worker::Tasks;

/// The largest request body that is read, in bytes.
const BODY_LIMIT: usize = 64 * 1024;
/// The most connections at the same time.
const CONNECTIONS_LIMIT: usize = 1024;
/// For a request's head, for idle connections, and while nothing of an answer is taken.
const PATIENCE: Duration = Duration::from_secs(60);
/// For a request's body.
const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// Limits on a request's head.
const HEAD: HeadLimits = HeadLimits { line: 8 * 1024, size: 32 * 1024, fields: 100 };

/// A whole request.
#[derive(Debug)]
pub struct SimpleRequest {
    /// The method.
    pub method: Method,
    /// The path as received.
    pub path: String,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// A whole answer.
#[derive(Debug)]
pub struct SimpleResponse {
    /// The status.
    pub status: StatusCode,
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

impl SimpleResponse {
    /// An answer of plain text.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: "text/plain; charset=utf-8", body: body.into() }
    }

    /// An answer of JSON.
    pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self { status, content_type: "application/json", body: body.into() }
    }
}

/// Accepts connections for ever and answers each request by `answer`. Runs on the caller's local
/// runtime.
pub async fn serve_simple(
    listener: TcpListener,
    clock: Arc<dyn Clock>,
    answer: impl Fn(SimpleRequest) -> SimpleResponse + 'static,
) {
    let answer = Rc::new(answer);
    let tasks = Tasks::default();
    let timers = Timers::start(clock, &Tasks::default());
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if tasks.count() >= CONNECTIONS_LIMIT {
            continue;
        }
        let _ = stream.set_nodelay(true);
        let begun = Begun { before: Bytes::new(), stream: Stream::Plain(stream) };
        let head = Some(PATIENCE);
        let deadlines = Deadlines { idle: PATIENCE, head, write: PATIENCE, least_rate: 1 };
        let timers = timers.clone();
        let serving = h1::Serving { timers, deadlines, limits: HEAD, curfew: None };
        let answer = Rc::clone(&answer);
        tasks.spawn(async move {
            let exchange = |wire| respond(&*answer, wire);
            h1::serve(begun, serving, exchange, refused).await;
        });
    }
}

async fn respond(
    answer: &impl Fn(SimpleRequest) -> SimpleResponse,
    wire: WireRequest,
) -> WireResponse<Body> {
    let body = Limited::new(wire.body, BODY_LIMIT).collect();
    let Ok(body) = tokio::time::timeout(BODY_PATIENCE, body).await else {
        let late = SimpleResponse::text(StatusCode::REQUEST_TIMEOUT, "the body did not come\n");
        return WireResponse { close: true, ..rendered(late) };
    };
    rendered(match body {
        Ok(body) => answer(SimpleRequest {
            method: wire.method,
            path: wire.uri.path().to_owned(),
            headers: wire.headers,
            body: body.to_bytes(),
        }),
        Err(_) => SimpleResponse::text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n"),
    })
}

fn refused(refusal: Unparsed) -> WireResponse<Body> {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    rendered(SimpleResponse::text(status, format!("{}\n", refusal.public)))
}

fn rendered(response: SimpleResponse) -> WireResponse<Body> {
    let content_type = HeaderValue::from_static(response.content_type);
    WireResponse {
        status: response.status,
        headers: HeaderMap::from_iter([(CONTENT_TYPE, content_type)]),
        length: None,
        close: false,
        body: Body(Full::new(response.body)),
    }
}

/// A whole body.
struct Body(Full<Bytes>);

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = WireError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, WireError>>> {
        let next = Pin::new(&mut self.0).poll_frame(cx);
        next.map(|next| next.map(|frame| frame.map_err(|never| match never {})))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.0.size_hint()
    }
}
