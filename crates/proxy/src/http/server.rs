//! The server side of the wire: HTTP/1.1 and HTTP/2 from clients.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use demilune_core::Clock;
use demilune_wire::HeadLimits;
use http::HeaderValue;
use http::header::CONTENT_LENGTH;
use http_body::Body;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Sleep;

use super::watch::Progress;
use super::{
    Begun, Deadlines, Phase, RequestBody, Stream, Unparsed, Watched, WireError, WireRequest,
    WireResponse, h1,
};
use crate::curfew::{Curfew, CurfewGuard};
use crate::timer::Timers;
use crate::worker::Tasks;

/// The most header fields of a request.
const HEADERS_LIMIT: usize = 100;
/// The most streams a client may have open on one HTTP/2 connection.
const STREAMS_LIMIT: u32 = 128;
/// The most streams reset before we accepted them (CVE-2023-44487) or for errors of ours
/// (CVE-2025-8671) before the connection is ended.
const RESETS_LIMIT: usize = 32;

/// What is spoken on a connection, as ALPN settled it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// What a connection needs besides its bytes.
pub(crate) struct Terms {
    pub(crate) protocol: Protocol,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) timers: Timers,
    pub(crate) deadlines: Deadlines,
    /// Size of a request's head, in bytes.
    pub(crate) head_size: usize,
    /// Called when no further request may begin.
    pub(crate) curfew: CurfewGuard,
    /// Where the tasks of HTTP/2 streams live.
    pub(crate) tasks: Tasks,
}

/// Serves one connection to its end. `exchange` answers each request; `refused` gives the answer
/// to what is no request, and writes it down.
pub(crate) async fn serve<F, R, B>(
    stream: Stream,
    terms: Terms,
    exchange: F,
    refused: impl Fn(Unparsed) -> WireResponse<B>,
) where
    F: Fn(WireRequest) -> R + 'static,
    R: Future<Output = WireResponse<B>> + 'static,
    B: Body<Data = Bytes, Error = WireError> + Unpin + 'static,
{
    match terms.protocol {
        Protocol::Http1 => {
            let Terms { timers, deadlines, head_size, curfew, .. } = terms;
            let limits = HeadLimits { line: head_size, size: head_size, fields: HEADERS_LIMIT };
            let serving = h1::Serving1 { timers, deadlines, limits, curfew: Some(curfew) };
            let begun = Begun { before: Bytes::new(), stream };
            h1::serve(begun, serving, exchange, refused).await;
        }
        Protocol::Http2 => {
            if let Err(Some(refusal)) = serve_http2(stream, terms, exchange).await {
                drop(refused(refusal));
            }
        }
    }
}

async fn serve_http2<F, R, B>(
    stream: Stream,
    terms: Terms,
    exchange: F,
) -> Result<(), Option<Unparsed>>
where
    F: Fn(WireRequest) -> R + 'static,
    R: Future<Output = WireResponse<B>> + 'static,
    B: Body<Data = Bytes, Error = WireError> + Unpin + 'static,
{
    let Terms { clock, deadlines, head_size, curfew, tasks, .. } = terms;
    let (io, progress) = Watched::new(stream, Arc::clone(&clock), deadlines);
    let write_idle = deadlines.write;
    let exchange = Rc::new(exchange);
    let busy = Rc::new(Busy { clock, progress: Arc::clone(&progress), open: 0.into() });
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let exchange = Rc::clone(&exchange);
        let busy = BusyGuard::new(&busy);
        async move {
            let (parts, body) = request.into_parts();
            let content_length = body.size_hint().exact();
            let mut response = exchange(WireRequest {
                method: parts.method,
                uri: parts.uri,
                version: parts.version,
                headers: parts.headers,
                content_length,
                body: RequestBody::Http2(body),
                upgrade: None,
            })
            .await;
            if let Some(length) = response.length {
                response.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
            }
            let taking = Taking::of_stream();
            let body = Guarded { body: response.body, taking, _busy: busy };
            let mut out = http::Response::new(body);
            *out.status_mut() = response.status;
            *out.headers_mut() = response.headers;
            Ok::<_, Infallible>(out)
        }
    });
    let mut builder = hyper::server::conn::http2::Builder::new(Streams { tasks, write_idle });
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_LIMIT)
        .max_header_list_size(u32::try_from(head_size).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS_LIMIT)
        .max_local_error_reset_streams(RESETS_LIMIT);
    let connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let served = until_curfew(curfew.curfew(), connection, |c| c.graceful_shutdown()).await;
    served.map_err(|error| unparsed(&error))
}

/// Runs the streams of an HTTP/2 connection. A client that gives a stream no room (its window
/// stays shut) writes nothing that the connection's own watch could miss: each stream is watched.
#[derive(Clone)]
struct Streams {
    tasks: Tasks,
    write_idle: Duration,
}

impl<F> hyper::rt::Executor<F> for Streams
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        let taking = Rc::new(Taking::default());
        let stream = unless_untaken(future, Rc::clone(&taking), self.write_idle);
        self.tasks.spawn(STREAM.scope(taking, stream));
    }
}

tokio::task_local! {
    /// The stream of the task that is polled.
    static STREAM: Rc<Taking>;
}

/// What is known of the taking of a stream's answer.
#[derive(Default)]
struct Taking {
    /// How many frames the body gave away.
    given: Cell<u64>,
    /// Whether the last of them has not been taken yet.
    waits: Cell<bool>,
}

impl Taking {
    /// That of the stream whose task is polled; one that nobody watches over HTTP/1.1.
    fn of_stream() -> Rc<Self> {
        STREAM.try_with(Rc::clone).unwrap_or_default()
    }
}

/// Runs a stream to its end, or until the client took nothing of its answer for `limit`: then it
/// is dropped, which resets it.
async fn unless_untaken<F: Future>(stream: F, taking: Rc<Taking>, limit: Duration) {
    let mut stream = pin!(stream);
    let mut untaken: Option<(u64, Pin<Box<Sleep>>)> = None;
    std::future::poll_fn(|cx| {
        if stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let given = taking.given.get();
        if !taking.waits.get() {
            untaken = None;
            return Poll::Pending;
        }
        if untaken.as_ref().is_none_or(|(of, _)| *of != given) {
            untaken = Some((given, Box::pin(tokio::time::sleep(limit))));
        }
        untaken.as_mut().map_or(Poll::Pending, |(_, timer)| timer.as_mut().poll(cx))
    })
    .await;
}

/// Polls a connection to its end; tells it once when no further request may begin.
async fn until_curfew<C: Future>(
    curfew: &Curfew,
    mut connection: Pin<&mut C>,
    finish: impl Fn(Pin<&mut C>),
) -> C::Output {
    let mut told = false;
    std::future::poll_fn(|cx| {
        if !told && curfew.is_called(cx) {
            told = true;
            finish(connection.as_mut());
        }
        connection.as_mut().poll(cx)
    })
    .await
}

/// What a connection broke off with, where that concerns the operator.
fn unparsed(error: &hyper::Error) -> Option<Unparsed> {
    let (code, public) = ("http.malformed", "this is not HTTP/2");
    error.is_parse().then_some(Unparsed { status: 0, code, public })
}

/// Tells the connection's watch that exchanges are under way, and since when none is.
struct Busy {
    clock: Arc<dyn Clock>,
    progress: Arc<Progress>,
    open: Cell<usize>,
}

struct BusyGuard(Rc<Busy>);

impl BusyGuard {
    fn new(busy: &Rc<Busy>) -> Self {
        busy.open.set(busy.open.get() + 1);
        busy.progress.enter(Phase::Busy, busy.clock.monotonic());
        Self(Rc::clone(busy))
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        let open = self.0.open.get().saturating_sub(1);
        self.0.open.set(open);
        if open == 0 {
            self.0.progress.enter(Phase::Idle, self.0.clock.monotonic());
        }
    }
}

/// A body that keeps its connection busy until it is dropped.
struct Guarded<B> {
    body: B,
    taking: Rc<Taking>,
    _busy: BusyGuard,
}

impl<B: Body<Data = Bytes, Error = WireError> + Unpin> Body for Guarded<B> {
    type Data = Bytes;
    type Error = WireError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, WireError>>> {
        // Who asks has passed on what was given before.
        self.taking.waits.set(false);
        let next = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(next, Poll::Ready(Some(Ok(_)))) {
            self.taking.given.set(self.taking.given.get() + 1);
            self.taking.waits.set(true);
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);

    fn run<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap()
            .block_on(future)
    }

    /// Whether a stream whose body does `step` at each poll is still there after ten times the
    /// limit.
    fn lives(step: impl Fn(&Taking)) -> bool {
        let taking = Rc::new(Taking::default());
        let body = Rc::clone(&taking);
        let stream = async {
            loop {
                step(&body);
                tokio::time::sleep(LIMIT / 2).await;
            }
        };
        let watched = unless_untaken(stream, taking, LIMIT);
        run(async { tokio::time::timeout(LIMIT * 10, watched).await.is_err() })
    }

    #[test]
    fn a_stream_of_whose_answer_nothing_is_taken_is_given_up() {
        assert!(!lives(|taking| taking.waits.set(true)));
    }

    #[test]
    fn a_stream_that_waits_for_its_upstream_or_is_taken_slowly_is_not() {
        assert!(lives(|taking| taking.waits.set(false)));
        assert!(lives(|taking| {
            taking.waits.set(true);
            taking.given.set(taking.given.get() + 1);
        }));
    }
}
