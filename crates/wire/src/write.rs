//! Writing: every message is made anew of what it means.

use http::header::{DATE, HOST};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};

/// How a body's end will be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// No body and no length: a GET, a 204, a 304.
    None,
    /// So many bytes. Of an answer to HEAD: those a GET would have got.
    Length(u64),
    /// Chunked coding, which needs an HTTP/1.1 recipient.
    Chunked,
    /// The body ends with the connection; answers only.
    UntilClose,
}

/// What an answer says of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// It stays: nothing is said, as HTTP/1.1 takes it.
    KeepAlive,
    /// It stays, and an HTTP/1.0 client must be told.
    SayKeepAlive,
    /// It is closed.
    Close,
}

/// What follows the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// The last chunk, without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Appends the head of a request in origin form, as HTTP/1.1.
///
/// `host` comes first; where it is `None`, the field among `headers` does. Fields of framing and
/// of the connection among `headers` are left out: `framing` and `upgrade` (the protocol asked
/// for) say these.
pub fn write_request(
    out: &mut Vec<u8>,
    method: &Method,
    target: &PathAndQuery,
    host: Option<&HeaderValue>,
    headers: &HeaderMap,
    framing: Framing,
    upgrade: Option<&HeaderValue>,
) {
    out.reserve(256);
    out.extend_from_slice(method.as_str().as_bytes());
    out.push(b' ');
    let target = target.as_str();
    if target.starts_with('?') {
        out.push(b'/');
    }
    out.extend_from_slice(target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if let Some(host) = host.or_else(|| headers.get(HOST)) {
        field(out, "host", host.as_bytes());
    }
    fields(out, headers, true);
    frame(out, framing);
    if let Some(protocol) = upgrade {
        upgraded(out, protocol);
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the head of an answer, as HTTP/1.1 (RFC 9112 section 2.3).
///
/// `version` is that of the request: one of 1.0 understands no chunks, and is told nothing of
/// [`Framing::Chunked`], but that the body ends with the connection. `date` is written where
/// `headers` have no Date. `upgrade` is the protocol of a 101.
#[expect(clippy::too_many_arguments, reason = "each is one part of a head")]
pub fn write_response(
    out: &mut Vec<u8>,
    version: Version,
    status: StatusCode,
    headers: &HeaderMap,
    framing: Framing,
    persistence: Persistence,
    date: Option<&HeaderValue>,
    upgrade: Option<&HeaderValue>,
) {
    out.reserve(512);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    let (framing, persistence) = match framing {
        Framing::Chunked if version != Version::HTTP_11 => {
            (Framing::UntilClose, Persistence::Close)
        }
        Framing::UntilClose => (framing, Persistence::Close),
        _ => (framing, persistence),
    };
    if let Some(date) = date
        && !headers.contains_key(DATE)
    {
        field(out, "date", date.as_bytes());
    }
    fields(out, headers, false);
    frame(out, framing);
    match (upgrade, persistence) {
        (Some(protocol), _) => upgraded(out, protocol),
        (None, Persistence::KeepAlive) => {}
        (None, Persistence::SayKeepAlive) => field(out, "connection", b"keep-alive"),
        (None, Persistence::Close) => field(out, "connection", b"close"),
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends what stands before the data of a chunk of `length` bytes, which must not be 0;
/// [`CHUNK_END`] follows the data.
pub fn write_chunk_head(out: &mut Vec<u8>, length: usize) {
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let nibble = length >> (place * 4) & 0xf;
        out.push(b"0123456789abcdef".get(nibble).copied().unwrap_or(b'0'));
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk with these trailers; those of framing and of the connection are left
/// out.
pub fn write_last_chunk(out: &mut Vec<u8>, trailers: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    fields(out, trailers, true);
    out.extend_from_slice(b"\r\n");
}

fn fields(out: &mut Vec<u8>, headers: &HeaderMap, without_host: bool) {
    for (name, value) in headers {
        let name = name.as_str();
        let host = without_host && name == "host";
        if !host && !of_connection(name) {
            field(out, name, value.as_bytes());
        }
    }
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn frame(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Length(length) => {
            let mut digits = [0_u8; 20];
            let mut left = length;
            let mut first = digits.len();
            for (i, digit) in digits.iter_mut().enumerate().rev() {
                *digit = b'0' + u8::try_from(left % 10).unwrap_or_default();
                left /= 10;
                first = i;
                if left == 0 {
                    break;
                }
            }
            field(out, "content-length", digits.get(first..).unwrap_or_default());
        }
        Framing::Chunked => field(out, "transfer-encoding", b"chunked"),
    }
}

fn upgraded(out: &mut Vec<u8>, protocol: &HeaderValue) {
    field(out, "connection", b"upgrade");
    field(out, "upgrade", protocol.as_bytes());
}

/// Fields that frame a message or belong to one connection (RFC 9110 section 7.6.1).
fn of_connection(name: &str) -> bool {
    match name.len() {
        2 => name == "te",
        7 => name == "trailer" || name == "upgrade",
        10 => name == "connection" || name == "keep-alive",
        14 => name == "content-length" || name == "http2-settings",
        16 => name == "proxy-connection",
        17 => name == "transfer-encoding",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{BodyLength, HeadLimits, parse_request, parse_response};

    const LIMITS: HeadLimits = HeadLimits { line: 200, size: 1000, fields: 20 };

    fn headers() -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in [
            ("accept", "a"),
            ("host", "own.example"),
            ("content-length", "999"),
            ("transfer-encoding", "gzip"),
            ("connection", "x"),
            ("keep-alive", "x"),
            ("te", "x"),
            ("trailer", "x"),
            ("upgrade", "x"),
            ("proxy-connection", "x"),
            ("http2-settings", "x"),
            ("accept", "b"),
        ] {
            map.append(http::HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    fn request(framing: Framing, upgrade: Option<&str>) -> String {
        let mut out = Vec::new();
        let upgrade = upgrade.map(|text| HeaderValue::from_str(text).unwrap());
        let target = PathAndQuery::from_static("/a?b");
        write_request(&mut out, &Method::PUT, &target, None, &headers(), framing, upgrade.as_ref());
        let text = String::from_utf8(out).unwrap();
        assert!(parse_request(Bytes::from(text.clone()), &LIMITS).is_ok(), "{text}");
        text
    }

    fn answer(version: Version, status: u16, framing: Framing, says: Persistence) -> String {
        let mut out = Vec::new();
        let status = StatusCode::from_u16(status).unwrap();
        let date = HeaderValue::from_static("now");
        let mut headers = headers();
        headers.remove("host");
        write_response(&mut out, version, status, &headers, framing, says, Some(&date), None);
        let text = String::from_utf8(out).unwrap();
        let read = parse_response(Bytes::from(text.clone()), &Method::GET, &LIMITS).unwrap();
        let expected = match framing {
            Framing::None => None,
            Framing::Length(length) => Some(BodyLength::Known(length)),
            Framing::Chunked if version == Version::HTTP_11 => Some(BodyLength::Chunked),
            Framing::Chunked | Framing::UntilClose => Some(BodyLength::UntilClose),
        };
        assert!(expected.is_none_or(|body| body == read.body), "{text}");
        text
    }

    #[test]
    fn a_request_says_its_host_first_and_its_framing_once() {
        assert_eq!(
            request(Framing::Length(18_446), None),
            "PUT /a?b HTTP/1.1\r\nhost: own.example\r\naccept: a\r\naccept: b\r\n\
             content-length: 18446\r\n\r\n"
        );
        assert!(
            request(Framing::Chunked, None).ends_with("\r\ntransfer-encoding: chunked\r\n\r\n")
        );
        assert!(request(Framing::Length(0), None).ends_with("\r\ncontent-length: 0\r\n\r\n"));
        assert!(
            request(Framing::None, Some("websocket"))
                .ends_with("accept: b\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n")
        );
    }

    #[test]
    fn another_host_replaces_the_one_among_the_headers() {
        let mut out = Vec::new();
        let host = HeaderValue::from_static("other.example");
        let target = PathAndQuery::from_static("/");
        let framing = Framing::None;
        write_request(&mut out, &Method::GET, &target, Some(&host), &headers(), framing, None);
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with("GET / HTTP/1.1\r\nhost: other.example\r\naccept: a\r\n"),
            "{text}"
        );
        assert!(!text.contains("own.example"));
    }

    #[test]
    fn an_answer_says_what_its_client_understands() {
        let new = Version::HTTP_11;
        let old = Version::HTTP_10;
        assert_eq!(
            answer(new, 200, Framing::Length(3), Persistence::KeepAlive),
            "HTTP/1.1 200 OK\r\ndate: now\r\naccept: a\r\naccept: b\r\ncontent-length: 3\r\n\r\n"
        );
        let kept = answer(old, 200, Framing::Length(3), Persistence::SayKeepAlive);
        assert!(kept.ends_with("content-length: 3\r\nconnection: keep-alive\r\n\r\n"));
        let closed = answer(new, 299, Framing::Length(0), Persistence::Close);
        assert!(closed.starts_with("HTTP/1.1 299 \r\n") && closed.contains("connection: close"));
        let chunked = answer(new, 200, Framing::Chunked, Persistence::KeepAlive);
        assert!(chunked.contains("transfer-encoding: chunked") && !chunked.contains("connection"));
        let old_chunked = answer(old, 200, Framing::Chunked, Persistence::SayKeepAlive);
        assert!(old_chunked.ends_with("accept: b\r\nconnection: close\r\n\r\n"));
        let until = answer(new, 200, Framing::UntilClose, Persistence::KeepAlive);
        assert!(until.ends_with("accept: b\r\nconnection: close\r\n\r\n"));
        let none = answer(new, 204, Framing::None, Persistence::KeepAlive);
        assert!(none.ends_with("accept: b\r\n\r\n"));
    }

    #[test]
    fn a_switch_of_protocols_names_the_protocol() {
        let mut out = Vec::new();
        let protocol = HeaderValue::from_static("websocket");
        let status = StatusCode::SWITCHING_PROTOCOLS;
        let says = Persistence::KeepAlive;
        let none = HeaderMap::new();
        let version = Version::HTTP_11;
        write_response(
            &mut out,
            version,
            status,
            &none,
            Framing::None,
            says,
            None,
            Some(&protocol),
        );
        let expected = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n\
                        upgrade: websocket\r\n\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn lengths_are_written_as_they_are_read() {
        for length in [0, 1, 9, 10, 99, 100, 12_345_678_901, u64::MAX] {
            let mut out = Vec::new();
            frame(&mut out, Framing::Length(length));
            assert_eq!(String::from_utf8(out).unwrap(), format!("content-length: {length}\r\n"));
        }
        for length in [1, 9, 15, 16, 255, 256, 0xabcdef, usize::MAX] {
            let mut out = Vec::new();
            write_chunk_head(&mut out, length);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{length:x}\r\n"));
        }
    }

    #[test]
    fn trailers_end_the_last_chunk_and_frame_nothing() {
        let mut out = Vec::new();
        write_last_chunk(&mut out, &headers());
        assert_eq!(out, b"0\r\naccept: a\r\naccept: b\r\n\r\n");
        out.clear();
        write_last_chunk(&mut out, &HeaderMap::new());
        assert_eq!(out, LAST_CHUNK);
    }
}
