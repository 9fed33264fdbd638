//! From what the codec read to a head that has one meaning, or a refusal. Everything here is
//! refused before a route is looked for.

use demilune_core::head::{HostInvalid, Scheme};
use demilune_core::{Denial, Host, RequestHead, Target, pipeline};
use http::header::{ALLOW, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version};

/// The most header fields of a request.
const FIELDS_LIMIT: usize = 100;

/// The parts of a request that are judged.
pub(crate) struct Parts {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) content_length: Option<u64>,
}

/// Judges a head (RFC 9112 sections 3.2 and 6, RFC 9113 section 8.3) of at most `limit` bytes.
///
/// # Errors
/// The refusal; with `http.*` codes, each for one kind of ambiguity. The parts come back with it.
pub(crate) fn judge(
    parts: Parts,
    scheme: Scheme,
    limit: usize,
) -> Result<RequestHead, Box<(Denial, Parts)>> {
    match checked(&parts, scheme, limit) {
        Ok((host, target)) => Ok(RequestHead {
            method: parts.method,
            scheme,
            host,
            target,
            version: parts.version,
            headers: parts.headers,
            content_length: parts.content_length,
        }),
        Err(denial) => Err(Box::new((denial, parts))),
    }
}

fn checked(parts: &Parts, scheme: Scheme, limit: usize) -> Result<(Host, Target), Denial> {
    // The codec stops a head that does not end, but takes in a whole one of up to twice the limit.
    if size(parts) > limit || parts.headers.len() > FIELDS_LIMIT {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        let public = "the request's head is too large";
        return Err(Denial::new(status, "http.head_too_large", public));
    }
    if parts.method == Method::CONNECT || parts.method == Method::TRACE {
        let public = "this method is not offered";
        let offered = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        let denial = Denial::new(StatusCode::METHOD_NOT_ALLOWED, "http.method", public);
        return Err(denial.header(ALLOW, offered));
    }
    framing(&parts.headers, parts.version)?;
    let host = host(&parts.headers, &parts.uri, parts.version, scheme)?;
    let raw = parts.uri.path_and_query();
    let raw = raw.ok_or_else(|| bad("http.target", "the target is not a path"))?;
    let target = Target::canonical(raw).map_err(pipeline::ambiguous_path)?;
    Ok((host, target))
}

/// The bytes of a head as HTTP/1.1 writes it.
fn size(parts: &Parts) -> usize {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let authority = parts.uri.authority().map_or(0, |authority| authority.as_str().len());
    let line = parts.method.as_str().len() + authority + target + "  HTTP/1.1\r\n\r\n".len();
    let field = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len() + 4;
    line + parts.headers.iter().map(field).sum::<usize>()
}

fn bad(code: &'static str, public: &'static str) -> Denial {
    Denial::new(StatusCode::BAD_REQUEST, code, public)
}

/// What can be seen of ambiguous framing above the codec.
fn framing(headers: &HeaderMap, version: Version) -> Result<(), Denial> {
    let codings: Vec<_> = headers.get_all(TRANSFER_ENCODING).iter().collect();
    let chunked = match codings.as_slice() {
        [] => false,
        [one] if one.as_bytes().eq_ignore_ascii_case(b"chunked") => true,
        _ => return Err(bad("http.transfer_encoding", "only `chunked` is understood, once")),
    };
    if chunked && version != Version::HTTP_11 {
        let public = "transfer codings exist in HTTP/1.1 only";
        return Err(bad("http.transfer_encoding", public));
    }
    let lengths = headers.get_all(CONTENT_LENGTH).iter().count();
    if lengths > 1 || (chunked && lengths > 0) {
        return Err(bad("http.content_length", "the length of the body is ambiguous"));
    }
    Ok(())
}

/// The one authority of a request.
fn host(headers: &HeaderMap, uri: &Uri, version: Version, scheme: Scheme) -> Result<Host, Denial> {
    let mut fields = headers.get_all(HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (field, None) => field,
        _ => return Err(bad("http.host", "there is more than one host")),
    };
    let field = field.map(|value| {
        let text = value.to_str().map_err(|_| HostInvalid)?;
        Host::parse(text)
    });
    let in_target = uri.authority().map(|authority| Host::parse(authority.as_str()));
    if uri.scheme_str().is_some_and(|written| written != scheme.as_str()) {
        return Err(bad("http.scheme", "the target's scheme is not the connection's"));
    }
    match (in_target, field) {
        (Some(Err(_)), _) | (_, Some(Err(_))) => Err(bad("http.host", "the host is not valid")),
        (Some(Ok(target)), Some(Ok(field))) if target.same_as(&field, scheme) => Ok(target),
        (Some(Ok(_)), Some(Ok(_))) => Err(bad("http.host", "target and host disagree")),
        // HTTP/1.1 needs the field even beside an absolute target (RFC 9112 section 3.2).
        (Some(Ok(target)), None) if version == Version::HTTP_2 => Ok(target),
        (None, Some(Ok(field))) => Ok(field),
        _ => Err(bad("http.host", "there is no host")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(target: &str, version: Version, headers: &[(&str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            map.append(name, value.parse().unwrap());
        }
        let uri = target.parse().unwrap();
        let parts =
            Parts { method: Method::GET, uri, version, headers: map, content_length: Some(0) };
        match judge(parts, Scheme::Http, 1000) {
            Ok(head) => format!("{} {}", head.host.as_str(), head.target.path()),
            Err(refused) => refused.0.code.to_owned(),
        }
    }

    #[test]
    fn one_host_that_agrees_is_admitted() {
        let v1 = Version::HTTP_11;
        assert_eq!(judged("/a", v1, &[("host", "API.example.")]), "api.example /a");
        assert_eq!(judged("http://a.example/x", v1, &[("host", "a.example:80")]), "a.example /x");
        assert_eq!(judged("http://a.example/x", Version::HTTP_2, &[]), "a.example /x");
    }

    #[test]
    fn any_doubt_about_the_host_is_refused() {
        let v1 = Version::HTTP_11;
        for (target, headers) in [
            ("/", vec![]),
            ("/", vec![("host", "a"), ("host", "a")]),
            ("/", vec![("host", "a, b")]),
            ("/", vec![("host", "u@a")]),
            ("/", vec![("host", "")]),
            ("http://b/", vec![("host", "a")]),
            ("http://a/", vec![]),
        ] {
            assert_eq!(judged(target, v1, &headers), "http.host", "{target} {headers:?}");
        }
        assert_eq!(judged("/", Version::HTTP_10, &[]), "http.host");
        assert_eq!(judged("https://a/", v1, &[("host", "a")]), "http.scheme");
    }

    #[test]
    fn a_head_over_the_limit_is_refused() {
        let long = |count: usize| format!("/{}", "a".repeat(count));
        let host = [("host", "a")];
        let around = "GET / HTTP/1.1\r\nhost: a\r\n\r\n".len();
        let admitted = judged(&long(1000 - around), Version::HTTP_11, &host);
        assert!(admitted.starts_with("a /aa"), "{admitted}");
        assert_eq!(judged(&long(1001 - around), Version::HTTP_11, &host), "http.head_too_large");
        let large = "x".repeat(1000);
        let headers = [("host", "a"), ("x", &*large)];
        assert_eq!(judged("/", Version::HTTP_11, &headers), "http.head_too_large");
    }

    #[test]
    fn any_transfer_coding_but_one_chunked_is_refused() {
        let v1 = Version::HTTP_11;
        let with = |headers: &[(&str, &str)]| {
            let mut all = vec![("host", "a")];
            all.extend_from_slice(headers);
            judged("/", v1, &all)
        };
        assert_eq!(with(&[("transfer-encoding", "Chunked")]), "a /");
        for coding in ["gzip, chunked", "chunked, chunked", "identity", "", "x"] {
            assert_eq!(with(&[("transfer-encoding", coding)]), "http.transfer_encoding");
        }
        let twice = [("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")];
        assert_eq!(with(&twice), "http.transfer_encoding");
        let both = [("transfer-encoding", "chunked"), ("content-length", "3")];
        assert_eq!(with(&both), "http.content_length");
        let twice = [("content-length", "3"), ("content-length", "3")];
        assert_eq!(with(&twice), "http.content_length");
    }

    #[test]
    fn paths_that_are_no_paths_are_refused() {
        let host = [("host", "a")];
        assert_eq!(judged("*", Version::HTTP_11, &host), "http.path");
        assert_eq!(judged("/a%2eb", Version::HTTP_11, &host), "http.path");
    }
}
