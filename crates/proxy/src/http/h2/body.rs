//! A request's body off an HTTP/2 stream.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use ::h2::RecvStream;
use bytes::Bytes;
use demilune_wire::{Refusal, is_forbidden_trailer};
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::super::error::WireError;

/// The most trailer fields of a message.
const TRAILERS_LIMIT: usize = 32;
/// The size of a message's trailers, in bytes.
const TRAILERS_SIZE: usize = 8 * 1024;
/// A body, read from its stream as it is polled. The client gets room for more when what it sent
/// before has been passed on: that is, when the next piece is asked for.
pub(crate) struct StreamBody {
    stream: RecvStream,
    /// What has been given away and not been passed on yet.
    owed: usize,
    /// What is left of the declared length; h2 refuses any other.
    left: Option<u64>,
    data_ended: bool,
    expectation: Option<Rc<Expectation>>,
}

impl StreamBody {
    pub(super) fn new(
        stream: RecvStream,
        length: Option<u64>,
        expectation: Option<Rc<Expectation>>,
    ) -> Self {
        Self { stream, owed: 0, left: length, data_ended: false, expectation }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = WireError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
        let this = &mut *self;
        if let Some(expectation) = this.expectation.take() {
            expectation.meet();
        }
        let owed = std::mem::take(&mut this.owed);
        if owed > 0 {
            // Fails only for more than is owed.
            let _ = this.stream.flow_control().release_capacity(owed);
        }
        while !this.data_ended {
            match ready!(this.stream.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    this.owed = data.len();
                    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                    this.left = this.left.map(|left| left.saturating_sub(length));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(broken(&error)))),
                None => this.data_ended = true,
            }
        }
        Poll::Ready(match ready!(this.stream.poll_trailers(cx)) {
            Ok(None) => None,
            Ok(Some(trailers)) => Some(match objection(&trailers) {
                None => Ok(Frame::trailers(trailers)),
                Some(refusal) => Err(WireError::refused(refusal.code(), refusal.public())),
            }),
            Err(error) => Some(Err(broken(&error))),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// In words of the protocol: h2's own may quote what the client sent.
fn broken(error: &::h2::Error) -> WireError {
    let reason = error.reason();
    let words = reason.as_ref().map_or("the connection broke off", ::h2::Reason::description);
    WireError::new(words)
}

/// Why these trailers are not taken.
pub(super) fn objection(trailers: &HeaderMap) -> Option<Refusal> {
    let size: usize = trailers.iter().map(|(n, v)| n.as_str().len() + v.len() + 4).sum();
    if trailers.len() > TRAILERS_LIMIT || size > TRAILERS_SIZE {
        return Some(Refusal::TrailersTooLarge);
    }
    let mut names = trailers.keys().map(|name| name.as_str().as_bytes());
    names.any(is_forbidden_trailer).then_some(Refusal::TrailerForbidden)
}

/// A client that waits to be told that its body is wanted (RFC 9110 section 10.1.1).
#[derive(Default)]
pub(super) struct Expectation {
    met: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Expectation {
    fn meet(&self) {
        self.met.set(true);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Whether the body has been asked for since the last time; whoever polls is woken when it
    /// is.
    pub(super) fn is_met(&self, cx: &Context<'_>) -> bool {
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        self.met.take()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn with(name: &str, value: &str) -> HeaderMap {
        let mut map = HeaderMap::new();
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        map.insert(name, HeaderValue::from_str(value).unwrap());
        map
    }

    #[test]
    fn trailers_that_come_too_late_to_be_judged_are_refused() {
        assert_eq!(objection(&with("grpc-status", "0")), None);
        assert_eq!(objection(&with("x-checksum", "abc")), None);
        for name in ["host", "authorization", "content-length", "te", "cookie"] {
            let refusal = objection(&with(name, "x"));
            assert_eq!(refusal, Some(Refusal::TrailerForbidden), "{name}");
        }
        let large = objection(&with("x", &"y".repeat(TRAILERS_SIZE)));
        assert_eq!(large, Some(Refusal::TrailersTooLarge));
        let mut many = HeaderMap::new();
        for number in 0..=TRAILERS_LIMIT {
            let name = HeaderName::from_bytes(format!("x-{number}").as_bytes()).unwrap();
            many.insert(name, HeaderValue::from_static("1"));
        }
        assert_eq!(objection(&many), Some(Refusal::TrailersTooLarge));
    }
}
