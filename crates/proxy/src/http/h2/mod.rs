//! HTTP/2 on both sides, on the h2 crate.
//!
//! h2 speaks the protocol: frames, HPACK, states, windows. What a client may cost is decided
//! here: how much of its work may be begun and thrown away (`budget`), how many frames it may
//! send that carry nothing (`meter`), how much is kept for it. One task drives the connection, one
//! each stream. Towards endpoints (`client`), one task drives the connection, and the exchanges
//! read and write their streams themselves.

mod body;
mod budget;
mod client;
mod client_stream;
mod connection;
mod frames;
mod io;
mod meter;
mod preface;
mod request;
mod stream;

pub(crate) use body::StreamBody;
pub(crate) use client::Http2Connection;
pub(crate) use client_stream::UpstreamStream;
pub(crate) use preface::protocol_of;

use std::io::ErrorKind;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::h2::server::{Builder, Connection, SendResponse};
use ::h2::{Reason, RecvStream};
use bytes::Bytes;
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{Begun, Terms, Unparsed, Watched, WireError, WireRequest, WireResponse};
use crate::timer::Timer;
use connection::{Open, Shared};
use io::Metered;
use stream::Stream;

/// The most streams a client may have open on one connection.
const STREAMS_LIMIT: u32 = 128;
/// The most streams reset by the client before we looked at them, and the most, over a
/// connection's life, that h2 resets or refuses for what the client sent.
const RESETS_LIMIT: usize = 100;
/// How much a client may send ahead on a stream, in bytes.
const STREAM_WINDOW: u32 = 128 * 1024;
/// How much a client may send ahead on all streams together.
const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// How much of an answer is kept for a stream, in bytes, when the connection is busy.
const SEND_BUFFER: usize = 32 * 1024;
/// h2 refuses larger heads without a word to us, so it is to take some that we then refuse: this
/// many times our limit.
const HEADS_FACTOR: usize = 2;
/// What h2 counts for a field besides its name and value (RFC 9113 section 6.5.2), for the most
/// fields that we take.
const FIELDS_SIZE: usize = 32 * 128;

/// How long a client without requests may take to leave when it was told to: requests may be on
/// their way.
const FAREWELL: Duration = Duration::from_secs(1);

/// Serves one connection to its end. `exchange` answers each request; `refused` is told of what is
/// no request.
pub(super) async fn serve<F, R, B>(
    begun: Begun,
    terms: Terms,
    exchange: F,
    refused: &dyn Fn(Unparsed),
) where
    F: Fn(WireRequest) -> R + 'static,
    R: Future<Output = WireResponse<B>> + 'static,
    B: Body<Data = Bytes, Error = WireError> + Unpin + 'static,
{
    let (io, progress) = Watched::new(begun, Arc::clone(&terms.clock), terms.deadlines);
    let shared = Shared::new(Arc::clone(&terms.clock), progress);
    let mut io = Metered::new(io, Rc::clone(&shared));
    let ending = converse(&mut io, Rc::clone(&shared), terms, exchange, refused).await;
    let farewell = match ending {
        // Whoever speaks something else may still understand the end of the connection.
        Ending::Foreign => Some(goodbye(0, Reason::PROTOCOL_ERROR)),
        // Requests that cross this on their way may be sent again.
        Ending::Idle => Some(goodbye(shared.last_stream(), Reason::NO_ERROR)),
        _ => None,
    };
    if let Some(farewell) = farewell {
        let _ = io.write_all(&farewell).await;
        let _ = io.shutdown().await;
    }
    let code = match ending {
        Ending::Plain | Ending::Idle => return,
        // Nobody who says nothing has asked for anything.
        Ending::Late if !shared.was_touched() => return,
        Ending::Late => "http.head_incomplete",
        Ending::Foreign => "http2.preface",
        Ending::Judged(code) => code,
    };
    refused(Unparsed { status: 0, code, public: "this is not HTTP/2 as it should be" });
}

/// From the preface to the end.
async fn converse<T, F, R, B>(
    io: &mut Metered<T>,
    shared: Rc<Shared>,
    terms: Terms,
    exchange: F,
    refused: &dyn Fn(Unparsed),
) -> Ending
where
    T: AsyncRead + AsyncWrite + Unpin,
    F: Fn(WireRequest) -> R + 'static,
    R: Future<Output = WireResponse<B>> + 'static,
    B: Body<Data = Bytes, Error = WireError> + Unpin + 'static,
{
    let handshake = builder(terms.head_size).handshake::<_, Bytes>(io);
    let connection = match tokio::time::timeout(terms.preface, handshake).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) if !error.is_io() => return Ending::Foreign,
        _ => return Ending::Late,
    };
    let deadline = terms.timers.timer();
    deadline.set(terms.preface);
    let driver = Driver {
        deadline,
        begun: false,
        exchange: Rc::new(exchange),
        told: false,
        judged: false,
        shared,
        terms,
        refused,
    };
    driver.drive(connection).await
}

/// What a client's frames are found to be, for the fuzz target.
pub(crate) fn frames<'b>(
    pieces: impl Iterator<Item = &'b [u8]>,
) -> (Vec<u32>, Option<&'static str>) {
    let (mut meter, mut streams) = (meter::FrameMeter::new(), Vec::new());
    let mut flood = None;
    for piece in pieces {
        let read = meter.read(piece, Duration::default, |stream| streams.push(stream));
        flood = flood.or(read.err().map(|meter::Flood(code)| code));
    }
    (streams, flood)
}

fn builder(head_size: usize) -> Builder {
    let head_size = head_size.saturating_mul(HEADS_FACTOR).saturating_add(FIELDS_SIZE);
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS_LIMIT)
        .max_header_list_size(u32::try_from(head_size).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS_LIMIT)
        .max_local_error_reset_streams(Some(RESETS_LIMIT))
        .max_send_buffer_size(SEND_BUFFER);
    builder
}

/// GOAWAY after this stream.
fn goodbye(last: u32, reason: Reason) -> [u8; 17] {
    let [s0, s1, s2, s3] = last.to_be_bytes();
    let [r0, r1, r2, r3] = u32::from(reason).to_be_bytes();
    [0, 0, 8, 7, 0, 0, 0, 0, 0, s0, s1, s2, s3, r0, r1, r2, r3]
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// As connections do.
    Plain,
    /// Nothing was asked for on it for too long; nobody has said so yet.
    Idle,
    /// Its client did not get as far as its first frame.
    Late,
    /// What came was no preface; nobody has said so yet.
    Foreign,
    /// For what its client did: the code.
    Judged(&'static str),
}

/// What drives one connection.
struct Driver<'a, F> {
    shared: Rc<Shared>,
    terms: Terms,
    refused: &'a dyn Fn(Unparsed),
    exchange: Rc<F>,
    /// For the client's SETTINGS; and then for leaving, while nothing is under way and the client
    /// was told that nothing may begin. While there is a timer, dates are true.
    deadline: Timer,
    /// Whether its SETTINGS have come.
    begun: bool,
    /// Whether the client was told that no further request may begin.
    told: bool,
    /// Whether the client was told to go.
    judged: bool,
}

impl<F, R, B> Driver<'_, F>
where
    F: Fn(WireRequest) -> R + 'static,
    R: Future<Output = WireResponse<B>> + 'static,
    B: Body<Data = Bytes, Error = WireError> + Unpin + 'static,
{
    async fn drive<T: AsyncRead + AsyncWrite + Unpin>(
        mut self,
        connection: Connection<T, Bytes>,
    ) -> Ending {
        let mut connection = pin!(connection);
        let ending = std::future::poll_fn(|cx| self.poll(cx, connection.as_mut().get_mut())).await;
        self.tell();
        let judged = self.shared.reproach().map(Ending::Judged);
        judged.unwrap_or(ending)
    }

    /// Ready at the connection's end.
    fn poll<T: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        connection: &mut Connection<T, Bytes>,
    ) -> Poll<Ending> {
        if !self.told && self.terms.curfew.curfew().is_called(cx) {
            self.told = true;
            connection.graceful_shutdown();
        }
        loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.open(request, respond),
                Poll::Ready(None) => return Poll::Ready(Ending::Plain),
                Poll::Ready(Some(Err(error))) => {
                    // Why else it failed was seen in passing, where it was the client's doing.
                    let timed_out =
                        error.get_io().is_some_and(|it| it.kind() == ErrorKind::TimedOut);
                    let idle = timed_out && !self.shared.is_busy() && self.shared.has_begun();
                    return Poll::Ready(if idle { Ending::Idle } else { Ending::Plain });
                }
                Poll::Pending => {
                    let reason = match self.shared.verdict(cx) {
                        Some(_) => Reason::ENHANCE_YOUR_CALM,
                        None if self.poll_deadline(cx).is_pending() => break,
                        None if !self.begun => return Poll::Ready(Ending::Late),
                        None => Reason::NO_ERROR,
                    };
                    if std::mem::replace(&mut self.judged, true) {
                        break;
                    }
                    connection.abrupt_shutdown(reason);
                }
            }
        }
        self.tell();
        Poll::Pending
    }

    /// Ready when the client is late: with its SETTINGS, or with leaving.
    fn poll_deadline(&mut self, cx: &Context<'_>) -> Poll<()> {
        if !self.begun {
            self.begun = self.shared.has_begun();
            if !self.begun {
                return self.deadline.poll(cx);
            }
            self.deadline.clear();
        }
        if !self.told || self.shared.is_busy() {
            self.deadline.clear();
            return Poll::Pending;
        }
        if !self.deadline.is_set() {
            self.deadline.set(FAREWELL);
        }
        self.deadline.poll(cx)
    }

    /// Begins a stream as a task.
    fn open(&self, head: http::Request<RecvStream>, mut respond: SendResponse<Bytes>) {
        self.shared.seen(respond.stream_id().as_u32());
        let Ok((request, expectation)) = request::request(head) else {
            respond.send_reset(Reason::PROTOCOL_ERROR);
            self.shared.refuse(0, "http2.malformed");
            return;
        };
        let stream = Stream {
            shared: Rc::clone(&self.shared),
            timers: self.terms.timers.clone(),
            deadlines: self.terms.deadlines,
            respond,
            expectation,
            provoked: false.into(),
            _open: Open::new(&self.shared),
        };
        let exchange = Rc::clone(&self.exchange);
        self.terms.tasks.spawn(async move { stream.run(request, &*exchange).await });
    }

    /// Tells of requests that h2 refused.
    fn tell(&self) {
        for refused in self.shared.refused() {
            (self.refused)(refused);
        }
    }
}
