//! Connections: kept alive, pipelined, old, and asking before they send.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use demilune_testkit::{ALICE_KEY, Document, Nobody, Origin};

use crate::start;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn connections_are_kept_on_both_sides() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    for number in 0..20 {
        let reply = client.request("POST", &format!("/{number}"), &[], Some(b"body"));
        assert_eq!((reply.status, reply.header("connection")), (200, None));
    }
    assert_eq!(origin.connections(), 1);
    let lines = gateway.wait_many(20, |line| line["kind"] == "access");
    assert!(lines.iter().all(|line| line["port"] == lines[0]["port"]), "{lines:?}");
}

#[test]
fn a_client_that_asks_for_the_end_gets_it_and_the_origins_connection_is_kept() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    for _ in 0..2 {
        let mut client = gateway.client("main");
        let reply = client.get("/", &[("connection", "close")]);
        assert_eq!(reply.header("connection"), Some("close"));
        assert!(client.ends());
        assert_eq!(origin.last().header("connection"), None);
    }
    // Each worker has connections of its own.
    assert!(origin.connections() <= 2);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let origin = Origin::answering(|seen| {
        let path = seen.line.split(' ').nth(1).unwrap();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len()).into_bytes()
    });
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    let requests: String = (0..10)
        .map(|number| match number % 3 {
            0 => format!("POST /{number} HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody"),
            1 => format!(
                "PUT /{number} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
                 4\r\nbody\r\n0\r\n\r\n"
            ),
            _ => format!("GET /{number} HTTP/1.1\r\nhost: a\r\n\r\n"),
        })
        .collect();
    client.send(requests);
    for number in 0..10 {
        let reply = client.read(false).unwrap();
        assert_eq!((reply.status, reply.text()), (200, format!("/{number}")));
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn pipelined_requests_that_come_in_any_pieces_are_answered_in_their_order() {
    let origin = Origin::echo();
    let gateway = start(Document::before(&origin));
    let requests = "POST /1 HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\none\
                    POST /2 HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
                    1;a=b\r\nt\r\n2\r\nwo\r\n0\r\nx: y\r\n\r\n\
                    \r\nGET /3 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n\
                    GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";
    for first in 1..requests.len() {
        let mut client = gateway.client("main");
        let (start, rest) = requests.as_bytes().split_at(first);
        client.send(start);
        client.send(rest);
        for body in ["one", "two", ""] {
            let reply = client.read(false).unwrap();
            assert_eq!((reply.status, reply.text().as_str()), (200, body), "{first}");
        }
        assert!(client.ends(), "{first}");
    }
    assert!(!origin.seen().iter().any(|seen| seen.line.contains("hidden")));
    assert_eq!(origin.seen().len(), 3 * (requests.len() - 1));
}

#[test]
fn a_client_that_ends_its_side_behind_its_request_gets_its_answer() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let origin = Origin::answering(move |seen| {
        let _ = released.lock().unwrap().recv_timeout(PATIENCE);
        let length = seen.body.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 100_000 + length);
        [head.as_bytes(), &seen.body, &vec![b'x'; 100_000]].concat()
    });
    let gateway = start(Document::before(&origin));
    let chunks = "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for (number, (request, body)) in [
        ("GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(), ""),
        ("GET / HTTP/1.0\r\nhost: a\r\n\r\n".to_owned(), ""),
        ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello".to_owned(), "hello"),
        (format!("POST / HTTP/1.1\r\nhost: a\r\n{chunks}"), "hello"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = gateway.client("main");
        client.send(&request);
        client.finish();
        origin.wait_seen(number + 1);
        release.send(()).unwrap();
        let reply = client.read(false).unwrap();
        assert_eq!((reply.status, reply.whole), (200, true), "{request}");
        assert_eq!(reply.body.len(), 100_000 + body.len(), "{request}");
        assert!(reply.body.starts_with(body.as_bytes()), "{request}");
        assert!(client.ends(), "{request}");
    }
    let lines = gateway.stop();
    let complete = lines.iter().filter(|line| line["end"] == "complete" && line["status"] == 200);
    assert_eq!(complete.count(), 4, "{lines:#?}");
}

#[test]
fn a_refused_pipelined_request_does_not_take_the_next_one_along() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin).routes(&[
        "open: { match: { path: /open }, upstream: origin, public: for the test }",
        "shut: { match: { path: /shut }, upstream: origin, authenticate: keys }",
    ]));
    let mut client = gateway.client("main");
    client.send(
        "GET /shut HTTP/1.1\r\nhost: a\r\n\r\nGET /open HTTP/1.1\r\nhost: a\r\n\r\n\
         GET /shut HTTP/1.1\r\nhost: a\r\n\r\n",
    );
    let statuses = [(); 3].map(|()| client.read(false).unwrap().status);
    assert_eq!(statuses, [401, 200, 401]);
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn http_1_0_is_spoken_and_its_connections_end_unless_asked_otherwise() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    client.send("GET /old HTTP/1.0\r\nhost: a\r\n\r\n");
    let answer = String::from_utf8(client.rest()).unwrap();
    // The status line says what we speak, not what the client does (RFC 9112 section 2.3).
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("hello"), "{answer}");
    assert_eq!(origin.last().line, "GET /old HTTP/1.1");
    assert_eq!(gateway.access("/old")["version"], "HTTP/1.0");
    let mut client = gateway.client("main");
    for _ in 0..2 {
        client.send("GET /kept HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n");
        let reply = client.read(false).unwrap();
        assert_eq!(
            (reply.text().as_str(), reply.header("connection")),
            ("hello", Some("keep-alive"))
        );
    }
}

#[test]
fn an_http_1_0_client_is_never_sent_chunks() {
    let origin = Origin::answering(|_| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        format!("{head}3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n").into_bytes()
    });
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    client.send("GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n");
    let reply = client.read(false).unwrap();
    assert_eq!(reply.header("transfer-encoding"), None);
    assert_eq!(reply.text(), "onetwo");
    assert!(client.ends());
}

#[test]
fn a_client_that_expects_100_is_told_so_once_it_is_admitted() {
    let origin = Origin::echo();
    let gateway = start(Document::before(&origin).route("authenticate: keys"));
    let mut client = gateway.client("main");
    for _ in 0..2 {
        let headers =
            [("expect", "100-continue"), ("content-length", "5"), ("x-api-key", ALICE_KEY)];
        client.begin("POST", "/", &headers);
        assert_eq!(client.head().unwrap().status, 100);
        client.send("hello");
        let reply = client.read(false).unwrap();
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
    }
    assert_eq!(origin.last().header("expect"), None);
}

#[test]
fn nobody_is_told_100_before_being_admitted_and_a_connection_to_the_origin_is_there() {
    let (origin, nobody) = (Origin::echo(), Nobody::listening());
    let gateway = start(Document::before(&origin).routes(&[
        "keyed: { match: { path: /keyed }, upstream: origin, authenticate: keys }",
        "sized: { match: { path: /sized }, upstream: origin, public: for the test, \
         policies: [ { request_size: { body: 4B } } ] }",
    ]));
    let dead = start(Document::default().endpoint(&nobody.url()));
    let expects = |length: &str| format!("expect: 100-continue\r\ncontent-length: {length}");
    let chunked = "expect: 100-continue\r\ntransfer-encoding: chunked".to_owned();
    for (gateway, path, fields, status) in [
        (&gateway, "/keyed", expects("5"), 401),
        (&gateway, "/keyed", chunked.clone(), 401),
        (&gateway, "/sized", expects("5"), 413),
        (&gateway, "/nowhere", expects("5"), 404),
        (&gateway, "/a%2fb", expects("5"), 400),
        (&gateway, "/keyed", expects("5\r\nhost: b"), 400),
        (&gateway, "/keyed", expects("5, 5"), 400),
        (&dead, "/", expects("5"), 502),
        (&dead, "/", chunked, 502),
    ] {
        let mut client = gateway.client("main");
        client.send(format!("POST {path} HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n"));
        assert_eq!(client.head().unwrap().status, status, "{path} {fields}");
    }
    assert!(origin.seen().is_empty());
}

#[test]
fn who_expects_100_and_does_not_wait_for_it_is_served_too() {
    let origin = Origin::echo();
    let gateway = start(Document::before(&origin).route("authenticate: keys"));
    let mut client = gateway.client("main");
    for (framing, body) in [
        ("content-length: 5", "hello"),
        ("content-length: 0", ""),
        ("transfer-encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ("expect: 100-Continue\r\nContent-Length: 5", "hello"),
    ] {
        let expect = if framing.contains("expect") { "" } else { "expect: 100-continue\r\n" };
        client.send(format!(
            "POST / HTTP/1.1\r\nhost: a\r\nx-api-key: {ALICE_KEY}\r\n{expect}{framing}\r\n\r\n\
             {body}"
        ));
        let reply = client.read(false).unwrap();
        let expected = if body.is_empty() { "" } else { "hello" };
        assert_eq!((reply.status, reply.text().as_str()), (200, expected), "{framing}");
    }
    assert_eq!((origin.connections(), origin.seen().len()), (1, 4));
}

#[test]
fn who_has_no_body_to_send_or_speaks_http_1_0_is_not_told_100() {
    let origin = Origin::echo();
    let gateway = start(Document::before(&origin));
    for (head, body) in [
        ("GET / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\n\r\n", ""),
        ("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 0\r\n\r\n", ""),
        (
            "POST / HTTP/1.0\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n",
            "body!",
        ),
    ] {
        let mut client = gateway.client("main");
        client.send(head);
        client.send(body);
        assert_eq!(client.head().unwrap().status, 200, "{head}");
    }
}

#[test]
fn a_refused_client_that_expects_100_gets_the_refusal_alone_and_its_body_is_not_read() {
    let origin = Origin::echo();
    let gateway = start(Document::before(&origin).route("authenticate: keys"));
    let mut client = gateway.client("main");
    client.begin("POST", "/", &[("expect", "100-continue"), ("content-length", "5")]);
    let reply = client.head().unwrap();
    assert_eq!(reply.status, 401);
    let length = reply.header("content-length").unwrap().parse().unwrap();
    assert!(client.bytes(length).unwrap().starts_with(b"{\"title\":\"Unauthorized\""));
    assert!(client.ends(), "what may follow is nobody's");
    let line = gateway.access("/");
    assert_eq!((line["status"].as_u64(), line["received"].as_u64()), (Some(401), Some(0)));
    assert!(origin.seen().is_empty());
}

#[test]
fn a_body_that_nobody_wanted_is_not_taken_for_the_next_request() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin).route("authenticate: keys"));
    let mut client = gateway.client("main");
    let hidden = format!("GET /hidden HTTP/1.1\r\nhost: a\r\nx-api-key: {ALICE_KEY}\r\n\r\n");
    let reply = client.request("POST", "/", &[], Some(hidden.as_bytes()));
    assert_eq!(reply.status, 401);
    // Either the body was skipped and the connection goes on, or it ends.
    client.begin("GET", "/next", &[("x-api-key", ALICE_KEY)]);
    if let Some(reply) = client.read(false) {
        assert_eq!(reply.status, 200);
    }
    let lines = gateway.stop();
    assert!(!lines.iter().any(|line| line["path"] == "/hidden"), "{lines:#?}");
    assert!(origin.seen().iter().all(|seen| seen.line == "GET /next HTTP/1.1"));
}

#[test]
fn a_target_may_name_the_host_that_the_header_names() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    client.send("GET http://API.example.com:80/a?b=c HTTP/1.1\r\nhost: api.example.com\r\n\r\n");
    assert_eq!(client.read(false).unwrap().status, 200);
    assert_eq!(origin.last().line, "GET /a?b=c HTTP/1.1");
    assert_eq!(origin.last().header("x-forwarded-host"), Some("api.example.com:80"));
}
