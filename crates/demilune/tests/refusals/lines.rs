//! Bytes that are no head: of the first line, of the lines of fields, and of their ends.

use crate::case::{Case, check};

/// Requests with these as their first line.
fn begin<'a>(lines: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    lines.iter().map(|line| format!("{line}\r\nhost: a\r\n\r\n"))
}

/// Requests with these among their fields.
fn hold<'a>(fields: &'a [&'a str]) -> impl Iterator<Item = String> + 'a {
    fields.iter().map(|field| format!("GET / HTTP/1.1\r\nhost: a\r\n{field}\r\nz: z\r\n\r\n"))
}

#[test]
fn a_first_line_that_is_none_is_refused() {
    let long = format!("{} / HTTP/1.1", "A".repeat(33));
    let lines = [
        "GET",
        "GET /",
        "GET HTTP/1.1",
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP /1.1",
        "GET /a b HTTP/1.1",
        "GET\t/\tHTTP/1.1",
        "GET / HTTP/1.1 HTTP/1.1",
        "",
    ];
    let mut cases = Case::all("http.request_line", begin(&lines));
    cases.extend(Case::all("http.request_line", ["\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n"]));
    let lines = ["G@T / HTTP/1.1", "GET: / HTTP/1.1", "\"GET\" / HTTP/1.1", "G\u{e9}T / HTTP/1.1"];
    cases.extend(Case::all("http.method_name", begin(&lines[..2])));
    cases.extend(Case::all("http.method_name", begin(&lines[3..])));
    cases.extend(Case::all("http.method_name", begin(&[&long])));
    cases.extend(Case::all("http.not_http", begin(&lines[2..3])));
    check(&cases);
}

#[test]
fn a_target_that_is_none_is_refused() {
    let lines = [
        "GET a HTTP/1.1",
        "GET a/b HTTP/1.1",
        "GET ?a HTTP/1.1",
        "GET * HTTP/1.1",
        "GET a:443 HTTP/1.1",
        "GET /a\"b HTTP/1.1",
        "GET /a<b> HTTP/1.1",
        "GET /a#b HTTP/1.1",
        "GET /a?b#c HTTP/1.1",
        "GET /caf\u{e9} HTTP/1.1",
        "GET /a\u{7f} HTTP/1.1",
        "GET /a\u{1} HTTP/1.1",
        "GET /a\tb HTTP/1.1",
        "GET http:///a HTTP/1.1",
        "GET http:/a HTTP/1.1",
        "GET http:a HTTP/1.1",
        "GET http://user@a/ HTTP/1.1",
        "GET http://user:secret@a/ HTTP/1.1",
        "GET ftp://a/ HTTP/1.1",
        "GET mailto:a HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "CONNECT a HTTP/1.1",
        "CONNECT a:b HTTP/1.1",
        "CONNECT user@a:443 HTTP/1.1",
        "CONNECT http://a/ HTTP/1.1",
    ];
    let mut cases = Case::all("http.target", begin(&lines));
    let raw = b"GET /\xff HTTP/1.1\r\nhost: a\r\n\r\n";
    cases.push(Case::new(raw, 400, "http.target"));
    check(&cases);
}

#[test]
fn a_version_that_is_none_or_not_ours_is_refused() {
    let lines = [
        "GET / http/1.1",
        "GET / Http/1.1",
        "GET / HTTP/1",
        "GET / HTTP/1.10",
        "GET / HTTP/01.1",
        "GET / HTTP/1,1",
        "GET / HTTP/1.x",
        "GET / HTTPS/1.1",
        "GET / HTTP1.1",
        "GET / HTTP/",
        "GET / HTTP/-1.1",
        "GET / canary",
    ];
    let mut cases = Case::all("http.version", begin(&lines));
    for version in ["0.9", "1.2", "1.9", "2.0", "3.0", "9.9", "2", "3"] {
        let request = format!("GET / HTTP/{version}\r\nhost: a\r\n\r\n");
        cases.push(Case::new(request, 505, "http.version_unsupported"));
    }
    check(&cases);
}

#[test]
fn what_cannot_become_http_is_refused() {
    let hello: &[u8] = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03";
    let mut cases = Case::all("http.not_http", [hello, b"\0", b"\x80\x2e\x01", b"\xef\xbb\xbfGET"]);
    let lines = [" GET / HTTP/1.1", "\tGET / HTTP/1.1", "/ HTTP/1.1", "{\"a\":1}", "<a/>", "(a)"];
    cases.extend(Case::all("http.not_http", begin(&lines)));
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    cases.push(Case::new(preface, 400, "http.http2_preface"));
    check(&cases);
}

#[test]
fn a_line_that_does_not_end_in_crlf_is_refused() {
    let mut cases = Case::all(
        "http.bare_lf",
        [
            "GET / HTTP/1.1\nhost: a\r\n\r\n",
            "GET / HTTP/1.1\nhost: a\n\n",
            "GET / HTTP/1.1\r\nhost: a\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\n\n",
            "GET / HTTP/1.1\r\nhost: a\r\nx: y\nz: z\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nx: y\n z\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nx\n: y\r\n\r\n",
            "GET /\nHTTP/1.1\r\nhost: a\r\n\r\n",
            "\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
            "\r\n\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\n\r\nabc",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\nx: y\r\n\r\n0\r\n\r\n",
        ],
    );
    cases.extend(Case::all(
        "http.bare_cr",
        [
            "GET / HTTP/1.1\rhost: a\r\n\r\n",
            "GET / HTTP/1.1\r\rhost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\n\rx\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nx: y\rz: z\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nx\r: y\r\n\r\n",
            "GET /\r HTTP/1.1\r\nhost: a\r\n\r\n",
            "\rGET / HTTP/1.1\r\nhost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\rchunked\r\n\r\n0\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\r\n\r\n0\r\n\r\n",
        ],
    ));
    check(&cases);
}

#[test]
fn a_nul_anywhere_in_a_head_is_refused() {
    check(&Case::all(
        "http.nul",
        [
            "G\0T / HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET /\0 HTTP/1.1\r\nhost: a\r\n\r\n",
            "GET / HTTP/1.1\0\r\nhost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\0host: a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost\0: a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\0\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\n\0\r\n\r\n",
        ],
    ));
}

#[test]
fn a_field_that_two_readers_could_read_differently_is_refused() {
    let mut cases = Case::all(
        "http.folded_field",
        [
            "GET / HTTP/1.1\r\n host: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\thost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n\tb: c\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: a\r\n \r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n x\r\n\r\n0\r\n\r\n",
        ],
    );
    cases.extend(Case::all(
        "http.space_before_colon",
        [
            "GET / HTTP/1.1\r\nhost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nhost\t: a\r\n\r\n",
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length : 3\r\n\r\nabc",
            "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        ],
    ));
    cases.extend(Case::all("http.field_line", hold(&["x", "no colon", "x y", "\"x\"", "\u{e9}"])));
    let names =
        [": x", ":", "a b: x", "a(b): x", "\"a\": x", "a@b: x", "a/b: x", "a=b: x", "\u{1}a: x"];
    cases.extend(Case::all("http.field_name", hold(&names)));
    cases.extend(Case::all("http.field_name", hold(&["\u{e9}: x", "a\u{7f}: x", "[a]: x"])));
    check(&cases);
}

#[test]
fn a_control_byte_in_a_value_is_refused() {
    // HTAB may stand there; NUL, LF and CR are faults of their own.
    let bytes = (1..0x20).chain([0x7f]).filter(|byte| ![b'\t', b'\n', b'\r'].contains(byte));
    let head = b"GET / HTTP/1.1\r\nhost: a\r\nx: a";
    let requests = bytes.map(|byte| [head, &[byte][..], b"b\r\n\r\n"].concat());
    check(&Case::all("http.field_value", requests));
}
