//! The one canonical form of a request's path, computed once: what routes match, policies see and
//! the upstream receives.
//!
//! A path that two readers could understand differently is refused instead of repaired: that is
//! how "the gateway checked `/public`, the upstream served `/admin`" begins. Follows RFC 3986
//! section 6.2 (normalisation), with the refusals of `Fault`-like kinds in [`PathRefusal`].

use std::borrow::Cow;

use http::uri::PathAndQuery;

/// The longest path accepted, in bytes, before and after normalisation.
pub const PATH_LIMIT: usize = 8 * 1024;
/// How often an encoding within an encoding is undone to see what it hides; no route admits more.
/// Each level costs one pass over the segment.
const DECODINGS_LIMIT: usize = 3;
/// The most segments a path may have; bounds the work of route matching.
pub const SEGMENTS_LIMIT: usize = 256;

/// A canonical path with its query, as it will be matched and forwarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    inner: PathAndQuery,
    needs: PathExceptions,
}

/// What is refused in a path unless its route says that, and why, it is meant. None of them lets a
/// dot segment through, however it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PathExceptions {
    /// `%2F` and `%5C`; they stay encoded.
    pub encoded_slash: bool,
    /// `%25` followed by two hexadecimal digits; it stays as it is.
    pub double_encoding: bool,
    /// `;` within a segment.
    pub semicolon: bool,
    /// Encoded bytes that are not UTF-8; they stay encoded.
    pub not_utf8: bool,
}

impl PathExceptions {
    /// Why a path that needs these is refused where only `granted` are; `None` where it is not.
    #[must_use]
    pub fn beyond(self, granted: Self) -> Option<PathRefusal> {
        match self {
            Self { encoded_slash: true, .. } if !granted.encoded_slash => {
                Some(PathRefusal::EncodedSeparator)
            }
            Self { double_encoding: true, .. } if !granted.double_encoding => {
                Some(PathRefusal::DoubleEncoding)
            }
            Self { not_utf8: true, .. } if !granted.not_utf8 => Some(PathRefusal::Utf8),
            Self { semicolon: true, .. } if !granted.semicolon => Some(PathRefusal::Semicolon),
            _ => None,
        }
    }
}

/// Why a path was refused. Every kind is a 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathRefusal {
    /// Empty, `*`, or not starting with a slash.
    #[error("the path does not start with a slash")]
    NotAbsolute,
    /// Over [`PATH_LIMIT`] bytes or [`SEGMENTS_LIMIT`] segments.
    #[error("the path is too long")]
    TooLong,
    /// A control byte, space, backslash, `#`, `"`, `<`, `>` or byte over 0x7e, raw or encoded
    /// where that is unsafe.
    #[error("the path holds a byte that is not allowed there")]
    Byte,
    /// `%` without two hexadecimal digits.
    #[error("the path holds a broken percent-encoding")]
    Encoding,
    /// `%2F`, `%5C` or `%2E`: a slash, backslash or dot that only one of two readers would see.
    #[error("the path holds an encoded slash, backslash or dot")]
    EncodedSeparator,
    /// `%25` followed by two hexadecimal digits.
    #[error("the path is encoded twice")]
    DoubleEncoding,
    /// Encoded bytes that are not UTF-8 (overlong forms and surrogates included).
    #[error("the path is not valid UTF-8")]
    Utf8,
    /// `..` beyond the root.
    #[error("the path leaves its root")]
    BeyondRoot,
    /// A dot segment beside or behind an encoding or a semicolon: `..;x`, `..%2F`.
    #[error("the path hides a dot segment")]
    HiddenDots,
    /// A semicolon: some servers cut path parameters off before they match, others do not.
    #[error("the path holds a semicolon")]
    Semicolon,
    /// The query holds a byte that is not visible ASCII, or `#`.
    #[error("the query holds a byte that is not allowed there")]
    Query,
}

impl Default for Target {
    /// The root.
    fn default() -> Self {
        Self { inner: PathAndQuery::from_static("/"), needs: PathExceptions::default() }
    }
}

impl Target {
    /// Puts `raw` (the origin-form target as received) into canonical form.
    ///
    /// Literal dot segments are resolved, repeated slashes merged, encoded unreserved characters
    /// decoded, and the digits of other encodings written in upper case. The query is left as it
    /// is. What only some routes admit is kept as it is, for them to judge: see
    /// [`Target::needs`].
    ///
    /// # Errors
    /// Says what makes the path ambiguous; see [`PathRefusal`].
    pub fn canonical(raw: &PathAndQuery) -> Result<Self, PathRefusal> {
        if let Some(query) = raw.query()
            && !query.bytes().all(|b| (0x21..=0x7e).contains(&b) && b != b'#')
        {
            return Err(PathRefusal::Query);
        }
        let (path, needs) = read(raw.path())?;
        let inner = match path {
            Cow::Borrowed(_) => raw.clone(),
            Cow::Owned(path) => {
                let text = match raw.query() {
                    Some(query) => format!("{path}?{query}"),
                    None => path,
                };
                PathAndQuery::try_from(text).map_err(|_| PathRefusal::Byte)?
            }
        };
        Ok(Self { inner, needs })
    }

    /// What its route must admit.
    #[must_use]
    pub fn needs(&self) -> PathExceptions {
        self.needs
    }

    /// Parses and canonicalises text of which no more is admitted than `granted`.
    ///
    /// # Errors
    /// As [`Target::canonical`]; [`PathRefusal::Byte`] where the text is no target at all; and what
    /// is not granted.
    pub fn parse_with(text: &str, granted: PathExceptions) -> Result<Self, PathRefusal> {
        if !text.starts_with('/') {
            return Err(PathRefusal::NotAbsolute);
        }
        let raw = PathAndQuery::try_from(text).map_err(|_| PathRefusal::Byte)?;
        let target = Self::canonical(&raw)?;
        target.needs.beyond(granted).map_or(Ok(target), Err)
    }

    /// As [`Target::parse_with`], with nothing granted: for configuration and tests.
    ///
    /// # Errors
    /// As there.
    pub fn parse(text: &str) -> Result<Self, PathRefusal> {
        Self::parse_with(text, PathExceptions::default())
    }

    /// The path, starting with a slash.
    #[must_use]
    pub fn path(&self) -> &str {
        self.inner.path()
    }

    /// The query without its question mark, as received.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.inner.query()
    }

    /// Path and query for the wire.
    #[must_use]
    pub fn as_path_and_query(&self) -> &PathAndQuery {
        &self.inner
    }
}

/// The canonical form of `path`; borrowed where it already is canonical, which is nearly always.
///
/// # Errors
/// See [`PathRefusal`].
pub fn canonical_path(path: &str) -> Result<Cow<'_, str>, PathRefusal> {
    let (path, needs) = read(path)?;
    needs.beyond(PathExceptions::default()).map_or(Ok(path), Err)
}

/// The canonical form, and what a route must admit for it.
fn read(path: &str) -> Result<(Cow<'_, str>, PathExceptions), PathRefusal> {
    if !path.starts_with('/') {
        return Err(PathRefusal::NotAbsolute);
    }
    if path.len() > PATH_LIMIT {
        return Err(PathRefusal::TooLong);
    }
    let mut plain = true;
    let mut segments = 0_usize;
    let mut previous = 0_u8;
    for byte in path.bytes() {
        match byte {
            b'/' => {
                segments += 1;
                plain &= previous != b'/';
            }
            b'.' => plain &= previous != b'/',
            b'%' | b';' => plain = false,
            _ => check_raw(byte)?,
        }
        previous = byte;
    }
    if segments > SEGMENTS_LIMIT {
        return Err(PathRefusal::TooLong);
    }
    let mut needs = PathExceptions::default();
    if plain {
        return Ok((Cow::Borrowed(path), needs));
    }
    let path = resolve(path, &mut needs)?;
    Ok((Cow::Owned(path), needs))
}

/// Refuses what may not stand unencoded in a path (RFC 3986 `pchar`).
fn check_raw(byte: u8) -> Result<(), PathRefusal> {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => Ok(()),
        b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+'
        | b',' | b'=' | b':' | b'@' => Ok(()),
        // Not in RFC 3986's grammar, but sent raw by honest clients and read alike by all.
        b'|' | b'[' | b']' | b'^' | b'`' | b'{' | b'}' => Ok(()),
        _ => Err(PathRefusal::Byte),
    }
}

fn resolve(path: &str, needs: &mut PathExceptions) -> Result<String, PathRefusal> {
    let mut out: Vec<String> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    let mut trailing_slash = false;
    while let Some(raw) = segments.next() {
        let last = segments.peek().is_none();
        match raw {
            "" | "." => trailing_slash = last,
            ".." => {
                if out.pop().is_none() {
                    return Err(PathRefusal::BeyondRoot);
                }
                trailing_slash = last;
            }
            _ => {
                out.push(decode_segment(raw, needs)?);
                trailing_slash = false;
            }
        }
    }
    let mut text = String::with_capacity(path.len());
    for segment in &out {
        text.push('/');
        text.push_str(segment);
    }
    if trailing_slash || text.is_empty() {
        text.push('/');
    }
    if text.len() > PATH_LIMIT {
        return Err(PathRefusal::TooLong);
    }
    Ok(text)
}

/// Normalises the encodings of one segment.
fn decode_segment(segment: &str, needs: &mut PathExceptions) -> Result<String, PathRefusal> {
    let mut out = String::with_capacity(segment.len());
    let mut decoded: Vec<u8> = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(char::from(byte));
            decoded.push(byte);
            continue;
        }
        let value = match (bytes.next().and_then(hex), bytes.next().and_then(hex)) {
            (Some(high), Some(low)) => high * 16 + low,
            _ => return Err(PathRefusal::Encoding),
        };
        match value {
            b'.' => return Err(PathRefusal::EncodedSeparator),
            b'/' | b'\\' => {
                needs.encoded_slash = true;
                out.push_str(if value == b'/' { "%2F" } else { "%5C" });
            }
            0..=0x1f | 0x7f => return Err(PathRefusal::Byte),
            b'%' => out.push_str("%25"),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => {
                out.push(char::from(value));
            }
            _ => {
                out.push('%');
                out.push(hex_digit(value >> 4));
                out.push(hex_digit(value & 0xf));
            }
        }
        decoded.push(value);
    }
    needs.semicolon |= segment.contains(';');
    needs.not_utf8 |= std::str::from_utf8(&decoded).is_err();
    // Some decoders take these for what they are too long for: dots and slashes among them.
    if needs.not_utf8 && is_overlong(&decoded) {
        return Err(PathRefusal::Utf8);
    }
    // However often the upstream decodes it, and wherever it cuts it: no dot segment appears.
    for _ in 0..=DECODINGS_LIMIT {
        if hides_dots(&decoded) {
            return Err(PathRefusal::HiddenDots);
        }
        // Looked for in what is decoded: the digits may be encoded themselves (`%25%32%65`).
        let Some(again) = decoded_again(&decoded) else { return Ok(out) };
        needs.double_encoding = true;
        decoded = again;
    }
    Err(PathRefusal::DoubleEncoding)
}

/// Whether some byte sequence is UTF-8 but for being longer than it needs to be (RFC 3629 section
/// 10).
fn is_overlong(bytes: &[u8]) -> bool {
    bytes
        .windows(2)
        .any(|pair| matches!(pair, [0xc0 | 0xc1, _] | [0xe0, 0x80..=0x9f] | [0xf0, 0x80..=0x8f]))
        || matches!(bytes.last(), Some(0xc0 | 0xc1))
}

/// Whether a reader who takes encoded slashes for slashes, or cuts off what follows a semicolon,
/// sees a dot segment.
fn hides_dots(decoded: &[u8]) -> bool {
    decoded.split(|byte| matches!(byte, b'/' | b'\\')).any(|part| {
        let name = part.split(|byte| *byte == b';').next().unwrap_or(part);
        matches!(name, b"." | b"..")
    })
}

/// `decoded` with its encodings undone once more; `None` where it has none. It gets shorter.
fn decoded_again(decoded: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(decoded.len());
    let mut rest = decoded;
    let mut changed = false;
    loop {
        match rest {
            [b'%', high, low, tail @ ..] if hex(*high).is_some() && hex(*low).is_some() => {
                out.push(hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0));
                changed = true;
                rest = tail;
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                rest = tail;
            }
            [] => return changed.then_some(out),
        }
    }
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(path: &str) -> Result<String, PathRefusal> {
        canonical_path(path).map(Cow::into_owned)
    }

    #[test]
    fn plain_paths_are_not_copied() {
        for path in ["/", "/v1/products/42", "/a.b/c-d_e~f", "/users/@me/", "/a%20"] {
            assert_eq!(canonical(path), Ok(path.to_owned()));
        }
        assert!(matches!(canonical_path("/v1/products"), Ok(Cow::Borrowed(_))));
    }

    #[test]
    fn dot_segments_are_resolved_and_slashes_merged() {
        let cases = [
            ("/a/./b", "/a/b"),
            ("/a/b/../c", "/a/c"),
            ("/a/b/..", "/a/"),
            ("/a/b/.", "/a/b/"),
            ("//a///b", "/a/b"),
            ("/a//", "/a/"),
            ("/..a/.b/...", "/..a/.b/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a/../", "/"),
        ];
        for (raw, expected) in cases {
            assert_eq!(canonical(raw), Ok(expected.to_owned()), "{raw}");
        }
    }

    #[test]
    fn encodings_have_one_form() {
        assert_eq!(canonical("/%61%7e%5f"), Ok("/a~_".to_owned()));
        assert_eq!(canonical("/caf%c3%a9"), Ok("/caf%C3%A9".to_owned()));
        assert_eq!(canonical("/100%25"), Ok("/100%25".to_owned()));
        assert_eq!(canonical("/100%25zz"), Ok("/100%25zz".to_owned()));
    }

    #[test]
    fn what_two_readers_could_understand_differently_is_refused() {
        use PathRefusal::*;
        let cases = [
            ("", NotAbsolute),
            ("*", NotAbsolute),
            ("a", NotAbsolute),
            ("/a%00", Byte),
            ("/a\\b", Byte),
            ("/a b", Byte),
            ("/a\u{e9}", Byte),
            ("/a%0d%0a", Byte),
            ("/a%7f", Byte),
            ("/a%2fb", EncodedSeparator),
            ("/a%5Cb", EncodedSeparator),
            ("/%2e%2e/x", EncodedSeparator),
            ("/a%252e", DoubleEncoding),
            ("/a%25%32%65", DoubleEncoding),
            ("/a%252%65", DoubleEncoding),
            ("/a%25%32e", DoubleEncoding),
            ("/a%2", Encoding),
            ("/a%", Encoding),
            ("/a%zz", Encoding),
            ("/%c0%ae", Utf8),
            ("/%ed%a0%80", Utf8),
            ("/%ff", Utf8),
            ("/..", BeyondRoot),
            ("/a/../../b", BeyondRoot),
            ("/a;x=1/b", Semicolon),
            ("/..;/b", HiddenDots),
            ("/a/..;x=1/b", HiddenDots),
            ("/..%2fb", HiddenDots),
            ("/a%5c..%5cb", HiddenDots),
            ("/%252e%252e%252fb", HiddenDots),
            ("/a%2f%25252e%25252e%2fb", HiddenDots),
        ];
        for (raw, refusal) in cases {
            assert_eq!(canonical(raw), Err(refusal), "{raw}");
        }
        assert_eq!(canonical(&"/a".repeat(300)), Err(TooLong));
        assert_eq!(canonical(&format!("/{}", "a".repeat(9000))), Err(TooLong));
    }

    #[test]
    fn what_a_route_may_admit_is_kept_as_it_is_and_asked_for() {
        let none = PathExceptions::default();
        for (raw, kept, needs) in [
            ("/a%2fb", "/a%2Fb", PathExceptions { encoded_slash: true, ..none }),
            ("/a%5cb/", "/a%5Cb/", PathExceptions { encoded_slash: true, ..none }),
            ("/a%252fb", "/a%252fb", PathExceptions { double_encoding: true, ..none }),
            ("/x//a;v=1/b", "/x/a;v=1/b", PathExceptions { semicolon: true, ..none }),
            ("/caf%e9", "/caf%E9", PathExceptions { not_utf8: true, ..none }),
        ] {
            let target = Target::parse_with(raw, needs).unwrap();
            assert_eq!((target.path(), target.needs()), (kept, needs));
            assert_eq!(Target::parse_with(kept, needs), Ok(target));
            assert!(Target::parse(raw).is_err());
        }
    }

    #[test]
    fn overlong_forms_and_towers_of_encodings_are_refused_whatever_is_granted() {
        let all = PathExceptions {
            encoded_slash: true,
            double_encoding: true,
            semicolon: true,
            not_utf8: true,
        };
        for path in ["/a/%c0%ae%c0%ae/b", "/a/..%c0%af..%c0%afetc", "/%e0%80%ae", "/%f0%80%80%ae"] {
            assert_eq!(Target::parse_with(path, all), Err(PathRefusal::Utf8), "{path}");
        }
        let tower = format!("/%{}41", "25".repeat(4000));
        assert_eq!(Target::parse_with(&tower, all), Err(PathRefusal::DoubleEncoding));
        assert!(Target::parse_with("/%25252541", all).is_ok());
    }

    #[test]
    fn a_canonical_path_is_canonical_again() {
        for raw in ["/a/./b/%7ex", "//x/../y%c3%a9", "/100%25", "/%25%7a%7a", "/%25%25"] {
            let once = canonical(raw).unwrap();
            assert_eq!(canonical(&once), Ok(once.clone()));
        }
    }

    #[test]
    fn the_query_is_left_as_it_is_but_must_be_visible_ascii() {
        let target = Target::parse("/a//b?x=%2f&y=//").unwrap();
        assert_eq!((target.path(), target.query()), ("/a/b", Some("x=%2f&y=//")));
        assert!(Target::parse("/a?x=\u{e9}").is_err());
    }
}
