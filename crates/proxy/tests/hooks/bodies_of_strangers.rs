//! Authenticators that cover the body: it is read before anybody is known, once, up to a limit.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use demilune_core::chain::{NamedAuthenticator, Part};
use demilune_core::{
    Authenticator, Carrier, Chain, Consumer, Denial, Fault, Hooks, Identity, Outcome, Proof,
    Request, Requirement,
};
use demilune_testkit::Origin;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::fixture::{Gateway, gzip, named, part};
use crate::policies::{Looks, Notes, Refuses};

/// A webhook's signature for these tests: the sum of the bytes, in `x-sum`.
struct Sums {
    notes: Notes,
    limit: u64,
}

impl Authenticator for Sums {
    fn authenticate<'a>(&'a self, _: Request<'a>) -> Outcome<'a, Result<Proof, Fault>> {
        Outcome::Now(Err(Fault::new("asked without the body")))
    }

    fn needs_body(&self) -> Option<u64> {
        Some(self.limit)
    }

    fn authenticate_body<'a>(
        &'a self,
        request: Request<'a>,
        body: &'a Bytes,
    ) -> Outcome<'a, Result<Proof, Fault>> {
        self.notes.note(body);
        let Some(sum) = request.head.headers.get("x-sum") else {
            return Outcome::Now(Ok(Proof::Absent));
        };
        let denial = Denial::new(StatusCode::UNAUTHORIZED, "sums.wrong", "no");
        Outcome::Now(Ok(if sum.as_bytes() == sum_of(body).as_bytes() {
            Proof::Proved(Identity::of(Arc::new(Consumer {
                name: "hook".into(),
                groups: Vec::new(),
                attributes: std::collections::BTreeMap::new(),
            })))
        } else {
            Proof::Refused(denial)
        }))
    }

    fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static("Sum")
    }

    fn carriers(&self) -> Vec<Carrier> {
        vec![Carrier::Header(HeaderName::from_static("x-sum"))]
    }
}

fn sum_of(body: &[u8]) -> String {
    body.iter().map(|byte| u32::from(*byte)).sum::<u32>().to_string()
}

fn start(parts: Vec<Part>) -> (Gateway, Notes) {
    patient(parts, Duration::from_secs(20))
}

fn patient(parts: Vec<Part>, idle: Duration) -> (Gateway, Notes) {
    let notes = Notes::default();
    let sums = Sums { notes: notes.clone(), limit: 100 };
    let authenticators =
        vec![NamedAuthenticator { name: "sums".into(), authenticator: Arc::new(sums) }];
    let requirement = Requirement::AnyOf { authenticators, anonymous: false };
    let chain = Chain::new(requirement, parts, Vec::new());
    (Gateway::idling(Origin::start(), vec![named("hook", "", "/**", chain)], idle), notes)
}

fn limited() -> Vec<Part> {
    vec![part("refuses", Refuses::hooks())]
}

#[test]
fn an_authenticator_gets_the_body_and_the_origin_gets_the_same() {
    let (gateway, notes) = start(limited());
    let mut client = gateway.client();
    let sum = sum_of(b"a webhook");
    let headers = [("x-sum", sum.as_str())];
    assert_eq!(client.request("POST", "/", &headers, Some(b"a webhook")).status, 200);
    client.begin("POST", "/", &[("x-sum", &sum), ("transfer-encoding", "chunked")]);
    for piece in ["a ", "web", "hook", ""] {
        client.send_chunk(piece);
    }
    assert_eq!(client.read(false).unwrap().status, 200);
    assert_eq!(client.get("/", &[("x-sum", "0")]).status, 200);
    assert_eq!(notes.all(), ["a webhook", "a webhook", ""], "read once each");
    let seen = gateway.origin.seen();
    let bodies: Vec<_> = seen.iter().map(|seen| String::from_utf8_lossy(&seen.body)).collect();
    assert_eq!(bodies, ["a webhook", "a webhook", ""]);
    let lengths: Vec<_> = seen.iter().map(|seen| seen.header("content-length")).collect();
    assert_eq!(lengths, [Some("9"), Some("9"), None]);
    assert!(seen.iter().all(|seen| seen.header("x-consumer-name") == Some("hook")));
    gateway.logs(&["\"received\":9", "\"consumer\":\"hook\""]);
}

#[test]
fn what_is_signed_is_the_body_as_received_and_inspectors_see_it_decoded() {
    let looked = Notes::default();
    let looks = Arc::new(Looks { notes: looked.clone(), limit: 50 });
    let mut parts = limited();
    parts.push(part("looks", Hooks::new().inspector(&looks)));
    let (gateway, notes) = start(parts);
    let body = gzip("inside");
    let sum = sum_of(&body);
    let headers = [("x-sum", sum.as_str()), ("content-encoding", "gzip")];
    let mut client = gateway.client();
    assert_eq!(client.request("POST", "/", &headers, Some(&body)).status, 200);
    assert_eq!(gateway.origin.last().body, body);
    assert_eq!(notes.all(), [String::from_utf8_lossy(&body)]);
    assert_eq!(looked.all(), ["inside"]);
    // The inspector's own limit holds for what was read before.
    let long = [b'x'; 60];
    let sum = sum_of(&long);
    assert_eq!(client.request("POST", "/", &[("x-sum", &sum)], Some(&long)).status, 413);
    assert_eq!((notes.all().len(), looked.all().len()), (2, 1));
    assert_eq!(gateway.origin.seen().len(), 1);
}

#[test]
fn a_body_over_the_limit_is_413_and_a_declared_one_is_not_even_read() {
    let (gateway, notes) = start(limited());
    let mut client = gateway.client();
    client.begin("POST", "/", &[("content-length", "101"), ("expect", "100-continue")]);
    assert_eq!(client.head().unwrap().status, 413, "no 100 before");
    let mut client = gateway.client();
    client.begin("POST", "/", &[("transfer-encoding", "chunked")]);
    client.send_chunk("x".repeat(60));
    client.send_chunk("x".repeat(60));
    // Its end does not come.
    assert_eq!(client.read(false).unwrap().status, 413);
    gateway.logs(&["\"code\":\"body.too_large\"", "\"stage\":\"authenticate\""]);
    assert!(notes.all().is_empty() && gateway.origin.seen().is_empty());
}

#[test]
fn a_wrong_or_missing_signature_is_401_and_forwards_nothing() {
    let (gateway, notes) = start(limited());
    let mut client = gateway.client();
    for (headers, code) in [(&[("x-sum", "1")][..], "sums.wrong"), (&[], "authentication.required")]
    {
        let reply = client.request("POST", "/", headers, Some(b"a webhook"));
        assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("Sum")));
        gateway.logs_code(code);
    }
    assert_eq!(notes.all().len(), 2);
    assert!(gateway.origin.seen().is_empty());
}

#[test]
fn what_the_edge_refuses_is_not_read() {
    let (gateway, notes) = start(limited());
    let mut client = gateway.client();
    let headers = [("x-refuse", ""), ("content-length", "9"), ("expect", "100-continue")];
    client.begin("POST", "/", &headers);
    assert_eq!(client.head().unwrap().status, 403);
    assert!(notes.all().is_empty());
    gateway.logs(&["\"code\":\"refuses.it\"", "\"received\":0"]);
}

#[test]
fn a_client_that_asks_first_is_told_to_go_on_behind_the_edge() {
    let (gateway, _) = start(limited());
    let mut client = gateway.client();
    let sum = sum_of(b"abc");
    client.begin(
        "POST",
        "/",
        &[("x-sum", &sum), ("content-length", "3"), ("expect", "100-continue")],
    );
    assert_eq!(client.head().unwrap().status, 100);
    client.send("abc");
    assert_eq!(client.read(false).unwrap().status, 200);
    assert_eq!(gateway.origin.last().body, b"abc");
}

#[test]
fn without_a_limit_by_address_nothing_is_read_and_nobody_is_admitted() {
    let (gateway, notes) = start(Vec::new());
    let mut client = gateway.client();
    client.begin("POST", "/", &[("x-sum", "0"), ("content-length", "9")]);
    assert_eq!(client.read(false).unwrap().status, 503);
    assert!(notes.all().is_empty() && gateway.origin.seen().is_empty());
    gateway.logs_code("policy.fault");
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let (gateway, notes) = patient(limited(), Duration::from_millis(300));
    let mut client = gateway.client();
    client.begin("POST", "/", &[("content-length", "9")]);
    client.send("a web");
    assert_eq!(client.read(false).unwrap().status, 408);
    gateway.logs_code("http.body_timeout");
    let mut client = gateway.client();
    client.begin("POST", "/", &[("content-length", "9")]);
    client.send("a web");
    drop(client);
    gateway.logs_code("http.body");
    assert!(notes.all().is_empty() && gateway.origin.seen().is_empty());
}
