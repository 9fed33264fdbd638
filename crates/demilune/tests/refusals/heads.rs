//! Heads that are HTTP/1.1, and whose host, path or method is in doubt.

use demilune_testkit::{Document, Origin};

use crate::case::{Case, check};
use crate::start;

#[test]
fn any_doubt_about_the_host_is_refused() {
    let mut cases = vec![
        Case::new("GET / HTTP/1.1\r\n\r\n", 400, "http.host"),
        Case::new("GET / HTTP/1.0\r\n\r\n", 400, "http.host"),
        Case::with("host: a\r\nhost: a", 400, "http.host"),
        Case::with("host: a\r\nHost: b", 400, "http.host"),
        Case::with("Host: b\r\nx: y\r\nHOST: a", 400, "http.host"),
        Case::new("GET http://a/ HTTP/1.1\r\n\r\n", 400, "http.host"),
        Case::get("http://b/", 400, "http.host"),
        Case::get("http://b", 400, "http.host"),
        Case::get("http://a:8080/", 400, "http.host"),
        Case::get("http://a.b/", 400, "http.host"),
        Case::new("GET http://a/ HTTP/1.0\r\nhost: b\r\n\r\n", 400, "http.host"),
        Case::get("https://a/", 400, "http.scheme"),
    ];
    for host in [
        "",
        "a b",
        "a,b",
        "a, a",
        "user@a",
        "user:secret@a",
        "@a",
        "a:0",
        "a:65536",
        "a:b",
        "a:",
        "a:80:80",
        "a:-1",
        "[::1",
        "[::1]x",
        "[]",
        "a/b",
        "a/",
        "a?b",
        "a#b",
        "a\\b",
        "a%2eb",
        "a..b",
        ".",
        "http://a",
        "\"a\"",
        "caf\u{e9}",
    ] {
        cases.push(Case::with(&format!("host: {host}"), 400, "http.host"));
    }
    check(&cases);
}

#[test]
fn methods_that_are_not_for_resources_are_refused() {
    check(&[
        Case::new("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n", 405, "http.method"),
        Case::new("TRACE / HTTP/1.1\r\nhost: a\r\n\r\n", 405, "http.method"),
        Case::new("TRACE http://a/ HTTP/1.1\r\nhost: a\r\n\r\n", 405, "http.method"),
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
        "/a%0d%0ab",
        "/a%7fb",
        "/a;b",
        "/a;/../b",
        "/..;/b",
        "/a%252fb",
        "/a%zz",
        "/a%2",
        "/a%",
        "/%c0%af",
        "/%e0%80%af",
        "/%ed%a0%80",
        "/%ff",
        "/../a",
        "/a/../../b",
        "http://a/a%2fb",
    ]
    .iter()
    .map(|path| Case::get(path, 400, "http.path"))
    .collect();
    cases.push(Case::new("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", 400, "http.path"));
    cases.push(Case::get(&format!("/{}", "a".repeat(9000)), 400, "http.path"));
    cases.push(Case::get(&"/a".repeat(300), 400, "http.path"));
    check(&cases);
}

/// A head of exactly so many bytes.
fn head_of(size: usize) -> String {
    let around = "GET / HTTP/1.1\r\nhost: a\r\nx: \r\n\r\n".len();
    format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(size - around))
}

/// So many fields beside the host.
fn fields(count: usize) -> String {
    (0..count).map(|n| format!("\r\nx-{n}: 1")).collect()
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let value = "x".repeat(40 << 10);
    let trickle = "x: y\r\n".repeat(20_000);
    check(&[
        Case::new(head_of((32 << 10) + 1), 431, "http.head_too_large"),
        Case::with(&format!("host: a\r\nx: {value}"), 431, "http.head_too_large"),
        Case::with(&format!("host: a\r\n{value}: x"), 431, "http.head_too_large"),
        Case::get(&format!("/{value}"), 414, "http.target_too_long"),
        Case::new(&value, 414, "http.target_too_long"),
        Case::with(&format!("host: a{}", fields(100)), 431, "http.too_many_fields"),
        Case::with(&format!("host: a\r\n{trickle}"), 431, "http.too_many_fields"),
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
    for size in [64 << 10, 1 << 10] {
        client.send(head_of(size));
        assert_eq!(client.read(false).unwrap().status, 200);
    }
    client.send(format!("GET / HTTP/1.1\r\nhost: a{}\r\n\r\n", fields(99)));
    assert_eq!(client.read(false).unwrap().status, 200);
    assert_eq!(origin.last().header("x-98"), Some("1"));
    assert_eq!(origin.connections(), 1);
    client.send(head_of((64 << 10) + 1));
    assert_eq!(client.read(false).unwrap().status, 431);
}

#[test]
fn what_stands_behind_a_refused_head_is_not_read_as_a_request() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    let hidden = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";
    for (bad, status) in [
        ("GET / HTTP/1.1\r\nhost : a\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\n\n", 400),
        ("GET / HTTP/2.0\r\nhost: a\r\n\r\n", 505),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\ncontent-length: 9\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nhost: a\r\nexpect: a\r\ncontent-length: 0\r\n\r\n", 417),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\nab\r\n", 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", 400),
    ] {
        let mut client = gateway.client("main");
        client.send(format!("{bad}{hidden}"));
        assert_eq!(client.read(false).unwrap().status, status, "{bad}");
        assert!(client.ends(), "{bad}");
    }
    let lines = gateway.stop();
    assert!(!lines.iter().any(|line| line["path"] == "/hidden"), "{lines:#?}");
    assert!(origin.seen().is_empty());
}

#[test]
fn what_stands_before_a_refused_head_is_answered() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    let good = "GET /good HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut client = gateway.client("main");
    client.send(format!("{good}{good}GET /bad HTTP/1.1\r\nhost : a\r\n\r\n{good}"));
    let statuses = [(); 3].map(|()| client.read(false).unwrap().status);
    assert_eq!(statuses, [200, 200, 400]);
    assert!(client.ends());
    assert_eq!(origin.seen().len(), 2);
}
