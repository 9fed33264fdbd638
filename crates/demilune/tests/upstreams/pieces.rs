//! Answers that come in pieces of any size are the same answers.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use demilune_testkit::{Document, Origin};

use crate::start;

const PATIENCE: Duration = Duration::from_secs(20);

/// How an answer says where its body ends.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Declared,
    Chunks,
    Close,
}

const ALL: [Framing; 3] = [Framing::Declared, Framing::Chunks, Framing::Close];

/// Bytes in which a lost or doubled piece would show.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| u8::try_from(n * 31 % 251).unwrap()).collect()
}

/// A whole answer with this body.
fn answer(framing: Framing, body: &[u8]) -> Vec<u8> {
    let (field, body) = match framing {
        Framing::Declared => (format!("content-length: {}", body.len()), body.to_vec()),
        Framing::Close => ("connection: close".to_owned(), body.to_vec()),
        Framing::Chunks => {
            // Of sizes that do not fall together with those of the pieces.
            let chunks = body.chunks(700).enumerate().flat_map(|(number, chunk)| {
                let extension = if number < 9 { ";a=\"b\"" } else { "" };
                let head = format!("{:X}{extension}\r\n", chunk.len()).into_bytes();
                [head, chunk.to_vec(), b"\r\n".to_vec()].concat()
            });
            let end = b"000;c\r\nx-trailer: y\r\n\r\n".to_vec();
            ("transfer-encoding: chunked".to_owned(), chunks.chain(end).collect())
        }
    };
    let interim = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let head = format!("{interim}HTTP/1.1 200 OK\r\n{field}\r\nx-kept: yes\r\n\r\n");
    [head.into_bytes(), body].concat()
}

/// Has each framing answered in pieces of `size` bytes, and looks at what comes of it.
fn relayed(size: usize, body: &[u8]) {
    for framing in ALL {
        let answer = answer(framing, body);
        let origin = Origin::conversing(move |talk| {
            while talk.request().is_some() {
                talk.send_in(size, &answer);
                if matches!(framing, Framing::Close) {
                    return;
                }
            }
        });
        let gateway = start(Document::before(&origin));
        let mut client = gateway.client("main");
        for _ in 0..2 {
            let reply = client.get("/", &[]);
            assert_eq!((reply.status, reply.whole), (200, true), "{framing:?}");
            assert_eq!(reply.header("x-kept"), Some("yes"), "{framing:?}");
            assert!(reply.body == body, "{framing:?} {} bytes", reply.body.len());
        }
        let connections = if matches!(framing, Framing::Close) { 2 } else { 1 };
        assert_eq!(origin.connections(), connections, "{framing:?}");
        let lines = gateway.wait_many(2, |line| line["kind"] == "access");
        let complete =
            |line: &&serde_json::Value| line["end"] == "complete" && line["sent"] == body.len();
        assert_eq!(lines.iter().filter(complete).count(), 2, "{lines:#?}");
    }
}

#[test]
fn an_answer_that_comes_byte_by_byte_is_relayed() {
    relayed(1, &bytes(3_000));
}

#[test]
fn an_answer_in_pieces_of_a_kibibyte_is_relayed() {
    relayed(1 << 10, &bytes(300 << 10));
}

#[test]
fn an_answer_that_comes_at_once_is_relayed() {
    relayed(usize::MAX, &bytes(5));
    relayed(usize::MAX, &bytes(10_000));
    relayed(usize::MAX, &bytes(1 << 20));
}

#[test]
fn an_upload_goes_on_while_its_answer_comes() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    for framing in ["content-length: 15", "transfer-encoding: chunked"] {
        let tell = Mutex::new(tell.lock().unwrap().clone());
        let chunked = framing.contains("chunked");
        let origin = Origin::conversing(move |talk| {
            while talk.head().is_some() {
                let next = |talk: &mut demilune_testkit::Conversation| {
                    if chunked { talk.chunk() } else { talk.bytes(5) }
                };
                let first = next(talk).unwrap();
                talk.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
                talk.send_chunk(first);
                for _ in 0..2 {
                    let piece = next(talk).unwrap();
                    talk.send_chunk(piece);
                }
                if chunked {
                    assert_eq!(talk.chunk().unwrap(), b"");
                }
                talk.send_chunk("");
                let _ = tell.lock().unwrap().send(());
            }
        });
        let gateway = start(Document::before(&origin));
        let mut client = gateway.client("main");
        for _ in 0..2 {
            client.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n"));
            for (number, piece) in ["first", "secnd", "last!"].into_iter().enumerate() {
                if chunked {
                    client.send_chunk(piece);
                } else {
                    client.send(piece);
                }
                if number == 0 {
                    assert_eq!(client.head().unwrap().status, 200);
                }
                assert_eq!(client.chunk().unwrap(), piece.as_bytes(), "{framing}");
            }
            if chunked {
                client.send_chunk("");
            }
            assert_eq!(client.chunk().unwrap(), b"");
            told.recv_timeout(PATIENCE).unwrap();
        }
        assert_eq!(origin.connections(), 1, "{framing}");
    }
}
