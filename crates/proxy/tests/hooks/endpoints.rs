//! Endpoints of a policy's own.

use std::sync::Arc;

use bytes::Bytes;
use demilune_core::chain::{NamedAuthenticator, Part};
use demilune_core::hook::Endpoint;
use demilune_core::{
    Answer, Authenticator, Body, Carrier, Chain, Ending, EndpointPath, Fault, Hooks, Outcome,
    Proof, Request, Requirement, ResponseHead, ResponseRewriter, Slot,
};
use demilune_testkit::Origin;
use http::{HeaderValue, Method, StatusCode};

use crate::fixture::{Gateway, gzip, named, open, part};
use crate::policies::{Looks, Notes, Refuses, denial};

/// Answers with what it was sent; refuses `bad`, cannot decide about `riddle`.
struct Login {
    notes: Notes,
    limit: u64,
}

impl Endpoint for Login {
    fn limit(&self) -> u64 {
        self.limit
    }

    fn answer<'a>(
        &'a self,
        request: Request<'a>,
        body: &'a Body,
        slot: &'a mut Slot,
    ) -> Outcome<'a, Result<Ending, Fault>> {
        assert!(request.identity.is_none());
        Outcome::later(async {
            tokio::task::yield_now().await;
            let text = String::from_utf8_lossy(&body.decoded).into_owned();
            self.notes.note(&text);
            slot.set("answered");
            match text.as_str() {
                "bad" => Ok(Ending::Deny(Box::new(denial("login.state")))),
                "riddle" => Err(Fault::new("a riddle")),
                _ => Ok(Ending::Answer(Box::new(Answer {
                    status: StatusCode::OK,
                    headers: vec![(http::header::SET_COOKIE, HeaderValue::from_static("a=b"))],
                    body: Bytes::from(format!("logged in {text}")),
                }))),
            }
        })
    }
}

impl ResponseRewriter for Login {
    fn rewrite(&self, _: &Request<'_>, response: &mut ResponseHead, slot: &mut Slot) {
        let slot = slot.get::<&'static str>().copied().unwrap_or("empty");
        response.headers.insert("x-login", HeaderValue::from_static(slot));
    }
}

/// Never proves anybody.
struct Nobody;

impl Authenticator for Nobody {
    fn authenticate<'a>(&'a self, _: Request<'a>) -> Outcome<'a, Result<Proof, Fault>> {
        Outcome::Now(Ok(Proof::Absent))
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Nobody")
    }

    fn carriers(&self) -> Vec<Carrier> {
        Vec::new()
    }
}

/// A route for nobody with the endpoints `GET /login/callback` and `POST /login/callback`.
fn start(parts: impl FnOnce(Hooks) -> Vec<Part>, limit: u64) -> (Gateway, Notes) {
    let notes = Notes::default();
    let login = Arc::new(Login { notes: notes.clone(), limit });
    let path = EndpointPath::parse("/login/callback").unwrap();
    let hooks = Hooks::new()
        .endpoint(Method::GET, path.clone(), &login)
        .endpoint(Method::POST, path, &login)
        .response_rewriter(&login);
    let authenticators =
        vec![NamedAuthenticator { name: "nobody".into(), authenticator: Arc::new(Nobody) }];
    let requirement = Requirement::AnyOf { authenticators, anonymous: false };
    let chain = Chain::new(requirement, parts(hooks), Vec::new());
    let public = Chain::new(Requirement::Public, Vec::new(), Vec::new());
    let routes =
        vec![named("app", "app.example", "/app/**", chain), named("other", "", "/**", public)];
    (Gateway::with(Origin::start(), routes), notes)
}

const APP: (&str, &str) = ("host", "app.example");

#[test]
fn an_endpoint_is_reached_without_a_credential_and_the_upstream_is_not_asked() {
    let (gateway, notes) = start(|hooks| vec![part("login", hooks)], 0);
    let mut client = gateway.client();
    let reply = client.get("/login/callback?code=1", &[APP]);
    assert_eq!((reply.status, reply.text()), (200, "logged in ".to_owned()));
    assert_eq!(
        (reply.header("set-cookie"), reply.header("x-login")),
        (Some("a=b"), Some("answered"))
    );
    gateway.logs(&["\"path\":\"/login/callback\"", "\"route\":\"app\"", "\"policy\":\"login\""]);
    let reply = client.request("HEAD", "/login/callback", &[APP], None);
    assert_eq!((reply.status, reply.header("content-length")), (200, Some("10")));
    assert_eq!(notes.all(), ["", ""]);
    // The rest of the route is as shut as before.
    assert_eq!(client.get("/app/x", &[APP]).status, 401);
    assert!(gateway.origin.seen().is_empty());
    // Other methods and other hosts are other routes' business.
    assert_eq!(client.request("PUT", "/login/callback", &[APP], Some(b"")).text(), "hello");
    assert_eq!(client.get("/login/callback", &[("host", "b.example")]).text(), "hello");
    assert_eq!(notes.all().len(), 2);
}

#[test]
fn what_the_edge_refuses_does_not_reach_an_endpoint() {
    let (gateway, notes) =
        start(|hooks| vec![part("login", hooks), part("refuses", Refuses::hooks())], 100);
    let mut client = gateway.client();
    let refused = [APP, ("x-refuse", "")];
    assert_eq!(client.get("/login/callback", &refused).status, 403);
    // Not a byte of its body is waited for.
    client.begin("POST", "/login/callback", &[APP, ("x-refuse", ""), ("content-length", "5")]);
    assert_eq!(client.read(false).unwrap().status, 403);
    assert!(notes.all().is_empty());
    gateway.logs_code("refuses.it");
}

#[test]
fn an_endpoint_gets_bodies_up_to_its_limit_decoded() {
    let (gateway, notes) =
        start(|hooks| vec![part("login", hooks), part("refuses", Refuses::hooks())], 100);
    let post = |headers: &[(&str, &str)], body: &[u8]| {
        let headers = [&[APP], headers].concat();
        gateway.client().request("POST", "/login/callback", &headers, Some(body))
    };
    assert_eq!(post(&[], b"me").text(), "logged in me");
    let coded = ("content-encoding", "gzip");
    assert_eq!(post(&[coded], &gzip("you")).text(), "logged in you");
    assert_eq!(post(&[], &[b'x'; 101]).status, 413);
    assert_eq!(post(&[coded], &gzip([b'x'; 101])).status, 413);
    assert_eq!(post(&[coded], b"no gzip").status, 400);
    assert_eq!(post(&[("content-encoding", "zstd")], b"x").status, 415);
    let mut client = gateway.client();
    client.begin("POST", "/login/callback", &[APP, ("transfer-encoding", "chunked")]);
    client.send_chunk("x".repeat(101));
    assert_eq!(client.read(false).unwrap().status, 413);
    assert_eq!(notes.all(), ["me", "you"]);
    assert!(gateway.origin.seen().is_empty());
}

#[test]
fn without_a_limit_by_address_an_endpoint_gets_no_body() {
    let (gateway, notes) = start(|hooks| vec![part("login", hooks)], 100);
    let reply = gateway.client().request("POST", "/login/callback", &[APP], Some(b"me"));
    assert_eq!((reply.status, notes.all().len()), (413, 0));
    assert_eq!(gateway.client().get("/login/callback", &[APP]).status, 200);
}

#[test]
fn an_endpoint_may_refuse_and_its_fault_is_never_open() {
    let both = |hooks| vec![open("login", hooks), part("refuses", Refuses::hooks())];
    let (gateway, _) = start(both, 100);
    for (body, status, code) in [("bad", 403, "login.state"), ("riddle", 503, "policy.fault")] {
        let mut client = gateway.client();
        let reply = client.request("POST", "/login/callback", &[APP], Some(body.as_bytes()));
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        gateway.logs_code(code);
    }
    assert!(gateway.origin.seen().is_empty());
}

#[test]
fn what_an_endpoint_answers_is_not_shown_to_hooks_on_bodies() {
    let seen = Notes::default();
    let hooks = Looks::hooks(&seen, 3);
    let (gateway, _) = start(|login| vec![part("login", login), part("looks", hooks)], 0);
    assert_eq!(gateway.client().get("/login/callback", &[APP]).text(), "logged in ");
    assert!(seen.all().is_empty());
}

#[test]
fn two_requests_to_an_endpoint_share_nothing() {
    let both = |hooks| vec![part("login", hooks), part("refuses", Refuses::hooks())];
    let (gateway, notes) = start(both, 100);
    let mut client = gateway.client();
    for body in ["one", "two"] {
        let reply = client.request("POST", "/login/callback", &[APP], Some(body.as_bytes()));
        assert_eq!(reply.text(), format!("logged in {body}"));
    }
    assert_eq!(notes.all(), ["one", "two"]);
}
