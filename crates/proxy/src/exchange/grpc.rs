//! Callers that speak gRPC: how they are told of refusals, and how long they wait.
//!
//! Source: gRPC over HTTP2 (`PROTOCOL-HTTP2.md`) and `http-grpc-status-mapping.md` of its
//! repository.

use std::fmt::Write as _;
use std::time::Duration;

use demilune_core::{Denial, RequestHead, ResponseHead};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// In what form a caller understands a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// With a body.
    Plain,
    /// As the head that the answer to a GET would have.
    Head,
    /// As a head that holds the trailers.
    Grpc,
}

impl Caller {
    pub(super) fn of(method: &Method, version: Version, headers: &HeaderMap) -> Self {
        if *method == Method::HEAD {
            Self::Head
        } else if version == Version::HTTP_2 && *method == Method::POST && is_grpc(headers) {
            Self::Grpc
        } else {
            Self::Plain
        }
    }

    pub(super) fn of_head(head: &RequestHead) -> Self {
        Self::of(&head.method, head.version, &head.headers)
    }
}

/// Whether the type is gRPC's, whatever its messages are coded in. gRPC-Web is something else.
fn is_grpc(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes) else { return false };
    kind.strip_prefix(b"application/grpc")
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// The refusal in a single head without a body (`Trailers-Only`): its HTTP status is 200, or else
/// clients look no further.
pub(super) fn trailers_only(mut head: ResponseHead, denial: &Denial) -> ResponseHead {
    head.headers.insert(GRPC_STATUS, HeaderValue::from(grpc_status(head.status)));
    if let Ok(message) = HeaderValue::from_str(&percent_encoded(&denial.public)) {
        head.headers.insert(GRPC_MESSAGE, message);
    }
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    head.headers.remove(CACHE_CONTROL);
    head.status = StatusCode::OK;
    head
}

/// As clients map a status by themselves, but for what gRPC has a better word for.
fn grpc_status(status: StatusCode) -> u16 {
    match status.as_u16() {
        // INTERNAL: what was sent is not what the protocol says.
        400 | 500 => 13,
        // UNAUTHENTICATED, PERMISSION_DENIED, UNIMPLEMENTED.
        401 => 16,
        403 => 7,
        404 | 405 | 501 => 12,
        // DEADLINE_EXCEEDED. Clients would take it for UNAVAILABLE and try again.
        408 | 504 => 4,
        // RESOURCE_EXHAUSTED, as above.
        413 | 429 | 431 => 8,
        // UNAVAILABLE.
        502 | 503 => 14,
        // UNKNOWN.
        _ => 2,
    }
}

/// What the caller may read, as `grpc-message` has it.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => {
                let _ = write!(out, "%{byte:02X}");
            }
            _ => out.push(char::from(byte)),
        }
    }
    out
}

/// How long the caller waits for the whole answer; `None` where it does not say.
///
/// # Errors
/// Where what it says is no time: one to eight digits and a unit.
pub(super) fn timeout(head: &RequestHead) -> Result<Option<Duration>, Denial> {
    if Caller::of_head(head) != Caller::Grpc {
        return Ok(None);
    }
    let mut all = head.headers.get_all(GRPC_TIMEOUT).iter();
    let timeout = match (all.next(), all.next()) {
        (None, _) => return Ok(None),
        (Some(one), None) => parsed(one.as_bytes()),
        (Some(_), Some(_)) => None,
    };
    timeout.map(Some).ok_or_else(|| {
        let public = "grpc-timeout is not a time";
        Denial::new(StatusCode::BAD_REQUEST, "grpc.timeout", public)
    })
}

fn parsed(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_known_by_method_version_and_type() {
        let caller = |method: Method, version, kind: &'static str| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
            Caller::of(&method, version, &headers)
        };
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
            assert_eq!(caller(Method::POST, Version::HTTP_2, kind), Caller::Grpc, "{kind}");
            assert_eq!(caller(Method::POST, Version::HTTP_11, kind), Caller::Plain, "{kind}");
            assert_eq!(caller(Method::GET, Version::HTTP_2, kind), Caller::Plain, "{kind}");
            assert_eq!(caller(Method::HEAD, Version::HTTP_2, kind), Caller::Head, "{kind}");
        }
        for kind in ["application/grpc-web", "application/grpcx", "application/json", ""] {
            assert_eq!(caller(Method::POST, Version::HTTP_2, kind), Caller::Plain, "{kind}");
        }
    }

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        for (text, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("250m", Some(Duration::from_millis(250))),
            ("0u", Some(Duration::ZERO)),
            ("7n", Some(Duration::from_nanos(7))),
            ("", None),
            ("S", None),
            ("1", None),
            ("1s", None),
            ("123456789S", None),
            ("-1S", None),
            ("+1S", None),
            ("1.5S", None),
            (" 1S", None),
        ] {
            assert_eq!(parsed(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn a_message_is_printable_and_reversible() {
        assert_eq!(percent_encoded("100% \u{e9}\n"), "100%25 %C3%A9%0A");
    }

    #[test]
    fn statuses_are_those_that_clients_would_take_or_better_ones() {
        for (status, grpc) in [
            (400, 13),
            (401, 16),
            (403, 7),
            (404, 12),
            (408, 4),
            (413, 8),
            (421, 2),
            (429, 8),
            (500, 13),
            (502, 14),
            (503, 14),
            (504, 4),
        ] {
            assert_eq!(grpc_status(StatusCode::from_u16(status).unwrap()), grpc, "{status}");
        }
    }
}
