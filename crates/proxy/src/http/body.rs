//! Bodies as they come off a wire.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::error::{Side, WireError};

/// A request's body, read from the client as it is polled. Trailers are dropped: nobody above has
/// judged them.
pub(crate) struct RequestBody(pub(super) hyper::body::Incoming);

/// An answer's body, read from the upstream as it is polled.
pub(crate) struct ReplyBody(pub(super) hyper::body::Incoming);

impl Body for RequestBody {
    type Data = Bytes;
    type Error = WireError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
        poll_data(Pin::new(&mut self.0), cx, Side::Client)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = WireError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
        poll_data(Pin::new(&mut self.0), cx, Side::Upstream)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

fn poll_data(
    mut body: Pin<&mut hyper::body::Incoming>,
    cx: &mut Context<'_>,
    side: Side,
) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
    loop {
        match ready!(body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) if frame.is_data() => return Poll::Ready(Some(Ok(frame))),
            Some(Ok(_trailers)) => {}
            Some(Err(error)) => {
                return Poll::Ready(Some(Err(WireError::from_hyper(side, &error))));
            }
            None => return Poll::Ready(None),
        }
    }
}
