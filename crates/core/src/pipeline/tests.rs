//! The engine, with policies made for it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{CONNECTION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};

use super::*;
use crate::chain::{NamedAuthenticator, Part, Requirement};
use crate::head::{Downstream, RequestHead, RequestId};
use crate::hook::{
    Authenticator, Authorizer, Carrier, Gate, Guard, Hooks, Inspector, Outcome, Proof,
    ResponseInspector, ResponseRewriter, Rewriter,
};
use crate::path::Target;
use crate::route::{Matches, Route};
use crate::time::Moment;
use crate::verdict::Answer;
use crate::{Consumer, Host, Scheme};

struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Moment {
        Moment::default()
    }
}

/// What a test policy does, and a note that it did.
#[derive(Clone)]
struct Acts {
    notes: Arc<Mutex<Vec<String>>>,
    name: &'static str,
    does: Does,
}

#[derive(Clone, Copy)]
enum Does {
    Continue,
    Deny,
    Answer,
    Fault,
}

impl Acts {
    fn act(&self) -> Result<Verdict, Fault> {
        self.notes.lock().unwrap().push(self.name.to_owned());
        match self.does {
            Does::Continue => Ok(Verdict::Continue),
            Does::Deny => {
                Ok(Verdict::deny(Denial::new(StatusCode::FORBIDDEN, "test.denied", "no").log("l")))
            }
            Does::Answer => Ok(Verdict::Answer(Box::new(Answer {
                status: StatusCode::NO_CONTENT,
                headers: Vec::new(),
                body: Bytes::new(),
            }))),
            Does::Fault => Err(Fault::new("cannot")),
        }
    }
}

impl Guard for Acts {
    fn check(&self, _: &Request<'_>, slot: &mut Slot) -> Result<Verdict, Fault> {
        slot.set(self.name);
        self.act()
    }
}

impl Gate for Acts {
    fn check<'a>(&'a self, _: Request<'a>, _: &'a mut Slot) -> Outcome<'a, Result<Verdict, Fault>> {
        Outcome::later(async { self.act() })
    }
}

impl Authorizer for Acts {
    fn authorize<'a>(
        &'a self,
        identity: &'a Identity,
        _: Request<'a>,
        _: &'a mut Slot,
    ) -> Outcome<'a, Result<Verdict, Fault>> {
        self.notes.lock().unwrap().push(format!("for {}", identity.subject));
        Outcome::Now(self.act())
    }
}

impl Inspector for Acts {
    fn limit(&self) -> u64 {
        100
    }

    fn inspect<'a>(
        &'a self,
        _: Request<'a>,
        body: &'a Body,
        _: &'a mut Slot,
    ) -> Outcome<'a, Result<Verdict, Fault>> {
        self.notes.lock().unwrap().push(String::from_utf8_lossy(&body.decoded).into_owned());
        Outcome::Now(self.act())
    }
}

impl Rewriter for Acts {
    fn rewrite(&self, _: &Request<'_>, out: &mut Outgoing, _: &mut Slot) -> Result<(), Fault> {
        out.headers.insert("x-rewritten", HeaderValue::from_static(self.name));
        self.act().map(|_| ())
    }
}

impl ResponseInspector for Acts {
    fn inspect(&self, _: &Request<'_>, _: &ResponseHead, _: &mut Slot) -> Result<Verdict, Fault> {
        self.act()
    }
}

impl ResponseRewriter for Acts {
    fn rewrite(&self, _: &Request<'_>, response: &mut ResponseHead, slot: &mut Slot) {
        let seen = slot.get::<&'static str>().copied().unwrap_or("empty");
        response.headers.append("x-slot", HeaderValue::from_static(seen));
    }
}

/// An authenticator that reads `x-NAME: CONSUMER`.
struct Reads(&'static str);

impl Authenticator for Reads {
    fn authenticate<'a>(&'a self, request: Request<'a>) -> Outcome<'a, Result<Proof, Fault>> {
        let value = request.head.headers.get(self.0).and_then(|value| value.to_str().ok());
        Outcome::Now(match value {
            None => Ok(Proof::Absent),
            Some("down") => Err(Fault::new("the directory is down")),
            Some("wrong") => {
                let denial = Denial::new(StatusCode::UNAUTHORIZED, "reads.wrong", "not valid");
                Ok(Proof::Refused(denial))
            }
            Some(name) => Ok(Proof::Proved(Identity::of(Arc::new(Consumer {
                name: name.into(),
                groups: vec!["gold".into(), "partners".into()],
                attributes: std::collections::BTreeMap::new(),
            })))),
        })
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static(self.0)
    }

    fn carriers(&self) -> Vec<Carrier> {
        vec![Carrier::Header(HeaderName::from_static(self.0))]
    }
}

fn named(name: &'static str) -> NamedAuthenticator {
    NamedAuthenticator { name: name.into(), authenticator: Arc::new(Reads(name)) }
}

fn any_of(names: &[&'static str], anonymous: bool) -> Requirement {
    let authenticators = names.iter().map(|name| named(name)).collect();
    Requirement::AnyOf { authenticators, anonymous }
}

struct Bench {
    notes: Arc<Mutex<Vec<String>>>,
    parts: Vec<Part>,
}

impl Bench {
    fn new() -> Self {
        Self { notes: Arc::default(), parts: Vec::new() }
    }

    fn acts(&self, name: &'static str, does: Does) -> Arc<Acts> {
        Arc::new(Acts { notes: Arc::clone(&self.notes), name, does })
    }

    fn with(mut self, policy: &'static str, hooks: Hooks, on_fault: OnFault) -> Self {
        self.parts.push(Part { policy, hooks, on_fault });
        self
    }

    fn guard(self, name: &'static str, stage: Stage, does: Does) -> Self {
        let hooks = Hooks::new().guard(stage, &self.acts(name, does));
        self.with(name, hooks, OnFault::Closed)
    }

    fn notes(&self) -> Vec<String> {
        self.notes.lock().unwrap().clone()
    }

    fn run(&mut self, requirement: Requirement, headers: &[(&'static str, &str)]) -> Ran {
        let strip = requirement
            .authenticators()
            .iter()
            .flat_map(|named| named.authenticator.carriers())
            .chain([Carrier::Query("key".to_owned())])
            .collect();
        let chain = Chain::new(requirement, std::mem::take(&mut self.parts), strip);
        let route = Route {
            name: "r".into(),
            source: "".into(),
            matches: Matches::default(),
            upstream: "u".into(),
            chain,
            websocket: false,
            path_exceptions: crate::PathExceptions::default(),
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let head = RequestHead {
            method: Method::GET,
            scheme: Scheme::Https,
            host: Host::parse("api.example.com").unwrap(),
            target: Target::parse("/a?key=secret&x=1").unwrap(),
            version: Version::HTTP_11,
            headers: map,
            content_length: Some(0),
        };
        let peer = "192.0.2.7:1234".parse().unwrap();
        let downstream = Downstream::new(peer, "l".into(), None);
        let request = Request {
            id: RequestId(1),
            now: Moment::default(),
            downstream: &downstream,
            head: &head,
            route: &route,
            identity: None,
        };
        let mut exchange = Exchange::new(&route.chain);
        let chain = &route.chain;
        let ending = block_on(async {
            exchange.enter(chain, request, &StillClock).await?;
            exchange.admit(chain, request, None, &StillClock).await?;
            let body = Body { decoded: Bytes::from_static(b"body") };
            exchange.inspect(chain, request, &body, &StillClock).await?;
            let outgoing = exchange.transform(chain, request, &StillClock)?;
            let head = ResponseHead { status: StatusCode::OK, headers: HeaderMap::new() };
            exchange.inspect_response(chain, request, &head, &StillClock)?;
            Ok(outgoing)
        });
        let mut response = ResponseHead { status: StatusCode::OK, headers: HeaderMap::new() };
        exchange.rewrite_response(chain, request, &mut response);
        Ran { ending, exchange, response }
    }
}

struct Ran {
    ending: Result<Outgoing, Ending>,
    exchange: Exchange,
    response: ResponseHead,
}

impl Ran {
    fn trail(&self) -> String {
        self.exchange.trail().to_string()
    }

    fn code(&self) -> &'static str {
        match &self.ending {
            Ok(_) => "passed",
            Err(Ending::Answer(_)) => "answered",
            Err(Ending::Deny(denial)) => denial.code,
        }
    }
}

/// The futures of these tests are ready whenever they are polled.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("a future of these tests had to wait"),
    }
}

#[test]
fn stages_decide_the_order_then_the_order_written() {
    let bench = Bench::new();
    let (inspector, gate) =
        (bench.acts("body", Does::Continue), bench.acts("gate", Does::Continue));
    let authorizer = bench.acts("authorizer", Does::Continue);
    let mut bench = bench
        .with("body", Hooks::new().inspector(&inspector), OnFault::Closed)
        .with("gate", Hooks::new().gate(Stage::Quota, &gate), OnFault::Closed)
        .with("authorizer", Hooks::new().authorizer(&authorizer), OnFault::Closed)
        .guard("edge 1", Stage::Edge, Does::Continue)
        .guard("edge 2", Stage::Edge, Does::Continue);
    let ran = bench.run(any_of(&["x-key"], false), &[("x-key", "alice")]);
    assert_eq!(ran.code(), "passed");
    let expected = ["edge 1", "edge 2", "for alice", "authorizer", "gate", "body", "body"];
    assert_eq!(bench.notes(), expected);
    assert!(ran.trail().starts_with("edge 1: continue; edge 2: continue; x-key: proved alice; "));
}

#[test]
fn a_denial_ends_the_exchange_and_response_rewriters_still_run() {
    let bench = Bench::new();
    let (first, last) = (bench.acts("first", Does::Deny), bench.acts("last", Does::Continue));
    let mut bench = bench
        .with(
            "first",
            Hooks::new().guard(Stage::Edge, &first).response_rewriter(&first),
            OnFault::Closed,
        )
        .with(
            "last",
            Hooks::new().guard(Stage::Edge, &last).response_rewriter(&last),
            OnFault::Closed,
        );
    let ran = bench.run(Requirement::Public, &[]);
    assert_eq!(ran.code(), "test.denied");
    assert_eq!(ran.trail(), "first: deny 403 test.denied (l)");
    let slots: Vec<_> = ran.response.headers.get_all("x-slot").iter().collect();
    // On the way out the last policy comes first. Each sees its own slot, empty where its first
    // half did not run.
    assert_eq!(slots, ["empty", "first"]);
}

#[test]
fn an_answer_is_no_refusal() {
    let ran = Bench::new().guard("a", Stage::Edge, Does::Answer).run(Requirement::Public, &[]);
    assert_eq!((ran.code(), ran.trail()), ("answered", "a: answer 204".to_owned()));
}

#[test]
fn a_fault_refuses_unless_the_operator_opened_it() {
    for (on_fault, code, trail) in [
        (OnFault::Closed, FAULT, "a: fault (cannot)"),
        (OnFault::Open, "passed", "a: fault, open (cannot)"),
    ] {
        let bench = Bench::new();
        let hooks = Hooks::new().guard(Stage::Edge, &bench.acts("a", Does::Fault));
        let ran = bench.with("a", hooks, on_fault).run(Requirement::Public, &[]);
        assert_eq!((ran.code(), ran.trail()), (code, trail.to_owned()));
    }
    let bench = Bench::new();
    let hooks = Hooks::new().rewriter(&bench.acts("a", Does::Fault));
    let ran = bench.with("a", hooks, OnFault::Closed).run(Requirement::Public, &[]);
    assert_eq!(ran.code(), FAULT);
}

#[test]
fn an_authorizer_is_never_asked_about_nobody() {
    let bench = Bench::new();
    let hooks = Hooks::new().authorizer(&bench.acts("a", Does::Continue));
    let mut bench = bench.with("a", hooks, OnFault::Closed);
    let ran = bench.run(any_of(&["x-key"], true), &[]);
    assert_eq!(ran.code(), FAULT);
    assert!(bench.notes().is_empty());
}

#[test]
fn an_answer_of_the_upstream_can_be_refused() {
    let bench = Bench::new();
    let hooks = Hooks::new().response_inspector(&bench.acts("a", Does::Deny));
    let ran = bench.with("a", hooks, OnFault::Closed).run(Requirement::Public, &[]);
    assert_eq!(ran.code(), "test.denied");
}

#[test]
fn any_of_takes_the_first_that_proves_and_a_refusal_never_falls_through() {
    let both = || any_of(&["x-one", "x-two"], false);
    for (headers, code, trail) in [
        (vec![("x-two", "bob")], "passed", "x-one: absent; x-two: proved bob"),
        (vec![("x-one", "alice"), ("x-two", "bob")], "passed", "x-one: proved alice"),
        (vec![("x-one", "wrong"), ("x-two", "bob")], "reads.wrong", "x-one: deny 401 reads.wrong"),
        (
            vec![],
            CREDENTIAL_REQUIRED,
            "x-one: absent; x-two: absent; authenticate: deny 401 authentication.required",
        ),
        (vec![("x-one", "down")], FAULT, "x-one: fault (the directory is down)"),
    ] {
        let ran = Bench::new().run(both(), &headers);
        assert_eq!((ran.code(), ran.trail()), (code, trail.to_owned()));
    }
}

#[test]
fn where_nobody_may_pass_a_wrong_credential_still_does_not() {
    let ran = Bench::new().run(any_of(&["x-one"], true), &[("x-one", "wrong")]);
    assert_eq!(ran.code(), "reads.wrong");
    let ran = Bench::new().run(any_of(&["x-one"], true), &[]);
    assert_eq!(ran.code(), "passed");
    assert!(ran.exchange.identity().is_none());
}

#[test]
fn all_of_must_prove_one_caller() {
    let both = || Requirement::AllOf(vec![named("x-one"), named("x-two")]);
    for (headers, code) in [
        (vec![("x-one", "alice"), ("x-two", "alice")], "passed"),
        (vec![("x-one", "alice"), ("x-two", "bob")], CALLERS_DIFFER),
        (vec![("x-one", "alice")], CREDENTIAL_REQUIRED),
        (vec![("x-two", "alice")], CREDENTIAL_REQUIRED),
        (vec![("x-one", "alice"), ("x-two", "wrong")], "reads.wrong"),
    ] {
        let ran = Bench::new().run(both(), &headers);
        assert_eq!(ran.code(), code, "{headers:?}");
        if let Ok(outgoing) = ran.ending {
            assert_eq!(outgoing.headers["x-consumer-proved-by"], "x-one, x-two");
        }
    }
    assert_eq!(Bench::new().run(Requirement::AllOf(vec![]), &[]).code(), CREDENTIAL_REQUIRED);
}

#[test]
fn a_401_carries_every_challenge() {
    let ran = Bench::new().run(any_of(&["x-one", "x-two"], false), &[("x-one", "wrong")]);
    let Err(Ending::Deny(denial)) = ran.ending else { panic!("a refusal") };
    let challenges: Vec<_> =
        denial.headers.iter().filter(|(name, _)| name == WWW_AUTHENTICATE).map(|h| &h.1).collect();
    assert_eq!(challenges, ["x-one", "x-two"]);
}

#[test]
fn the_upstream_sees_our_words_about_the_caller_and_no_credential() {
    let ran = Bench::new().run(
        any_of(&["x-key"], false),
        &[
            ("x-key", "alice"),
            ("x_key", "alice"),
            ("x-consumer-name", "root"),
            ("x_consumer_name", "root"),
            ("x-consumer-groups", "admins"),
            ("x-consumer-anything", "x"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x_forwarded_for", "10.0.0.1"),
            ("forwarded", "for=10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
            ("true-client-ip", "10.0.0.1"),
            ("x-original-url", "/admin"),
            ("x_rewrite_url", "/admin"),
            ("x-http-method-override", "DELETE"),
            ("x-request-id", "mine"),
            ("connection", "x-drop, close, upgrade"),
            ("transfer_encoding", "chunked"),
            ("proxy_authorization", "x"),
            ("x-drop", "1"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("transfer-encoding", "chunked"),
            ("proxy-authorization", "x"),
            ("accept", "text/plain"),
        ],
    );
    let outgoing = ran.ending.unwrap();
    let mut names: Vec<_> = outgoing.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "accept",
            "x-consumer-groups",
            "x-consumer-name",
            "x-consumer-proved-by",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-request-id",
        ]
    );
    assert_eq!(outgoing.headers["x-consumer-name"], "alice");
    assert_eq!(outgoing.headers["x-consumer-groups"], "gold, partners");
    assert_eq!(outgoing.headers["x-forwarded-for"], "192.0.2.7");
    assert_eq!(outgoing.headers["x-forwarded-host"], "api.example.com");
    assert_eq!(outgoing.target.as_path_and_query().as_str(), "/a?x=1");
    assert!(!outgoing.headers.contains_key(CONNECTION));
}
