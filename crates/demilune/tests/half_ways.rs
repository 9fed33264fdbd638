//! Requests and answers that end half-way, or where nobody would look for the end.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use demilune_testkit::{Document, Gateway, Origin, gateway};

const PATIENCE: Duration = Duration::from_secs(20);

fn start(document: Document) -> Gateway {
    gateway(env!("CARGO_BIN_EXE_demilune")).config(document).start()
}

#[test]
fn requests_that_came_before_the_client_ended_its_side_are_all_answered() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let origin = Origin::answering(move |_| {
        let _ = released.lock().unwrap().recv_timeout(PATIENCE);
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_vec()
    });
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    client.send("GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n");
    client.finish();
    origin.wait_seen(1);
    for _ in 0..2 {
        release.send(()).unwrap();
    }
    assert_eq!(client.read(false).map(|reply| reply.status), Some(200));
    assert_eq!(client.read(false).map(|reply| reply.status), Some(200), "the second one is lost");
}

#[test]
fn a_client_that_leaves_while_its_answer_is_silent_takes_the_upstreams_connection_along() {
    let origin = Origin::conversing(|talk| {
        talk.request();
        talk.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
        talk.ends();
    });
    let gateway = start(Document::before(&origin).upstream("timeouts: { idle: 10m }"));
    let mut client = gateway.client("main");
    client.begin("GET", "/events", &[]);
    assert_eq!(client.head().unwrap().status, 200);
    assert_eq!(client.chunk().unwrap(), b"hello");
    drop(client);
    let line = gateway.access("/events");
    assert_eq!(line["end"], "client_left", "{line}");
    origin.wait_ended(1);
}

#[test]
fn a_bad_chunk_behind_an_early_answer_is_told_with_its_code() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let origin = Origin::conversing(move |talk| {
        talk.head();
        talk.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
        let _ = released.lock().unwrap().recv_timeout(PATIENCE);
    });
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    client.begin("POST", "/early", &[("transfer-encoding", "chunked")]);
    client.send_chunk("first");
    assert_eq!(client.head().unwrap().status, 200);
    assert_eq!(client.chunk().unwrap(), b"hello");
    client.send("zz\r\n");
    assert_eq!(client.chunk(), None);
    let line = gateway.access("/early");
    release.send(()).unwrap();
    assert_eq!(line["code"], "http.chunk_size", "{line}");
}

#[test]
fn bytes_behind_an_answer_of_no_bytes_are_told_as_502() {
    let origin = Origin::conversing(|talk| {
        talk.request();
        talk.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\nhidden");
        talk.ends();
    });
    let gateway = start(Document::before(&origin));
    assert_eq!(gateway.client("main").get("/", &[]).status, 502);
    assert_eq!(gateway.access("/")["code"], "upstream.unexpected");
}

#[test]
fn a_request_line_that_is_too_long_is_refused_with_414() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    let long = "x".repeat(40 << 10);
    let reply = gateway.client("main").get(&format!("/?{long}"), &[]);
    assert_eq!(reply.status, 414);
}

#[test]
fn a_target_with_a_query_and_no_path_is_understood() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    client.send("GET http://a?b=c HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(client.read(false).unwrap().status, 200);
    assert_eq!(origin.last().line, "GET /?b=c HTTP/1.1");
}

#[test]
fn an_empty_element_of_a_list_is_skipped() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    for list in ["keep-alive,", ", keep-alive", "", "te,, keep-alive"] {
        let reply = gateway.client("main").get("/", &[("connection", list)]);
        assert_eq!(reply.status, 200, "{list}");
    }
}

#[test]
fn an_upstream_that_speaks_another_protocol_is_found_out_by_its_first_line() {
    let origin = Origin::conversing(|talk| {
        talk.send("SSH-2.0-OpenSSH_9.2\r\n");
        talk.head();
        talk.ends();
    });
    let gateway = start(Document::before(&origin).upstream("timeouts: { response: 2s }"));
    assert_eq!(gateway.client("main").get("/", &[]).status, 502);
}

#[test]
fn a_host_in_doubt_ends_the_connection() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    for head in [
        "GET / HTTP/1.1\r\nhost: a\r\nhost: b",
        "GET http://b/ HTTP/1.1\r\nhost: a",
        "TRACE / HTTP/1.1\r\nhost: a",
        "CONNECT a:443 HTTP/1.1\r\nhost: a:443",
    ] {
        let mut client = gateway.client("main");
        client.send(format!("{head}\r\n\r\n"));
        let reply = client.read(false).unwrap();
        assert_eq!(reply.header("connection"), Some("close"), "{head}");
    }
}

#[test]
fn an_answer_after_which_no_request_can_follow_says_so() {
    let origin = Origin::conversing(|talk| {
        talk.head();
        talk.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nearly");
        talk.rest();
    });
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello");
    let reply = client.read(false).unwrap();
    assert_eq!(reply.status, 200);
    client.send("worldGET /next HTTP/1.1\r\nhost: a\r\n\r\n");
    let closes = reply.header("connection") == Some("close");
    assert!(closes || client.read(false).is_some(), "it is ended, and nothing had said so");
}

#[test]
fn a_body_that_follows_an_answer_to_head_a_moment_later_is_nobodys() {
    let origin = Origin::conversing(|talk| {
        while let Some(seen) = talk.request() {
            if seen.line.starts_with("HEAD") {
                talk.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n");
                std::thread::sleep(Duration::from_millis(2));
                talk.send("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison");
            } else {
                talk.send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
            }
        }
    });
    let gateway = start(Document::before(&origin));
    for _ in 0..20 {
        let mut client = gateway.client("main");
        client.send("HEAD /a HTTP/1.1\r\nhost: a\r\n\r\nGET /b HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(client.read(true).unwrap().status, 200);
        assert_eq!(client.read(false).unwrap().text(), "hello");
    }
}
