//! One stream, from its request to the last byte of its answer: a task of its own.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::h2::server::SendResponse;
use ::h2::{Reason, SendStream};
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body;
use tokio::time::Sleep;

use super::super::{Deadlines, WireError, WireRequest, WireResponse};
use super::SEND_BUFFER;
use super::body::Expectation;
use super::budget::Standing;
use super::connection::{Open, Shared};
use crate::pace::Pace;
use crate::timer::Timers;

/// How often a stream that waits to begin looks whether time has made room.
const PATIENCE: Duration = Duration::from_millis(100);

/// The stream is no more: nobody wants its answer.
struct Gone;

/// An open stream.
pub(super) struct Stream {
    pub(super) shared: Rc<Shared>,
    pub(super) timers: Timers,
    pub(super) deadlines: Deadlines,
    pub(super) respond: SendResponse<Bytes>,
    pub(super) expectation: Option<Rc<Expectation>>,
    /// Whether the client reset the stream, or h2 did for what the client sent.
    pub(super) provoked: Cell<bool>,
    pub(super) _open: Open,
}

impl Stream {
    /// Answers the request. Where the stream is reset, the exchange is dropped, and with it what
    /// it has under way.
    pub(super) async fn run<R, B>(
        mut self,
        request: WireRequest,
        exchange: impl Fn(WireRequest) -> R,
    ) where
        R: Future<Output = WireResponse<B>>,
        B: Body<Data = Bytes, Error = WireError> + Unpin,
    {
        let mut standing = Standing::Waiting;
        let result = self.answer(request, exchange, &mut standing).await;
        match result {
            Ok(()) => self.shared.completed(),
            Err(Gone) => {
                // What a client cancels is its own; what it sent to have us cancel is told of.
                if self.provoked.get() {
                    self.shared.refuse(0, "http2.malformed");
                }
                self.shared.lost(standing, self.provoked.get());
            }
        }
    }

    async fn answer<R, B>(
        &mut self,
        request: WireRequest,
        exchange: impl Fn(WireRequest) -> R,
        standing: &mut Standing,
    ) -> Result<(), Gone>
    where
        R: Future<Output = WireResponse<B>>,
        B: Body<Data = Bytes, Error = WireError> + Unpin,
    {
        self.turn().await?;
        *standing = Standing::Begun;
        // Boxed: it is large, and most of a stream's life it is gone.
        let mut answering = Box::pin(exchange(request));
        let response = std::future::poll_fn(|cx| {
            self.poll_gone(cx)?;
            self.poll_expectation(cx);
            answering.as_mut().poll(cx).map(Ok)
        })
        .await?;
        drop(answering);
        let WireResponse { status, headers, length, body, close: _ } = response;
        let ended = body.is_end_stream();
        let known = if ended { None } else { body.size_hint().exact() };
        let head = self.head(status, headers, length.or(known));
        let sending = self.respond.send_response(head, ended).map_err(|_| Gone)?;
        *standing = Standing::Answered;
        self.shared.answered();
        if ended {
            return Ok(());
        }
        let pace = Pace::default();
        Answer { stream: self, sending, timer: None, pace }.send(body).await
    }

    /// Waits until the exchange may begin.
    async fn turn(&mut self) -> Result<(), Gone> {
        let mut pause: Option<Pin<Box<Sleep>>> = None;
        std::future::poll_fn(|cx| {
            self.poll_gone(cx)?;
            loop {
                match self.shared.begin(cx) {
                    Ok(()) => return Poll::Ready(Ok(())),
                    Err(false) => return Poll::Pending,
                    Err(true) => {}
                }
                let timer = pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(PATIENCE)));
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                pause = None;
            }
        })
        .await
    }

    /// `Err` where the stream was reset before its answer's head.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Result<(), Gone> {
        let gone = self.respond.poll_reset(cx);
        self.unless_gone(gone)
    }

    fn unless_gone(&self, gone: Poll<Result<Reason, ::h2::Error>>) -> Result<(), Gone> {
        match gone {
            Poll::Pending => Ok(()),
            Poll::Ready(reason) => {
                // Clients cancel; what h2 resets for has other reasons.
                let cancelled =
                    [Reason::CANCEL, Reason::NO_ERROR, Reason::REFUSED_STREAM].map(Some);
                self.provoked.set(reason.is_ok_and(|it| !cancelled.contains(&Some(it))));
                Err(Gone)
            }
        }
    }

    fn poll_expectation(&mut self, cx: &Context<'_>) {
        if self.expectation.as_ref().is_some_and(|it| it.is_met(cx)) {
            let mut head = Response::new(());
            *head.status_mut() = StatusCode::CONTINUE;
            // Who is gone needs no encouragement.
            let _ = self.respond.send_informational(head);
        }
    }

    fn head(
        &self,
        status: StatusCode,
        mut headers: HeaderMap,
        length: Option<u64>,
    ) -> Response<()> {
        let keep_alive = HeaderName::from_static("keep-alive");
        let proxy_connection = HeaderName::from_static("proxy-connection");
        for name in [CONNECTION, TRANSFER_ENCODING, UPGRADE, keep_alive, proxy_connection] {
            headers.remove(name);
        }
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        if !headers.contains_key(DATE)
            && let Some(date) = self.timers.with_date(|date| date.cloned())
        {
            headers.insert(DATE, date);
        }
        let mut head = Response::new(());
        *head.status_mut() = status;
        *head.headers_mut() = headers;
        head
    }
}

/// An answer whose head is sent.
struct Answer<'a> {
    stream: &'a Stream,
    sending: SendStream<Bytes>,
    /// Runs while the client takes nothing.
    timer: Option<Pin<Box<Sleep>>>,
    pace: Pace,
}

impl Answer<'_> {
    async fn send<B>(mut self, mut body: B) -> Result<(), Gone>
    where
        B: Body<Data = Bytes, Error = WireError> + Unpin,
    {
        loop {
            let next = std::future::poll_fn(|cx| {
                self.poll_gone(cx)?;
                Pin::new(&mut body).poll_frame(cx).map(Ok)
            });
            let frame = match next.await? {
                None => return self.give(Bytes::new(), true),
                Some(Ok(frame)) => frame,
                Some(Err(_)) => {
                    // Cut short: the client is not to take it for whole.
                    self.sending.send_reset(Reason::INTERNAL_ERROR);
                    return Ok(());
                }
            };
            match frame.into_data() {
                Ok(data) => {
                    let last = body.is_end_stream();
                    self.send_data(data, last).await?;
                    if last {
                        return Ok(());
                    }
                }
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        return self.sending.send_trailers(trailers).map_err(|_| Gone);
                    }
                }
            }
        }
    }

    /// Hands the data over as the client's windows and the stream's buffer have room.
    async fn send_data(&mut self, mut data: Bytes, last: bool) -> Result<(), Gone> {
        while !data.is_empty() {
            self.sending.reserve_capacity(data.len().min(SEND_BUFFER));
            let room = std::future::poll_fn(|cx| self.poll_room(cx)).await?;
            let piece = data.split_to(room.min(data.len()));
            let Stream { timers, deadlines, .. } = self.stream;
            if self.pace.moved(timers.now(), piece.len(), deadlines.least_rate) {
                self.sending.send_reset(Reason::CANCEL);
                return Err(Gone);
            }
            self.stream.shared.sent(piece.len(), !data.is_empty());
            let end = last && data.is_empty();
            self.give(piece, end)?;
        }
        Ok(())
    }

    fn give(&mut self, piece: Bytes, end: bool) -> Result<(), Gone> {
        self.sending.send_data(piece, end).map_err(|_| Gone)
    }

    /// How much may be handed over: at least a byte. Whoever takes nothing for too long has their
    /// stream reset.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Gone>> {
        self.poll_gone(cx)?;
        let mut room = self.sending.capacity();
        if room == 0 {
            room = match self.sending.poll_capacity(cx) {
                Poll::Ready(Some(Ok(room))) => room,
                Poll::Ready(_) => return Poll::Ready(Err(Gone)),
                Poll::Pending => 0,
            };
        }
        if room > 0 {
            self.timer = None;
            return Poll::Ready(Ok(room));
        }
        self.pace.waits(self.stream.timers.now());
        let limit = self.stream.deadlines.write;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if timer.as_mut().poll(cx).is_ready() {
            self.sending.send_reset(Reason::CANCEL);
            return Poll::Ready(Err(Gone));
        }
        Poll::Pending
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Result<(), Gone> {
        let gone = self.sending.poll_reset(cx);
        self.stream.unless_gone(gone)
    }
}
