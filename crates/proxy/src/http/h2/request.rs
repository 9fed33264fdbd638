//! From a stream's head to a request (RFC 9113 section 8.3).

use std::rc::Rc;

use ::h2::RecvStream;
use http::header::{CONTENT_LENGTH, COOKIE, EXPECT};
use http::{HeaderMap, HeaderValue, Method, Request, Version};

use super::super::{RequestBody, WireRequest};
use super::body::{Expectation, StreamBody};

/// A request that h2 let pass and that RFC 9113 calls malformed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Makes the request. h2 has refused pseudo-headers that are doubled, unknown, misplaced or of
/// the other direction, names in upper case, fields that govern a connection, and bytes that no
/// value has.
pub(super) fn request(
    request: Request<RecvStream>,
) -> Result<(WireRequest, Option<Rc<Expectation>>), Malformed> {
    let (mut parts, body) = request.into_parts();
    // http takes a target that is not there for `/`.
    let pathless =
        parts.uri.authority().is_none() && parts.uri.clone().into_parts().path_and_query.is_none();
    if pathless && parts.method != Method::CONNECT {
        return Err(Malformed);
    }
    join_cookies(&mut parts.headers);
    let content_length = if body.is_end_stream() { Some(0) } else { declared(&parts.headers) };
    let waits = content_length != Some(0)
        && parts.headers.get(EXPECT).is_some_and(|it| it.as_bytes() == b"100-continue");
    let expectation = waits.then(Rc::<Expectation>::default);
    let body = match content_length {
        Some(0) if body.is_end_stream() => RequestBody::Empty,
        _ => RequestBody::Http2(StreamBody::new(body, content_length, expectation.clone())),
    };
    let wire = WireRequest {
        method: parts.method,
        uri: parts.uri,
        version: Version::HTTP_2,
        headers: parts.headers,
        content_length,
        body,
        upgrade: None,
    };
    Ok((wire, expectation))
}

/// The declared length; h2 has refused lengths that differ and such as are no number, and refuses
/// a body of another length.
fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Clients may send a field for each cookie, so that they compress better; everybody else is to
/// see one (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(COOKIE).iter();
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else { return };
    let mut all = first.as_bytes().to_vec();
    for cookie in std::iter::once(second).chain(cookies) {
        all.extend_from_slice(b"; ");
        all.extend_from_slice(cookie.as_bytes());
    }
    // What is joined from values is one.
    if let Ok(joined) = HeaderValue::from_bytes(&all) {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_become_one_field() {
        let mut headers = HeaderMap::new();
        join_cookies(&mut headers);
        assert!(headers.is_empty());
        for (cookie, joined) in [("a=1", "a=1"), ("b=2", "a=1; b=2"), ("c", "a=1; b=2; c")] {
            headers.append(COOKIE, HeaderValue::from_static(cookie));
            join_cookies(&mut headers);
            let all: Vec<_> = headers.get_all(COOKIE).iter().collect();
            assert_eq!(all, [joined]);
        }
    }

    #[test]
    fn lengths_are_numbers() {
        let mut headers = HeaderMap::new();
        assert_eq!(declared(&headers), None);
        headers.insert(CONTENT_LENGTH, HeaderValue::from_static("17"));
        assert_eq!(declared(&headers), Some(17));
    }
}
