//! A small HTTP/1.1 server for our own endpoints: probes, metrics, the demo's API. It shares the
//! codec of the data plane.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::worker::Tasks;

/// The largest request body that is read, in bytes.
const BODY_LIMIT: usize = 64 * 1024;
/// The most connections at the same time.
const CONNECTIONS_LIMIT: usize = 1024;
/// For a request's head and for idle connections.
const HEAD_TIME: Duration = Duration::from_secs(60);

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
    answer: impl Fn(SimpleRequest) -> SimpleResponse + 'static,
) {
    let answer = Rc::new(answer);
    let tasks = Tasks::default();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if tasks.count() >= CONNECTIONS_LIMIT {
            continue;
        }
        let answer = Rc::clone(&answer);
        let service = service_fn(move |request| {
            let answer = Rc::clone(&answer);
            async move { Ok::<_, Infallible>(respond(&*answer, request).await) }
        });
        tasks.spawn(async move {
            let _ = stream.set_nodelay(true);
            // A broken connection to a probe concerns nobody.
            let _ = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn respond(
    answer: &impl Fn(SimpleRequest) -> SimpleResponse,
    request: hyper::Request<hyper::body::Incoming>,
) -> http::Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let response = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => answer(SimpleRequest {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            headers: parts.headers,
            body: body.to_bytes(),
        }),
        Err(_) => SimpleResponse::text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large\n"),
    };
    let mut out = http::Response::new(Full::new(response.body));
    *out.status_mut() = response.status;
    out.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(response.content_type));
    out
}
