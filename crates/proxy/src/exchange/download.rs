//! An answer's body on its way to the client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use demilune_core::record::End;
use http_body::{Body, Frame, SizeHint};

use super::closing::Closing;
use super::filtered::Filtered;
use super::metered::IdleTimer;
use crate::http::{ReplyBody, Side, WireError};
use crate::upstream::Lease;

/// A body for the client. When it is dropped, at its end or before, its exchange is closed.
pub(crate) struct Download {
    source: Source,
    closing: Option<Box<Closing>>,
}

enum Source {
    Done,
    Whole(Bytes),
    // Boxed: most answers that are not proxied are small, and this one is not.
    Upstream(Box<Streamed>),
    /// The same under hooks.
    Filtered(Box<Filtered>),
    /// It broke off.
    Broken(WireError),
}

struct Streamed {
    body: ReplyBody,
    lease: Option<Lease>,
    timer: IdleTimer,
}

impl Download {
    /// Bytes that are there already.
    pub(crate) fn whole(bytes: Bytes, closing: Option<Box<Closing>>) -> Self {
        let source = if bytes.is_empty() { Source::Done } else { Source::Whole(bytes) };
        let mut download = Self { source, closing };
        download.settle();
        download
    }

    /// What comes from the upstream, cut off where nothing comes for `idle`.
    pub(crate) fn streamed(body: ReplyBody, lease: Lease, idle: Duration) -> Self {
        let lease = Some(lease);
        let streamed = Streamed { body, lease, timer: IdleTimer::new(idle) };
        Self { source: Source::Upstream(Box::new(streamed)), closing: None }
    }

    /// What comes from the upstream, as hooks let it pass.
    pub(crate) fn filtered(filtered: Filtered) -> Self {
        Self { source: Source::Filtered(Box::new(filtered)), closing: None }
    }

    /// Gives it the exchange to close.
    pub(crate) fn closing(mut self, closing: Box<Closing>) -> Self {
        self.closing = Some(closing);
        self.settle();
        self
    }

    /// Notes the end where there is nothing left to send.
    fn settle(&mut self) {
        let over = match &mut self.source {
            Source::Done => true,
            Source::Whole(_) | Source::Filtered(_) | Source::Broken(_) => false,
            Source::Upstream(streamed) if streamed.body.is_end_stream() => {
                if let Some(lease) = streamed.lease.take() {
                    lease.release();
                }
                true
            }
            Source::Upstream(_) => false,
        };
        if over {
            self.source = Source::Done;
            self.note(End::Complete);
        }
    }

    /// Puts another source in place; what hooks decided about the one that was is written down.
    fn replace(&mut self, source: Source) {
        let before = std::mem::replace(&mut self.source, source);
        if let (Source::Filtered(filtered), Some(closing)) = (before, &mut self.closing) {
            filtered.close(closing);
        }
    }

    fn note(&mut self, end: End) {
        if let Some(closing) = &mut self.closing {
            closing.ended(end);
        }
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = WireError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
        let this = &mut *self;
        let next = match &mut this.source {
            Source::Done => None,
            Source::Whole(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Source::Broken(error) => Some(Err(error.clone())),
            Source::Filtered(filtered) => ready!(filtered.poll(cx)).map(|r| r.map(Frame::data)),
            Source::Upstream(streamed) => {
                let Streamed { body, timer, .. } = &mut **streamed;
                match Pin::new(body).poll_frame(cx) {
                    Poll::Ready(next) => {
                        timer.progressed();
                        next
                    }
                    Poll::Pending => {
                        ready!(timer.poll(cx));
                        let reason = "the upstream's answer stalled";
                        Some(Err(WireError::new(Side::Upstream, reason)))
                    }
                }
            }
        };
        let live = matches!(this.source, Source::Upstream(_) | Source::Filtered(_));
        if let (Some(Err(error)), true) = (&next, live) {
            // The codec drops what it has not written when a body fails. It writes when a body
            // pends: so the client gets the head, and sees that what it gets is cut short. The
            // connection to the upstream goes already.
            this.replace(Source::Broken(error.clone()));
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match &next {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                if let Some(closing) = &mut this.closing {
                    closing.sent(u64::try_from(length).unwrap_or(u64::MAX));
                }
                if matches!(this.source, Source::Whole(_)) {
                    this.source = Source::Done;
                }
                this.settle();
            }
            Some(Err(error)) => {
                let end = if error.side == Side::Ours { End::Cut } else { End::UpstreamCut };
                this.source = Source::Done;
                this.note(end);
            }
            None => {
                if let Source::Upstream(streamed) = &mut this.source
                    && let Some(lease) = streamed.lease.take()
                {
                    lease.release();
                }
                if !matches!(this.source, Source::Done) {
                    this.replace(Source::Done);
                    this.note(End::Complete);
                }
            }
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.source, Source::Done)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Done => SizeHint::with_exact(0),
            Source::Whole(bytes) => {
                SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
            }
            Source::Upstream(streamed) => streamed.body.size_hint(),
            Source::Filtered(_) | Source::Broken(_) => SizeHint::default(),
        }
    }
}
