//! What requests mean, and which have no meaning (RFC 9113 section 8).

use demilune_testkit::{Http2, Origin, Outcome};

use crate::{PROTOCOL_ERROR, before, client, told};

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const AUTHORITY: (&str, &str) = (":authority", "api.example.com");
const PATH: (&str, &str) = (":path", "/");

fn status(outcome: &Outcome) -> u16 {
    match outcome {
        Outcome::Answered(status, _) => *status,
        _ => 0,
    }
}

#[test]
fn malformed_requests_are_reset_and_told_of_and_the_connection_goes_on() {
    let origin = Origin::start();
    let gateway = before(&origin);
    let mut client = client(&gateway);
    let whole = [METHOD, SCHEME, AUTHORITY, PATH];
    let with = |field| [&whole[..], &[field]].concat();
    let cases = [
        with(("connection", "close")),
        with(("connection", "")),
        with(("keep-alive", "1")),
        with(("proxy-connection", "close")),
        with(("transfer-encoding", "chunked")),
        with(("upgrade", "websocket")),
        with(("te", "gzip")),
        with(("te", "trailers, gzip")),
        with((":path", "/again")),
        with((":status", "200")),
        with(("content-length", "5")),
        with(("content-length", "+0")),
        with(("content-length", "0, 0")),
        with(("content-length", "-1")),
        [&with(("content-length", "0"))[..], &[("content-length", "1")]].concat(),
        [&[("x", "1")][..], &whole].concat(),
        vec![SCHEME, AUTHORITY, PATH],
        vec![METHOD, AUTHORITY, PATH],
        vec![METHOD, SCHEME, AUTHORITY],
        vec![METHOD, SCHEME, ("host", "api.example.com")],
        vec![METHOD, SCHEME, AUTHORITY, (":path", "")],
        vec![METHOD, SCHEME, AUTHORITY, (":path", "/a b")],
        vec![METHOD, SCHEME, AUTHORITY, (":path", "/\r\nx: y")],
        vec![METHOD, SCHEME, (":authority", ""), PATH],
        vec![METHOD, SCHEME, (":authority", "a b"), PATH],
        vec![("content-length", "0"), METHOD, SCHEME, AUTHORITY, PATH],
        vec![(":method", "CONNECT"), SCHEME, AUTHORITY, PATH, (":protocol", "websocket")],
        vec![(":method", "CONNECT"), SCHEME, AUTHORITY, PATH],
    ];
    for fields in &cases {
        let stream = client.open(&Http2::fields(fields), true);
        let outcome = client.outcome(stream);
        assert_eq!(outcome, Outcome::Reset(PROTOCOL_ERROR, 0, vec![]), "{fields:?}");
    }
    assert_eq!(status(&client.get("/good")), 200);
    gateway.wait_many(cases.len(), |line| {
        line["kind"] == "access" && line["code"] == "http2.malformed" && line["status"] == 0
    });
    told(&gateway, "http2.malformed");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn fields_that_cannot_be_are_refused_whatever_they_say() {
    let origin = Origin::start();
    let gateway = before(&origin);
    for field in [
        ("x", "a\r\nb: c"),
        ("x", "a\nb"),
        ("x", "a\0b"),
        ("X-Upper", "1"),
        ("x y", "a"),
        ("x:", "a"),
        ("", "a"),
        (":unknown", "a"),
        (":Path", "/"),
        (":method", "G ET"),
    ] {
        let mut client = client(&gateway);
        let fields = Http2::fields(&[METHOD, SCHEME, AUTHORITY, PATH, field]);
        let stream = client.open(&fields, true);
        let outcome = client.outcome(stream);
        let refused = matches!(outcome, Outcome::Reset(..) | Outcome::GoneAway(_));
        assert!(refused, "{field:?}: {outcome:?}");
    }
    assert!(origin.seen().is_empty());
}

#[test]
fn what_can_be_understood_and_is_not_offered_gets_a_status_and_a_code() {
    let origin = Origin::start();
    let gateway = before(&origin);
    let mut client = client(&gateway);
    for (fields, expected, code) in [
        (vec![(":method", "CONNECT"), AUTHORITY], 405, "http.method"),
        (vec![(":method", "TRACE"), SCHEME, AUTHORITY, PATH], 405, "http.method"),
        (vec![METHOD, SCHEME, AUTHORITY, PATH, ("host", "other.example.com")], 400, "http.host"),
        (vec![METHOD, SCHEME, PATH], 400, "http.host"),
        (vec![METHOD, SCHEME, (":authority", "u@api.example.com"), PATH], 400, "http.host"),
        (vec![METHOD, SCHEME, AUTHORITY, PATH, ("host", "a"), ("host", "a")], 400, "http.host"),
        (vec![METHOD, (":scheme", "https"), AUTHORITY, PATH], 400, "http.scheme"),
        (vec![METHOD, SCHEME, AUTHORITY, (":path", "*")], 400, "http.path"),
        (vec![(":method", "OPTIONS"), SCHEME, AUTHORITY, (":path", "*")], 400, "http.path"),
        (vec![METHOD, SCHEME, AUTHORITY, (":path", "/a%2fb")], 400, "http.path"),
        (
            vec![METHOD, SCHEME, AUTHORITY, PATH, ("content-length", "0"), ("content-length", "0")],
            400,
            "http.content_length",
        ),
    ] {
        let stream = client.open(&Http2::fields(&fields), true);
        assert_eq!(status(&client.outcome(stream)), expected, "{fields:?}");
        told(&gateway, code);
    }
    // With `Host` in the place of `:authority`, or beside the same one, it is served.
    for fields in [
        vec![METHOD, SCHEME, PATH, ("host", "api.example.com")],
        vec![METHOD, SCHEME, AUTHORITY, PATH, ("host", "API.example.com:80")],
        vec![METHOD, SCHEME, AUTHORITY, PATH, ("te", "trailers")],
    ] {
        let stream = client.open(&Http2::fields(&fields), true);
        assert_eq!(status(&client.outcome(stream)), 200, "{fields:?}");
    }
    assert_eq!(origin.seen().len(), 3);
}

#[test]
fn heads_over_the_limit_are_431_and_told_of() {
    let origin = Origin::start();
    let gateway = before(&origin);
    let mut client = client(&gateway);
    let mut wanted = 0;
    for (size, count) in [(33 << 10, 1), (1, 101), (45_000, 2), (100_000, 1)] {
        let value = "v".repeat(size);
        let names: Vec<String> = (0..count).map(|number| format!("x-{number}")).collect();
        let fields: Vec<_> = names.iter().map(|name| (&**name, &*value)).collect();
        let block = Http2::request("GET", "/large", &fields);
        let stream = client.stream();
        let pieces: Vec<&[u8]> = block.chunks(16_384).collect();
        for (at, piece) in pieces.iter().enumerate() {
            let end = if at + 1 == pieces.len() { 4 } else { 0 };
            let (kind, flags) = if at == 0 { (1, end | 1) } else { (9, end) };
            client.send(Http2::frame(kind, flags, stream, piece));
        }
        assert_eq!(status(&client.outcome(stream)), 431, "{size} × {count}");
        wanted += 1;
        gateway.wait_many(wanted, |line| {
            line["kind"] == "access"
                && line["code"] == "http.head_too_large"
                && line["status"] == 431
        });
    }
    assert_eq!(status(&client.get("/good")), 200);
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn an_origin_over_http_1_gets_one_message_with_one_meaning() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let mut client = client(&gateway);
    let more = [
        ("cookie", "a=1"),
        ("te", "trailers"),
        ("cookie", "b=2"),
        ("content-length", "5"),
        ("cookie", "c=3"),
    ];
    let stream = client.open(&Http2::request("POST", "/x?y=z", &more), false);
    client.data(stream, b"he", false);
    client.data(stream, b"llo", true);
    assert_eq!(client.outcome(stream), Outcome::Answered(200, b"hello".to_vec()));
    let seen = origin.last();
    assert_eq!(seen.line, "POST /x?y=z HTTP/1.1");
    assert_eq!(seen.all("cookie"), ["a=1; b=2; c=3"]);
    assert_eq!((seen.all("content-length"), seen.header("transfer-encoding")), (vec!["5"], None));
    assert!(seen.headers.iter().all(|(name, _)| name != "te" && !name.starts_with(':')));
    // Without a length it is chunked.
    let stream = client.open(&Http2::request("POST", "/", &[]), false);
    client.data(stream, b"hello", false);
    client.data(stream, b"", true);
    assert_eq!(client.outcome(stream), Outcome::Answered(200, b"hello".to_vec()));
    let seen = origin.last();
    let framing = (seen.header("content-length"), seen.header("transfer-encoding"));
    assert_eq!(framing, (None, Some("chunked")));
    // And without a body it has none.
    assert_eq!(status(&client.get("/")), 200);
    let seen = origin.last();
    let framing = (seen.header("content-length"), seen.header("transfer-encoding"));
    assert_eq!(framing, (None, None));
}

#[test]
fn a_body_of_another_length_than_declared_never_comes_to_its_end() {
    for pieces in [&[&b"hel"[..], b"lo!"][..], &[b"hel", b""], &[b"hello!"]] {
        let origin = Origin::start();
        let gateway = before(&origin);
        let mut client = client(&gateway);
        let block = Http2::request("POST", "/length", &[("content-length", "5")]);
        let stream = client.open(&block, false);
        for (at, piece) in pieces.iter().enumerate() {
            client.data(stream, piece, at + 1 == pieces.len());
        }
        let outcome = client.outcome(stream);
        assert_eq!(outcome, Outcome::Reset(PROTOCOL_ERROR, 0, vec![]), "{pieces:?}");
        told(&gateway, "http2.malformed");
        // The origin saw a request that broke off, or none.
        assert!(origin.seen().is_empty());
        assert_eq!(status(&client.get("/good")), 200);
    }
}

#[test]
fn trailers_are_taken_but_not_those_that_come_too_late() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let mut client = client(&gateway);
    for (trailer, expected) in [
        (("x-checksum", "1"), 200),
        (("authorization", "Bearer x"), 400),
        (("host", "other"), 400),
        (("content-length", "9"), 400),
    ] {
        let stream = client.open(&Http2::request("POST", "/trailers", &[]), false);
        client.data(stream, b"body", false);
        client.send(Http2::frame(1, 5, stream, &Http2::fields(&[trailer])));
        assert_eq!(status(&client.outcome(stream)), expected, "{trailer:?}");
    }
    gateway
        .wait_many(3, |line| line["kind"] == "event" && line["type"] == "http.trailer_forbidden");
    // Fields of a connection are malformed there too.
    let stream = client.open(&Http2::request("POST", "/trailers", &[]), false);
    client.data(stream, b"body", false);
    let trailer = Http2::fields(&[("transfer-encoding", "chunked")]);
    client.send(Http2::frame(1, 5, stream, &trailer));
    assert_eq!(client.outcome(stream), Outcome::Reset(PROTOCOL_ERROR, 0, vec![]));
    assert!(origin.seen().iter().all(|seen| seen.header("authorization").is_none()));
}
