//! Callers that speak gRPC: refusals in their words, and their deadlines.

use demilune_testkit::{ALICE_KEY, Called, Document, Gateway, Http2Origin, Step, call};
use serde_json::json;

use crate::start;

const MESSAGE: &[u8] = b"\0\0\0\0\x05hello";

/// Calls with these fields besides gRPC's own.
fn calls(gateway: &Gateway, path: &str, more: &[(&str, &str)]) -> Called {
    let mut fields = vec![("content-type", "application/grpc+proto"), ("te", "trailers")];
    fields.extend(more);
    call(gateway.address("main"), path, &fields, MESSAGE, &[])
}

fn origin() -> Http2Origin {
    Http2Origin::answering(|seen| match seen.path() {
        "/a.B/Slow" => vec![Step::Hold],
        "/a.B/Endless" => vec![Step::Head(200, &[]), Step::Data(MESSAGE.to_vec()), Step::Hold],
        _ => vec![
            Step::Head(200, &[("content-type", "application/grpc")]),
            Step::Data(seen.body.clone()),
            Step::Trailers(&[("grpc-status", "0")]),
        ],
    })
}

/// The refusal: in trailers only, with its own status in the log.
fn refused(gateway: &Gateway, path: &str, called: &Called, expected: &serde_json::Value) {
    assert_eq!((called.status, called.body.as_deref()), (200, Some(&b""[..])), "{called:?}");
    assert_eq!(called.field("content-type"), Some("application/grpc"));
    assert_eq!(called.field("content-length"), None);
    assert!(called.field("grpc-message").is_some() && called.trailers.is_empty());
    let line = gateway.access(path);
    let status: u16 = called.field("grpc-status").unwrap().parse().unwrap();
    assert_eq!(json!([status, line["status"], line["code"]]), *expected, "{line}");
    assert_eq!(line["end"], "complete");
}

#[test]
fn refusals_are_told_in_trailers_only() {
    let origin = origin();
    let document = Document::before_http2(&origin).routes(&[
        "keys: { match: { path: /a.B/** }, upstream: origin, authenticate: keys }",
        "open: { match: { path: /a.C/** }, upstream: origin, public: for the test, \
         policies: [{ rate_limit: { per: address, limit: 1/h } }] }",
        "small: { match: { path: /a.D/** }, upstream: origin, public: for the test, \
         policies: [{ request_size: { body: 4B } }] }",
    ]);
    let gateway = start(document);
    let key = [("x-api-key", ALICE_KEY)];
    assert_eq!(calls(&gateway, "/a.B/Fine", &key).field("grpc-status"), Some("0"));
    for (path, expected) in [
        ("/a.B/NoKey", json!([16, 401, "authentication.required"])),
        ("/x.Y/Nowhere", json!([12, 404, "route.none"])),
        ("/a.D/Large", json!([8, 413, "request_size.body"])),
    ] {
        refused(&gateway, path, &calls(&gateway, path, &[]), &expected);
    }
    assert_eq!(calls(&gateway, "/a.C/First", &[]).field("grpc-status"), Some("0"));
    let second = calls(&gateway, "/a.C/Second", &[]);
    refused(&gateway, "/a.C/Second", &second, &json!([8, 429, "rate_limit.exceeded"]));
    assert!(second.field("retry-after").is_some());
    // Whoever does not speak it gets a body.
    let plain = call(gateway.address("main"), "/a.B/Plain", &[], MESSAGE, &[]);
    assert_eq!((plain.status, plain.field("grpc-status")), (401, None));
    assert!(plain.body.unwrap().starts_with(b"{"));
}

#[test]
fn an_upstream_that_cannot_be_reached_is_unavailable() {
    let document = Document::default()
        .endpoint("http://127.0.0.1:1")
        .upstream("http2: prior_knowledge")
        .listener("http2: prior_knowledge");
    let gateway = start(document);
    let called = calls(&gateway, "/a.B/C", &[]);
    refused(&gateway, "/a.B/C", &called, &json!([14, 502, "upstream.unreachable"]));
}

#[test]
fn a_callers_deadline_ends_the_call_and_the_upstreams_stream() {
    let origin = origin();
    let gateway = start(Document::before_http2(&origin));
    let called = calls(&gateway, "/a.B/Slow", &[("grpc-timeout", "300m")]);
    refused(&gateway, "/a.B/Slow", &called, &json!([4, 504, "grpc.deadline"]));
    assert_eq!(origin.wait_reset(), 8);
    assert_eq!(origin.seen()[0].header("grpc-timeout"), Some("300m"));
    // Within the answer, it is cut.
    let called = calls(&gateway, "/a.B/Endless", &[("grpc-timeout", "300m")]);
    assert_eq!((called.status, called.body), (200, None));
    // One that is not reached changes nothing.
    let called = calls(&gateway, "/a.B/Fine", &[("grpc-timeout", "1H")]);
    assert_eq!(called.field("grpc-status"), Some("0"));
}

#[test]
fn a_deadline_that_is_no_time_is_refused() {
    let origin = origin();
    let gateway = start(Document::before_http2(&origin));
    for (number, timeout) in ["soon", "1", "123456789S", "-1S"].iter().enumerate() {
        let path = format!("/a.B/{number}");
        let called = calls(&gateway, &path, &[("grpc-timeout", timeout)]);
        refused(&gateway, &path, &called, &json!([13, 400, "grpc.timeout"]));
    }
    assert!(origin.seen().is_empty());
}
