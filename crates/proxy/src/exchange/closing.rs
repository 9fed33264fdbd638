//! The end of an exchange: however it ends, its record is written, once.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use demilune_core::record::{Attempt, End};
use demilune_core::{
    Denial, Downstream, Ending, Exchange, Moment, Record, RequestHead, RequestId, Route, Stage,
    Trail, pipeline, problem,
};
use http::header::USER_AGENT;
use http::{StatusCode, Version};

use super::Connection;
use super::download::Download;
use crate::http::{Unparsed, WireResponse};
use crate::hygiene::Parts;
use crate::pressure::Carried;
use crate::upstream::Attempts;
use crate::worker::Worker;

/// The most bytes of a target that was refused that are kept for the log.
const TARGET_LIMIT: usize = 1024;

/// The code of an exchange that panicked.
pub(crate) const PANICKED: &str = "gateway.panic";

/// All facts of an exchange under way. Dropping it writes the record.
pub(crate) struct Closing {
    worker: Rc<Worker>,
    connection: Rc<Connection>,
    /// Who the client is, where that is another than for the connection as a whole.
    own: Option<Rc<Downstream>>,
    id: RequestId,
    started: Moment,
    admitted_after: Option<Duration>,
    version: Version,
    head: Option<Rc<RequestHead>>,
    unjudged: Option<Unjudged>,
    route: Option<Arc<Route>>,
    exchange: Exchange,
    attempt: Option<(Arc<str>, Attempts)>,
    status: u16,
    received: Rc<Cell<u64>>,
    sent: u64,
    end: End,
    carried: Option<Carried>,
}

/// What the log says of a head that was refused.
struct Unjudged {
    method: String,
    host: String,
    path: String,
}

impl Closing {
    pub(crate) fn begin(
        worker: &Rc<Worker>,
        connection: &Rc<Connection>,
        id: RequestId,
        version: Version,
    ) -> Box<Self> {
        // Boxed: it is handed on from step to step.
        Box::new(Self {
            worker: Rc::clone(worker),
            connection: Rc::clone(connection),
            own: None,
            id,
            started: worker.clock().now(),
            admitted_after: None,
            version,
            head: None,
            unjudged: None,
            route: None,
            exchange: Exchange::without_chain(),
            attempt: None,
            status: 0,
            received: Rc::default(),
            sent: 0,
            end: End::ClientLeft,
            carried: None,
        })
    }

    /// The head was refused: keeps of it what the log may say.
    pub(crate) fn unjudged(&mut self, parts: &Parts) {
        let text = |text: &str| text.chars().take(TARGET_LIMIT).collect::<String>();
        let host = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        // In front of an `@` stands a password, where clients write one.
        let host = host.and_then(|host| host.rsplit('@').next());
        self.unjudged = Some(Unjudged {
            method: text(parts.method.as_str()),
            host: text(host.unwrap_or_default()),
            path: text(parts.uri.path()),
        });
    }

    /// Counts as one exchange under way.
    pub(crate) fn carried(&mut self, carried: Carried) {
        self.carried = Some(carried);
    }

    pub(crate) fn understood(&mut self, head: &Rc<RequestHead>) {
        self.head = Some(Rc::clone(head));
    }

    pub(crate) fn came_from(&mut self, own: Option<&Rc<Downstream>>) {
        self.own = own.map(Rc::clone);
    }

    pub(crate) fn routed(&mut self, route: &Arc<Route>, matched: bool) {
        self.route = matched.then(|| Arc::clone(route));
        self.exchange = Exchange::new(&route.chain);
    }

    pub(crate) fn admitted(&mut self) {
        self.admitted_after = Some(self.elapsed());
    }

    pub(crate) fn attempted(&mut self, upstream: &Arc<str>, attempts: Attempts) {
        self.attempt = Some((Arc::clone(upstream), attempts));
    }

    /// Writes a refusal down that no hook made, and makes it the exchange's ending.
    pub(crate) fn refuse(&mut self, by: &'static str, stage: Stage, denial: Denial) -> Ending {
        self.exchange.refuse(by, stage, &denial);
        Ending::Deny(Box::new(denial))
    }

    /// The answer's head is on its way.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = status.as_u16();
    }

    /// Bytes of the answer's body were handed to the client's connection.
    pub(crate) fn sent(&mut self, bytes: u64) {
        self.sent = self.sent.saturating_add(bytes);
    }

    pub(crate) fn ended(&mut self, end: End) {
        self.end = end;
    }

    pub(crate) fn id(&self) -> RequestId {
        self.id
    }

    pub(crate) fn started(&self) -> Moment {
        self.started
    }

    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    pub(crate) fn exchange_mut(&mut self) -> &mut Exchange {
        &mut self.exchange
    }

    /// Counts the bytes of the request's body.
    pub(crate) fn received(&self) -> &Rc<Cell<u64>> {
        &self.received
    }

    fn elapsed(&self) -> Duration {
        self.worker.clock().monotonic().saturating_sub(self.started.monotonic)
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The client is told 500 by whoever caught it.
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            self.exchange.refuse("gateway", Stage::Upstream, &Denial::new(status, PANICKED, ""));
            (self.status, self.end) = (status.as_u16(), End::Complete);
        }
        let head = self.head.as_deref();
        let unjudged = self.unjudged.as_ref();
        let agent = head.and_then(|head| head.headers.get(USER_AGENT));
        let duration = self.elapsed();
        let attempt = self.attempt.as_ref().and_then(|(upstream, attempts)| {
            let endpoint = &attempts.endpoint.as_ref()?.endpoint.url;
            Some(Attempt {
                upstream,
                endpoint,
                attempts: attempts.count,
                head_after: attempts.head_after,
            })
        });
        self.worker.recorder.record(&Record {
            id: self.id,
            started: self.started,
            duration,
            admitted_after: self.admitted_after.unwrap_or(duration),
            downstream: self.own.as_deref().unwrap_or(&self.connection.downstream),
            version: version_name(self.version),
            method: head.map(|h| h.method.as_str()).or(unjudged.map(|u| &*u.method)).unwrap_or(""),
            host: head.map(|h| h.host.as_str()).or(unjudged.map(|u| &*u.host)).unwrap_or(""),
            path: head.map(|h| h.target.path()).or(unjudged.map(|u| &*u.path)).unwrap_or(""),
            user_agent: agent.and_then(|agent| agent.to_str().ok()).unwrap_or(""),
            status: self.status,
            route: self.route.as_ref().map(|route| &*route.name),
            identity: self.exchange.identity(),
            trail: self.exchange.trail(),
            attempt,
            received: self.received.get(),
            sent: self.sent,
            end: self.end,
        });
    }
}

/// Writes the record of what is no request, and gives the client's answer to it.
pub(crate) fn unparsed(
    worker: &Rc<Worker>,
    connection: &Connection,
    refusal: Unparsed,
) -> WireResponse<Download> {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    let id = worker.next_id();
    let mut trail = Trail::default();
    let denial = Denial::new(status, refusal.code, refusal.public);
    pipeline::refuse(&mut trail, "http", Stage::Edge, &denial);
    worker.recorder.record(&Record {
        id,
        started: worker.clock().now(),
        duration: Duration::ZERO,
        admitted_after: Duration::ZERO,
        downstream: &connection.downstream,
        version: "",
        method: "",
        host: "",
        path: "",
        user_agent: "",
        status: refusal.status,
        route: None,
        identity: None,
        trail: &trail,
        attempt: None,
        received: 0,
        sent: 0,
        end: if refusal.status == 0 { End::ClientLeft } else { End::Complete },
    });
    let (head, body) = problem::render(&denial, id);
    let body = Download::whole(body, None);
    WireResponse { status: head.status, headers: head.headers, length: None, close: true, body }
}

fn version_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_11 => "HTTP/1.1",
        Version::HTTP_2 => "HTTP/2",
        _ => "unknown",
    }
}
