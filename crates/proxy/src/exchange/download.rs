//! An answer's body on its way to the client.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use demilune_core::Stage;
use demilune_core::record::End;
use http_body::{Body, Frame, SizeHint};

use super::closing::Closing;
use super::filtered::Filtered;
use super::metered::Refusal;
use crate::http::WireError;
use crate::timer::Timer;
use crate::upstream::Lease;

/// A body for the client. When it is dropped, at its end or before, its exchange is closed.
pub(crate) struct Download {
    source: Source,
    closing: Option<Box<Closing>>,
    /// By when all of it must have been taken.
    deadline: Option<Timer>,
}

enum Source {
    Done,
    Whole(Bytes),
    Upstream(Streamed),
    /// The same under hooks.
    // Boxed: it is rare, and large.
    Filtered(Box<Filtered>),
    /// It broke off.
    Broken(WireError),
}

struct Streamed {
    lease: Lease,
    idle: Duration,
    /// Why the request's body, which may still be on its way, was refused.
    refusal: Refusal,
}

impl Download {
    /// Bytes that are there already.
    pub(crate) fn whole(bytes: Bytes, closing: Option<Box<Closing>>) -> Self {
        let source = if bytes.is_empty() { Source::Done } else { Source::Whole(bytes) };
        let mut download = Self { source, closing, deadline: None };
        download.settle();
        download
    }

    /// What comes from the upstream, cut off where nothing comes for `idle`.
    /// `refusal` says so where that is because the request's body, still on its way, was refused.
    pub(crate) fn streamed(lease: Lease, idle: Duration, refusal: Refusal) -> Self {
        let source = Source::Upstream(Streamed { lease, idle, refusal });
        Self { source, closing: None, deadline: None }
    }

    /// What comes from the upstream, as hooks let it pass.
    pub(crate) fn filtered(filtered: Filtered) -> Self {
        let source = Source::Filtered(Box::new(filtered));
        Self { source, closing: None, deadline: None }
    }

    /// Gives it the exchange to close, and the deadline of the request as a whole.
    pub(crate) fn closing(mut self, closing: Box<Closing>, deadline: Option<Timer>) -> Self {
        self.closing = Some(closing);
        self.deadline = deadline;
        self.settle();
        self
    }

    /// Notes the end where there is nothing left to send.
    fn settle(&mut self) {
        let over = match &self.source {
            Source::Done => true,
            Source::Whole(_) | Source::Filtered(_) | Source::Broken(_) => false,
            Source::Upstream(streamed) => streamed.lease.connection.is_over(),
        };
        if over {
            self.finish();
        }
    }

    /// All was sent: gives the connection back.
    fn finish(&mut self) {
        if let Source::Upstream(streamed) = self.replace(Source::Done) {
            streamed.lease.release();
        }
        self.note(End::Complete);
    }

    /// Puts another source in place of the one it gives; what hooks decided about that one is
    /// written down.
    fn replace(&mut self, source: Source) -> Source {
        match (std::mem::replace(&mut self.source, source), &mut self.closing) {
            (Source::Filtered(filtered), Some(closing)) => {
                filtered.close(closing);
                Source::Done
            }
            (before, _) => before,
        }
    }

    /// Writes down that the request's body was refused, if that is why the answer is cut off.
    fn tell_refusal(&mut self) -> bool {
        let Source::Upstream(streamed) = &self.source else { return false };
        let refused = streamed.refusal.borrow_mut().take();
        if let (Some((by, denial)), Some(closing)) = (refused, &mut self.closing) {
            closing.refuse(by, Stage::Inspect, *denial);
            return true;
        }
        false
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
        let live = matches!(this.source, Source::Upstream(_) | Source::Filtered(_));
        if live && this.deadline.as_ref().is_some_and(|deadline| deadline.poll(cx).is_ready()) {
            this.replace(Source::Broken(WireError::new("the request took too long")));
        }
        let next = match &mut this.source {
            Source::Done => None,
            Source::Whole(bytes) => Some(Ok(Frame::data(std::mem::take(bytes)))),
            Source::Broken(error) => Some(Err(error.clone())),
            Source::Filtered(filtered) => ready!(filtered.poll(cx)).map(|r| r.map(Frame::data)),
            Source::Upstream(Streamed { lease, idle, .. }) => {
                match ready!(lease.connection.poll_data(cx, *idle)) {
                    Some(next) => Some(next.map(Frame::data)),
                    // HTTP/1 has no place for them that its clients look at: there they end.
                    None => lease.connection.take_trailers().map(|it| Ok(Frame::trailers(it))),
                }
            }
        };
        let live = matches!(this.source, Source::Upstream(_) | Source::Filtered(_));
        if let (Some(Err(error)), true) = (&next, live) {
            // The codec drops what it has not written when a body fails. It writes when a body
            // pends: so the client gets the head, and sees that what it gets is cut short. The
            // connection to the upstream goes already.
            let error = error.clone();
            let ours = this.tell_refusal();
            this.replace(Source::Broken(WireError { ours: error.ours || ours, ..error }));
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
                let end = if error.ours { End::Cut } else { End::UpstreamCut };
                this.source = Source::Done;
                this.note(end);
            }
            None if matches!(this.source, Source::Done) => {}
            None => this.finish(),
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
            Source::Upstream(streamed) => {
                streamed.lease.connection.left().map_or_else(SizeHint::new, SizeHint::with_exact)
            }
            Source::Filtered(_) | Source::Broken(_) => SizeHint::default(),
        }
    }
}
