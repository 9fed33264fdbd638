//! Heads that can be understood in two ways, or in none.

use demilune_testkit::{Client, Document, Gateway, Origin};
use serde_json::Value;

use crate::start;

/// A request that is sent as it stands, the status it gets and the code it is logged with.
struct Case {
    request: Vec<u8>,
    status: u16,
    code: &'static str,
}

impl Case {
    fn new(request: impl AsRef<[u8]>, status: u16, code: &'static str) -> Self {
        Self { request: request.as_ref().to_vec(), status, code }
    }

    fn get(target: &str, status: u16, code: &'static str) -> Self {
        Self::new(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"), status, code)
    }

    fn with(headers: &str, status: u16, code: &'static str) -> Self {
        Self::new(format!("POST / HTTP/1.1\r\n{headers}\r\n\r\n"), status, code)
    }

    fn send(&self, gateway: &Gateway) -> Client {
        let mut client = gateway.client("main");
        client.send(&self.request);
        client
    }
}

/// Sends each case on a connection of its own. Each must get its status, one access line with its
/// code and exactly one event, and reach no origin.
fn check(cases: &[Case]) {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    let mut clients: Vec<Client> = cases.iter().map(|case| case.send(&gateway)).collect();
    for (case, client) in cases.iter().zip(&mut clients) {
        let text = String::from_utf8_lossy(&case.request);
        let status = client.read(false).map(|reply| reply.status);
        assert_eq!(status, Some(case.status), "{text:.200}");
    }
    let ports: Vec<u16> = clients.iter().map(|client| client.port()).collect();
    drop(clients);
    let lines = gateway.stop();
    for (case, port) in cases.iter().zip(ports) {
        let of_port = |line: &&Value| line["kind"] == "access" && line["port"] == port;
        let access: Vec<&Value> = lines.iter().filter(of_port).collect();
        let text = String::from_utf8_lossy(&case.request);
        assert_eq!(access.len(), 1, "{text:.200} {access:#?}");
        let (code, status) = (access[0]["code"].as_str(), access[0]["status"].as_u64());
        assert_eq!((code, status), (Some(case.code), Some(case.status.into())), "{text:.200}");
        let id = &access[0]["request_id"];
        let of_request = |line: &&Value| line["kind"] == "event" && line["request_id"] == *id;
        let events: Vec<&Value> = lines.iter().filter(of_request).collect();
        assert_eq!(events.len(), 1, "{text:.200} {events:#?}");
        assert_eq!(events[0]["type"], case.code);
    }
    assert!(origin.seen().is_empty(), "{:#?}", origin.seen());
}

#[test]
fn any_doubt_about_the_host_is_refused() {
    let mut cases = vec![
        Case::new("GET / HTTP/1.1\r\n\r\n", 400, "http.host"),
        Case::new("GET / HTTP/1.0\r\n\r\n", 400, "http.host"),
        Case::with("host: a\r\nhost: a", 400, "http.host"),
        Case::with("host: a\r\nHost: b", 400, "http.host"),
        Case::new("GET http://a/ HTTP/1.1\r\n\r\n", 400, "http.host"),
        Case::get("http://b/", 400, "http.host"),
        Case::get("http://a:8080/", 400, "http.host"),
        Case::get("http://user@a/", 400, "http.host"),
        Case::get("https://a/", 400, "http.scheme"),
        Case::get("ftp://a/", 400, "http.scheme"),
    ];
    for host in [
        "",
        "a b",
        "a,b",
        "user@a",
        "a:0",
        "a:65536",
        "a:b",
        "a:",
        "[::1",
        "a/b",
        "a..b",
        "http://a",
        "caf\u{e9}",
    ] {
        cases.push(Case::with(&format!("host: {host}"), 400, "http.host"));
    }
    check(&cases);
}

#[test]
fn any_doubt_about_the_framing_is_refused() {
    let mut cases = Vec::new();
    // A coding that does not end in `chunked` is refused by the codec, as is one in HTTP/1.0.
    for (codings, code) in [
        ("gzip, chunked", "http.transfer_encoding"),
        ("chunked, chunked", "http.transfer_encoding"),
        ("identity, chunked", "http.transfer_encoding"),
        (", chunked", "http.transfer_encoding"),
        ("x\r\ntransfer-encoding: chunked", "http.transfer_encoding"),
        ("chunked\r\ntransfer-encoding: chunked", "http.transfer_encoding"),
        ("identity", "http.malformed"),
        ("gzip", "http.malformed"),
        ("chunked, gzip", "http.malformed"),
        ("chunked\r\ntransfer-encoding: identity", "http.malformed"),
        ("\"chunked\"", "http.malformed"),
        ("xchunked", "http.malformed"),
        ("", "http.malformed"),
    ] {
        cases.push(Case::with(&format!("host: a\r\ntransfer-encoding: {codings}"), 400, code));
    }
    let old = "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    cases.push(Case::new(old, 400, "http.malformed"));
    for length in [
        "-1",
        "+1",
        "0x1",
        "1 1",
        "1,2",
        "1, 1",
        "",
        "18446744073709551616",
        "1\r\ncontent-length: 2",
    ] {
        let headers = format!("host: a\r\ncontent-length: {length}");
        cases.push(Case::with(&headers, 400, "http.malformed"));
    }
    check(&cases);
}

// The codec takes `Content-Length` away where it stands beside `Transfer-Encoding: chunked`, and
// the second one of two that agree: nobody above it can refuse those. What matters is that they
// are gone towards the origin too, so that it does not count in another way than the gateway.
#[test]
fn a_length_beside_chunks_does_not_reach_the_origin_and_hides_no_request() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    let hidden = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";
    for framing in [
        format!("content-length: {}\r\ntransfer-encoding: chunked", 5 + hidden.len()),
        "transfer-encoding: chunked\r\ncontent-length: 5".to_owned(),
    ] {
        let mut client = gateway.client("main");
        client.send(format!(
            "POST /both HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        ));
        assert_eq!(client.read(false).unwrap().status, 200);
        let seen = origin.last();
        assert_eq!((seen.line.as_str(), &*seen.body), ("POST /both HTTP/1.1", &b"abc"[..]));
        assert_eq!(seen.header("content-length"), None);
        assert_eq!(seen.all("transfer-encoding"), ["chunked"]);
    }
    let twice =
        "POST /twice HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc";
    let mut client = gateway.client("main");
    client.send(twice);
    match client.read(false).unwrap().status {
        200 => assert_eq!(origin.last().all("content-length"), ["3"]),
        status => assert_eq!(status, 400),
    }
}

#[test]
fn methods_that_are_not_for_resources_are_refused() {
    check(&[
        Case::new("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n", 405, "http.method"),
        Case::new("TRACE / HTTP/1.1\r\nhost: a\r\n\r\n", 405, "http.method"),
    ]);
}

#[test]
fn a_path_that_two_readers_could_read_differently_is_refused() {
    let mut cases: Vec<Case> = [
        "/a%2fb",
        "/a%2Fb",
        "/a%5cb",
        "/a\\b",
        "/%2e%2e/b",
        "/a/.%2e/b",
        "/a%2e",
        "/a%00b",
        "/a%0ab",
        "/a%7fb",
        "/a;b",
        "/a;/../b",
        "/a%252fb",
        "/a%zz",
        "/a%2",
        "/a%",
        "/%c0%af",
        "/%ff",
        "/../a",
        "/a/../../b",
        "*",
    ]
    .iter()
    .map(|path| Case::get(path, 400, "http.path"))
    .collect();
    cases.push(Case::get(&format!("/{}", "a".repeat(9000)), 400, "http.path"));
    cases.push(Case::get(&"/a".repeat(300), 400, "http.path"));
    check(&cases);
}

#[test]
fn a_head_that_is_no_head_is_refused() {
    let mut cases: Vec<Case> = [
        "GET /\r\n\r\n",
        "GET  / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1 \r\nhost: a\r\n\r\n",
        "GET / HTTP/2.0\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.2\r\nhost: a\r\n\r\n",
        "GET / http/1.1\r\nhost: a\r\n\r\n",
        "G@T / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        "GET / HTTP/1.1\r\n host: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nx\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\n: x\r\n\r\n",
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03",
    ]
    .iter()
    .map(|request| Case::new(request, 400, "http.malformed"))
    .collect();
    cases.push(Case::get("a", 400, "http.target"));
    cases.push(Case::new(b"GET /\xff HTTP/1.1\r\nhost: a\r\n\r\n", 400, "http.malformed"));
    check(&cases);
}

#[test]
fn a_head_that_is_too_large_is_refused_with_431() {
    let value = "x".repeat(40 << 10);
    let many: String = (0..101).map(|n| format!("\r\nx-{n}: 1")).collect();
    check(&[
        Case::with(&format!("host: a\r\nx: {value}"), 431, "http.head_too_large"),
        Case::with(&format!("host: a{many}"), 431, "http.head_too_large"),
        Case::get(&format!("/{value}"), 431, "http.head_too_large"),
    ]);
}

#[test]
fn as_much_as_the_listener_admits_is_understood() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin).listener("limits: { head_size: 64KiB }"));
    let large = "x".repeat(50 << 10);
    let mut client = gateway.client("main");
    assert_eq!(client.get("/", &[("x", &large)]).status, 200);
    let many: Vec<_> = (0..90).map(|n| (format!("x-{n}"), "1")).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(client.get("/", &many).status, 200);
    assert_eq!(origin.last().header("x-89"), Some("1"));
}

#[test]
fn what_stands_behind_a_refused_head_is_not_read_as_a_request() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    let hidden = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";
    for bad in [
        "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let mut client = gateway.client("main");
        client.send(format!("{bad}{hidden}"));
        assert_eq!(client.read(false).unwrap().status, 400, "{bad}");
        assert!(client.ends(), "{bad}");
    }
    let lines = gateway.stop();
    assert!(!lines.iter().any(|line| line["path"] == "/hidden"), "{lines:#?}");
}
