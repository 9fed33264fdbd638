//! One request to an endpoint over HTTP/2, and its answer, of which no more is believed than of
//! one over HTTP/1.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::h2::client::ResponseFuture;
use ::h2::{Reason, RecvStream, SendStream};
use bytes::Bytes;
use demilune_wire::{Refusal, looks_alike};
use http::header::{CONTENT_LENGTH, HOST, HeaderName, TE};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body::Body;

use super::SEND_BUFFER;
use super::body::objection;
use super::client::{Slot, words};
use crate::http::h1::{INTERIM_LIMIT, means_a_body, not_as_declared, stalled, unexpected};
use crate::http::{Reply, SendFailure, Sending, WireError};
use crate::timer::Timer;

/// The size of an answer's head, in bytes.
pub(super) const HEAD_SIZE: usize = 64 * 1024;
/// The most header fields of an answer.
pub(super) const FIELDS_LIMIT: usize = 128;
/// The code of an answer that breaks the rules of HTTP/2.
const PROTOCOL: &str = "upstream.http2";

/// A request, its answer and what is left of both.
pub(crate) struct UpstreamStream<B> {
    upload: Option<Uploading<B>>,
    receiving: Option<RecvStream>,
    /// What has been given away of the answer and not been passed on yet.
    owed: usize,
    /// What is left of the answer's declared length; h2 refuses any other.
    left: Option<u64>,
    data_ended: bool,
    trailers: Option<HeaderMap>,
    timer: Timer,
    slot: Slot,
}

/// A request on its way.
struct Uploading<B> {
    stream: SendStream<Bytes>,
    /// `None` once it was taken out whole.
    body: Option<B>,
    /// How many bytes are still owed, where a length was declared.
    owed: Option<u64>,
    /// What was taken out of the body and has no room yet.
    piece: Bytes,
    /// Whether anything was taken out of the body.
    begun: bool,
    ended: bool,
}

impl<B> UpstreamStream<B> {
    pub(super) fn new(slot: Slot) -> Self {
        let timer = slot.timers().timer();
        Self {
            upload: None,
            receiving: None,
            owed: 0,
            left: None,
            data_ended: false,
            trailers: None,
            timer,
            slot,
        }
    }

    /// Whether the answer has been read to its end, its trailers included.
    pub(crate) fn is_over(&self) -> bool {
        self.receiving.is_none()
    }

    /// How many bytes of the answer's body are still to come, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        if self.is_over() { Some(0) } else { self.left }
    }

    /// The answer's trailers, at its end.
    pub(crate) fn take_trailers(&mut self) -> Option<HeaderMap> {
        self.trailers.take()
    }
}

impl<B> UpstreamStream<B>
where
    B: Body<Data = Bytes, Error = WireError> + Unpin,
{
    /// Sends a request and waits for the head of its answer.
    pub(crate) async fn send(
        &mut self,
        sending: Sending<'_>,
        body: B,
    ) -> Result<Reply, Box<SendFailure<B>>> {
        let unsent = |body, error| Box::new(SendFailure { unsent: Some(body), error: Some(error) });
        let ended = body.is_end_stream();
        let length = body.size_hint().exact();
        let Some(request) = request(&sending, length, self.slot.is_secure()) else {
            return Err(unsent(body, WireError::new("the request has no form in HTTP/2")));
        };
        let (response, stream) = match self.slot.send().send_request(request, ended) {
            Ok(begun) => begun,
            Err(error) => return Err(unsent(body, failed(&error))),
        };
        let owed = length.filter(|_| !ended);
        let piece = Bytes::new();
        let body = Some(body);
        self.upload = Some(Uploading { stream, body, owed, piece, begun: false, ended });
        let Sending { method, limit, .. } = sending;
        self.timer.set(limit);
        let (mut response, mut interim) = (response, 0);
        let reply =
            std::future::poll_fn(|cx| self.poll_reply(cx, &mut response, limit, &mut interim));
        let result = reply.await;
        self.timer.clear();
        match result.map(|response| self.judge(response, method)) {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(refusal)) => Err(self.failure(Some(refused(refusal)), false)),
            Err(Failed::Late) => {
                // Nothing may be coming on it at all.
                self.slot.retire();
                Err(self.failure(None, false))
            }
            Err(Failed::Upload(error)) => Err(self.failure(Some(error), false)),
            Err(Failed::Unexpected(error)) => Err(self.failure(Some(error), false)),
            Err(Failed::Stream(error)) => {
                Err(self.failure(Some(failed(&error)), is_unprocessed(&error)))
            }
        }
    }

    /// Gives the request up; what is `unprocessed` may be sent elsewhere, if its body is whole.
    fn failure(&mut self, error: Option<WireError>, unprocessed: bool) -> Box<SendFailure<B>> {
        let upload = self.upload.take().filter(|upload| unprocessed && !upload.begun);
        Box::new(SendFailure { unsent: upload.and_then(|upload| upload.body), error })
    }

    fn poll_reply(
        &mut self,
        cx: &mut Context<'_>,
        response: &mut ResponseFuture,
        limit: Duration,
        interim: &mut u8,
    ) -> Poll<Result<Response<RecvStream>, Failed>> {
        if let Poll::Ready(Err(error)) = self.poll_upload(cx, Some(limit)) {
            return Poll::Ready(Err(Failed::Upload(error)));
        }
        while let Poll::Ready(Some(head)) = response.poll_informational(cx) {
            let head = head.map_err(Failed::Stream)?;
            *interim += 1;
            let reason = match head.status() {
                StatusCode::SWITCHING_PROTOCOLS => "it switches protocols unasked",
                _ if *interim > INTERIM_LIMIT => "too many interim answers",
                _ => continue,
            };
            return Poll::Ready(Err(Failed::Unexpected(unexpected(reason))));
        }
        match Pin::new(response).poll(cx) {
            Poll::Ready(result) => Poll::Ready(result.map_err(Failed::Stream)),
            Poll::Pending => self.timer.poll(cx).map(|()| Err(Failed::Late)),
        }
    }

    /// What is to be believed of an answer's head. h2 has refused pseudo-headers that are missing
    /// or misplaced, fields that govern a connection, bytes that no value has, and lengths that
    /// differ or are no number.
    fn judge(&mut self, response: Response<RecvStream>, method: &Method) -> Result<Reply, Refusal> {
        let (head, body) = response.into_parts();
        let size = |headers: &HeaderMap| -> usize {
            headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
        };
        if head.headers.len() > FIELDS_LIMIT {
            return Err(Refusal::TooManyFields);
        }
        if size(&head.headers) > HEAD_SIZE {
            return Err(Refusal::HeadTooLarge);
        }
        let unclear = |name: &HeaderName| {
            ![CONTENT_LENGTH, HOST].contains(name) && looks_alike(name.as_str().as_bytes())
        };
        if head.headers.keys().any(unclear) {
            return Err(Refusal::LookAlike);
        }
        let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter();
        let length = lengths.next();
        if lengths.next().is_some() {
            return Err(Refusal::ContentLength);
        }
        let bodiless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&head.status)
            || *method == Method::HEAD;
        if !bodiless && !body.is_end_stream() {
            self.left = length.and_then(|length| length.to_str().ok()?.parse().ok());
            self.receiving = Some(body);
        }
        Ok(Reply { status: head.status, headers: head.headers })
    }

    /// Sends what there is of the request. With `limit`, each piece that finds room moves the
    /// deadline. An error is the body's: it broke off or was refused.
    fn poll_upload(
        &mut self,
        cx: &mut Context<'_>,
        limit: Option<Duration>,
    ) -> Poll<Result<(), WireError>> {
        let Some(upload) = &mut self.upload else { return Poll::Ready(Ok(())) };
        loop {
            let polled = upload.poll(cx);
            if polled.is_pending() && limit.is_some() && upload.piece.is_empty() {
                // Until more of the body comes, it is not the endpoint that is waited for.
                self.timer.clear();
            }
            match ready!(polled) {
                Ok(true) => {
                    if let Some(limit) = limit {
                        self.timer.set(limit);
                    }
                }
                Ok(false) => return Poll::Ready(Ok(())),
                Err(error) => {
                    upload.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// The next piece of the answer's body; what is left of the request goes on meanwhile. The
    /// endpoint gets room for more when the piece before has been passed on: that is, when the next
    /// one is asked for. Fails where nothing comes for `idle`.
    pub(crate) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
        idle: Duration,
    ) -> Poll<Option<Result<Bytes, WireError>>> {
        if let Poll::Ready(Err(error)) = self.poll_upload(cx, None) {
            return self.cut(error);
        }
        match self.poll_piece(cx) {
            Poll::Ready(Some(Ok(data))) => {
                self.timer.clear();
                Poll::Ready(Some(Ok(data)))
            }
            Poll::Ready(Some(Err(error))) => self.cut(error),
            Poll::Ready(None) => {
                self.timer.clear();
                self.receiving = None;
                Poll::Ready(None)
            }
            Poll::Pending => {
                if !self.timer.is_set() {
                    self.timer.set(idle);
                }
                ready!(self.timer.poll(cx));
                self.slot.retire();
                self.cut(stalled())
            }
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, WireError>>> {
        let Some(receiving) = &mut self.receiving else { return Poll::Ready(None) };
        let owed = std::mem::take(&mut self.owed);
        if owed > 0 {
            // Fails only for more than is owed.
            let _ = receiving.flow_control().release_capacity(owed);
        }
        while !self.data_ended {
            match ready!(receiving.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    self.owed = data.len();
                    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                    self.left = self.left.map(|left| left.saturating_sub(length));
                    if receiving.is_end_stream() {
                        self.receiving = None;
                    }
                    return Poll::Ready(Some(Ok(data)));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(failed(&error)))),
                None => self.data_ended = true,
            }
        }
        match ready!(receiving.poll_trailers(cx)) {
            Ok(Some(trailers)) => match objection(&trailers) {
                None => self.trailers = Some(trailers),
                Some(refusal) => return Poll::Ready(Some(Err(refused(refusal)))),
            },
            Ok(None) => {}
            Err(error) => return Poll::Ready(Some(Err(failed(&error)))),
        }
        Poll::Ready(None)
    }

    fn cut(&mut self, error: WireError) -> Poll<Option<Result<Bytes, WireError>>> {
        self.timer.clear();
        Poll::Ready(Some(Err(error)))
    }
}

impl<B> Uploading<B>
where
    B: Body<Data = Bytes, Error = WireError> + Unpin,
{
    /// Hands the next piece over, as the endpoint's windows and the stream's buffer have room.
    /// False where there is nothing more to send, or nobody takes it; the answer then says why.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, WireError>> {
        let Some(body) = self.body.as_mut().filter(|_| !self.ended) else {
            return Poll::Ready(Ok(false));
        };
        if !self.piece.is_empty() {
            let all_taken = body.is_end_stream() && self.is_paid();
            let Some(room) = ready!(self.poll_room(cx)) else {
                self.finish();
                return Poll::Ready(Ok(false));
            };
            let piece = self.piece.split_to(room.min(self.piece.len()));
            let last = all_taken && self.piece.is_empty();
            let taken = self.stream.send_data(piece, last).is_ok();
            if last || !taken {
                self.finish();
            }
            return Poll::Ready(Ok(taken));
        }
        match ready!(Pin::new(body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                // What was taken out cannot be sent again.
                self.begun = true;
                match frame.into_data() {
                    Ok(data) => self.put(data)?,
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        self.end(|stream| stream.send_trailers(trailers))?;
                    }
                }
            }
            Some(Err(error)) => return Poll::Ready(Err(error)),
            None => self.end(|stream| stream.send_data(Bytes::new(), true))?,
        }
        Poll::Ready(Ok(true))
    }

    fn put(&mut self, data: Bytes) -> Result<(), WireError> {
        if let Some(owed) = &mut self.owed {
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            *owed = owed.checked_sub(length).ok_or_else(not_as_declared)?;
        }
        self.piece = data;
        Ok(())
    }

    fn end(
        &mut self,
        end: impl FnOnce(&mut SendStream<Bytes>) -> Result<(), ::h2::Error>,
    ) -> Result<(), WireError> {
        if !self.is_paid() {
            return Err(not_as_declared());
        }
        self.finish();
        // Where it is not taken, the answer says why.
        let _ = end(&mut self.stream);
        Ok(())
    }

    fn finish(&mut self) {
        self.ended = true;
        // Whoever gave it waits for it to be let go of.
        if self.begun {
            self.body = None;
        }
    }

    fn is_paid(&self) -> bool {
        self.owed.is_none_or(|owed| owed == 0)
    }

    /// How much may be handed over: at least a byte; `None` where the stream takes nothing more.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Option<usize>> {
        self.stream.reserve_capacity(self.piece.len().min(SEND_BUFFER));
        loop {
            match self.stream.capacity() {
                0 => match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    _ => return Poll::Ready(None),
                },
                room => return Poll::Ready(Some(room)),
            }
        }
    }
}

/// Why there is no answer's head.
enum Failed {
    Late,
    /// The request's body broke off or was refused.
    Upload(WireError),
    Unexpected(WireError),
    Stream(::h2::Error),
}

/// The head as HTTP/2 has it; `None` where it cannot be written so.
fn request(sending: &Sending<'_>, length: Option<u64>, secure: bool) -> Option<Request<()>> {
    let mut request = Request::new(());
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(if secure { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(Authority::try_from(sending.host.as_bytes()).ok()?);
    parts.path_and_query = Some(sending.target.clone());
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    *request.version_mut() = Version::HTTP_2;
    *request.method_mut() = sending.method.clone();
    let headers = request.headers_mut();
    headers.reserve(sending.headers.len() + 2);
    for (name, value) in sending.headers {
        if !is_of_connection(name.as_str()) {
            headers.append(name.clone(), value.clone());
        }
    }
    if let Some(length) = length
        && (length > 0 || means_a_body(sending.method))
    {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if sending.trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    Some(request)
}

/// Whether a field frames the message or belongs to one connection (RFC 9113 section 8.2.2).
fn is_of_connection(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "content-length"
            | "host"
            | "http2-settings"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Whether the endpoint says that it has done nothing for this request (RFC 9113 section 8.7).
fn is_unprocessed(error: &::h2::Error) -> bool {
    // h2 ends with the endpoint's GOAWAY the streams above its last one, and no others.
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
}

fn failed(error: &::h2::Error) -> WireError {
    let reason = words(error);
    if error.is_library() {
        return WireError::refused(PROTOCOL, &reason);
    }
    WireError::new(reason)
}

fn refused(refusal: Refusal) -> WireError {
    WireError::refused(refusal.answer_code(), refusal.public())
}
