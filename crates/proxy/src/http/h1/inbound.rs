//! A client's connection as HTTP/1.1: heads and bodies on their way in, and what is written back.

use std::io;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use demilune_wire::{
    BodyLength, Chunk, ChunkedDecoder, HeadFinder, HeadLimits, Refusal, RequestHead, parse_request,
};
use tokio::io::AsyncReadExt;

use super::outbox::Outbox;
use super::read_head;
use crate::http::stream::{Begun, Stream};
use crate::http::{Deadlines, Unparsed, WireError};
use crate::pace::Pace;
use crate::timer::Timer;

/// The most bytes of a body that are read at once.
const PIECE: usize = 64 * 1024;
/// The most bytes that are read ahead while a request is being answered.
const AHEAD: usize = 16 * 1024;
/// How long a client that has just connected is listened to after the curfew.
const GRACE: Duration = Duration::from_millis(250);
/// How long the answer may still take after the client ended its side: long enough for those who
/// end it after their request, short enough for those who left.
const HALF_CLOSED: Duration = Duration::from_secs(2);

/// What comes next of a request's body.
enum Coming {
    Nothing,
    Known(u64),
    Chunked(ChunkedDecoder),
    /// It was not understood, or broke off: what follows is nobody's.
    Broken,
}

/// What comes from a client that is to send a request.
pub(super) enum Heard {
    Request(RequestHead),
    /// It ended the connection between requests, or sent none in time.
    End,
    Refused(Unparsed),
}

/// A client's connection.
pub(super) struct Inbound {
    stream: Stream,
    buffer: BytesMut,
    finder: HeadFinder,
    coming: Coming,
    /// Whether the client waits for a `100 Continue` before it sends the body.
    awaits_continue: bool,
    pub(super) outbox: Outbox,
    timer: Timer,
    deadlines: Deadlines,
    /// Whether the client has ended its side.
    ended: bool,
    /// Whether it was given a moment only to say something at all.
    hurried: bool,
    /// Of the answer that is being written.
    pace: Pace,
}

impl Inbound {
    pub(super) fn new(begun: Begun, timer: Timer, deadlines: Deadlines) -> Self {
        Self {
            stream: begun.stream,
            buffer: BytesMut::from(begun.before),
            finder: HeadFinder::default(),
            coming: Coming::Nothing,
            awaits_continue: false,
            outbox: Outbox::default(),
            timer,
            deadlines,
            ended: false,
            hurried: false,
            pace: Pace::default(),
        }
    }

    /// The next head. Once `curfew` is called, none may begin any more; who has just connected
    /// (`fresh`) and was not heard yet gets a moment for what is on its way.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        limits: &HeadLimits,
        (curfew, fresh): (bool, bool),
    ) -> Poll<Heard> {
        loop {
            if !self.buffer.is_empty() {
                match self.finder.find(&self.buffer, limits) {
                    Ok(None) => {}
                    Ok(Some(end)) => return Poll::Ready(self.take_head(end, limits)),
                    Err(refusal) => return Poll::Ready(Heard::Refused(refusal.into())),
                }
            }
            // Old clients end a body with a line break that is no part of it.
            let idle =
                self.buffer.is_empty() || (!fresh && matches!(&*self.buffer, b"\r" | b"\r\n"));
            if idle && (self.ended || (curfew && !fresh)) {
                return Poll::Ready(Heard::End);
            }
            if idle && curfew && !std::mem::replace(&mut self.hurried, true) {
                self.timer.set(GRACE);
            }
            let read = match read_head(&mut self.stream, &mut self.buffer, cx) {
                Poll::Ready(Ok(read)) if !self.ended => read,
                Poll::Ready(_) => 0,
                Poll::Pending => {
                    if !self.timer.is_set() {
                        let head = self.deadlines.head.unwrap_or(self.deadlines.idle);
                        self.timer.set(if idle { self.deadlines.idle } else { head });
                    }
                    ready!(self.timer.poll(cx));
                    let public = "the request's head did not come in time";
                    let refusal = Unparsed { status: 408, code: "http.head_timeout", public };
                    return Poll::Ready(if idle { Heard::End } else { Heard::Refused(refusal) });
                }
            };
            if read == 0 {
                self.ended = true;
                let refusal = Unparsed { status: 0, code: "http.head_incomplete", public: "" };
                return Poll::Ready(if idle { Heard::End } else { Heard::Refused(refusal) });
            }
            if idle {
                // From the first byte on, the head has its own deadline.
                self.timer.set(self.deadlines.head.unwrap_or(self.deadlines.idle));
            }
        }
    }

    fn take_head(&mut self, end: usize, limits: &HeadLimits) -> Heard {
        self.timer.clear();
        self.finder = HeadFinder::default();
        let head = self.buffer.split_to(end).freeze();
        if self.buffer.is_empty() {
            // Lets go of its share of the head.
            self.buffer = BytesMut::new();
        }
        match parse_request(head, limits) {
            Ok(head) => {
                self.coming = match head.body {
                    BodyLength::Known(0) | BodyLength::UntilClose => Coming::Nothing,
                    BodyLength::Known(length) => Coming::Known(length),
                    BodyLength::Chunked => Coming::Chunked(ChunkedDecoder::new()),
                };
                self.awaits_continue = head.expects_continue;
                Heard::Request(head)
            }
            Err(refusal) => Heard::Refused(refusal.into()),
        }
    }

    /// The next piece of the request's body. Nothing of it is read, and no client is told to send
    /// it, before this is called.
    pub(super) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, WireError>>> {
        loop {
            match self.buffered() {
                Ok(Chunk::Pending) => {}
                Ok(Chunk::Data(data)) => return Poll::Ready(Some(Ok(data))),
                // Its trailers end here: nobody above has judged them.
                Ok(Chunk::End(_)) => return Poll::Ready(None),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            if std::mem::take(&mut self.awaits_continue) {
                self.outbox.head.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            }
            if !self.outbox.is_empty()
                && let Poll::Ready(Err(_)) =
                    self.outbox.poll_write(&mut self.stream, cx, |_| Ok(()))
            {
                return Poll::Ready(Some(Err(self.broken("the client left"))));
            }
            let most = match self.coming {
                Coming::Known(left) => usize::try_from(left).unwrap_or(PIECE).min(PIECE),
                _ => PIECE / 4,
            };
            match ready!(read_piece(&mut self.stream, &mut self.buffer, most, cx)) {
                Ok(read) if read > 0 => {}
                _ => {
                    self.ended = true;
                    let error = self.broken("the connection ended within the body");
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    /// What the bytes that are there already hold of the body.
    fn buffered(&mut self) -> Result<Chunk, WireError> {
        match &mut self.coming {
            Coming::Nothing => Ok(Chunk::End(http::HeaderMap::new())),
            Coming::Broken => Err(WireError::new("the body broke off")),
            Coming::Known(_) if self.buffer.is_empty() => Ok(Chunk::Pending),
            Coming::Known(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let data = self.buffer.split_to(self.buffer.len().min(most)).freeze();
                *left = left.saturating_sub(u64::try_from(data.len()).unwrap_or(u64::MAX));
                if *left == 0 {
                    self.end_body();
                }
                Ok(Chunk::Data(data))
            }
            Coming::Chunked(decoder) => match decoder.decode(&mut self.buffer) {
                Ok(chunk) => {
                    if matches!(chunk, Chunk::End(_)) {
                        self.end_body();
                    }
                    Ok(chunk)
                }
                Err(refusal) => {
                    self.coming = Coming::Broken;
                    Err(WireError::refused(refusal.code(), refusal.public()))
                }
            },
        }
    }

    fn end_body(&mut self) {
        self.coming = Coming::Nothing;
        self.awaits_continue = false;
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    fn broken(&mut self, reason: &'static str) -> WireError {
        self.coming = Coming::Broken;
        WireError::new(reason)
    }

    /// Whether the request's body has been read to its end. Reads what is there of it already.
    pub(super) fn is_body_over(&mut self) -> bool {
        while matches!(self.buffered(), Ok(Chunk::Data(_))) {}
        matches!(self.coming, Coming::Nothing)
    }

    /// Whether what is left of the request's body can be read and thrown away; if so, that has a
    /// deadline from here on.
    pub(super) fn begins_to_pass_over(&mut self) -> bool {
        // Who waits to be asked for it sends nothing.
        if !self.awaits_continue {
            self.timer.set(LINGER_TIME);
        }
        !self.awaits_continue
    }

    /// Reads and throws away, `read` bytes so far. False where that is too much, takes too long, or
    /// is no body.
    pub(super) fn poll_pass_over(&mut self, cx: &mut Context<'_>, read: &mut usize) -> Poll<bool> {
        while *read < LINGER_BYTES {
            match self.poll_body(cx) {
                Poll::Ready(Some(Ok(data))) => *read += data.len(),
                Poll::Ready(ended) => {
                    self.timer.clear();
                    return Poll::Ready(ended.is_none());
                }
                Poll::Pending => return self.timer.poll(cx).map(|()| false),
            }
        }
        Poll::Ready(false)
    }

    /// Whether bytes have come that nobody has looked at yet.
    pub(super) fn has_more(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Whether no byte of the request's body is still to come.
    pub(super) fn is_bodiless(&self) -> bool {
        matches!(self.coming, Coming::Nothing)
    }

    /// How much of the body is still to come, where that is known.
    pub(super) fn body_left(&self) -> Option<u64> {
        match self.coming {
            Coming::Nothing => Some(0),
            Coming::Known(left) => Some(left),
            Coming::Chunked(_) | Coming::Broken => None,
        }
    }

    /// Ready when the client has left while its request is being answered: where the connection
    /// broke off, or its side ended and nothing of the answer came for a while. What it sends
    /// meanwhile is kept, up to a limit.
    pub(super) fn poll_left(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Whoever reads the body learns of the client's leaving.
        while self.is_bodiless() && !self.ended && self.buffer.len() < AHEAD {
            match ready!(read_head(&mut self.stream, &mut self.buffer, cx)) {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(_) => return Poll::Ready(()),
            }
        }
        if !self.ended {
            return Poll::Pending;
        }
        if !self.timer.is_set() {
            self.timer.set(HALF_CLOSED);
        }
        self.timer.poll(cx)
    }

    /// Whether the client has ended its side.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The answer has begun: the client is judged by what it takes of it.
    pub(super) fn answering(&mut self) {
        self.timer.clear();
        self.pace = Pace::default();
    }

    /// Writes until all is written; fails where the client takes nothing for too long.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { outbox, stream, timer, deadlines, pace, .. } = self;
        let progressed = |written| {
            timer.clear();
            let slow = pace.moved(timer.now(), written, deadlines.least_rate);
            if slow { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
        };
        let nothing = outbox.is_empty();
        match outbox.poll_write(stream, cx, progressed) {
            Poll::Ready(result) => {
                // Where there was nothing to write, the deadline is of something else.
                if !nothing {
                    timer.clear();
                }
                Poll::Ready(result)
            }
            Poll::Pending => {
                pace.waits(timer.now());
                if !timer.is_set() {
                    timer.set(deadlines.write);
                }
                timer.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    /// Breaks the connection off so that the client sees it.
    pub(super) fn reset_when_dropped(&self) {
        self.stream.reset_when_dropped();
    }

    /// Ends our side, and, where the client may still be sending, reads what it does for a moment:
    /// else it would see a reset instead of its answer (RFC 9112 section 9.6).
    pub(super) async fn close(&mut self, linger: bool) {
        self.timer.set(self.deadlines.write);
        let Self { stream, timer, .. } = self;
        let shut = std::future::poll_fn(|cx| {
            let shut = pin!(tokio::io::AsyncWriteExt::shutdown(&mut *stream)).poll(cx);
            if shut.is_ready() { shut } else { timer.poll(cx).map(|()| Ok(())) }
        });
        if shut.await.is_err() || !linger || self.ended {
            return;
        }
        self.timer.set(LINGER_TIME);
        let mut read = 0;
        std::future::poll_fn(|cx| {
            while read < LINGER_BYTES {
                self.buffer.clear();
                match read_head(&mut self.stream, &mut self.buffer, cx) {
                    Poll::Ready(Ok(count)) if count > 0 => read += count,
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return self.timer.poll(cx),
                }
            }
            Poll::Ready(())
        })
        .await;
    }

    /// The connection, for whoever speaks another protocol on it from here on.
    pub(super) fn into_begun(self) -> Begun {
        Begun { before: self.buffer.freeze(), stream: self.stream }
    }
}

/// How much of what a refused client still sends is read and thrown away before the connection is
/// closed.
const LINGER_BYTES: usize = 256 * 1024;
/// How long that may take.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// Reads a piece of a body, without copying it.
pub(super) fn read_piece(
    stream: &mut Stream,
    buffer: &mut BytesMut,
    most: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    buffer.reserve(most);
    pin!(stream.read_buf(buffer)).poll(cx)
}

impl From<Refusal> for Unparsed {
    fn from(refusal: Refusal) -> Self {
        let (status, public) = (refusal.status().as_u16(), refusal.public());
        Self { status, code: refusal.code(), public }
    }
}
