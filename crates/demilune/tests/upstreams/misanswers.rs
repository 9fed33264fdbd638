//! Answers that can be understood in two ways, or in none: nothing of them reaches the client, and
//! their connections are never used again.

use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use demilune_testkit::{Document, Origin};
use serde_json::json;

use crate::failures::fails;
use crate::start;

const PATIENCE: Duration = Duration::from_secs(20);
const NOT_UNDERSTOOD: &str = "the upstream's answer was not understood";
/// Up to this size, in bytes, an answer is sent a second time, a byte at a time.
const SMALL: usize = 1024;

/// An answer and the code that it is logged with.
type Case = (&'static str, Vec<u8>);

/// Cases for these whole answers.
fn whole(code: &'static str, answers: &[&str]) -> Vec<Case> {
    answers.iter().map(|answer| (code, answer.as_bytes().to_vec())).collect()
}

/// Cases for these first lines.
fn begin(code: &'static str, lines: &[&str]) -> Vec<Case> {
    let answer = |line: &&str| format!("{line}\r\nx: canary\r\ncontent-length: 6\r\n\r\ncanary");
    lines.iter().map(|line| (code, answer(line).into_bytes())).collect()
}

/// Cases for these fields, in the place of a length.
fn hold(code: &'static str, fields: &[&str]) -> Vec<Case> {
    let answer = |field: &&str| format!("HTTP/1.1 200 OK\r\nx: canary\r\n{field}\r\n\r\ncanary");
    fields.iter().map(|field| (code, answer(field).into_bytes())).collect()
}

/// Has each answered to a request of its own, whole and, where it is small, a byte at a time. Each
/// must be told as 502, with its code in one access line and one event, and cost its connection;
/// the code must stand with its status in the documentation.
fn check(cases: Vec<Case>) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let answers: Vec<Vec<u8>> = cases.iter().map(|(_, answer)| answer.clone()).collect();
    let origin = Origin::conversing(move |talk| {
        let Some(seen) = talk.request() else { return };
        let mut words = seen.line.split(['/', ' ']).skip(2);
        let number: usize = words.next().unwrap().parse().unwrap();
        let size = if words.next() == Some("drops") { 1 } else { usize::MAX };
        talk.send_in(size, &answers[number]);
        let _ = tell.lock().unwrap().send(talk.ends());
    });
    let gateway = start(Document::before(&origin));
    let mut sent = 0;
    for (number, (code, answer)) in cases.iter().enumerate() {
        println!("{:?}", String::from_utf8_lossy(answer).chars().take(200).collect::<String>());
        // What comes later than an answer that has ended cannot be told as 502 any more.
        let drops = answer.len() <= SMALL && *code != "upstream.unexpected";
        for path in
            [format!("/{number}"), format!("/{number}/drops")].iter().take(1 + usize::from(drops))
        {
            println!("{path}");
            fails(&gateway, path, &json!([502, code, 1]), NOT_UNDERSTOOD);
            assert!(told.recv_timeout(PATIENCE).unwrap(), "the connection was given up");
            sent += 1;
        }
    }
    assert_eq!((origin.connections(), origin.seen().len()), (sent, sent));
    let lines = gateway.stop();
    let of_kind = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count();
    assert_eq!((of_kind("access"), of_kind("event")), (sent, sent));
    assert!(!format!("{lines:?}").contains("canary"), "{lines:#?}");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    let text = fs::read_to_string(path).unwrap();
    for (code, _) in &cases {
        assert!(text.contains(&format!("| `{code}` | 502 |")), "{code} is not in docs/errors.md");
    }
}

#[test]
fn a_first_line_that_is_none_is_told_as_502() {
    let long = format!("HTTP/1.1 200 {}", "canary".repeat(1400));
    let mut cases = begin(
        "upstream.status_line",
        &[
            "canary",
            "HTTP/1.1",
            "HTTP/1.1 ",
            "HTTP/1.1 canary OK",
            "HTTP/1.1 20",
            "HTTP/1.1 20 OK",
            "HTTP/1.1 2000 OK",
            "HTTP/1.1 200OK",
            "HTTP/1.1 +20 OK",
            "HTTP/1.1 -20 OK",
            "HTTP/1.1 000 OK",
            "HTTP/1.1 099 OK",
            "HTTP/1.1  200 OK",
            "HTTP/1.1\t200 OK",
            "HTTP/1.1 200\tOK",
            "HTTP/1.1 200 \u{1}canary",
            "HTTP/1.1 200 \u{7f}canary",
            "HTTP/1.2 200 OK",
            "HTTP/2.0 200 OK",
            "HTTP/3.0 200 OK",
            "HTTP/0.9 200 OK",
            "HTTP/1 200 OK",
            "HTTP/1.10 200 OK",
            "http/1.1 200 OK",
            "HTTPS/1.1 200 OK",
            "ICY 200 OK",
            "SSH-2.0-canary",
            "GET / HTTP/1.1",
            "\r\nHTTP/1.1 200 OK",
        ],
    );
    cases.extend(begin("upstream.status_line_too_long", &[&long]));
    cases.extend(begin(
        "upstream.not_http",
        &["\nHTTP/1.1 200 OK", " HTTP/1.1 200 OK", "{\"canary\":1}", "\0", "<a>"],
    ));
    let alert = b"\x15\x03\x01\0\x02\x02\x46".to_vec();
    cases.push(("upstream.not_http", alert));
    cases.push(("upstream.not_http", b"\0\0\x12\x04\0\0\0\0\0".to_vec()));
    check(cases);
}

#[test]
fn a_field_that_two_readers_could_read_differently_is_told_as_502() {
    let mut cases = whole(
        "upstream.bare_lf",
        &[
            "HTTP/1.1 200 OK\ncontent-length: 6\r\n\r\ncanary",
            "HTTP/1.1 200 OK\ncontent-length: 6\n\ncanary",
            "HTTP/1.1 200 OK\r\ncontent-length: 6\n\r\ncanary",
            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\ncanary",
            "HTTP/1.1 200 OK\r\nx: canary\nset-cookie: a\r\ncontent-length: 0\r\n\r\n",
        ],
    );
    cases.extend(whole(
        "upstream.bare_cr",
        &[
            "HTTP/1.1 200 OK\rcontent-length: 6\r\n\r\ncanary",
            "HTTP/1.1 200 OK\r\nx: can\rary\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: canary\rset-cookie: a\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\r\n\r\ncanary",
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\rcanary",
        ],
    ));
    cases.extend(whole(
        "upstream.nul",
        &[
            "HTTP/1.1 200 \0canary\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx: can\0ary\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx\0: canary\r\ncontent-length: 0\r\n\r\n",
        ],
    ));
    let fold = [" canary: x", "x: a\r\n canary", "x: a\r\n\tcanary: x", "content-length: 6\r\n 6"];
    cases.extend(hold("upstream.folded_field", &fold));
    let space = ["x : canary", "content-length : 6", "transfer-encoding\t: chunked"];
    cases.extend(hold("upstream.space_before_colon", &space));
    cases.extend(hold("upstream.field_line", &["canary", "HTTP/1.1 200 OK"]));
    cases.extend(hold(
        "upstream.field_name",
        &[": canary", "can ary: x", "x(y): canary", "\u{e9}: x"],
    ));
    let values = (1..0x20_u8).chain([0x7f]).filter(|byte| ![b'\t', b'\n', b'\r'].contains(byte));
    for byte in values {
        let head = b"HTTP/1.1 200 OK\r\nx: can";
        let rest = b"ary\r\ncontent-length: 0\r\n\r\n";
        cases.push(("upstream.field_value", [&head[..], &[byte], rest].concat()));
    }
    check(cases);
}

#[test]
fn an_answer_whose_length_is_in_doubt_is_told_as_502() {
    let mut cases = hold(
        "upstream.ambiguous_length",
        &[
            "content-length: 6\r\ncontent-length: 5",
            "content-length: 6\r\nContent-Length: 6",
            "content-length: 6\r\ntransfer-encoding: chunked",
            "transfer-encoding: chunked\r\ncontent-length: 6",
            "content-length: -6",
            "content-length: +6",
            "content-length: 6, 5",
            "content-length: 6, 6",
            "content-length: 06",
            "content-length: 0x6",
            "content-length: 6;",
            "content-length: six",
            "content-length:",
            "content-length: 1000000000000000000",
            "content-length: 18446744073709551617",
        ],
    );
    cases.extend(whole(
        "upstream.ambiguous_length",
        &[
            "HTTP/1.0 200 OK\r\ncontent-length: 6\r\ntransfer-encoding: chunked\r\n\r\ncanary",
            "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\ncontent-length: 6\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: x\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\ncontent-length: 6, 6\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ],
    ));
    cases.extend(hold(
        "upstream.transfer_encoding",
        &[
            "transfer-encoding: gzip, chunked",
            "transfer-encoding: gzip",
            "transfer-encoding: identity",
            "transfer-encoding: chunked, chunked",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
            "transfer-encoding: xchunked",
            "transfer-encoding: chunked;a=b",
            "transfer-encoding: \"chunked\"",
            "transfer-encoding:",
        ],
    ));
    cases.extend(whole(
        "upstream.transfer_encoding_forbidden",
        &[
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\ncanary\r\n0\r\n\r\n",
            "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\ntransfer-encoding: chunked\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ],
    ));
    let names = ["content_length: 6", "contentlength: 6", "transfer_encoding: chunked"];
    cases.extend(hold("upstream.look_alike_field", &names));
    cases.extend(hold("upstream.connection", &["connection: a b", "connection: \"close\""]));
    check(cases);
}

/// An answer whose head has exactly so many bytes.
fn head_of(size: usize) -> Vec<u8> {
    let around = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: \r\n\r\n".len();
    let value = "x".repeat(size - around);
    format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nx: {value}\r\n\r\n").into_bytes()
}

/// An answer with so many fields.
fn fields(count: usize) -> Vec<u8> {
    let many: String = (1..count).map(|n| format!("x-{n}: a\r\n")).collect();
    format!("HTTP/1.1 200 OK\r\n{many}content-length: 0\r\n\r\n").into_bytes()
}

/// An answer whose first line has exactly so many bytes.
fn line_of(size: usize) -> Vec<u8> {
    let reason = "x".repeat(size - "HTTP/1.1 200 ".len());
    format!("HTTP/1.1 200 {reason}\r\ncontent-length: 0\r\n\r\n").into_bytes()
}

#[test]
fn a_head_that_is_too_large_is_told_as_502() {
    let endless = ["HTTP/1.1 200 OK\r\nx: ", &"canary".repeat(50_000)].concat().into_bytes();
    check(vec![
        ("upstream.head_too_large", head_of((64 << 10) + 1)),
        ("upstream.head_too_large", endless),
        ("upstream.too_many_fields", fields(129)),
        ("upstream.too_many_fields", fields(5000)),
        ("upstream.status_line_too_long", line_of((8 << 10) + 1)),
        ("upstream.status_line", vec![b'H'; 100_000]),
    ]);
}

#[test]
fn a_head_that_is_only_just_small_enough_is_understood() {
    let answers = [head_of(64 << 10), fields(128), line_of(8 << 10)];
    let origin = Origin::answering(move |seen| {
        let number = seen.line.split(['/', ' ']).nth(2).unwrap();
        answers[number.parse::<usize>().unwrap()].clone()
    });
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    for number in 0..3 {
        let reply = client.get(&format!("/{number}"), &[]);
        assert_eq!((reply.status, reply.whole), (200, true), "{number}");
    }
    assert_eq!(origin.connections(), 1);
}

/// So many interim answers before the one that counts.
fn interim(count: usize) -> Vec<u8> {
    let early = "HTTP/1.1 103 Early Hints\r\nlink: </canary>\r\n\r\n";
    let kinds = [early, "HTTP/1.1 100 Continue\r\n\r\n"];
    let hints: String = kinds.into_iter().cycle().take(count).collect();
    format!("{hints}HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nfinal").into_bytes()
}

#[test]
fn what_nobody_asked_for_is_told_as_502() {
    let second = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\ncanary";
    let switch =
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
    let mut cases = whole(
        "upstream.unexpected",
        &[
            &format!("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello{second}"),
            &format!("HTTP/1.1 404 Not Found\r\ncontent-length: 1\r\n\r\nx{second}"),
            &format!("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello{second}"),
            &format!("HTTP/1.1 103 Early Hints\r\n\r\n{second}canary"),
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello\0",
            &format!("{switch}\r\n"),
            &format!("{switch}\r\n{second}"),
            &format!("{switch}content-length: 6\r\n\r\ncanary"),
            &format!("HTTP/1.1 100 Continue\r\n\r\n{switch}\r\n"),
            "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        ],
    );
    cases.push(("upstream.unexpected", interim(9)));
    cases.push(("upstream.unexpected", interim(1000)));
    check(cases);
}

#[test]
fn eight_interim_answers_are_not_too_many() {
    let origin = Origin::answering(|seen| {
        let number = seen.line.split(['/', ' ']).nth(2).unwrap();
        interim(number.parse().unwrap())
    });
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    for count in [0, 1, 2, 7, 8, 8] {
        let reply = client.get(&format!("/{count}"), &[]);
        assert_eq!((reply.status, reply.text().as_str()), (200, "final"), "{count}");
    }
    assert_eq!(origin.connections(), 1);
}
