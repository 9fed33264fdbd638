//! httparse reads every head that we accept, and reads the same.

use http::{HeaderMap, Version};

use crate::seeds::{ANSWERS, REQUESTS, each};
use crate::{LIMITS, head};

/// Mutations of each seed.
const ROUNDS: usize = 5000;

fn version(version: Version) -> u8 {
    u8::from(version == Version::HTTP_11)
}

/// Names and values, sorted: the order of different names means nothing.
fn ours(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let own = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), value.as_bytes().to_vec())
    };
    sorted(headers.iter().map(own).collect())
}

fn theirs(headers: &[httparse::Header<'_>]) -> Vec<(String, Vec<u8>)> {
    // It leaves a HTAB after a value, which is white space there (RFC 9112 section 5).
    let trim = |mut value: &[u8]| {
        while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
            value = rest;
        }
        value.to_vec()
    };
    let own = |header: &httparse::Header<'_>| (header.name.to_lowercase(), trim(header.value));
    sorted(headers.iter().map(own).collect())
}

fn sorted(mut list: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    list.sort();
    list
}

#[test]
fn httparse_reads_the_requests_that_we_accept_as_we_do() {
    let mut accepted = 0;
    each(REQUESTS, ROUNDS, |bytes| {
        let parse = |head| demilune_wire::parse_request(head, &LIMITS).ok();
        let Some((end, head)) = head(bytes, parse) else { return };
        accepted += 1;
        let shown = bytes.escape_ascii().to_string();
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut other = httparse::Request::new(&mut fields);
        assert_eq!(other.parse(bytes), Ok(httparse::Status::Complete(end)), "{shown}");
        assert_eq!(other.method, Some(head.method.as_str()), "{shown}");
        assert_eq!(other.version, Some(version(head.version)), "{shown}");
        let target = other.path.unwrap();
        assert_eq!(target.parse::<http::Uri>().unwrap(), head.target, "{shown}");
        assert_eq!(theirs(other.headers), ours(&head.headers), "{shown}");
    });
    assert!(accepted > REQUESTS.len() * ROUNDS / 5, "only {accepted} accepted");
}

#[test]
fn httparse_reads_the_answers_that_we_accept_as_we_do() {
    let mut accepted = 0;
    each(ANSWERS, ROUNDS, |bytes| {
        let parse = |head| demilune_wire::parse_response(head, &http::Method::GET, &LIMITS).ok();
        let Some((end, head)) = head(bytes, parse) else { return };
        accepted += 1;
        let shown = bytes.escape_ascii().to_string();
        let mut fields = [httparse::EMPTY_HEADER; 64];
        let mut other = httparse::Response::new(&mut fields);
        assert_eq!(other.parse(bytes), Ok(httparse::Status::Complete(end)), "{shown}");
        assert_eq!(other.code, Some(head.status.as_u16()), "{shown}");
        assert_eq!(other.version, Some(version(head.version)), "{shown}");
        assert_eq!(theirs(other.headers), ours(&head.headers), "{shown}");
    });
    assert!(accepted > ANSWERS.len() * ROUNDS / 5, "only {accepted} accepted");
}
