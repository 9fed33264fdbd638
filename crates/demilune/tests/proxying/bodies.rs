//! Bodies: whole, streamed, large, empty, coded, and answers that have none.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use demilune_testkit::{Conversation, Document, Origin};

use crate::start;

const PATIENCE: Duration = Duration::from_secs(20);

/// Bytes in which a lost or doubled piece would show.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| u8::try_from(n * 31 % 251).unwrap()).collect()
}

#[test]
fn every_method_reaches_the_origin_with_its_body_and_length() {
    let origin = Origin::echo();
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    for (method, body) in [
        ("GET", None),
        ("HEAD", None),
        ("POST", Some("posted")),
        ("PUT", Some("put")),
        ("PATCH", Some("patched")),
        ("DELETE", Some("deleted")),
        ("DELETE", None),
        ("OPTIONS", None),
        ("PURGE", None),
    ] {
        let reply = client.request(method, "/orders?all=1", &[], body.map(str::as_bytes));
        assert_eq!((reply.status, reply.whole), (200, true), "{method}");
        let seen = origin.last();
        assert_eq!(seen.line, format!("{method} /orders?all=1 HTTP/1.1"));
        assert_eq!(seen.body, body.unwrap_or_default().as_bytes(), "{method}");
        assert_eq!(seen.header("transfer-encoding"), None, "{method}");
        if let Some(body) = body {
            assert_eq!(seen.header("content-length"), Some(&*body.len().to_string()), "{method}");
            assert_eq!(reply.text(), body);
        }
    }
}

#[test]
fn five_mebibytes_pass_unchanged_both_ways_whether_their_length_is_declared_or_not() {
    let origin = Origin::echo();
    let gateway = start(Document::before(&origin));
    let large = bytes(5 << 20);
    let mut client = gateway.client("main");
    let reply = client.request("POST", "/declared", &[], Some(&large));
    assert!(reply.status == 200 && reply.whole && reply.body == large);
    let line = gateway.access("/declared");
    assert_eq!((line["received"].as_u64(), line["sent"].as_u64()), (Some(5 << 20), Some(5 << 20)));
    client.begin("POST", "/chunked", &[("transfer-encoding", "chunked")]);
    for chunk in large.chunks(100_000) {
        client.send_chunk(chunk);
    }
    client.send_chunk("");
    let reply = client.read(false).unwrap();
    assert!(reply.status == 200 && reply.whole && reply.body == large);
    assert_eq!(origin.last().header("transfer-encoding"), Some("chunked"));
    assert_eq!(origin.last().header("content-length"), None);
    assert_eq!(gateway.access("/chunked")["received"], 5 << 20);
}

#[test]
fn five_mebibytes_of_a_chunked_answer_pass_unchanged() {
    let origin = Origin::conversing(|talk| {
        while talk.request().is_some() {
            talk.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            for chunk in bytes(5 << 20).chunks(70_000) {
                talk.send_chunk(chunk);
            }
            talk.send_chunk("");
        }
    });
    let gateway = start(Document::before(&origin));
    let reply = gateway.client("main").get("/", &[]);
    assert_eq!(reply.header("transfer-encoding"), Some("chunked"));
    assert!(reply.whole && reply.body == bytes(5 << 20));
}

#[test]
fn empty_bodies_stay_empty() {
    let origin = Origin::echo();
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    assert_eq!(client.request("POST", "/", &[], Some(b"")).status, 200);
    assert_eq!(client.request("POST", "/", &[], None).status, 200);
    client.begin("POST", "/", &[("transfer-encoding", "chunked")]);
    client.send_chunk("");
    assert_eq!(client.read(false).unwrap().status, 200);
    let seen = origin.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|seen| seen.body.is_empty()), "{seen:#?}");
    assert_eq!(gateway.access("/")["received"], 0);
}

/// An origin that tells of each piece of a request's body as it comes.
fn told(read: fn(&mut Conversation) -> Option<Vec<u8>>) -> (Origin, Receiver<Vec<u8>>) {
    let (tell, pieces) = channel();
    let tell = Mutex::new(tell);
    let origin = Origin::conversing(move |talk| {
        let tell: Sender<_> = tell.lock().unwrap().clone();
        talk.head();
        while let Some(piece) = read(talk) {
            let over = piece.is_empty() || piece == b"last!";
            let _ = tell.send(piece);
            if over {
                talk.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
                return;
            }
        }
    });
    (origin, pieces)
}

#[test]
fn chunks_of_a_request_reach_the_origin_before_the_next_one_is_sent() {
    let (origin, pieces) = told(|talk| talk.chunk());
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    client.begin("POST", "/", &[("transfer-encoding", "chunked")]);
    for piece in ["first", "second", "third"] {
        client.send_chunk(piece);
        assert_eq!(pieces.recv_timeout(PATIENCE).unwrap(), piece.as_bytes());
    }
    client.send_chunk("");
    assert_eq!(pieces.recv_timeout(PATIENCE).unwrap(), b"");
    assert_eq!(client.read(false).unwrap().status, 200);
}

#[test]
fn pieces_of_a_request_of_declared_length_are_not_waited_for_either() {
    let (origin, pieces) = told(|talk| talk.bytes(5));
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    client.begin("POST", "/", &[("content-length", "15")]);
    for piece in ["first", "secnd", "last!"] {
        client.send(piece);
        assert_eq!(pieces.recv_timeout(PATIENCE).unwrap(), piece.as_bytes());
    }
    assert_eq!(client.read(false).unwrap().status, 200);
}

/// An origin that sends `head`, and then a piece each time that the test allows it.
fn allowed(head: &'static str, pieces: &'static [&'static str]) -> (Origin, Sender<()>) {
    let (allow, allowed) = channel();
    let allowed = Mutex::new(allowed);
    let origin = Origin::conversing(move |talk| {
        talk.request();
        talk.send(head);
        for piece in pieces {
            let _ = allowed.lock().unwrap().recv_timeout(PATIENCE);
            talk.send(piece);
        }
    });
    (origin, allow)
}

#[test]
fn chunks_of_an_answer_reach_the_client_before_the_next_one_is_sent() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let (origin, allow) = allowed(head, &["5\r\nfirst\r\n", "6\r\nsecond\r\n", "0\r\n\r\n"]);
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    client.begin("GET", "/", &[]);
    assert_eq!(client.head().unwrap().status, 200);
    for piece in ["first", "second", ""] {
        allow.send(()).unwrap();
        assert_eq!(client.chunk().unwrap(), piece.as_bytes());
    }
}

#[test]
fn pieces_of_an_answer_of_declared_length_are_not_waited_for_either() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n";
    let (origin, allow) = allowed(head, &["first", "last!"]);
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    client.begin("GET", "/", &[]);
    assert_eq!(client.head().unwrap().header("content-length"), Some("10"));
    for piece in ["first", "last!"] {
        allow.send(()).unwrap();
        assert_eq!(client.bytes(5).unwrap(), piece.as_bytes());
    }
    assert_eq!(gateway.access("/")["end"], "complete");
}

#[test]
fn an_answer_that_ends_with_its_connection_is_given_an_end_of_its_own() {
    let origin = Origin::answering(|_| b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nall".to_vec());
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    for _ in 0..2 {
        let reply = client.get("/", &[]);
        assert_eq!(reply.header("transfer-encoding"), Some("chunked"));
        assert_eq!((reply.text().as_str(), reply.whole), ("all", true));
    }
    assert_eq!(origin.connections(), 2);
}

#[test]
fn answers_without_a_body_keep_their_length_and_leave_the_connection_in_step() {
    let origin = Origin::answering(|seen| {
        let head = match seen.line.split(' ').nth(1) {
            Some("/empty") => "HTTP/1.1 204 No Content\r\netag: \"a\"\r\n\r\n",
            Some("/same") => "HTTP/1.1 304 Not Modified\r\ncontent-length: 1234\r\n\r\n",
            _ => "HTTP/1.1 200 OK\r\ncontent-length: 5678\r\n\r\n",
        };
        head.as_bytes().to_vec()
    });
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    for _ in 0..2 {
        let reply = client.get("/empty", &[]);
        assert_eq!((reply.status, reply.header("content-length")), (204, None));
        assert_eq!(reply.header("transfer-encoding"), None);
        assert_eq!(reply.header("etag"), Some("\"a\""));
        let reply = client.get("/same", &[("if-none-match", "\"a\"")]);
        assert_eq!((reply.status, reply.header("transfer-encoding")), (304, None));
        // The codec leaves the length of a 304 away, as RFC 9110 section 8.6 allows; a wrong one,
        // 0 say, would tell a cache that what it has is stale.
        assert!(matches!(reply.header("content-length"), None | Some("1234")), "{reply:?}");
        let reply = client.request("HEAD", "/large", &[], None);
        assert_eq!((reply.status, reply.header("content-length")), (200, Some("5678")));
    }
    // One rests for a moment after an answer to HEAD.
    assert!(origin.connections() <= 2, "{}", origin.connections());
    for path in ["/empty", "/same", "/large"] {
        let line = gateway.access(path);
        assert_eq!((line["end"].as_str(), line["sent"].as_u64()), (Some("complete"), Some(0)));
    }
}

#[test]
fn coded_bodies_pass_unchanged_where_no_policy_reads_them() {
    // Not even gzip: nobody looks.
    const CODED: &[u8] = b"\x1f\x8b\x08\x00\xff\xfe not really gzip \x00\x01";
    let origin = Origin::answering(|seen| {
        let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: ";
        [format!("{head}{}\r\n\r\n", seen.body.len()).as_bytes(), &seen.body].concat()
    });
    let gateway = start(Document::before(&origin));
    let headers = [("content-encoding", "gzip"), ("accept-encoding", "gzip, br;q=0.5")];
    let reply = gateway.client("main").request("POST", "/", &headers, Some(CODED));
    assert_eq!(reply.body, CODED);
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    let seen = origin.last();
    assert_eq!(seen.body, CODED);
    assert_eq!(seen.header("content-encoding"), Some("gzip"));
    assert_eq!(seen.header("accept-encoding"), Some("gzip, br;q=0.5"));
}

#[test]
fn trailers_of_a_request_which_nobody_has_judged_do_not_reach_the_origin() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let origin = Origin::conversing(move |talk| {
        talk.head();
        assert_eq!(talk.chunk().unwrap(), b"body");
        let _ = tell.lock().unwrap().send((talk.line(), talk.line()));
        talk.send("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    });
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    client.begin("POST", "/", &[("transfer-encoding", "chunked"), ("trailer", "x-checksum")]);
    client.send("4;name=value\r\nbody\r\n0\r\nx-checksum: 1\r\nServer-Timing: a\r\n\r\n");
    assert_eq!(client.read(false).unwrap().status, 200);
    let end = (Some("0".to_owned()), Some(String::new()));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), end);
    assert_eq!(origin.last().header("trailer"), None);
}
