//! One request, from its parsed head to the last byte of its answer.

mod answer_body;
mod arrival;
mod body;
mod closing;
mod decode;
mod download;
mod endpoint;
mod filtered;
mod grpc;
mod inflate;
mod metered;
mod tunnel;

pub(crate) use closing::unparsed;
pub(crate) use decode::{Decoder, Pulled, decode};
pub(crate) use metered::{MeteredBody, Refusal};

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use demilune_core::head::Scheme;
use demilune_core::route::Lookup;
use demilune_core::snapshot::ClientLimits;
use demilune_core::{
    Denial, Downstream, Ending, Outgoing, Request, RequestHead, ResponseHead, Route, RouteIndex,
    Stage, pipeline, problem,
};
use futures_util::FutureExt;
use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use smallvec::SmallVec;

use crate::generation::Held;
use crate::http::{RequestBody, Upgrading, WireRequest, WireResponse};
use crate::hygiene::{Parts, judge};
use crate::listener::Counted;
use crate::timer::Timer;
use crate::upstream;
use crate::worker::Worker;
use arrival::{arrive, redirection};
use body::Intake;
use closing::{Closing, PANICKED};
use download::Download;
use grpc::Caller;
use tunnel::Tunnel;

/// What the exchanges of one connection share.
pub(crate) struct Connection {
    pub(crate) downstream: Downstream,
    /// The address that its listener has in the document.
    pub(crate) address: SocketAddr,
    pub(crate) limits: ClientLimits,
    /// Counts the connection, also while it is a tunnel.
    pub(crate) _counted: Counted,
}

/// An answer, and the body that reports the exchange's end.
type Answered = WireResponse<Download>;

/// Answers one request. A panic in it is caught here: it costs this exchange, not the
/// connection's others.
pub(crate) async fn exchange(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    wire: WireRequest,
) -> Answered {
    let id = worker.next_id();
    let telemetry = Arc::clone(&worker.shared.telemetry);
    let caller = Caller::of(&wire.method, wire.version, &wire.headers);
    match AssertUnwindSafe(answer(worker, connection, wire, id)).catch_unwind().await {
        Ok(answered) => answered,
        Err(_) => {
            telemetry.exchange_panicked(id);
            let public = "the gateway failed";
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            let denial = Denial::new(status, PANICKED, public);
            let (head, body) = problem::render(&denial, id);
            let answered = finish_refusal(head, body, &denial, None, caller);
            WireResponse { close: true, ..answered }
        }
    }
}

async fn answer(
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    wire: WireRequest,
    id: demilune_core::RequestId,
) -> Answered {
    let generation = worker.generation();
    let mut closing = Closing::begin(&worker, &connection, id, wire.version);
    let scheme = if connection.downstream.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let caller = Caller::of(&wire.method, wire.version, &wire.headers);
    let parts = Parts {
        method: wire.method,
        uri: wire.uri,
        version: wire.version,
        headers: wire.headers,
        content_length: wire.content_length,
    };
    let head = match judge(parts, scheme, connection.limits.head_size) {
        Ok(head) => Rc::new(head),
        Err(refused) => {
            let (denial, parts) = *refused;
            closing.unjudged(&parts);
            return early(closing, "http", &denial, caller);
        }
    };
    closing.understood(&head);
    let overload = &generation.snapshot.overload;
    match worker.load.take_on(overload, &worker.shared, worker.timers.late()) {
        Ok(carried) => closing.carried(carried),
        Err(denial) => return early(closing, "gateway", &denial, caller),
    }
    let serving = generation.serving(&connection.downstream.listener, connection.address);
    let (serving, own) = match arrive(serving, &connection, &head) {
        Ok(arrived) => arrived,
        Err((by, denial)) => return early(closing, by, &denial, caller),
    };
    closing.came_from(own.as_ref());
    if serving.listener.redirects {
        let head = redirection(&head);
        closing.answered(head.status);
        return finish_whole(head, Bytes::new(), Some(closing), caller);
    }
    let found = find_route(&serving.listener.routes, &head);
    let matched = found.is_some();
    let route = found.unwrap_or_else(|| Arc::clone(&generation.snapshot.unmatched));
    closing.routed(&route, matched);
    let job = Job { generation, connection, own, head, route, matched };
    let (deadline, code) = match job.deadline(&worker) {
        Ok(deadline) => deadline,
        Err(denial) => {
            let ending = closing.refuse("http", Stage::Edge, denial);
            return job.end(closing, ending);
        }
    };
    let ended = {
        let mut admitted = pin!(job.admitted(&mut closing, wire.body, wire.upgrade));
        let ended = std::future::poll_fn(|cx| match (admitted.as_mut().poll(cx), &deadline) {
            (Poll::Ready(ended), _) => Poll::Ready(Some(ended)),
            (Poll::Pending, Some(deadline)) => deadline.poll(cx).map(|()| None),
            (Poll::Pending, None) => Poll::Pending,
        });
        ended.await
    };
    match ended {
        Some(Ok(response)) => job.deliver(closing, response, deadline),
        Some(Err(ending)) => job.end(closing, ending),
        None => {
            let public = "the request took too long";
            let status = StatusCode::GATEWAY_TIMEOUT;
            let denial = Denial::new(status, code, public);
            let ending = closing.refuse("gateway", Stage::Upstream, denial);
            job.end(closing, ending)
        }
    }
}

/// A refusal before a route is known.
fn early(mut closing: Box<Closing>, by: &'static str, denial: &Denial, caller: Caller) -> Answered {
    closing.exchange_mut().refuse(by, Stage::Edge, denial);
    let (head, body) = problem::render(denial, closing.id());
    closing.answered(head.status);
    // Where a head has no certain meaning, neither has what follows it.
    let close = by == "http";
    WireResponse { close, ..finish_refusal(head, body, denial, Some(closing), caller) }
}

fn find_route(routes: &RouteIndex, head: &RequestHead) -> Option<Arc<Route>> {
    let preflight = head.preflight();
    let lookup = Lookup {
        host: head.host.name(),
        path: head.target.path(),
        method: &head.method,
        preflight: preflight.as_ref(),
        headers: &head.headers,
        query: head.target.query(),
    };
    routes.find(&lookup).cloned()
}

/// Whether the client asks for a WebSocket (RFC 6455 section 4.1).
fn asks_for_websocket(head: &RequestHead) -> bool {
    let lists = |name: &HeaderName, word: &str| {
        head.headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|list| list.split(',').any(|item| item.trim().eq_ignore_ascii_case(word)))
    };
    head.version == Version::HTTP_11
        && head.method == http::Method::GET
        && head.content_length == Some(0)
        && lists(&UPGRADE, "websocket")
        && lists(&CONNECTION, "upgrade")
}

/// What is settled about an exchange once its route is known.
struct Job {
    generation: Held,
    connection: Rc<Connection>,
    /// Who the client is, where that is another than for the connection as a whole.
    own: Option<Rc<Downstream>>,
    head: Rc<RequestHead>,
    route: Arc<Route>,
    /// Whether the route is one of the document's, and not the one for requests that none of them
    /// matches.
    matched: bool,
}

/// An answer of the upstream that passed all policies.
struct Response {
    head: ResponseHead,
    kind: Kind,
}

enum Kind {
    /// With its length, where that is known.
    Body(Download, Option<u64>),
    Tunnel(Tunnel),
}

impl Job {
    fn request(&self, closing: &Closing) -> Request<'_> {
        Request {
            id: closing.id(),
            now: closing.started(),
            downstream: self.own.as_deref().unwrap_or(&self.connection.downstream),
            head: &self.head,
            route: &self.route,
            identity: None,
        }
    }

    /// All stages up to the answer's head.
    async fn admitted(
        &self,
        closing: &mut Closing,
        body: RequestBody,
        upgrade: Option<Upgrading>,
    ) -> Result<Response, Ending> {
        let chain = &self.route.chain;
        let worker = Rc::clone(closing.worker());
        let request = self.request(closing);
        if let Some(denial) = pipeline::path_not_admitted(&request) {
            return Err(closing.refuse("http", Stage::Edge, denial));
        }
        closing.exchange_mut().enter(chain, request, worker.clock()).await?;
        if let Some(served) = chain.served() {
            return Err(Box::pin(endpoint::serve(self, closing, served, body)).await?);
        }
        let body = match chain.authenticator_body() {
            None => Intake::Unread(body),
            Some(limit) => {
                let stage = Stage::Authenticate;
                let reading = body::read(self, closing, body, limit, stage);
                Intake::Whole(Box::pin(reading).await?)
            }
        };
        let exchange = closing.exchange_mut();
        exchange.admit(chain, request, body.whole(), worker.clock()).await?;
        if !self.matched {
            return Err(closing.refuse("route", Stage::Edge, pipeline::no_route()));
        }
        let websocket = asks_for_websocket(&self.head);
        if websocket && !self.route.websocket {
            let public = "this resource does not open WebSockets";
            let denial = Denial::new(StatusCode::FORBIDDEN, "route.websocket", public);
            return Err(closing.refuse("route", Stage::Edge, denial));
        }
        let upload = body::upload(self, closing, body).await?;
        let outgoing = closing.exchange_mut().transform(chain, request, worker.clock())?;
        closing.admitted();
        let refusal = Rc::clone(&upload.refusal);
        let sent = self.send(closing, outgoing, upload, websocket).await?;
        let switched = sent.reply.status == StatusCode::SWITCHING_PROTOCOLS;
        if switched != websocket && (switched || sent.reply.status.is_informational()) {
            let public = "the upstream's answer was not understood";
            let denial = Denial::new(StatusCode::BAD_GATEWAY, "upstream.unexpected_status", public);
            return Err(closing.refuse("upstream", Stage::Upstream, denial));
        }
        let mut head = ResponseHead { status: sent.reply.status, headers: sent.reply.headers };
        let length = declared_length(&head.headers)
            .map_err(|denial| closing.refuse("upstream", Stage::Upstream, denial))?;
        remove_hop_by_hop(&mut head.headers);
        let exchange = closing.exchange_mut();
        exchange.inspect_response(chain, request, &head, worker.clock())?;
        let (lease, idle) = (sent.lease, self.idle_timeout());
        let kind = match (upgrade.filter(|_| switched), chain.response_body()) {
            (Some(client), _) => Kind::Tunnel(Tunnel { client, lease, idle }),
            (None, None) => Kind::Body(Download::streamed(lease, idle, refusal), length),
            (None, Some(need)) => {
                let incoming = answer_body::Incoming { lease, idle, length, refusal };
                let passing = answer_body::pass(self, closing, &mut head, incoming, need);
                let passed = Box::pin(passing).await?;
                Kind::Body(passed.0, passed.1)
            }
        };
        Ok(Response { head, kind })
    }

    /// By when all is to be over, if there is a limit: the listener's or, where it is shorter, the
    /// caller's own; and the code of the refusal when it passes.
    fn deadline(&self, worker: &Worker) -> Result<(Option<Timer>, &'static str), Denial> {
        let (ours, theirs) = (self.connection.limits.request, grpc::timeout(&self.head)?);
        let (limit, code) = match (ours, theirs) {
            (ours, Some(theirs)) if ours.is_none_or(|ours| theirs < ours) => {
                (theirs, "grpc.deadline")
            }
            (Some(ours), _) => (ours, "gateway.request_timeout"),
            _ => return Ok((None, "")),
        };
        let timer = worker.timers.timer();
        timer.set(limit);
        Ok((Some(timer), code))
    }

    fn idle_timeout(&self) -> std::time::Duration {
        let upstream = self.generation.upstreams.get(&self.route.upstream);
        upstream.map_or(self.connection.limits.body_idle, |u| u.settings.idle_timeout)
    }

    /// Whether the client says that it reads trailers (RFC 9110 section 6.5.1); those of HTTP/1
    /// end here.
    fn reads_trailers(&self) -> bool {
        self.head.version == Version::HTTP_2
            && self.head.headers.get(TE).is_some_and(|te| te.as_bytes() == b"trailers")
    }

    async fn send(
        &self,
        closing: &mut Closing,
        outgoing: Outgoing,
        upload: body::Prepared,
        websocket: bool,
    ) -> Result<upstream::Sent, Ending> {
        let Some(upstream) = self.generation.upstreams.get(&self.route.upstream) else {
            let public = "no endpoint of the upstream is available";
            let denial =
                Denial::new(StatusCode::SERVICE_UNAVAILABLE, "upstream.unavailable", public);
            return Err(closing.refuse("upstream", Stage::Upstream, denial));
        };
        let worker = Rc::clone(closing.worker());
        let errand = upstream::Errand {
            worker: &worker,
            upstream,
            host: self.head.host.as_str(),
            key: upstream::affinity(
                &upstream.settings.balance,
                &self.head.headers,
                closing.exchange_mut().identity(),
                self.connection.downstream.address(),
            ),
            websocket,
            trailers: self.reads_trailers(),
            refusal: upload.refusal,
        };
        let mut attempts = upstream::Attempts::default();
        let result = upstream::send(errand, outgoing, upload.body, &mut attempts).await;
        closing.attempted(&upstream.settings.name, attempts);
        result.map_err(|(by, denial)| {
            let stage = if by == "upstream" { Stage::Upstream } else { Stage::Inspect };
            closing.refuse(by, stage, *denial)
        })
    }

    /// The upstream's answer, on its way to the client.
    fn deliver(
        &self,
        mut closing: Box<Closing>,
        mut response: Response,
        deadline: Option<Timer>,
    ) -> Answered {
        let request = self.request(&closing);
        closing.exchange_mut().rewrite_response(&self.route.chain, request, &mut response.head);
        closing.answered(response.head.status);
        match response.kind {
            Kind::Body(body, length) => {
                finish_head(response.head, length, body.closing(closing, deadline))
            }
            Kind::Tunnel(tunnel) => {
                tunnel.run(closing);
                finish_head(response.head, None, Download::whole(Bytes::new(), None))
            }
        }
    }

    /// A policy's answer or a refusal, on its way to the client.
    fn end(&self, mut closing: Box<Closing>, ending: Ending) -> Answered {
        let ((mut head, body), denial) = match ending {
            Ending::Deny(denial) => (problem::render(&denial, closing.id()), Some(denial)),
            Ending::Answer(answer) => {
                let headers = answer.headers.into_iter().collect::<HeaderMap>();
                ((ResponseHead { status: answer.status, headers }, answer.body), None)
            }
        };
        let request = self.request(&closing);
        closing.exchange_mut().rewrite_response(&self.route.chain, request, &mut head);
        closing.answered(head.status);
        let (closing, caller) = (Some(closing), Caller::of_head(&self.head));
        match denial {
            Some(denial) => finish_refusal(head, body, &denial, closing, caller),
            None => finish_whole(head, body, closing, caller),
        }
    }
}

/// A refusal in the form that its caller understands. The log keeps the status that it has for
/// everybody.
fn finish_refusal(
    head: ResponseHead,
    body: Bytes,
    denial: &Denial,
    closing: Option<Box<Closing>>,
    caller: Caller,
) -> Answered {
    match caller {
        Caller::Grpc => {
            let head = grpc::trailers_only(head, denial);
            finish_whole(head, Bytes::new(), closing, caller)
        }
        Caller::Plain | Caller::Head => finish_whole(head, body, closing, caller),
    }
}

/// An answer whose body is there already.
fn finish_whole(
    head: ResponseHead,
    body: Bytes,
    closing: Option<Box<Closing>>,
    caller: Caller,
) -> Answered {
    if caller != Caller::Head || body.is_empty() {
        return finish_head(head, None, Download::whole(body, closing));
    }
    // It is told its length only.
    let length = u64::try_from(body.len()).ok();
    finish_head(head, length, Download::whole(Bytes::new(), closing))
}

fn finish_head(head: ResponseHead, length: Option<u64>, body: Download) -> Answered {
    WireResponse { status: head.status, headers: head.headers, length, close: false, body }
}

/// The length an answer declares, where it declares one without doubt (RFC 9112 section 6.3).
fn declared_length(headers: &HeaderMap) -> Result<Option<u64>, Denial> {
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let length = match (lengths.next(), lengths.next(), codings.next(), codings.next()) {
        (None, None, None, None) => return Ok(None),
        (None, None, Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            return Ok(None);
        }
        (Some(length), None, None, None) => length.to_str().ok().and_then(|l| l.parse().ok()),
        _ => None,
    };
    length.map(Some).ok_or_else(|| {
        let public = "the upstream's answer was not understood";
        Denial::new(StatusCode::BAD_GATEWAY, "upstream.ambiguous_length", public)
    })
}

/// Removes what governs the upstream's connection, not the client's (RFC 9110 section 7.6.1), and
/// the length, which is written anew.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let lists = headers.get_all(CONNECTION).iter().map(HeaderValue::as_bytes);
    let words = lists.flat_map(|list| list.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let nominated: SmallVec<[&[u8]; 2]> =
        words.filter(|word| !matches!(*word, b"" | b"close" | b"keep-alive")).collect();
    let governs = |name: &HeaderName| {
        let text = name.as_str();
        matches!(
            text,
            "connection"
                | "content-length"
                | "transfer-encoding"
                | "upgrade"
                | "te"
                | "trailer"
                | "proxy-authenticate"
                | "keep-alive"
                | "proxy-connection"
        ) || nominated.iter().any(|word| word.eq_ignore_ascii_case(text.as_bytes()))
    };
    // Mostly there is the length alone: one pass over few names is cheaper than nine look-ups.
    let doomed: SmallVec<[HeaderName; 4]> =
        headers.keys().filter(|name| governs(name)).cloned().collect();
    drop(nominated);
    for name in doomed {
        headers.remove(name);
    }
}
