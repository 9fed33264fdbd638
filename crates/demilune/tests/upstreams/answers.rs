//! Answers that break off, stall, come early, or in pieces.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use demilune_testkit::{Document, Origin};
use serde_json::{Value, json};

use crate::start;

const PATIENCE: Duration = Duration::from_secs(20);

/// Answers one request with these bytes and ends.
fn once(answer: impl Into<String>) -> Origin {
    let answer = answer.into();
    Origin::conversing(move |talk| {
        talk.request();
        talk.send(&answer);
    })
}

#[test]
fn an_answer_that_is_cut_short_is_shown_to_be() {
    for (answer, sent) in [
        ("content-length: 10\r\n\r\nhello", 5),
        ("content-length: 10\r\n\r\n", 0),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", 5),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", 5),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx: y\r\n", 5),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhello", 5),
        // What is odd about chunks is as good as an end.
        ("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", 5),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n", 5),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n", 5),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\n\r\n", 5),
        ("transfer-encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", 0),
        ("transfer-encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n", 0),
        ("transfer-encoding: chunked\r\n\r\n5;\r\nhello\r\n0\r\n\r\n", 0),
        ("transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nhost: a\r\n\r\n", 5),
    ] {
        let origin = once(format!("HTTP/1.1 200 OK\r\n{answer}"));
        let gateway = start(Document::before(&origin));
        let mut client = gateway.client("main");
        let reply = client.get("/cut", &[]);
        assert_eq!((reply.status, reply.whole), (200, false), "{answer}");
        assert!(client.ends(), "{answer}");
        let line = gateway.access("/cut");
        let told = json!([line["status"], line["end"], line["sent"]]);
        assert_eq!(told, json!([200, "upstream_cut", sent]), "{answer}");
    }
}

#[test]
fn an_answer_whose_connection_is_reset_is_shown_to_be_cut_however_its_end_was_to_be_told() {
    for framing in ["content-length: 10", "transfer-encoding: chunked", "connection: close"] {
        for version in ["1.0", "1.1"] {
            let (reset, allowed) = channel::<()>();
            let allowed = Mutex::new(allowed);
            let origin = Origin::conversing(move |talk| {
                talk.request();
                let chunked = framing.contains("chunked");
                let piece = if chunked { "5\r\nhello\r\n" } else { "hello" };
                talk.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{piece}"));
                let _ = allowed.lock().unwrap().recv_timeout(PATIENCE);
                talk.reset_when_dropped();
            });
            let gateway = start(Document::before(&origin));
            let mut client = gateway.client("main");
            client.send(format!("GET /cut HTTP/{version}\r\nhost: a\r\n\r\n"));
            let head = client.head().unwrap();
            assert_eq!(head.status, 200, "{framing}");
            // Chunks for those who understand them, where the origin declared no length.
            let chunked = head.header("transfer-encoding") == Some("chunked");
            assert_eq!(chunked, version == "1.1" && !framing.contains("length"), "{framing}");
            let first = if chunked { client.chunk() } else { client.bytes(5) };
            assert_eq!(first.unwrap(), b"hello", "{framing}");
            reset.send(()).unwrap();
            let (rest, ended) = client.rest_and_end();
            assert_eq!(rest, b"", "{framing} {version}: nothing is made up");
            // A body that ends with the connection shows only by a reset that it did not end.
            let told = head.header("content-length").is_some() || chunked;
            assert!(told || !ended, "{framing} {version}: it looks complete");
            let line = gateway.access("/cut");
            let told = json!([line["status"], line["end"], line["sent"]]);
            assert_eq!(told, json!([200, "upstream_cut", 5]), "{framing} {version}");
        }
    }
}

#[test]
fn an_answer_that_stalls_is_cut_after_the_idle_time() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let origin = Origin::conversing(move |talk| {
        talk.request();
        talk.send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
        let _ = tell.lock().unwrap().send(talk.ends());
    });
    let gateway = start(Document::before(&origin).upstream("timeouts: { idle: 300ms }"));
    let mut client = gateway.client("main");
    let reply = client.get("/stalled", &[]);
    assert_eq!((reply.text().as_str(), reply.whole), ("hello", false));
    assert!(client.ends());
    assert_eq!(gateway.access("/stalled")["end"], "upstream_cut");
    assert!(told.recv_timeout(PATIENCE).unwrap(), "the connection was given up");
}

#[test]
fn interim_answers_are_not_taken_for_the_final_one() {
    let origin = Origin::answering(|_| {
        b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n\
          HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfinal"
            .to_vec()
    });
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    for _ in 0..2 {
        let reply = client.get("/", &[]);
        assert_eq!((reply.status, reply.text().as_str()), (200, "final"));
    }
    assert_eq!(origin.connections(), 1);
}

#[test]
fn an_answer_may_come_before_the_request_has_been_sent_to_its_end() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let origin = Origin::conversing(move |talk| {
        if talk.head().is_none() {
            return;
        }
        let first = talk.chunk();
        talk.send("HTTP/1.1 413 Content Too Large\r\ncontent-length: 5\r\n\r\nearly");
        let tell = tell.lock().unwrap().clone();
        let _ = tell.send(first);
        // It reads on, and throws away.
        let _ = tell.send(talk.chunk());
    });
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    client.begin("POST", "/early", &[("transfer-encoding", "chunked")]);
    client.send_chunk("first");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), b"first");
    let reply = client.read(false).unwrap();
    assert_eq!((reply.status, reply.text().as_str(), reply.whole), (413, "early", true));
    let line = gateway.access("/early");
    let said = json!([line["status"], line["end"], line["code"]]);
    assert_eq!(said, json!([413, "complete", Value::Null]), "the origin's answer is no refusal");
    // The client may send the rest, or leave: nobody waits for the other.
    client.send_chunk("last");
    client.send_chunk("");
    drop(client);
    told.recv_timeout(PATIENCE).unwrap();
}

#[test]
fn an_origin_that_answers_early_and_ends_does_not_spoil_its_answer() {
    let origin = Origin::conversing(|talk| {
        talk.head();
        talk.chunk();
        talk.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno");
        talk.finish();
        // Until the gateway has read it: a connection closed with bytes unread is reset.
        talk.rest();
    });
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    client.begin("POST", "/", &[("transfer-encoding", "chunked")]);
    client.send_chunk("first");
    let reply = client.read(false).unwrap();
    assert_eq!((reply.status, reply.text().as_str(), reply.whole), (403, "no", true));
}

#[test]
fn an_answer_without_an_end_of_its_own_that_is_whole_is_complete() {
    let origin = once("HTTP/1.0 200 OK\r\n\r\nhello");
    let gateway = start(Document::before(&origin));
    let reply = gateway.client("main").get("/", &[]);
    assert_eq!((reply.text().as_str(), reply.whole), ("hello", true));
    assert_eq!(gateway.access("/")["end"], "complete");
}

#[test]
fn statuses_that_nobody_knows_pass() {
    let origin = Origin::answering(|seen| {
        let status = seen.line.split(['/', ' ']).nth(2).unwrap();
        format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok").into_bytes()
    });
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    for status in [200, 226, 299, 399, 418, 451, 500, 503, 599, 799] {
        let reply = client.get(&format!("/{status}"), &[]);
        assert_eq!((reply.status, reply.text().as_str()), (status, "ok"));
    }
    let lines = gateway.stop();
    assert!(!lines.iter().any(|line| line["kind"] == "event"), "{lines:#?}");
}
