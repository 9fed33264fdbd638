//! A request's body on its way in: counted, limited, and not waited for without end.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use demilune_core::{BodyMeter, Denial, Route, pipeline};
use http::{HeaderMap, HeaderName, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use crate::http::{RequestBody, WireError};
use crate::pace::Pace;
use crate::timer::Timers;

/// A refusal of the body, with the name under which the trail notes it.
pub(crate) type Refusal = Rc<RefCell<Option<(&'static str, Box<Denial>)>>>;

/// A timer that is only set when there is something to wait for.
pub(crate) struct IdleTimer {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl IdleTimer {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, timer: None }
    }

    /// Something came: the wait begins anew.
    pub(crate) fn progressed(&mut self) {
        self.timer = None;
    }

    /// Ready when nothing came for the limit.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit))).as_mut().poll(cx)
    }
}

/// The request's body under the route's meters and the listener's deadline.
pub(crate) struct MeteredBody {
    pub(crate) body: RequestBody,
    pub(crate) meters: Vec<(&'static str, Arc<dyn BodyMeter>)>,
    pub(crate) received: Rc<Cell<u64>>,
    pub(crate) refusal: Refusal,
    pub(crate) timer: IdleTimer,
    pub(crate) timers: Timers,
    pub(crate) pace: Pace,
    /// Whose credentials its trailers must not carry on.
    pub(crate) route: Arc<Route>,
    /// Bytes a second that it must not fall below.
    pub(crate) least_rate: u64,
}

impl MeteredBody {
    /// Keeps the refusal for whoever waits for the upstream's answer, and breaks the upload off.
    fn refuse(&self, by: &'static str, denial: Box<Denial>) -> WireError {
        let error = WireError::cut(denial.code);
        self.refusal.borrow_mut().get_or_insert((by, denial));
        error
    }

    /// Trailers are fields of the client as those of its head are.
    fn without_reserved(&self, frame: Frame<Bytes>) -> Frame<Bytes> {
        let Some(trailers) = frame.trailers_ref() else { return frame };
        let may_pass = |name: &&HeaderName| pipeline::may_pass(&self.route.chain, name);
        let fields = trailers.keys().filter(may_pass).flat_map(|name| {
            trailers.get_all(name).iter().map(move |value| (name.clone(), value.clone()))
        });
        // What is appended one by one keeps those of one name.
        let mut kept = HeaderMap::new();
        for (name, value) in fields {
            kept.append(name, value);
        }
        Frame::trailers(kept)
    }

    fn count(&self, length: usize) -> Result<(), WireError> {
        let received =
            self.received.get().saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        self.received.set(received);
        for (by, meter) in &self.meters {
            meter.measure(received).map_err(|denial| self.refuse(by, denial))?;
        }
        Ok(())
    }

    /// The client's body broke off or was not understood.
    fn broken(&self, error: WireError) -> WireError {
        let public = "the request's body broke off or was not understood";
        let code = error.code.unwrap_or("http.body");
        let denial = Denial::new(StatusCode::BAD_REQUEST, code, public);
        self.refuse("http", Box::new(denial.log(error.reason)))
    }
}

impl Body for MeteredBody {
    type Data = Bytes;
    type Error = WireError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, WireError>>> {
        let this = &mut *self;
        let next = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(next) => next,
            Poll::Pending => {
                this.pace.waits(this.timers.now());
                ready!(this.timer.poll(cx));
                let public = "the request's body did not come in time";
                let status = StatusCode::REQUEST_TIMEOUT;
                let denial = Denial::new(status, "http.body_timeout", public);
                return Poll::Ready(Some(Err(this.refuse("http", Box::new(denial)))));
            }
        };
        this.timer.progressed();
        Poll::Ready(match next {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                if this.pace.moved(this.timers.now(), length, this.least_rate) {
                    let public = "the request's body comes too slowly";
                    let status = StatusCode::REQUEST_TIMEOUT;
                    let denial = Denial::new(status, "http.body_too_slow", public);
                    return Poll::Ready(Some(Err(this.refuse("http", Box::new(denial)))));
                }
                Some(this.count(length).map(|()| this.without_reserved(frame)))
            }
            Some(Err(error)) => Some(Err(this.broken(error))),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
