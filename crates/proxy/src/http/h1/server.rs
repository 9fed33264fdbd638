//! Requests of one client's connection, one after the other.

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use demilune_wire::{Framing, HeadLimits, Persistence, RequestHead, write_response};
use http::{HeaderValue, Method, StatusCode, Version};
use http_body::Body;
use tokio::sync::oneshot;

use super::inbound::{Heard, Inbound};
use crate::curfew::CurfewGuard;
use crate::http::stream::Begun;
use crate::http::{
    Deadlines, RequestBody, Unparsed, Upgrading, WireError, WireRequest, WireResponse,
};
use crate::timer::Timers;

/// The one protocol that connections are switched to.
static WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// What a connection needs besides its bytes.
pub(crate) struct Serving {
    pub(crate) timers: Timers,
    pub(crate) deadlines: Deadlines,
    pub(crate) limits: HeadLimits,
    /// Called when no further request may begin.
    pub(crate) curfew: Option<CurfewGuard>,
}

/// A request's body, on the connection that it comes on.
pub(crate) struct IncomingBody(Rc<RefCell<Inbound>>);

impl IncomingBody {
    pub(crate) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, WireError>>> {
        self.0.borrow_mut().poll_body(cx)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.borrow().is_bodiless()
    }

    /// How many bytes are still to come, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        self.0.borrow().body_left()
    }
}

/// Serves one connection to its end. `exchange` answers each request; `refused` gives the answer
/// to what is no request, and writes it down.
pub(crate) async fn serve<F, R, B>(
    begun: Begun,
    serving: Serving,
    exchange: F,
    refused: impl Fn(Unparsed) -> WireResponse<B>,
) where
    F: Fn(WireRequest) -> R,
    R: Future<Output = WireResponse<B>>,
    B: Body<Data = Bytes, Error = WireError> + Unpin,
{
    let Serving { timers, deadlines, limits, curfew } = serving;
    let inbound = Inbound::new(begun, timers.timer(), deadlines);
    let inbound = Rc::new(RefCell::new(inbound));
    let called = |cx: &Context<'_>| curfew.as_ref().is_some_and(|c| c.curfew().is_called(cx));
    let mut served = false;
    let linger = loop {
        let heard = std::future::poll_fn(|cx| {
            inbound.borrow_mut().poll_head(cx, &limits, (called(cx), !served))
        });
        // Boxed: while nothing is asked, a connection should not carry the room for it.
        let after = match heard.await {
            Heard::End => break false,
            Heard::Request(head) => {
                Box::pin(answer_request(head, &inbound, &exchange, &timers, called)).await
            }
            Heard::Refused(refusal) => {
                let response = refused(refusal);
                if refusal.status == 0 {
                    break false;
                }
                let (method, version) = (Method::GET, Version::HTTP_11);
                let answer = Answer { response, method, version, persistent: false };
                Box::pin(answer.transmit(&inbound, &timers)).await;
                break true;
            }
        };
        served = true;
        match after {
            After::Next => {}
            After::Over => break true,
            After::Gone => return,
            After::Switched(upgraded) => {
                if let Ok(inbound) = Rc::try_unwrap(inbound) {
                    // Where nobody waits for it any more, the connection ends.
                    let _ = upgraded.send(inbound.into_inner().into_begun());
                }
                return;
            }
        }
    };
    if let Ok(inbound) = Rc::try_unwrap(inbound) {
        Box::pin(inbound.into_inner().close(linger)).await;
    }
}

/// One request, from its head to the last byte of its answer.
async fn answer_request<F, R, B>(
    head: RequestHead,
    inbound: &Rc<RefCell<Inbound>>,
    exchange: &F,
    timers: &Timers,
    called: impl Fn(&Context<'_>) -> bool,
) -> After
where
    F: Fn(WireRequest) -> R,
    R: Future<Output = WireResponse<B>>,
    B: Body<Data = Bytes, Error = WireError> + Unpin,
{
    let (method, version, persistent) = (head.method.clone(), head.version, head.persistent);
    let (request, upgraded) = request(head, inbound);
    let response = {
        let mut exchange = pin!(exchange(request));
        let answered = std::future::poll_fn(|cx| {
            if let Poll::Ready(response) = exchange.as_mut().poll(cx) {
                return Poll::Ready(Some(response));
            }
            inbound.borrow_mut().poll_left(cx).map(|()| None)
        });
        answered.await
    };
    // The client left before: the exchange is dropped, and what it held with it.
    let Some(response) = response else { return After::Gone };
    let switched = response.status == StatusCode::SWITCHING_PROTOCOLS;
    let curfew = std::future::poll_fn(|cx| Poll::Ready(called(cx))).await;
    let answer = Answer { response, method, version, persistent: persistent && !curfew };
    match (answer.transmit(inbound, timers).await, upgraded) {
        (After::Next, Some(upgraded)) if switched => After::Switched(upgraded),
        (After::Next, None) if switched => After::Gone,
        (after, _) => after,
    }
}

/// The request for the exchange; and where its connection goes, should it be switched.
fn request(
    head: RequestHead,
    inbound: &Rc<RefCell<Inbound>>,
) -> (WireRequest, Option<oneshot::Sender<Begun>>) {
    let (mut upgraded, mut upgrade) = (None, None);
    if head.headers.contains_key(http::header::UPGRADE) {
        let (sender, receiver) = oneshot::channel();
        (upgraded, upgrade) = (Some(sender), Some(Upgrading(receiver)));
    }
    let (bodiless, content_length) = {
        let inbound = inbound.borrow();
        (inbound.is_bodiless(), inbound.body_left())
    };
    let body = if bodiless {
        RequestBody::Empty
    } else {
        RequestBody::Http1(IncomingBody(Rc::clone(inbound)))
    };
    let request = WireRequest {
        method: head.method,
        uri: head.target,
        version: head.version,
        headers: head.headers,
        body,
        content_length,
        upgrade,
    };
    (request, upgraded)
}

/// What follows an answer.
enum After {
    /// Another request may.
    Next,
    /// Nothing: the connection is closed, with patience.
    Over,
    /// Nothing, and nobody is there to close it for; or it breaks off.
    Gone,
    /// Another protocol, for whoever waits here.
    Switched(oneshot::Sender<Begun>),
}

/// An answer and what it depends on.
struct Answer<B> {
    response: WireResponse<B>,
    method: Method,
    version: Version,
    /// Whether another request may follow as far as the client and the gateway are concerned.
    persistent: bool,
}

impl<B> Answer<B>
where
    B: Body<Data = Bytes, Error = WireError> + Unpin,
{
    /// Writes it all.
    async fn transmit(self, inbound: &Rc<RefCell<Inbound>>, timers: &Timers) -> After {
        let switched = self.response.status == StatusCode::SWITCHING_PROTOCOLS;
        let HeadWritten { bodiless, chunked, until_close, keeps } =
            self.write_head(inbound, timers);
        drop(self.response.headers);
        let mut sending = Transmission {
            ended: bodiless || self.response.body.is_end_stream(),
            body: self.response.body,
            broken: false,
            chunked,
        };
        if sending.ended && chunked {
            inbound.borrow_mut().outbox.put_last_chunk();
        }
        let written = std::future::poll_fn(|cx| sending.poll(cx, inbound)).await;
        let broken = sending.broken;
        drop(sending);
        if broken && until_close {
            inbound.borrow().reset_when_dropped();
        }
        match written {
            Err(_) => After::Gone,
            Ok(()) if broken => After::Gone,
            Ok(()) if switched || (keeps && passes_over_body(inbound).await) => After::Next,
            Ok(()) => After::Over,
        }
    }

    /// Puts the head into the connection's outbox.
    fn write_head(&self, inbound: &Rc<RefCell<Inbound>>, timers: &Timers) -> HeadWritten {
        let WireResponse { status, headers, length, close, body } = &self.response;
        let (status, version) = (*status, self.version);
        let switched = status == StatusCode::SWITCHING_PROTOCOLS;
        let bodiless = self.method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let length = length.or_else(|| (!bodiless).then(|| body.size_hint().exact()).flatten());
        let framing = match length {
            _ if switched || status == StatusCode::NO_CONTENT => Framing::None,
            Some(length) => Framing::Length(length),
            None if bodiless => Framing::None,
            None if version == Version::HTTP_11 => Framing::Chunked,
            None => Framing::UntilClose,
        };
        // Where somebody still reads the request's body, it may yet be read to its end.
        let uploading = Rc::strong_count(inbound) > 1;
        let mut inbound = inbound.borrow_mut();
        inbound.answering();
        let until_close = framing == Framing::UntilClose;
        let keeps = switched
            || (self.persistent
                && !close
                && !until_close
                && (!inbound.has_ended() || inbound.has_more())
                && (uploading || inbound.is_body_over()));
        let persistence = match (keeps, version) {
            (false, _) => Persistence::Close,
            (true, Version::HTTP_10) => Persistence::SayKeepAlive,
            (true, _) => Persistence::KeepAlive,
        };
        let upgrade = switched.then_some(&WEBSOCKET);
        timers.with_date(|date| {
            let out = &mut inbound.outbox.head;
            write_response(out, version, status, headers, framing, persistence, date, upgrade);
        });
        HeadWritten { bodiless, chunked: framing == Framing::Chunked, until_close, keeps }
    }
}

/// Reads what is left of a request's body, up to a limit, so that the next request is found behind
/// it. Whether it came to its end.
async fn passes_over_body(inbound: &RefCell<Inbound>) -> bool {
    if inbound.borrow_mut().is_body_over() {
        return true;
    }
    if !inbound.borrow_mut().begins_to_pass_over() {
        return false;
    }
    let mut read = 0;
    std::future::poll_fn(|cx| inbound.borrow_mut().poll_pass_over(cx, &mut read)).await
}

/// What an answer's head settles.
struct HeadWritten {
    /// Nothing follows it.
    bodiless: bool,
    chunked: bool,
    until_close: bool,
    /// Another request may follow.
    keeps: bool,
}

/// An answer's body on its way.
struct Transmission<B> {
    body: B,
    ended: bool,
    broken: bool,
    chunked: bool,
}

impl<B> Transmission<B>
where
    B: Body<Data = Bytes, Error = WireError> + Unpin,
{
    /// Ready when all of it was written, or what there was of it before it broke off.
    fn poll(&mut self, cx: &mut Context<'_>, inbound: &RefCell<Inbound>) -> Poll<io::Result<()>> {
        loop {
            let mut waits = false;
            while !waits && !self.ended && !self.broken && inbound.borrow().outbox.takes() {
                // The connection is not borrowed while the body is asked: it may read it.
                match Pin::new(&mut self.body).poll_frame(cx) {
                    Poll::Pending => waits = true,
                    Poll::Ready(Some(Ok(frame))) => {
                        let data = frame.into_data().unwrap_or_default();
                        inbound.borrow_mut().outbox.put(data, self.chunked);
                        self.ended = self.body.is_end_stream();
                    }
                    Poll::Ready(Some(Err(_))) => self.broken = true,
                    Poll::Ready(None) => self.ended = true,
                }
                if self.ended && self.chunked {
                    inbound.borrow_mut().outbox.put_last_chunk();
                }
            }
            ready!(inbound.borrow_mut().poll_write(cx))?;
            if self.ended || self.broken {
                return Poll::Ready(Ok(()));
            }
            if waits {
                let left = inbound.borrow_mut().poll_left(cx);
                return left.map(|()| Err(io::ErrorKind::ConnectionAborted.into()));
            }
        }
    }
}
