//! The head of an upstream's answer, which is trusted no more than a client.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version};

use crate::connection::{Connection, Side};
use crate::field::{self, line_length};
use crate::framing::Framing;
use crate::name::Kind;
use crate::{BodyLength, HeadLimits, Refusal};

/// The head of an answer that has one meaning.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status, 100 to 999.
    pub status: StatusCode,
    /// 1.0 or 1.1.
    pub version: Version,
    /// All fields as they came; values share the head's memory.
    pub headers: HeaderMap,
    /// How long the body is.
    pub body: BodyLength,
    /// Whether the connection may be used again.
    pub persistent: bool,
}

/// Parses a whole head as [`HeadFinder`](crate::HeadFinder) delimits it. `method` is that of the
/// request it answers; an answer to HEAD has no body. CONNECT is never sent.
///
/// # Errors
/// What is wrong with it; see [`Refusal`] and its [`answer_code`](Refusal::answer_code).
pub fn parse_response(
    head: Bytes,
    method: &Method,
    limits: &HeadLimits,
) -> Result<ResponseHead, Refusal> {
    if head.len() > limits.size {
        return Err(Refusal::HeadTooLarge);
    }
    let end = line_length(&head)?;
    if end > limits.line {
        return Err(Refusal::LineTooLong);
    }
    let (version, status) = status_line(head.get(..end).unwrap_or_default())?;
    let mut framing = Framing::default();
    let mut connection = Connection::default();
    let headers = field::parse(&head, end + 2, limits.fields, |kind, _, value| match kind {
        Kind::ContentLength => framing.length(value),
        Kind::TransferEncoding => framing.coding(value),
        Kind::Connection => connection.take(value, Side::Upstream),
        Kind::LookAlike => Err(Refusal::LookAlike),
        Kind::Expect | Kind::Upgrade | Kind::Http2Settings | Kind::Other => Ok(()),
    })?;
    let never = status.is_informational() || status == StatusCode::NO_CONTENT;
    let said = framing.decide(version == Version::HTTP_11 && !never)?;
    let bodiless = never || status == StatusCode::NOT_MODIFIED || *method == Method::HEAD;
    let body = if bodiless { BodyLength::Known(0) } else { said.unwrap_or(BodyLength::UntilClose) };
    let persistent = body != BodyLength::UntilClose && connection.persistent(version);
    Ok(ResponseHead { status, version, headers, body, persistent })
}

/// `HTTP/1.x SP 3DIGIT [SP reason]`: the last space is missing in the wild.
fn status_line(line: &[u8]) -> Result<(Version, StatusCode), Refusal> {
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor, b' ', digits @ ..] = line else {
        return Err(Refusal::StatusLine);
    };
    let version = match minor {
        b'1' => Version::HTTP_11,
        b'0' => Version::HTTP_10,
        _ => return Err(Refusal::StatusLine),
    };
    let (digits, reason) = digits.split_at_checked(3).ok_or(Refusal::StatusLine)?;
    // Above 599 stands what some services made up (RFC 9110 section 15): one meaning to all.
    let status = StatusCode::from_bytes(digits).map_err(|_| Refusal::StatusLine)?;
    let plain = |byte: &u8| *byte == b'\t' || (*byte >= 0x20 && *byte != 0x7f);
    match reason {
        [] => Ok((version, status)),
        [b' ', reason @ ..] if reason.iter().all(plain) => Ok((version, status)),
        _ => Err(Refusal::StatusLine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { line: 100, size: 1000, fields: 10 };

    fn answer(method: &Method, text: &str) -> Result<(BodyLength, bool), Refusal> {
        let head = Bytes::from(format!("HTTP/{text}\r\n\r\n"));
        parse_response(head, method, &LIMITS).map(|head| (head.body, head.persistent))
    }
    fn got(text: &str) -> Result<(BodyLength, bool), Refusal> {
        answer(&Method::GET, text)
    }

    #[test]
    fn the_length_of_a_body_is_certain_or_ends_the_connection() {
        use BodyLength::*;
        for (text, expected) in [
            ("1.1 200 OK\r\nContent-Length: 5", (Known(5), true)),
            ("1.1 200 OK\r\nTransfer-Encoding: Chunked", (Chunked, true)),
            ("1.1 200 OK", (UntilClose, false)),
            ("1.1 200 OK\r\nConnection: keep-alive", (UntilClose, false)),
            ("1.1 200 OK\r\nContent-Length: 5\r\nConnection: close", (Known(5), false)),
            ("1.0 200 OK\r\nContent-Length: 5", (Known(5), false)),
            ("1.0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive", (Known(5), true)),
            ("1.1 204 No Content", (Known(0), true)),
            ("1.1 204 No Content\r\nContent-Length: 5", (Known(0), true)),
            ("1.1 304 Not Modified\r\nContent-Length: 5", (Known(0), true)),
            ("1.1 304 Not Modified\r\nTransfer-Encoding: chunked", (Known(0), true)),
            ("1.1 100 Continue", (Known(0), true)),
            ("1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade", (Known(0), true)),
        ] {
            assert_eq!(got(text), Ok(expected), "{text:?}");
        }
        let of_head = answer(&Method::HEAD, "1.1 200 OK\r\nContent-Length: 5");
        assert_eq!(of_head, Ok((Known(0), true)));
    }

    #[test]
    fn an_ambiguous_length_is_refused_even_where_there_is_no_body() {
        use Refusal::{
            CodingForbidden, ContentLength, LengthAndCoding, LookAlike, TransferEncoding,
        };
        for (fields, refusal) in [
            ("Content-Length: 5\r\nContent-Length: 5", ContentLength),
            ("Content-Length: 5, 5", ContentLength),
            ("Content-Length: -1", ContentLength),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", LengthAndCoding),
            ("Transfer-Encoding: gzip", TransferEncoding),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", TransferEncoding),
            ("Content_Length: 5", LookAlike),
        ] {
            for status in [200, 204, 304, 100] {
                assert_eq!(got(&format!("1.1 {status} x\r\n{fields}")), Err(refusal), "{fields}");
            }
            let of_head = answer(&Method::HEAD, &format!("1.1 200 OK\r\n{fields}"));
            assert_eq!(of_head, Err(refusal), "{fields}");
        }
        for start in ["1.0 200 OK", "1.1 204 No Content", "1.1 100 Continue"] {
            let text = format!("{start}\r\nTransfer-Encoding: chunked");
            assert_eq!(got(&text), Err(CodingForbidden), "{text:?}");
        }
    }

    #[test]
    fn a_status_line_is_version_status_and_reason() {
        for text in [
            "1.1 999 x",
            "1.1 200 OK",
            "1.1 200 ",
            "1.1 200",
            "1.0 599 a b\tc \u{e9}",
            "1.1 200  x",
        ] {
            assert!(got(text).is_ok(), "{text:?}");
        }
        for text in [
            "1.1 099 x",
            "1.1 20 x",
            "1.1 2000",
            "1.1  200 OK",
            "1.1\t200 OK",
            "2.0 200 OK",
            "1.2 200 OK",
            "1.1 200\tOK",
            "1.1 200OK",
            "1.1 2x0 OK",
            "1.1",
            "1.1 ",
            "1.1 200 a\x01b",
            "1.1 200 a\x7f",
            "1.1 +20 x",
            "2 200",
        ] {
            assert_eq!(got(text), Err(Refusal::StatusLine), "{text:?}");
        }
        for line in ["", "http/1.1 200 OK", "ICY 200 OK", " HTTP/1.1 200 OK", "\r\nHTTP/1.1 200 OK"]
        {
            let head = Bytes::from(format!("{line}\r\n\r\n"));
            let refusal = parse_response(head, &Method::GET, &LIMITS).unwrap_err();
            assert_eq!(refusal, Refusal::StatusLine, "{line:?}");
        }
        let long = format!("1.1 200 {}", "x".repeat(100));
        assert_eq!(got(&long), Err(Refusal::LineTooLong));
    }

    #[test]
    fn fields_are_as_strict_as_those_of_a_client() {
        use Refusal::*;
        for (text, refusal) in [
            ("a: b\nc: d", BareLf),
            ("a: b\r c", BareCr),
            ("a: b\r\n c", Folded),
            ("a", NoColon),
            ("a : b", SpaceBeforeColon),
            ("a b: c", FieldName),
            ("a: \x01", FieldValue),
            ("a: \0", Nul),
            ("Connection: a b", Connection),
        ] {
            assert_eq!(got(&format!("1.1 200 OK\r\n{text}")), Err(refusal), "{text:?}");
        }
        assert_eq!(got("1.1 200 a\nb"), Err(BareLf));
        assert_eq!(got("1.1 200 a\rb"), Err(BareCr));
        assert_eq!(got("1.1 200 a\0"), Err(Nul));
    }

    #[test]
    fn an_upstream_may_name_its_framing_as_the_connections() {
        let text = "1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: Transfer-Encoding";
        assert_eq!(got(text), Ok((BodyLength::Chunked, true)));
    }
}
