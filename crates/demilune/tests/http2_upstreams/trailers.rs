//! Trailers, where both sides speak HTTP/2.

use demilune_testkit::{Document, Http2Origin, Http2Seen, Step, call};

use crate::start;

const GRPC: [(&str, &str); 2] = [("content-type", "application/grpc"), ("te", "trailers")];

/// Trailers of a request: those that only the gateway may say are left out.
const SENT: [(&str, &str); 5] = [
    ("x-sum", "7"),
    ("true-client-ip", "198.51.100.1"),
    ("x-http-method-override", "DELETE"),
    ("x-request-id", "1"),
    ("x-sum", "8"),
];

fn echo(seen: &Http2Seen) -> Vec<Step> {
    vec![
        Step::Head(200, &[("content-type", "application/grpc")]),
        Step::Data(seen.body.clone()),
        Step::Trailers(&[("grpc-status", "0"), ("grpc-message", "fine")]),
    ]
}

#[test]
fn trailers_of_both_sides_pass() {
    let origin = Http2Origin::answering(echo);
    let gateway = start(Document::before_http2(&origin));
    let message = b"\0\0\0\0\x05hello";
    let called = call(gateway.address("main"), "/a.B/C", &GRPC, message, &SENT);
    assert_eq!((called.status, called.body.as_deref()), (200, Some(&message[..])));
    let fine = [("grpc-status", "0"), ("grpc-message", "fine")];
    assert_eq!(called.trailers, fine.map(|(n, v)| (n.to_owned(), v.to_owned())));
    assert_eq!(called.field("content-type"), Some("application/grpc"));
    let seen = origin.seen().remove(0);
    assert_eq!((seen.path(), seen.header("te")), ("/a.B/C", Some("trailers")));
    assert_eq!(seen.trailers, ["7", "8"].map(|sum| ("x-sum".to_owned(), sum.to_owned())));
    assert_eq!(gateway.access("/a.B/C")["end"], "complete");
}

#[test]
fn an_answer_of_trailers_only_passes() {
    let only = &[("content-type", "application/grpc"), ("grpc-status", "5")];
    let origin = Http2Origin::answering(|_| vec![Step::Only(200, only)]);
    let gateway = start(Document::before_http2(&origin));
    let called = call(gateway.address("main"), "/a.B/C", &GRPC, b"", &[]);
    assert_eq!((called.status, called.body.as_deref()), (200, Some(&b""[..])));
    assert_eq!(called.field("grpc-status"), Some("5"));
}

#[test]
fn over_http_1_trailers_end_at_the_gateway() {
    let origin = Http2Origin::answering(echo);
    let gateway = start(Document::before_http2(&origin));
    let mut client = gateway.client("main");
    for _ in 0..2 {
        let reply = client.request("POST", "/", &[], Some(b"hello"));
        assert_eq!((reply.status, reply.whole, reply.text().as_str()), (200, true, "hello"));
        assert_eq!(reply.header("grpc-status"), None);
    }
    assert_eq!(origin.seen()[0].header("te"), None);
}

#[test]
fn trailers_that_frame_route_or_are_too_many_cut_the_answer() {
    let origin = Http2Origin::answering(|seen| {
        let trailers: &'static [(&str, &str)] = match seen.path() {
            "/cookie" => &[("set-cookie", "a=1")],
            "/length" => &[("content-length", "5")],
            "/alike" => &[("content_length", "5")],
            _ => &[("x-fine", "1")],
        };
        vec![Step::Head(200, &[]), Step::Data(b"hello".to_vec()), Step::Trailers(trailers)]
    });
    let gateway = start(Document::before_http2(&origin));
    for path in ["/cookie", "/length", "/alike"] {
        let called = call(gateway.address("main"), path, &[], b"", &[]);
        assert_eq!((called.status, called.body), (200, None), "{path}");
        assert_eq!(gateway.access(path)["end"], "upstream_cut");
    }
    let called = call(gateway.address("main"), "/fine", &[], b"", &[]);
    assert_eq!(called.field("x-fine"), Some("1"));
}
