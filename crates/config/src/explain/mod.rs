//! What would happen to a request, and why: the policies of its route, run on it without a network.
//!
//! `demilune explain` and the tests of policies run this same code, which is the pipeline that the
//! data plane runs.

mod question;
mod settings;

pub use question::Question;
pub use settings::Setting;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use demilune_core::head::TlsFacts;
use demilune_core::route::Lookup;
use demilune_core::snapshot::Listener;
use demilune_core::{
    Body, Clock, Downstream, Ending, Exchange, Identity, Outgoing, Request, RequestId, Requirement,
    ResponseHead, Route, Scheme, Snapshot, Stage, pipeline, problem,
};
use http::{HeaderMap, StatusCode};

use crate::document::Document;

/// What would happen, and why.
#[derive(Debug)]
pub struct Explanation {
    /// The listener that would take the request.
    pub listener: Arc<str>,
    /// The route that matches.
    pub route: Option<Arc<Route>>,
    /// The route's identity decision in words, with its place.
    pub identity: Option<(String, String)>,
    /// The status the client would see; 200 where the upstream would be asked.
    pub status: StatusCode,
    /// Every decision.
    pub exchange: Exchange,
    /// What the upstream would be sent, where it would be asked.
    pub outgoing: Option<Outgoing>,
    /// The head of the answer: the gateway's own, or that of an upstream which answers 200.
    pub response: ResponseHead,
    /// The gateway's own answer; empty where the upstream would be asked.
    pub body: Bytes,
    /// Each value in force, with the place it comes from.
    pub settings: Vec<Setting>,
}

/// Asks `question` of a document and its snapshot. `upstream` is the head that an upstream would
/// answer with.
///
/// # Errors
/// Where the question cannot be put: there is no such listener or consumer.
pub fn explain(
    document: &Document,
    snapshot: &Snapshot,
    clock: &dyn Clock,
    question: &Question,
    upstream: HeaderMap,
) -> Result<Explanation, String> {
    let listener = listener(snapshot, question)?;
    let as_consumer = match &question.consumer {
        Some(name) => Some(consumer(document, name)?),
        None => None,
    };
    let tls = (question.head.scheme == Scheme::Https)
        .then(|| TlsFacts { version: "TLSv1.3", ..TlsFacts::default() });
    let peer = SocketAddr::new(question.from, 40_000);
    let downstream = Downstream::new(peer, Arc::clone(&listener.name), tls);
    let head = &question.head;
    let preflight = head.preflight();
    let lookup = Lookup {
        host: head.host.name(),
        path: head.target.path(),
        method: &head.method,
        preflight: preflight.as_ref(),
        headers: &head.headers,
        query: head.target.query(),
    };
    let found = listener.routes.find(&lookup);
    let matched = found.is_some();
    let route = found.unwrap_or(&snapshot.unmatched);
    let request = Request {
        id: RequestId(0),
        now: clock.now(),
        downstream: &downstream,
        head,
        route,
        identity: None,
    };
    let exchange = Exchange::new(&route.chain);
    let mut run = Run { exchange, route, matched, request, clock };
    let upstream = ResponseHead { status: StatusCode::OK, headers: upstream };
    let passed = pollster::block_on(run.pass(as_consumer, &question.body, &upstream));
    let (mut response, body, outgoing) = match passed {
        Ok(outgoing) => (upstream, Bytes::new(), Some(outgoing)),
        Err(Ending::Deny(denial)) => {
            let (head, body) = problem::render(&denial, request.id);
            (head, body, None)
        }
        Err(Ending::Answer(answer)) => {
            let headers = answer.headers.into_iter().collect();
            (ResponseHead { status: answer.status, headers }, answer.body, None)
        }
    };
    run.exchange.rewrite_response(&route.chain, request, &mut response);
    Ok(Explanation {
        listener: Arc::clone(&listener.name),
        identity: matched.then(|| identity_decision(document, route)),
        settings: settings::of(document, route),
        status: response.status,
        exchange: run.exchange,
        outgoing,
        response,
        body,
        route: matched.then(|| Arc::clone(route)),
    })
}

struct Run<'r> {
    exchange: Exchange,
    route: &'r Route,
    matched: bool,
    request: Request<'r>,
    clock: &'r dyn Clock,
}

impl Run<'_> {
    /// All stages, with the bodies that are there.
    async fn pass(
        &mut self,
        as_consumer: Option<Identity>,
        body: &Bytes,
        upstream: &ResponseHead,
    ) -> Result<Outgoing, Ending> {
        let chain = &self.route.chain;
        let (request, clock) = (self.request, self.clock);
        if let Some(denial) = pipeline::path_not_admitted(&request) {
            self.exchange.refuse("http", Stage::Edge, &denial);
            return Err(Ending::Deny(Box::new(denial)));
        }
        match as_consumer {
            Some(identity) => self.exchange.admit_as(identity, chain, request, clock).await?,
            None => self.exchange.admit(chain, request, clock).await?,
        }
        if !self.matched {
            let denial = pipeline::no_route();
            self.exchange.refuse("route", Stage::Edge, &denial);
            return Err(Ending::Deny(Box::new(denial)));
        }
        let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
        for (policy, meter) in chain.meters() {
            if let Err(denial) = meter.measure(length) {
                self.exchange.refuse(policy, Stage::Inspect, &denial);
                return Err(Ending::Deny(denial));
            }
        }
        let body = Body { decoded: body.clone() };
        self.exchange.inspect(chain, request, &body, clock).await?;
        let outgoing = self.exchange.transform(chain, request, clock)?;
        self.exchange.inspect_response(chain, request, upstream, clock)?;
        Ok(outgoing)
    }
}

/// The listener that a client with this URL would reach: of its scheme, and of its port where one
/// has it.
fn listener<'s>(snapshot: &'s Snapshot, question: &Question) -> Result<&'s Arc<Listener>, String> {
    if let Some(name) = &question.listener {
        let found = snapshot.listener(name);
        let found = found.ok_or_else(|| format!("there is no listener named `{name}`"))?;
        if found.redirects {
            return Err(format!("listener `{name}` answers every request with 308, to `https`"));
        }
        return Ok(found);
    }
    let scheme = question.head.scheme;
    let mut candidates = snapshot.listeners.iter().filter(|listener| {
        !listener.redirects && listener.tls.is_some() == (scheme == Scheme::Https)
    });
    let port = question.head.host.port().unwrap_or(scheme.default_port());
    candidates
        .clone()
        .find(|listener| listener.address.port() == port)
        .or_else(|| candidates.next())
        .ok_or_else(|| format!("no listener speaks {}", scheme.as_str()))
}

fn consumer(document: &Document, name: &str) -> Result<Identity, String> {
    let Some(config) = document.model.consumers.get(name) else {
        return Err(format!("there is no consumer named `{name}`"));
    };
    Ok(Identity::of(Arc::new(demilune_core::Consumer {
        name: name.into(),
        groups: config.groups.iter().map(|group| group.as_str().into()).collect(),
        attributes: config.attributes.clone(),
    })))
}

fn identity_decision(document: &Document, route: &Route) -> (String, String) {
    let names = |requirement: &Requirement| {
        let names = requirement.authenticators().iter().map(|a| a.name.to_string());
        names.collect::<Vec<_>>().join(", ")
    };
    let config = document.model.routes.get(&*route.name);
    let (words, key) = match route.chain.requirement() {
        Requirement::Public => {
            let reason = config.and_then(|config| config.public.clone()).unwrap_or_default();
            (format!("public: {reason}"), "public")
        }
        any @ Requirement::AnyOf { anonymous: false, .. } => {
            (format!("any of: {}", names(any)), "authenticate")
        }
        any @ Requirement::AnyOf { anonymous: true, .. } => {
            (format!("any of: {}, or nobody", names(any)), "authenticate")
        }
        all @ Requirement::AllOf(_) => (format!("all of: {}", names(all)), "authenticate"),
    };
    (words, document.location(&format!("routes.{}.{key}", route.name)))
}
