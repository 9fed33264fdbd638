//! A connection to an endpoint: one request at a time, and its answer, of which nothing is
//! believed that is not exactly framed.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use demilune_wire::{
    BodyLength, Chunk, ChunkedDecoder, Framing, HeadFinder, HeadLimits, Refusal, parse_response,
    write_request,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::Body;

use super::inbound::read_piece;
use super::outbox::Outbox;
use super::read_head;
use crate::http::WireError;
use crate::http::stream::{Begun, Stream};
use crate::timer::{Timer, Timers};

/// Limits on the head of an answer.
const LIMITS: HeadLimits = HeadLimits { line: 8 * 1024, size: 64 * 1024, fields: 128 };
/// How every answer begins: for the end of a line that does not nobody has to wait.
const BEGINNING: &[u8] = b"HTTP/1.";
/// The most interim answers (RFC 9110 section 15.2) before the one that counts.
pub(crate) const INTERIM_LIMIT: u8 = 8;
/// The code of an answer that fell silent.
pub(crate) const STALLED: &str = "response.stalled";
/// The most bytes of a body that are read at once.
const PIECE: usize = 64 * 1024;

/// A request's head as it is to be sent.
pub(crate) struct Sending<'a> {
    pub(crate) method: &'a Method,
    pub(crate) target: &'a PathAndQuery,
    pub(crate) host: &'a HeaderValue,
    pub(crate) headers: &'a HeaderMap,
    /// The protocol asked for, where one is.
    pub(crate) upgrade: Option<&'a HeaderValue>,
    /// Whether whoever asks reads trailers; HTTP/1 has none to give.
    pub(crate) trailers: bool,
    /// For the answer's head, from the last byte sent on.
    pub(crate) limit: Duration,
}

/// The head of an answer. Its body is read from the connection.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
}

/// A request that got no answer.
pub(crate) struct SendFailure<B> {
    /// The body, where nothing of the request was written: it may be sent elsewhere.
    pub(crate) unsent: Option<B>,
    /// `None` where the deadline passed.
    pub(crate) error: Option<WireError>,
}

/// What comes next of an answer's body.
enum Coming {
    Nothing,
    Known(u64),
    Chunked(ChunkedDecoder),
    UntilClose,
}

/// A request's body on its way.
struct Uploading<B> {
    body: B,
    /// How many bytes are still owed; `None` where it goes in chunks.
    owed: Option<u64>,
}

/// A connection to an endpoint.
pub(crate) struct UpstreamConnection<B> {
    stream: Stream,
    buffer: BytesMut,
    finder: HeadFinder,
    outbox: Outbox,
    upload: Option<Uploading<B>>,
    coming: Coming,
    timer: Timer,
    /// Whether it may serve another request, as far as is known.
    reusable: bool,
    /// Whether the last answer was one to HEAD.
    answered_head: bool,
    /// Whether a byte of the request was written, or of its body taken.
    written: bool,
}

/// Why an upload does not go on.
enum UploadFailure {
    /// The request's body broke off or was refused.
    Body(WireError),
    /// The upstream takes no more; it may have said why.
    Write,
}

impl<B> UpstreamConnection<B>
where
    B: Body<Data = Bytes, Error = WireError> + Unpin,
{
    pub(crate) fn new(stream: Stream, timers: &Timers) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            finder: HeadFinder::default(),
            outbox: Outbox::default(),
            upload: None,
            coming: Coming::Nothing,
            timer: timers.timer(),
            reusable: true,
            answered_head: false,
            written: false,
        }
    }

    /// Whether it is fit for another request: the answer before was read to its exact end, and
    /// nothing came behind it.
    pub(crate) fn is_reusable(&self) -> bool {
        self.reusable
            && matches!(self.coming, Coming::Nothing)
            && self.upload.is_none()
            && self.outbox.is_empty()
            && self.buffer.is_empty()
    }

    /// Whether its last answer was one to HEAD.
    pub(crate) fn has_answered_head(&self) -> bool {
        self.answered_head
    }

    /// Whether it is still open, and silent, after it was idle.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.is_reusable() && self.stream.is_silent()
    }

    /// Whether nothing was said on it yet: for a fresh one.
    pub(crate) fn is_unspoken(&mut self) -> bool {
        self.stream.is_unspoken()
    }

    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(
        &mut self,
        sending: Sending<'_>,
        body: B,
    ) -> Result<Reply, Box<SendFailure<B>>> {
        let length = body.size_hint().exact();
        let framing = match length {
            Some(0) if !means_a_body(sending.method) => Framing::None,
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        };
        let Sending { method, target, host, headers, upgrade, limit, .. } = sending;
        let out = &mut self.outbox.head;
        write_request(out, method, target, Some(host), headers, framing, upgrade);
        let mut empty = None;
        if body.is_end_stream() {
            empty = Some(body);
        } else {
            self.upload = Some(Uploading { body, owed: length });
        }
        self.written = false;
        self.timer.set(limit);
        let switching = upgrade.is_some();
        let mut interim = 0;
        let result = std::future::poll_fn(|cx| {
            self.poll_reply(cx, (method, switching), limit, &mut interim)
        });
        let result = result.await;
        self.timer.clear();
        result.map_err(|error| {
            self.reusable = false;
            let upload = self.upload.take().map(|upload| upload.body);
            let unsent = upload.or(empty).filter(|_| !self.written);
            Box::new(SendFailure { unsent, error })
        })
    }

    fn poll_reply(
        &mut self,
        cx: &mut Context<'_>,
        (method, switching): (&Method, bool),
        limit: Duration,
        interim: &mut u8,
    ) -> Poll<Result<Reply, Option<WireError>>> {
        match self.poll_upload(cx, Some(limit)) {
            Poll::Ready(Err(UploadFailure::Body(error))) => return Poll::Ready(Err(Some(error))),
            // Nothing of the request went out: it can go elsewhere, and nothing of it goes here.
            Poll::Ready(Err(UploadFailure::Write)) if !self.written => {
                return Poll::Ready(Err(Some(WireError::new("the connection takes nothing"))));
            }
            // It may have answered before it stopped reading.
            Poll::Ready(Err(UploadFailure::Write)) => self.reusable = false,
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        loop {
            if BEGINNING.iter().zip(&self.buffer).any(|(one, other)| one != other) {
                let word =
                    self.buffer.first().is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'\r');
                let refusal = if word { Refusal::StatusLine } else { Refusal::NotHttp };
                return Poll::Ready(Err(misanswer(refusal)));
            }
            let found = self.finder.find(&self.buffer, &LIMITS).map_err(misanswer)?;
            if let Some(end) = found {
                self.finder = HeadFinder::default();
                let head = self.buffer.split_to(end).freeze();
                let head = parse_response(head, method, &LIMITS).map_err(misanswer)?;
                let status = head.status;
                let switched = status == StatusCode::SWITCHING_PROTOCOLS;
                if status.is_informational() && !switched {
                    *interim += 1;
                    if *interim > INTERIM_LIMIT {
                        return Poll::Ready(Err(Some(unexpected("too many interim answers"))));
                    }
                    continue;
                }
                if switched && !switching {
                    return Poll::Ready(Err(Some(unexpected("it switches protocols unasked"))));
                }
                self.reusable &= head.persistent && !switched;
                let reply = Reply { status, headers: head.headers };
                if switched {
                    return Poll::Ready(Ok(reply));
                }
                self.answered_head = method == Method::HEAD;
                let bodiless = self.answered_head
                    || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
                return Poll::Ready(self.expect(head.body, bodiless).map(|()| reply));
            }
            match read_head(&mut self.stream, &mut self.buffer, cx) {
                Poll::Ready(Ok(read)) if read > 0 => {}
                Poll::Ready(Ok(_)) => {
                    let reason = "the connection ended before an answer";
                    return Poll::Ready(Err(Some(WireError::new(reason))));
                }
                Poll::Ready(Err(error)) => {
                    let error = WireError::new(error.to_string());
                    return Poll::Ready(Err(Some(error)));
                }
                Poll::Pending => return self.timer.poll(cx).map(|()| Err(None)),
            }
        }
    }

    /// What is to follow the head.
    fn expect(&mut self, body: BodyLength, bodiless: bool) -> Result<(), Option<WireError>> {
        self.coming = match body {
            BodyLength::Known(length) => {
                let there = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
                // Behind an answer that can have no body, such as to HEAD, stands what some servers
                // send all the same. It means nothing, and costs the connection.
                if there > length && !bodiless {
                    return Err(Some(unexpected("bytes follow its end")));
                }
                if length == 0 { Coming::Nothing } else { Coming::Known(length) }
            }
            BodyLength::Chunked => Coming::Chunked(ChunkedDecoder::new()),
            BodyLength::UntilClose => Coming::UntilClose,
        };
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        Ok(())
    }

    /// Sends what there is of the request. With `limit`, each byte that leaves moves the deadline.
    fn poll_upload(
        &mut self,
        cx: &mut Context<'_>,
        limit: Option<Duration>,
    ) -> Poll<Result<(), UploadFailure>> {
        let Self { stream, outbox, upload, timer, written, .. } = self;
        loop {
            let mut waits = false;
            while let Some(uploading) = upload.as_mut().filter(|_| outbox.takes()) {
                match Pin::new(&mut uploading.body).poll_frame(cx) {
                    Poll::Pending => {
                        waits = true;
                        break;
                    }
                    Poll::Ready(Some(Ok(frame))) => {
                        let data = frame.into_data().unwrap_or_default();
                        // What was taken out cannot be sent again.
                        *written = true;
                        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                        if let Some(owed) = &mut uploading.owed {
                            let Some(left) = owed.checked_sub(length) else {
                                return Poll::Ready(Err(UploadFailure::Body(not_as_declared())));
                            };
                            *owed = left;
                        }
                        outbox.put(data, uploading.owed.is_none());
                    }
                    Poll::Ready(None) => {
                        match uploading.owed {
                            None => outbox.put_last_chunk(),
                            Some(0) => {}
                            Some(_) => {
                                return Poll::Ready(Err(UploadFailure::Body(not_as_declared())));
                            }
                        }
                        *upload = None;
                    }
                    Poll::Ready(Some(Err(error))) => {
                        return Poll::Ready(Err(UploadFailure::Body(error)));
                    }
                }
            }
            let progressed = |_| {
                *written = true;
                if let Some(limit) = limit {
                    timer.set(limit);
                }
                Ok(())
            };
            match ready!(outbox.poll_write(stream, cx, progressed)) {
                Ok(()) if upload.is_none() => return Poll::Ready(Ok(())),
                Ok(()) if waits => {
                    // Until more of the body comes, it is not the upstream that is waited for.
                    if limit.is_some() {
                        timer.clear();
                    }
                    return Poll::Pending;
                }
                Ok(()) => {}
                Err(_) => {
                    if *written {
                        *upload = None;
                    }
                    *outbox = Outbox::default();
                    return Poll::Ready(Err(UploadFailure::Write));
                }
            }
        }
    }

    /// The next piece of the answer's body; what is left of the request goes on meanwhile. Fails
    /// where nothing comes for `idle`.
    pub(crate) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
        idle: Duration,
    ) -> Poll<Option<Result<Bytes, WireError>>> {
        if self.upload.is_some() || !self.outbox.is_empty() {
            match self.poll_upload(cx, None) {
                Poll::Ready(Err(UploadFailure::Body(error))) => return self.cut(error),
                Poll::Ready(Err(UploadFailure::Write)) => self.reusable = false,
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        loop {
            match self.buffered() {
                Ok(Chunk::Pending) => {}
                Ok(Chunk::Data(data)) => {
                    self.timer.clear();
                    return Poll::Ready(Some(Ok(data)));
                }
                Ok(Chunk::End(_)) => {
                    self.timer.clear();
                    return Poll::Ready(None);
                }
                Err(error) => return self.cut(error),
            }
            let most = match self.coming {
                Coming::Known(left) => usize::try_from(left).unwrap_or(PIECE).min(PIECE),
                _ => PIECE / 4,
            };
            match read_piece(&mut self.stream, &mut self.buffer, most, cx) {
                Poll::Ready(Ok(0)) if matches!(self.coming, Coming::UntilClose) => {
                    self.coming = Coming::Nothing;
                }
                Poll::Ready(Ok(0)) => {
                    let error = WireError::new("the answer was cut short");
                    return self.cut(error);
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    return self.cut(WireError::new(error.to_string()));
                }
                Poll::Pending => {
                    if !self.timer.is_set() {
                        self.timer.set(idle);
                    }
                    ready!(self.timer.poll(cx));
                    return self.cut(stalled());
                }
            }
        }
    }

    fn cut(&mut self, error: WireError) -> Poll<Option<Result<Bytes, WireError>>> {
        self.reusable = false;
        self.timer.clear();
        Poll::Ready(Some(Err(error)))
    }

    /// What the bytes that are there already hold of the answer's body.
    fn buffered(&mut self) -> Result<Chunk, WireError> {
        match &mut self.coming {
            Coming::Nothing => Ok(Chunk::End(HeaderMap::new())),
            Coming::Chunked(decoder) => {
                let chunk = decoder.decode(&mut self.buffer).map_err(|refusal| {
                    WireError::refused(refusal.answer_code(), refusal.public())
                })?;
                if matches!(chunk, Chunk::End(_)) {
                    self.coming = Coming::Nothing;
                }
                Ok(chunk)
            }
            Coming::Known(_) | Coming::UntilClose if self.buffer.is_empty() => Ok(Chunk::Pending),
            Coming::UntilClose => Ok(Chunk::Data(self.buffer.split().freeze())),
            Coming::Known(left) => {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                let data = self.buffer.split_to(self.buffer.len().min(most)).freeze();
                *left = left.saturating_sub(u64::try_from(data.len()).unwrap_or(u64::MAX));
                if *left == 0 {
                    self.coming = Coming::Nothing;
                    if self.buffer.is_empty() {
                        self.buffer = BytesMut::new();
                    }
                }
                Ok(Chunk::Data(data))
            }
        }
    }

    /// Whether the answer has been read to its end.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.coming, Coming::Nothing)
    }

    /// How many bytes of the answer's body are still to come, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self.coming {
            Coming::Nothing => Some(0),
            Coming::Known(left) => Some(left),
            Coming::Chunked(_) | Coming::UntilClose => None,
        }
    }

    /// The connection, for the protocol it was switched to.
    pub(crate) fn into_begun(self) -> Begun {
        Begun { before: self.buffer.freeze(), stream: self.stream }
    }
}

/// Whether a request with this method says so where its body is empty (RFC 9110 section 8.6).
pub(crate) fn means_a_body(method: &Method) -> bool {
    ![Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS].contains(method)
}

pub(crate) fn not_as_declared() -> WireError {
    WireError::refused("http.body_length", "the body is not as long as declared")
}

pub(crate) fn unexpected(reason: &'static str) -> WireError {
    WireError::refused("upstream.unexpected", reason)
}

/// Nothing of the answer came for too long.
pub(crate) fn stalled() -> WireError {
    WireError::refused(STALLED, "the answer stalled")
}

fn misanswer(refusal: Refusal) -> Option<WireError> {
    Some(WireError::refused(refusal.answer_code(), refusal.public()))
}
