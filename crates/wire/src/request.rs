//! The head of a request.

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, Version};

use crate::class::{self, TARGET, TOKEN};
use crate::connection::{Connection, Side};
use crate::field::{self, line_length};
use crate::framing::Framing;
use crate::name::Kind;
use crate::{BodyLength, HeadLimits, Refusal};

/// The longest method, in bytes.
const METHOD: usize = 32;

/// The head of a request that has one meaning.
#[derive(Debug)]
pub struct RequestHead {
    /// The method; CONNECT and TRACE are judged above.
    pub method: Method,
    /// The target: origin form, absolute form, `*` (OPTIONS) or authority form (CONNECT).
    pub target: Uri,
    /// 1.0 or 1.1.
    pub version: Version,
    /// All fields as they came; values share the head's memory.
    pub headers: HeaderMap,
    /// How long the body is; never [`BodyLength::UntilClose`].
    pub body: BodyLength,
    /// Whether the client lets the connection be used again (RFC 9112 section 9.3).
    pub persistent: bool,
    /// Whether the client waits for a 100 before it sends its body (RFC 9110 section 10.1.1).
    pub expects_continue: bool,
}

/// Parses a whole head as [`HeadFinder`](crate::HeadFinder) delimits it.
///
/// # Errors
/// What is wrong with it; see [`Refusal`].
pub fn parse_request(head: Bytes, limits: &HeadLimits) -> Result<RequestHead, Refusal> {
    if head.len() > limits.size {
        return Err(Refusal::HeadTooLarge);
    }
    // One empty line before it is skipped (RFC 9112 section 2.2).
    let start = if head.starts_with(b"\r\n") { 2 } else { 0 };
    let (method, target, version, fields) = request_line(&head, start, limits.line)?;
    let mut framing = Framing::default();
    let mut connection = Connection::default();
    let mut expects = false;
    let headers = field::parse(&head, fields, limits.fields, |kind, _, value| match kind {
        Kind::Other => Ok(()),
        Kind::ContentLength => framing.length(value),
        Kind::TransferEncoding => framing.coding(value),
        Kind::Connection => connection.take(value, Side::Client),
        Kind::Expect => expect(value, &mut expects),
        Kind::Upgrade => upgrade(value),
        Kind::Http2Settings => Err(Refusal::H2c),
        Kind::LookAlike => Err(Refusal::LookAlike),
    })?;
    let body = framing.decide(version == Version::HTTP_11)?.unwrap_or(BodyLength::Known(0));
    let persistent = connection.persistent(version);
    let expects_continue = expects && version == Version::HTTP_11 && body != BodyLength::Known(0);
    Ok(RequestHead { method, target, version, headers, body, persistent, expects_continue })
}

/// One expectation is known, and may be written once (RFC 9110 section 10.1.1).
fn expect(value: &[u8], already: &mut bool) -> Result<(), Refusal> {
    if !value.eq_ignore_ascii_case(b"100-continue") || std::mem::replace(already, true) {
        return Err(Refusal::Expectation);
    }
    Ok(())
}

/// A list of protocols, of which HTTP/2 must not be one (RFC 9110 section 7.8).
fn upgrade(value: &[u8]) -> Result<(), Refusal> {
    let mut offers = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let h2c = |offer: &[u8]| class::begins_with(offer, &["h2", "http/2"]);
    if offers.any(h2c) { Err(Refusal::H2c) } else { Ok(()) }
}

/// Method, target and version, and where the fields begin.
fn request_line(
    head: &Bytes,
    start: usize,
    limit: usize,
) -> Result<(Method, Uri, Version, usize), Refusal> {
    let line = head.get(start..).unwrap_or_default();
    let fault = || diagnose(line, limit);
    let name_length = class::run(&TOKEN, line);
    let (name, rest) = line.split_at_checked(name_length).unwrap_or_default();
    let [b' ', rest @ ..] = rest else { return Err(fault()) };
    let target_length = class::run(&TARGET, rest);
    let (target, rest) = rest.split_at_checked(target_length).unwrap_or_default();
    let version = match rest {
        [b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1', b'\r', b'\n', ..] => {
            Version::HTTP_11
        }
        [b' ', b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0', b'\r', b'\n', ..] => {
            Version::HTTP_10
        }
        _ => return Err(fault()),
    };
    let length = name_length + target_length + " HTTP/1.1 ".len();
    if name.is_empty() || name_length > METHOD || target.is_empty() || length > limit {
        return Err(fault());
    }
    let method = Method::from_bytes(name).map_err(|_| Refusal::Method)?;
    let from = start + name_length + 1;
    let uri = Uri::from_maybe_shared(head.slice(from..from + target_length))
        .map_err(|_| Refusal::Target)?;
    if !matches!(target, [b'/', ..]) && !form_fits(&method, target, &uri)
        || method == Method::CONNECT && matches!(target, [b'/', ..])
    {
        return Err(Refusal::Target);
    }
    Ok((method, uri, version, start + length + 2))
}

/// What is wrong with a request line that is none.
#[cold]
fn diagnose(line: &[u8], limit: usize) -> Refusal {
    let end = match line_length(line) {
        Ok(end) if end > limit => return Refusal::LineTooLong,
        Ok(end) => end,
        Err(refusal) => return refusal,
    };
    let line = line.get(..end).unwrap_or_default();
    if line == b"PRI * HTTP/2.0" {
        return Refusal::Preface;
    }
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Refusal::RequestLine;
    };
    if method.is_empty() || target.is_empty() || version.is_empty() {
        return Refusal::RequestLine;
    }
    if method.len() > METHOD || !class::all(&TOKEN, method) {
        return Refusal::Method;
    }
    if !class::all(&TARGET, target) {
        return Refusal::Target;
    }
    match version {
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] | b"HTTP/2" | b"HTTP/3" => {
            Refusal::VersionUnsupported
        }
        _ => Refusal::Version,
    }
}

/// Whether the target is of a form that goes with the method (RFC 9112 section 3.2).
fn form_fits(method: &Method, target: &[u8], uri: &Uri) -> bool {
    let authority = uri.authority().map(|authority| authority.as_str());
    let authority = authority.and_then(|authority| port(authority.as_bytes()));
    if *method == Method::CONNECT {
        let bare = uri.scheme().is_none() && uri.path_and_query().is_none();
        return bare && matches!(authority, Some(Some(_)));
    }
    match target {
        [b'/', ..] => true,
        b"*" => *method == Method::OPTIONS,
        _ => {
            let known = matches!(uri.scheme_str(), Some("http" | "https"));
            let path = uri.path_and_query().map(|path| path.as_str());
            // An empty path before a query is the root (RFC 9110 section 4.2.3).
            known && authority.is_some() && path.is_none_or(|path| path.starts_with(['/', '?']))
        }
    }
}

/// The port that an authority names, if it is a host with or without one; whether the host is one
/// is judged above.
fn port(authority: &[u8]) -> Option<Option<u16>> {
    let colon = match authority {
        [b'[', ..] => authority.iter().position(|byte| *byte == b']')? + 1,
        _ => authority.iter().position(|byte| *byte == b':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at_checked(colon)?;
    if host.is_empty() || host.contains(&b'@') {
        return None;
    }
    match port {
        [] => Some(None),
        [b':', digits @ ..] if digits.iter().all(u8::is_ascii_digit) => {
            std::str::from_utf8(digits).ok()?.parse().ok().map(Some)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { line: 200, size: 1000, fields: 10 };

    fn parsed(text: &str) -> Result<RequestHead, Refusal> {
        parse_request(Bytes::copy_from_slice(text.as_bytes()), &LIMITS)
    }

    /// With this request line, and this field line.
    fn line(line: &str) -> Result<RequestHead, Refusal> {
        parsed(&format!("{line}\r\nHost: a\r\n\r\n"))
    }
    fn field(field: &str) -> Result<RequestHead, Refusal> {
        parsed(&format!("POST / HTTP/1.1\r\nHost: a\r\n{field}\r\n\r\n"))
    }

    #[track_caller]
    fn refused(outcome: &Result<RequestHead, Refusal>, refusal: Refusal, text: &str) {
        assert_eq!(outcome.as_ref().err(), Some(&refusal), "{text:?}");
    }

    #[test]
    fn a_plain_request_is_what_it_says() {
        let head = parsed(
            "POST /a/b?c=d HTTP/1.1\r\nHost: a.example\r\nX-Thing:\t two words \t\r\n\
             Content-Length: 12\r\nAccept: */*\r\nEmpty:\r\naccept: text/plain\r\n\r\n",
        )
        .unwrap();
        assert_eq!((head.method, head.version), (Method::POST, Version::HTTP_11));
        assert_eq!(head.target.to_string(), "/a/b?c=d");
        assert_eq!(head.body, BodyLength::Known(12));
        assert!(head.persistent && !head.expects_continue);
        assert_eq!(head.headers["x-thing"], "two words");
        assert_eq!(head.headers["empty"], "");
        let accepts: Vec<_> = head.headers.get_all("accept").iter().collect();
        assert_eq!(accepts, ["*/*", "text/plain"]);
    }

    #[test]
    fn the_target_is_of_the_form_its_method_goes_with() {
        let good = [
            "GET / HTTP/1.1",
            "GET //a HTTP/1.1",
            "GET /a?b=/?[]@!$&'()*+,;=:%zz HTTP/1.1",
            "GET http://a/ HTTP/1.1",
            "GET HTTPS://a:8443/b?c HTTP/1.1",
            "GET http://a HTTP/1.1",
            "GET http://a?b=c HTTP/1.1",
            "GET http://[::1]:80/ HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "OPTIONS / HTTP/1.1",
            "CONNECT a.example:443 HTTP/1.1",
            "X-1!#$%&'*+.^_`|~ / HTTP/1.1",
            "M23456789012345678901234567890AB / HTTP/1.0",
        ];
        for text in good {
            assert!(line(text).is_ok(), "{text}: {:?}", line(text));
        }
        for target in [
            "a",
            "a/b",
            "?a",
            "*",
            "a:80",
            "http:/a",
            "http://",
            "http:///a",
            "http://u@a/",
            "ftp://a/",
            "mailto:a@b",
            "http:a",
            "/a#b",
            "/a\"",
            "/<",
            "/>",
            "/\u{e9}",
            "/\x7f",
            "/\x01",
            "/a\tb",
            "http://a:b/",
        ] {
            refused(&line(&format!("GET {target} HTTP/1.1")), Refusal::Target, target);
        }
        for target in ["/", "*", "a", "http://a/", "u@a:80", "a:80/", "a:99999", "a:"] {
            refused(&line(&format!("CONNECT {target} HTTP/1.1")), Refusal::Target, target);
        }
        refused(&line("OPTIONS ** HTTP/1.1"), Refusal::Target, "**");
    }

    #[test]
    fn a_request_line_has_three_words_and_two_spaces() {
        for text in [
            "GET",
            "GET /",
            "GET / ",
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET / HTTP/1.1 ",
            " GET / HTTP/1.1",
            "GET / x HTTP/1.1",
            "/ HTTP/1.1",
            "GET  HTTP/1.1",
            " / HTTP/1.1",
        ] {
            refused(&line(text), Refusal::RequestLine, text);
        }
        let long = "M".repeat(33);
        for method in ["G@T", "GET:", "(GET)", "G\u{e9}T", "GET\t", "\x01", &long] {
            refused(&line(&format!("{method} / HTTP/1.1")), Refusal::Method, method);
        }
    }

    #[test]
    fn versions_other_than_two_are_refused() {
        for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3.0", "HTTP/2", "HTTP/9.9"] {
            refused(&line(&format!("GET / {version}")), Refusal::VersionUnsupported, version);
        }
        for version in [
            "http/1.1",
            "HTTP/1.1x",
            "HTTP/01.1",
            "HTTP/1.",
            "HTTP/1",
            "HTTP/.1",
            "HTTP/11",
            "HTTP1.1",
            "XTTP/1.1",
            "HTTP/1.1\x0b",
            "HTTP/1,1",
            "HTTP/1.10",
            "HTTP / 1.1x",
        ] {
            let outcome = line(&format!("GET / {version}"));
            let spaced = version.contains(' ');
            let refusal = if spaced { Refusal::RequestLine } else { Refusal::Version };
            refused(&outcome, refusal, version);
        }
        refused(&parsed("PRI * HTTP/2.0\r\n\r\n"), Refusal::Preface, "PRI");
    }

    #[test]
    fn a_field_is_a_token_a_colon_and_a_value_without_controls() {
        use Refusal::*;
        for (text, refusal) in [
            ("a : b", SpaceBeforeColon),
            ("Content-Length : 3", SpaceBeforeColon),
            ("Transfer-Encoding\t: chunked", SpaceBeforeColon),
            ("Content Length: 3", FieldName),
            ("a\t: b", SpaceBeforeColon),
            (" a: b", Folded),
            ("\ta: b", Folded),
            (": b", FieldName),
            ("a b: c", FieldName),
            ("a\u{e9}: c", FieldName),
            ("a(: c", FieldName),
            ("a\x01: c", FieldName),
            ("a", NoColon),
            ("a b", NoColon),
            ("a: b\r\n c", Folded),
            ("a: b\r\n\t", Folded),
            ("a: b\x01", FieldValue),
            ("a: \x7f", FieldValue),
            ("a: b\x0bc", FieldValue),
            ("a: \0", Nul),
            ("a\0: b", Nul),
            ("a: b\nc: d", BareLf),
            ("a: b\rc: d", BareCr),
            ("a\nb: c", BareLf),
            ("a\r: b", BareCr),
            ("a: b\n", BareLf),
            ("a: b\r", BareCr),
            ("a: b\r\n\r\nc: d", HeadBounds),
        ] {
            refused(&field(text), refusal, text);
        }
        let head = field("a: b\t\u{e9}~!").unwrap();
        assert_eq!(head.headers["a"].as_bytes(), "b\t\u{e9}~!".as_bytes());
    }

    #[test]
    fn framing_that_could_be_read_in_two_ways_is_refused() {
        use Refusal::*;
        for (text, refusal) in [
            ("Content-Length: 3\r\nContent-Length: 3", ContentLength),
            ("Content-Length: 3, 3", ContentLength),
            ("Content-Length:", ContentLength),
            ("Content-Length: +3", ContentLength),
            ("Content-Length: 03", ContentLength),
            ("Content-Length: 3\r\nTransfer-Encoding: chunked", LengthAndCoding),
            ("Transfer-Encoding: chunked\r\nContent-Length: 0", LengthAndCoding),
            ("Transfer-Encoding: chunked, chunked", TransferEncoding),
            ("Transfer-Encoding: gzip, chunked", TransferEncoding),
            ("Transfer-Encoding: identity", TransferEncoding),
            ("Transfer-Encoding:", TransferEncoding),
            ("Transfer-Encoding: chunked;q=1", TransferEncoding),
            ("Transfer-Encoding: \x0bchunked", TransferEncoding),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", TransferEncoding),
            ("Transfer_Encoding: chunked", LookAlike),
            ("content.length: 1", LookAlike),
            ("Host_: b", LookAlike),
            ("Connection: close, content-length", ConnectionNames),
            ("Connection: close;", Connection),
            ("HTTP2-Settings: AAA", H2c),
            ("Upgrade: h2c", H2c),
            ("Upgrade: websocket, H2C", H2c),
            ("Upgrade: HTTP/2.0", H2c),
            ("Expect: 200-ok", Expectation),
            ("Expect:", Expectation),
            ("Expect: 100-continue, 100-continue", Expectation),
            ("Expect: 100-continue\r\nExpect: 100-continue", Expectation),
        ] {
            refused(&field(text), refusal, text);
        }
        assert_eq!(field("Transfer-Encoding: CHUNKED").unwrap().body, BodyLength::Chunked);
        assert_eq!(field("Content-Length: 0").unwrap().body, BodyLength::Known(0));
        assert_eq!(field("a: b").unwrap().body, BodyLength::Known(0));
        assert!(field("Upgrade: websocket\r\nConnection: Upgrade").is_ok());
        let old = parsed("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
        refused(&old, CodingForbidden, "1.0");
    }

    #[test]
    fn only_a_client_with_a_body_to_send_waits_for_a_hundred() {
        let waits = |rest: &str| parsed(&format!("POST / HTTP/{rest}\r\n\r\n")).unwrap();
        let expect = "1.1\r\nExpect: 100-Continue";
        assert!(waits(&format!("{expect}\r\nContent-Length: 1")).expects_continue);
        assert!(waits(&format!("{expect}\r\nTransfer-Encoding: chunked")).expects_continue);
        assert!(!waits(expect).expects_continue);
        assert!(!waits(&format!("{expect}\r\nContent-Length: 0")).expects_continue);
        let old = "1.0\r\nExpect: 100-continue\r\nContent-Length: 1";
        assert!(!waits(old).expects_continue);
    }

    #[test]
    fn limits_hold_to_the_byte_and_the_field() {
        let long = |count: usize| line(&format!("GET /{} HTTP/1.1", "a".repeat(count - 14)));
        assert!(long(200).is_ok());
        refused(&long(201), Refusal::LineTooLong, "201");
        let fields =
            |count: usize| parsed(&format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(count)));
        assert_eq!(fields(10).unwrap().headers.len(), 10);
        refused(&fields(11), Refusal::TooManyFields, "11");
        let size = |count: usize| {
            parsed(&format!("GET / HTTP/1.1\r\na:{}\r\n\r\n", "b".repeat(count - 22)))
        };
        assert!(size(1000).is_ok());
        refused(&size(1001), Refusal::HeadTooLarge, "1001");
    }

    #[test]
    fn a_head_cut_short_anywhere_is_never_taken_for_whole() {
        let whole = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n";
        assert!(parsed(whole).is_ok());
        assert!(parsed(&format!("\r\n{whole}")).is_ok());
        refused(&parsed(&format!("\r\n\r\n{whole}")), Refusal::RequestLine, "two empty lines");
        refused(&parsed(&format!("{whole}x")), Refusal::HeadBounds, "more than a head");
        for end in 0..whole.len() {
            let part = whole.get(..end).unwrap();
            refused(&parsed(part), Refusal::HeadBounds, part);
        }
    }
}
