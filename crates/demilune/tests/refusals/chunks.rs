//! Bodies whose chunks or trailers can be understood in two ways, or in none.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use demilune_testkit::{Document, Origin};
use serde_json::json;

use crate::case::{Case, check};
use crate::start;

const PATIENCE: Duration = Duration::from_secs(20);

/// Cases for each of these in the place of a body.
fn chunks<'a>(code: &'static str, bodies: &'a [&'a str]) -> impl Iterator<Item = Case> + 'a {
    bodies.iter().map(move |body| Case::chunks(body, code))
}

/// Cases for each of these as a trailer field behind a good chunk.
fn trailers<'a>(code: &'static str, fields: &'a [&'a str]) -> impl Iterator<Item = Case> + 'a {
    let body = |field: &&str| format!("5\r\nhello\r\n0\r\n{field}\r\n\r\n");
    fields.iter().map(move |field| Case::chunks(body(field), code))
}

#[test]
fn a_chunk_whose_size_is_odd_is_refused() {
    let mut cases: Vec<Case> = chunks(
        "http.chunk_size",
        &[
            "zz\r\n",
            "-1\r\nx",
            "+5\r\nhello\r\n0\r\n\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "5 \r\nhello\r\n0\r\n\r\n",
            "5\t;a\r\nhello\r\n0\r\n\r\n",
            "0x5\r\nhello\r\n0\r\n\r\n",
            "5h\r\nhello\r\n0\r\n\r\n",
            "5,5\r\nhello\r\n0\r\n\r\n",
            "5_0\r\nhello\r\n0\r\n\r\n",
            "\"5\"\r\nhello\r\n0\r\n\r\n",
            "\r\nhello\r\n0\r\n\r\n",
            "\nhello\r\n0\r\n\r\n",
            ";a\r\nhello\r\n0\r\n\r\n",
            "00000000000000005\r\nhello\r\n0\r\n\r\n",
            "10000000000000000\r\nhello\r\n0\r\n\r\n",
            "5\r\nhello\r\n-0\r\n\r\n",
            "5\r\nhello\r\n\r\n0\r\n\r\n",
            "\0",
            "5\0\r\nhello\r\n0\r\n\r\n",
        ],
    )
    .collect();
    cases.extend(chunks(
        "http.chunk_overflow",
        &["8000000000000000\r\nhello", "ffffffffffffffff\r\nhello", "FFFFFFFFFFFFFFFB\r\nhello"],
    ));
    check(&cases);
}

#[test]
fn a_line_of_a_chunk_that_does_not_end_in_crlf_is_refused() {
    check(
        &chunks(
            "http.chunk_line",
            &[
                "5\nhello\r\n0\r\n\r\n",
                "5\rhello\r\n0\r\n\r\n",
                "5\r\rhello\r\n0\r\n\r\n",
                "5;a\nhello\r\n0\r\n\r\n",
                "5;a=b\nhello\r\n0\r\n\r\n",
                "5;a=\"b\"\nhello\r\n0\r\n\r\n",
                "5;a\rX\r\nhello\r\n0\r\n\r\n",
                "5\r\nhello\r\n0\n\r\n",
                "0\n\n",
                "0\r\r\n\r\n",
            ],
        )
        .collect::<Vec<_>>(),
    );
}

#[test]
fn an_extension_of_a_chunk_that_is_junk_or_long_is_refused() {
    let mut cases: Vec<Case> = [
        "",
        " a",
        "a ",
        "a b",
        "a=",
        "a= b",
        "=b",
        "a=b c",
        "a==b",
        "a=b=c",
        "a;",
        ";a",
        "a=\"b",
        "a=\"b\"c",
        "a=\"b\\",
        "a=\"b\nc\"",
        "a=\"\u{1}\"",
        "a=\"\u{7f}\"",
        "\u{1}",
        "a\0",
        "a@b",
        "\u{e9}",
    ]
    .iter()
    .map(|extension| format!("5;{extension}\r\nhello\r\n0\r\n\r\n"))
    .map(|body| Case::chunks(body, "http.chunk_extension"))
    .collect();
    let one = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(256));
    let quoted = format!("5;a=\"{}\"\r\nhello\r\n0\r\n\r\n", "b".repeat(300));
    let endless = format!("5;a=\"{}", "b".repeat(60_000));
    let many = format!("1;{}\r\nx\r\n", "a".repeat(250)).repeat(17);
    let last = format!("5\r\nhello\r\n0;{}\r\n\r\n", "a".repeat(257));
    for body in [one, quoted, endless, many + "0\r\n\r\n", last] {
        cases.push(Case::chunks(body, "http.chunk_extension_too_long"));
    }
    check(&cases);
}

#[test]
fn bytes_behind_a_chunk_that_belong_to_none_are_refused() {
    check(
        &chunks(
            "http.chunk_end",
            &[
                "5\r\nhelloX\r\n0\r\n\r\n",
                "5\r\nhelloXX0\r\n\r\n",
                "5\r\nhello\n0\r\n\r\n",
                "5\r\nhello\rX0\r\n\r\n",
                "5\r\nhello\r\r\n0\r\n\r\n",
                "5\r\nhello0\r\n\r\n",
                "5\r\nhello 0\r\n\r\n",
                "5\r\nhello\0\r\n0\r\n\r\n",
                "4\r\nhello\r\n0\r\n\r\n",
                "1\r\nx\r\n1\r\nyGET /hidden HTTP/1.1\r\nhost: a\r\n\r\n",
            ],
        )
        .collect::<Vec<_>>(),
    );
}

#[test]
fn a_trailer_that_frames_routes_identifies_or_describes_is_refused() {
    check(
        &trailers(
            "http.trailer_forbidden",
            &[
                "content-length: 5",
                "Content-Length: 5",
                "content_length: 5",
                "transfer-encoding: chunked",
                "host: b",
                "connection: close",
                "upgrade: websocket",
                "te: trailers",
                "trailer: x",
                "expect: 100-continue",
                "authorization: Basic x",
                "proxy-authorization: Basic x",
                "cookie: a=b",
                "set-cookie: a=b",
                "x-consumer-name: root",
                "X-Consumer-Groups: admins",
                "x-forwarded-for: 192.0.2.1",
                "x-real-ip: 192.0.2.1",
                "x-original-url: /admin",
                "forwarded: for=192.0.2.1",
                "via: 1.1 a",
                "content-type: text/html",
                "content-encoding: gzip",
                "content-range: bytes 0-1/2",
                "cache-control: no-store",
                "if-match: a",
                "range: bytes=0-1",
                "max-forwards: 1",
                "location: /b",
                "x: fine\r\nhost: b",
            ],
        )
        .collect::<Vec<_>>(),
    );
}

#[test]
fn trailers_that_are_no_fields_or_too_many_are_refused() {
    let mut cases = Vec::new();
    cases.extend(trailers("http.bare_lf", &["x: y\nz: z", "x: y\n", "\nx: y"]));
    cases.extend(trailers("http.bare_cr", &["x: y\rz: z", "x: y\r", "\rx: y"]));
    cases.extend(trailers("http.nul", &["x: a\0b", "x\0: a", "\0"]));
    cases.extend(trailers("http.folded_field", &[" x: y", "x: y\r\n z", "x: y\r\n\tz: z"]));
    cases.extend(trailers("http.space_before_colon", &["x : y", "x\t: y"]));
    cases.extend(trailers("http.field_line", &["x", "GET /hidden HTTP/1.1"]));
    cases.extend(trailers("http.field_name", &[": x", "a b: x", "\u{e9}: x"]));
    cases.extend(trailers("http.field_value", &["x: a\u{1}b", "x: \u{7f}"]));
    let many: String = (0..33).map(|n| format!("x-{n}: y\r\n")).collect();
    let long = format!("x: {}", "y".repeat(9000));
    let endless = "y".repeat(60_000);
    cases.extend(trailers("http.trailers_too_large", &[many.trim_end(), &long, &endless]));
    check(&cases);
}

#[test]
fn a_bad_chunk_in_the_middle_of_an_upload_is_refused_and_the_origin_never_gets_its_end() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let origin = Origin::conversing(move |talk| {
        talk.head();
        let tell = tell.lock().unwrap().clone();
        loop {
            let chunk = talk.chunk();
            let over = chunk.as_ref().is_none_or(Vec::is_empty);
            let _ = tell.send(chunk);
            if over {
                let _ = tell.send(Some(talk.rest()));
                return;
            }
        }
    });
    let gateway = start(Document::before(&origin));
    for (number, (bad, code)) in [
        ("zz\r\n", "http.chunk_size"),
        ("-1\r\n", "http.chunk_size"),
        ("8000000000000000\r\n", "http.chunk_overflow"),
        ("5\nhello", "http.chunk_line"),
        ("5;\r\nhello", "http.chunk_extension"),
        ("0\r\nhost: b\r\n\r\n", "http.trailer_forbidden"),
        ("0\r\nx: y\n\r\n", "http.bare_lf"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/{number}");
        let mut client = gateway.client("main");
        client.begin("POST", &path, &[("transfer-encoding", "chunked")]);
        client.send_chunk("first");
        assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), b"first", "{bad:?}");
        client.send(bad);
        assert_eq!(client.read(false).unwrap().status, 400, "{bad:?}");
        assert!(client.ends(), "{bad:?}");
        assert_eq!(told.recv_timeout(PATIENCE).unwrap(), None, "{bad:?}");
        assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), b"", "{bad:?}");
        let line = gateway.access(&path);
        let said = json!([line["code"], line["status"], line["received"], line["end"]]);
        assert_eq!(said, json!([code, 400, 5, "complete"]), "{bad:?}");
        gateway.wait(|event| {
            event["kind"] == "event"
                && event["request_id"] == line["request_id"]
                && event["type"] == code
        });
    }
}

#[test]
fn bytes_behind_a_chunk_reach_the_origin_no_more_than_its_end_does() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let origin = Origin::conversing(move |talk| {
        talk.head();
        while talk.chunk().is_some_and(|chunk| !chunk.is_empty()) {}
        let _ = tell.lock().unwrap().send(talk.line());
    });
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    client.begin("POST", "/", &[("transfer-encoding", "chunked")]);
    client.send_chunk("first");
    origin.wait_seen(1);
    client.send("5\r\nhelloXX");
    assert_eq!(client.read(false).unwrap().status, 400);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), None);
    assert_eq!(gateway.access("/")["code"], "http.chunk_end");
}

#[test]
fn extensions_and_trailers_within_the_limits_are_understood_and_end_at_the_gateway() {
    let origin = Origin::conversing(|talk| {
        while talk.head().is_some() {
            let mut lines = Vec::new();
            // As it comes: sizes without extensions, an end without trailers.
            while let Some(line) = talk.line() {
                let last = line.is_empty();
                lines.push(line);
                if last {
                    break;
                }
            }
            let body = lines.join("|");
            let length = body.len();
            talk.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"));
        }
    });
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    let long = "a".repeat(255);
    for extension in [
        "",
        ";a",
        ";a=b",
        ";a=\"b\"",
        ";a=\"\\\"b; \t\u{e9}\"",
        ";a;b=c;d=\"\"",
        &format!(";{long}"),
    ] {
        let many: String = (0..32).map(|n| format!("x-{n}: y\r\n")).collect();
        for trailer in ["", "x: y\r\n", "X-Checksum:y\r\ncontent-digest: z\r\n", &many] {
            client.begin("POST", "/", &[("transfer-encoding", "chunked")]);
            client.send(format!("5{extension}\r\nhello\r\n0{extension}\r\n{trailer}\r\n"));
            let reply = client.read(false).unwrap();
            let whole = (200, "5|hello|0|");
            assert_eq!((reply.status, reply.text().as_str()), whole, "{extension} {trailer}");
        }
    }
    assert_eq!(origin.connections(), 1);
}
