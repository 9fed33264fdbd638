//! Connections: kept alive, pipelined, old, and asking before they send.

use demilune_testkit::{ALICE_KEY, Document, Origin};

use crate::start;

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
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("hello"), "{answer}");
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
