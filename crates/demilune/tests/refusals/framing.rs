//! Heads in which it is in doubt how long the request is, or what is the connection's.

use demilune_testkit::{Document, Origin};

use crate::case::{Case, check};
use crate::start;

/// Cases of 400 for requests with these fields beside the host.
fn with<'a>(code: &'static str, fields: &'a [&'a str]) -> impl Iterator<Item = Case> + 'a {
    fields.iter().map(move |field| Case::with(&format!("host: a\r\n{field}"), 400, code))
}

#[test]
fn a_length_that_is_no_plain_number_is_refused() {
    let mut cases = Vec::new();
    for length in [
        "-1",
        "+1",
        "0x1",
        "1 1",
        "1,2",
        "1, 1",
        "1,1",
        "1;",
        "\"1\"",
        "1.0",
        "1e3",
        "1_000",
        "a",
        "\u{ff11}",
        "",
        "01",
        "00",
        "1000000000000000000",
        "18446744073709551615",
        "18446744073709551616",
        "18446744073709551617",
        "100000000000000000000000000000000000001",
        "1\r\ncontent-length: 2",
        "1\r\ncontent-length: 1",
        "1\r\nContent-Length: 1\r\nCONTENT-LENGTH: 1",
        "0\r\ncontent-length: 0",
    ] {
        let headers = format!("host: a\r\ncontent-length: {length}");
        cases.push(Case::with(&headers, 400, "http.content_length"));
    }
    let get = "GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 5, 5\r\n\r\nhello";
    cases.push(Case::new(get, 400, "http.content_length"));
    check(&cases);
}

#[test]
fn any_coding_but_one_chunked_is_refused() {
    let mut cases = Vec::new();
    for codings in [
        "gzip, chunked",
        "chunked, chunked",
        "identity, chunked",
        ", chunked",
        "chunked,",
        "x\r\ntransfer-encoding: chunked",
        "chunked\r\ntransfer-encoding: chunked",
        "chunked\r\nTransfer-Encoding: identity",
        "identity",
        "gzip",
        "chunked, gzip",
        "\"chunked\"",
        "'chunked'",
        "xchunked",
        "chunkedx",
        "chunked;q=1",
        "chunked; a",
        "chunked chunked",
        "cow",
        "\u{ff43}hunked",
        "",
    ] {
        let fields = format!("host: a\r\ntransfer-encoding: {codings}");
        cases.push(Case::with(&fields, 400, "http.transfer_encoding"));
    }
    for value in ["\u{b}chunked", "chunked\u{c}", "\u{8}chunked"] {
        let fields = format!("host: a\r\ntransfer-encoding: {value}");
        cases.push(Case::with(&fields, 400, "http.transfer_encoding"));
    }
    let old = "POST / HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    cases.push(Case::new(old, 400, "http.transfer_encoding_version"));
    let kept = "POST / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\
                transfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    cases.push(Case::new(kept, 400, "http.transfer_encoding_version"));
    check(&cases);
}

#[test]
fn a_length_beside_chunks_is_refused_and_hides_no_request() {
    let hidden = "GET /hidden HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut cases = Vec::new();
    for framing in [
        format!("content-length: {}\r\ntransfer-encoding: chunked", 5 + hidden.len()),
        "transfer-encoding: chunked\r\ncontent-length: 5".to_owned(),
        "Transfer-Encoding: Chunked\r\nx: y\r\nContent-Length: 0".to_owned(),
        "content-length: 0\r\ntransfer-encoding: chunked".to_owned(),
    ] {
        let request = format!(
            "POST /both HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n3\r\nabc\r\n0\r\n\r\n{hidden}"
        );
        cases.push(Case::new(request, 400, "http.length_and_coding"));
    }
    let old =
        "POST / HTTP/1.0\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n";
    cases.push(Case::new(old, 400, "http.length_and_coding"));
    check(&cases);
}

#[test]
fn a_name_that_somebody_could_take_for_one_that_frames_is_refused() {
    check(
        &with(
            "http.look_alike_field",
            &[
                "content_length: 5",
                "Content_Length: 5",
                "contentlength: 5",
                "content.length: 5",
                "content-length-: 5",
                "-content-length: 5",
                "transfer_encoding: chunked",
                "Transfer.Encoding: chunked",
                "transferencoding: chunked",
                "transfer--encoding: chunked",
                "_transfer-encoding: chunked",
                "host_: b",
                "_host: b",
                "ho-st: b",
                "content-length: 5\r\ncontent_length: 6",
            ],
        )
        .collect::<Vec<_>>(),
    );
}

#[test]
fn no_client_can_have_fields_taken_away_by_naming_them_the_connections() {
    let mut cases = Vec::new();
    for name in [
        "content-length",
        "Content-Length",
        "transfer-encoding",
        "host",
        "connection",
        "content-type",
        "content-encoding",
        "content_length",
        "authorization",
        "cookie",
        "origin",
        "expect",
        "date",
        "if-none-match",
        "accept",
        "range",
        "via",
        "forwarded",
        "x-forwarded-for",
        "X-Forwarded-Host",
        "x-real-ip",
        "x-request-id",
        "x-consumer-name",
        "x-api-key",
        "sec-fetch-site",
        "sec-websocket-key",
        "traceparent",
        "user-agent",
        "close, Content-Length",
        "keep-alive,content-length",
        "keep-alive\r\nconnection: content-length",
    ] {
        let fields = format!("host: a\r\nconnection: {name}\r\ncontent-length: 0");
        cases.push(Case::with(&fields, 400, "http.connection_names"));
    }
    for list in ["a b", "close;q=1", "\"close\"", "close, @", "[x]", "a:b", "\u{e9}"] {
        let fields = format!("host: a\r\nconnection: {list}");
        cases.push(Case::with(&fields, 400, "http.connection"));
    }
    check(&cases);
}

#[test]
fn an_upgrade_to_http_2_in_clear_text_is_refused() {
    check(
        &with(
            "http.h2c",
            &[
                "connection: upgrade\r\nupgrade: h2c",
                "connection: Upgrade\r\nUpgrade: H2C",
                "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk",
                "connection: HTTP2-Settings",
                "http2-settings: AAMAAABk",
                "upgrade: h2c",
                "upgrade: websocket, h2c",
                "upgrade: h2c,websocket",
                "upgrade: websocket\r\nupgrade: h2c",
                "upgrade: h2c-14",
                "upgrade: HTTP/2.0",
                "connection: upgrade\r\nupgrade: http/2",
            ],
        )
        .collect::<Vec<_>>(),
    );
}

#[test]
fn what_the_client_expects_and_nobody_understands_is_refused() {
    let mut cases = Vec::new();
    for expectation in [
        "200-ok",
        "100-continued",
        "100 continue",
        "100-continue, 200-ok",
        "100-continue;a=b",
        "100-continue\r\nexpect: 100-continue",
        "a=b",
    ] {
        let fields = format!("host: a\r\nexpect: {expectation}\r\ncontent-length: 5");
        cases.push(Case::with(&fields, 417, "http.expectation"));
    }
    check(&cases);
}

#[test]
fn what_is_honest_beside_all_this_is_understood() {
    let origin = Origin::echo();
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    for (fields, body) in [
        ("content-length: 5", "hello"),
        ("Content-Length:5", "hello"),
        ("CONTENT-LENGTH: \t5 \t", "hello"),
        ("content-length: 0", ""),
        ("transfer-encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ("Transfer-Encoding: Chunked", "5\r\nhello\r\n0\r\n\r\n"),
        ("TRANSFER-ENCODING:\tCHUNKED\t", "5\r\nhello\r\n0\r\n\r\n"),
        ("connection: keep-alive\r\nconnection: te\r\nte: trailers\r\ncontent-length: 5", "hello"),
        ("connection: Keep-Alive, TE\r\nte: deflate;q=0.5\r\ncontent-length: 5", "hello"),
        ("x-content-length: 9\r\nx-host: b\r\nhosts: c\r\ncontent-length: 5", "hello"),
        ("upgrade: websocket\r\ncontent-length: 5", "hello"),
        ("upgrade: TLS/1.2, foo\r\nconnection: upgrade\r\ncontent-length: 5", "hello"),
    ] {
        client.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{fields}\r\n\r\n{body}"));
        let reply = client.read(false).unwrap();
        let expected = if body.is_empty() { "" } else { "hello" };
        assert_eq!((reply.status, reply.text().as_str()), (200, expected), "{fields}");
    }
    assert_eq!(origin.connections(), 1);
}
