//! The codec of HTTP/1: what it takes in means the same however it was cut and when it is written
//! again.

use bytes::{Bytes, BytesMut};
use demilune_wire::{
    CHUNK_END, Chunk, ChunkedDecoder, Framing, HeadFinder, HeadLimits, Persistence, Refusal,
    parse_request, parse_response, write_chunk_head, write_last_chunk, write_request,
    write_response,
};
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, Method};

const LIMITS: HeadLimits = HeadLimits { line: 200, size: 600, fields: 12 };

/// Seeds of [`request_head`].
pub(crate) const REQUESTS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nPOST /a?b HTTP/1.1\r\nhost: a:80\r\nContent-Length: 3\r\nX: \ty \r\n\r\nabc",
    "PUT http://a/b HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive, te\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n",
    "CONNECT a:443 HTTP/1.1\r\nUpgrade: websocket, h2c\r\nHTTP2-Settings: x\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
];

/// Seeds of [`response_head`].
pub(crate) const ANSWERS: &[&str] = &[
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nServer: x\r\n\r\nabc",
    "HTTP/1.0 404\r\nConnection: keep-alive\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n\r\n",
    "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
];

/// Seeds of [`chunked`].
pub(crate) const CHUNKED: &[&str] = &[
    "5\r\nhello\r\n0\r\n\r\n",
    "A;a=b;c=\"d\\\"\"\r\n0123456789\r\n000\r\nGrpc-Status: 0\r\nX: y\r\n\r\nGET /",
    "7fffffffffffffff\r\nx",
    "1\r\na\r\n1\r\nb\r\n0\r\nContent-Length: 3\r\n\r\n",
];

/// Where the head ends: the same with all bytes at once, one at a time, and in halves.
fn head(bytes: &[u8]) -> Option<Bytes> {
    let whole = HeadFinder::default().find(bytes, &LIMITS);
    let mut ones = HeadFinder::default();
    let mut by_ones = Ok(None);
    for end in 1..=bytes.len() {
        by_ones = ones.find(bytes.get(..end).unwrap_or_default(), &LIMITS);
        if by_ones != Ok(None) {
            break;
        }
    }
    assert_eq!(by_ones, whole, "bytes that came one at a time make a difference");
    let end = whole.ok()??;
    let head = bytes.get(..end).unwrap_or_default();
    assert!(head.ends_with(b"\r\n\r\n") && head.len() <= LIMITS.size);
    assert!(!head.contains(&0), "a NUL is in a head");
    Some(Bytes::copy_from_slice(head))
}

/// The fields that frame nothing, as text; fails where one could end its line.
fn fields(headers: &HeaderMap, without: &[http::HeaderName]) -> Vec<(String, Vec<u8>)> {
    let mut list = Vec::new();
    for (name, value) in headers {
        let text = value.as_bytes();
        assert!(!text.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)), "a line can end");
        assert!(!matches!(text, [b' ' | b'\t', ..] | [.., b' ' | b'\t']), "white space is left");
        if !without.contains(name) {
            list.push((name.as_str().to_owned(), text.to_vec()));
        }
    }
    list.sort();
    list
}

/// What belongs to a connection or frames a message, and so is not written again.
fn own() -> Vec<http::HeaderName> {
    let names = [
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "proxy-connection",
    ];
    names.map(http::HeaderName::from_static).to_vec()
}

/// A request that is taken in means the same when it is written again.
pub(crate) fn request_head(bytes: &[u8]) {
    let _ = parse_request(Bytes::copy_from_slice(bytes), &LIMITS);
    let Some(head) = head(bytes) else { return };
    let Ok(request) = parse_request(head.clone(), &LIMITS) else { return };
    for end in 0..head.len() {
        assert!(parse_request(head.slice(..end), &LIMITS).is_err(), "a part is taken for a head");
    }
    let one = |name| request.headers.get_all(name).iter().count() <= 1;
    assert!(one(CONTENT_LENGTH) && one(TRANSFER_ENCODING), "two fields frame one message");
    let both = [CONTENT_LENGTH, TRANSFER_ENCODING].map(|name| request.headers.contains_key(name));
    assert!(both != [true, true], "a length beside a coding");
    let Some(target) = request.target.path_and_query() else { return };
    // A second Host is judged above; the writer writes one.
    if !one(HOST) {
        return;
    }
    let mut out = Vec::new();
    let framing = framing(request.body);
    write_request(&mut out, &request.method, target, None, &request.headers, framing, None);
    let roomy = HeadLimits { line: 1000, size: 10_000, fields: 100 };
    let again = parse_request(Bytes::from(out), &roomy).expect("what is written can be read");
    assert_eq!(again.method, request.method);
    assert_eq!(again.target.path_and_query(), Some(target));
    assert_eq!(again.body, request.body);
    assert_eq!(fields(&again.headers, &own()), fields(&request.headers, &own()));
}

fn framing(body: demilune_wire::BodyLength) -> Framing {
    match body {
        demilune_wire::BodyLength::Known(length) => Framing::Length(length),
        demilune_wire::BodyLength::Chunked => Framing::Chunked,
        demilune_wire::BodyLength::UntilClose => Framing::UntilClose,
    }
}

/// An answer that is taken in means the same when it is written again.
pub(crate) fn response_head(bytes: &[u8]) {
    let _ = parse_response(Bytes::copy_from_slice(bytes), &Method::GET, &LIMITS);
    let Some(head) = head(bytes) else { return };
    let Ok(answer) = parse_response(head, &Method::GET, &LIMITS) else { return };
    let bodiless = matches!(answer.status.as_u16(), 100..=199 | 204 | 304);
    let framing = if bodiless { Framing::None } else { framing(answer.body) };
    let mut out = Vec::new();
    let says = Persistence::KeepAlive;
    let version = http::Version::HTTP_11;
    write_response(&mut out, version, answer.status, &answer.headers, framing, says, None, None);
    let roomy = HeadLimits { line: 1000, size: 10_000, fields: 100 };
    let again = parse_response(Bytes::from(out), &Method::GET, &roomy).expect("can be read");
    assert_eq!((again.status, again.body), (answer.status, answer.body));
    assert_eq!(fields(&again.headers, &own()), fields(&answer.headers, &own()));
}

/// What a chunked body holds: its data, its trailers once it ended, and what follows it.
type Decoded = Result<(Vec<u8>, Option<HeaderMap>, usize), Refusal>;

fn decoded(bytes: &[u8], step: usize) -> Decoded {
    let mut decoder = ChunkedDecoder::new();
    let mut buffer = BytesMut::new();
    let mut data = Vec::new();
    let mut fed = 0;
    for piece in bytes.chunks(step.max(1)) {
        buffer.extend_from_slice(piece);
        fed += piece.len();
        loop {
            match decoder.decode(&mut buffer)? {
                Chunk::Pending => break,
                Chunk::Data(some) => data.extend_from_slice(&some),
                Chunk::End(trailers) => {
                    return Ok((data, Some(trailers), bytes.len() - fed + buffer.len()));
                }
            }
        }
    }
    Ok((data, None, 0))
}

/// A chunked body is the same however its bytes come, and when it is written again.
pub(crate) fn chunked(bytes: &[u8]) {
    let whole = decoded(bytes, bytes.len());
    for step in [1, 2, 7] {
        assert_eq!(decoded(bytes, step), whole, "pieces of {step} make a difference");
    }
    let Ok((data, Some(trailers), left)) = whole else { return };
    assert!(data.len() + left + "0\r\n\r\n".len() <= bytes.len(), "data out of nothing");
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, HOST] {
        assert!(!trailers.contains_key(&name), "{name} is a trailer");
    }
    let mut out = Vec::new();
    if !data.is_empty() {
        write_chunk_head(&mut out, data.len());
        out.extend_from_slice(&data);
        out.extend_from_slice(CHUNK_END);
    }
    write_last_chunk(&mut out, &trailers);
    assert_eq!(decoded(&out, out.len()), Ok((data, Some(trailers), 0)));
}
