//! Connections to an origin that are kept, and what happens where it ends them.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use demilune_testkit::{Document, Origin};
use serde_json::{Value, json};

use crate::start;

const PATIENCE: Duration = Duration::from_secs(20);

const HELLO: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// An origin that answers one request on each connection and ends it without having said so.
fn short_lived() -> Origin {
    Origin::conversing(|talk| {
        if talk.request().is_some() {
            talk.send(HELLO);
        }
    })
}

#[test]
fn a_connection_that_the_origin_ended_between_requests_is_replaced() {
    let origin = short_lived();
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    let requests = [
        ("GET", None),
        ("GET", None),
        ("POST", Some(&b"body"[..])),
        ("POST", None),
        ("PUT", Some(b"body")),
    ];
    for (number, (method, body)) in requests.into_iter().enumerate() {
        let reply = client.request(method, &format!("/{number}"), &[], body);
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"), "{method} {number}");
        assert_eq!(origin.seen().len(), number + 1);
        // Its end has reached the gateway's machine before the next request is sent.
        origin.wait_ended(number + 1);
    }
    assert_eq!(origin.connections(), 5);
    assert!(origin.seen()[2].body == b"body" && origin.seen()[4].body == b"body");
}

/// An origin that answers the first request on its first connection, and ends every connection on
/// which a further request comes, once it has read it; fresh connections are answered.
fn ending_when_asked_again() -> Origin {
    Origin::conversing(|talk| {
        if talk.request().is_some() {
            talk.send(HELLO);
            talk.request();
        }
    })
}

#[test]
fn a_request_without_a_body_that_is_safe_to_repeat_is_repeated_once_on_a_fresh_connection() {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        let origin = ending_when_asked_again();
        let gateway = start(Document::before(&origin));
        let mut client = gateway.client("main");
        assert_eq!(client.get("/", &[]).status, 200);
        client.begin(method, "/again", &[]);
        assert_eq!(client.read(method == "HEAD").unwrap().status, 200, "{method}");
        let again = format!("{method} /again HTTP/1.1");
        let seen = origin.seen();
        assert_eq!(seen.iter().filter(|seen| seen.line == again).count(), 2, "{seen:#?}");
        assert_eq!(origin.connections(), 2);
        // One endpoint was tried.
        assert_eq!(gateway.access("/again")["upstream"]["attempts"], 1);
    }
}

#[test]
fn a_request_that_may_have_been_carried_out_is_never_repeated() {
    for (method, body) in [("POST", Some(&b"pay"[..])), ("POST", None), ("PUT", Some(b"pay"))] {
        let origin = ending_when_asked_again();
        let gateway = start(Document::before(&origin));
        let mut client = gateway.client("main");
        assert_eq!(client.get("/", &[]).status, 200);
        let reply = client.request(method, "/pay", &[], body);
        assert_eq!(reply.status, 502, "{method}");
        let pay = format!("{method} /pay HTTP/1.1");
        let seen = origin.seen();
        assert_eq!(seen.iter().filter(|seen| seen.line == pay).count(), 1, "{seen:#?}");
        let line = gateway.access("/pay");
        let told = json!([line["status"], line["code"], line["upstream"]["attempts"]]);
        assert_eq!(told, json!([502, "upstream.broken", 1]));
    }
}

#[test]
fn nothing_is_repeated_on_a_fresh_connection() {
    let origin = Origin::answering(|_| Vec::new());
    let gateway = start(Document::before(&origin));
    assert_eq!(gateway.client("main").get("/", &[]).status, 502);
    assert_eq!((origin.seen().len(), origin.connections()), (1, 1));
    assert_eq!(gateway.access("/")["code"], "upstream.broken");
}

#[test]
fn a_repeated_request_that_fails_again_is_given_up() {
    let origin = Origin::conversing(|talk| {
        let first = talk.request().is_some_and(|seen| seen.line.contains("/first"));
        if first {
            talk.send(HELLO);
            talk.request();
        }
    });
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    assert_eq!(client.get("/first", &[]).status, 200);
    assert_eq!(client.get("/again", &[]).status, 502);
    assert_eq!((origin.seen().len(), origin.connections()), (3, 2));
}

/// What an origin says in the hope that it is taken for the answer to somebody's request.
const HIDDEN: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nhidden";

#[test]
fn a_connection_with_bytes_seen_behind_an_answers_declared_end_is_not_used_again() {
    let origin = Origin::conversing(move |talk| {
        while talk.request().is_some() {
            talk.send(format!("{HELLO}{HIDDEN}"));
        }
    });
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    for (number, method) in ["GET", "POST", "PUT"].into_iter().enumerate() {
        let path = format!("/{number}");
        let reply = client.request(method, &path, &[], None);
        assert_eq!(reply.status, 502, "{method}");
        let told = reply.text();
        assert!(!told.contains("hello") && !told.contains("hidden"), "{told}");
        assert_eq!(gateway.access(&path)["code"], "upstream.unexpected");
        origin.wait_ended(number + 1);
    }
    assert_eq!(origin.connections(), 3);
}

// Where an answer has no body, or its end is only found as it is read, it is on its way already.
#[test]
fn a_connection_with_bytes_behind_an_answer_is_not_used_again() {
    for (method, answer) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ] {
        let origin = Origin::conversing(move |talk| {
            while talk.request().is_some() {
                talk.send(format!("{answer}{HIDDEN}"));
            }
        });
        let gateway = start(Document::before(&origin));
        let mut client = gateway.client("main");
        for _ in 0..3 {
            let reply = client.request(method, "/", &[], None);
            assert_ne!(reply.text(), "hidden", "{method} {answer}");
            assert!(reply.whole && matches!(reply.status, 200 | 204 | 304), "{reply:?}");
        }
        assert_eq!(origin.connections(), 3, "{method} {answer}");
        origin.wait_ended(3);
    }
}

#[test]
fn what_an_origin_says_while_nobody_asks_is_given_to_nobody() {
    let sayings =
        [HIDDEN, "HTTP/1.1 200 OK\r\ncontent-le", "\r\n", "x", "HTTP/1.1 100 Continue\r\n\r\n"];
    let (allow, allowed) = channel::<&str>();
    let allowed = Mutex::new(allowed);
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let origin = Origin::conversing(move |talk| {
        let Some(seen) = talk.request() else { return };
        talk.send(HELLO);
        if seen.line.contains("/first") {
            let saying = allowed.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            let tell = tell.lock().unwrap().clone();
            talk.send(saying);
            let _ = tell.send(true);
            let _ = tell.send(talk.ends());
        }
    });
    let gateway = start(Document::before(&origin));
    for (number, saying) in sayings.into_iter().enumerate() {
        // On one connection of a client, so that one worker has all of it.
        let mut client = gateway.client("main");
        assert_eq!(client.get("/first", &[]).text(), "hello");
        assert_eq!(origin.connections(), 2 * number + 1);
        allow.send(saying).unwrap();
        assert!(told.recv_timeout(PATIENCE).unwrap());
        let reply = client.request("POST", "/next", &[], Some(b"body"));
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"), "{saying:?}");
        assert_eq!(origin.connections(), 2 * (number + 1), "{saying:?}");
        assert!(told.recv_timeout(PATIENCE).unwrap(), "the connection was given up: {saying:?}");
    }
    let next = origin.seen().into_iter().filter(|seen| seen.line.starts_with("POST /next"));
    assert_eq!(next.count(), sayings.len());
}

#[test]
fn a_connection_that_the_origin_wants_to_end_is_not_used_again() {
    for answer in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    ] {
        let origin = Origin::conversing(move |talk| {
            while talk.request().is_some() {
                talk.send(answer);
            }
        });
        let gateway = start(Document::before(&origin));
        let mut client = gateway.client("main");
        for _ in 0..3 {
            let reply = client.get("/", &[]);
            assert_eq!((reply.text().as_str(), reply.header("connection")), ("hello", None));
        }
        assert_eq!(origin.connections(), 3, "{answer}");
    }
}

#[test]
fn a_connection_whose_answer_was_not_read_to_its_end_is_not_used_again() {
    let origin = Origin::conversing(|talk| {
        while let Some(seen) = talk.request() {
            if !seen.line.contains("/large") {
                talk.send(HELLO);
                continue;
            }
            talk.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n");
            while talk.sends([b'x'; 65536]) {}
            return;
        }
    });
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    client.begin("GET", "/large", &[]);
    assert_eq!(client.head().unwrap().status, 200);
    assert!(client.bytes(1000).is_some());
    drop(client);
    origin.wait_ended(1);
    let line = gateway.access("/large");
    assert_eq!((&line["end"], &line["code"]), (&"client_left".into(), &Value::Null));
    assert_eq!(gateway.client("main").get("/", &[]).text(), "hello");
    assert_eq!(origin.connections(), 2);
}

#[test]
fn as_many_connections_are_kept_as_the_operator_wants() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin).upstream("idle_connections: 0"));
    let mut client = gateway.client("main");
    for _ in 0..3 {
        assert_eq!(client.get("/", &[]).status, 200);
    }
    assert_eq!(origin.connections(), 3);
}
