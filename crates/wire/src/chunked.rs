//! Chunked coding, undone (RFC 9112 section 7.1).

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;

use crate::Refusal;
use crate::class::{self, TOKEN};
use crate::field;
use crate::find::next_line_end;
use crate::name::looks_alike;

/// Bytes of extensions in one chunk.
const EXTENSION: usize = 256;
/// Bytes of extensions in one body.
const EXTENSIONS: usize = 4 * 1024;
/// Trailer fields.
const TRAILERS: usize = 32;
/// Bytes of trailer fields, the empty line included.
const TRAILERS_SIZE: usize = 8 * 1024;
/// Digits of a chunk's size.
const DIGITS: usize = 16;

/// Undoes chunked coding.
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: State,
    /// Digits of the size so far.
    digits: usize,
    /// Bytes of this chunk that are to come.
    left: u64,
    /// Bytes of extensions in this chunk.
    extension: usize,
    /// Bytes of extensions in this body.
    extensions: usize,
    /// Of the trailers: how far has been looked, and where the line begins.
    looked: usize,
    line: usize,
}

/// What decoding gave.
#[derive(Debug)]
pub enum Chunk {
    /// More bytes are needed.
    Pending,
    /// Some of the body.
    Data(Bytes),
    /// The last chunk, with its trailers if there are any.
    End(HeaderMap),
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size,
    ExtensionName { some: bool },
    ExtensionValue,
    ExtensionToken,
    Quoted,
    QuotedPair,
    AfterQuoted,
    LineFeed,
    Data,
    DataCr,
    DataLf,
    Trailers,
    Done,
}

impl Default for ChunkedDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkedDecoder {
    /// A decoder before the first chunk.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: State::Size,
            digits: 0,
            left: 0,
            extension: 0,
            extensions: 0,
            looked: 0,
            line: 0,
        }
    }

    /// Takes from the front of `buffer` what it understands. Data is not copied. To be called
    /// until it gives [`Chunk::Pending`], then with more bytes behind those left; after
    /// [`Chunk::End`] the buffer holds what follows the body.
    ///
    /// # Errors
    /// What is wrong with the coding; the decoder is of no use then.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Chunk, Refusal> {
        loop {
            match self.state {
                State::Data => {
                    if buffer.is_empty() {
                        return Ok(Chunk::Pending);
                    }
                    let most = usize::try_from(self.left).unwrap_or(usize::MAX);
                    let data = buffer.split_to(most.min(buffer.len()));
                    self.left -= u64::try_from(data.len()).unwrap_or(self.left);
                    if self.left == 0 {
                        self.state = State::DataCr;
                    }
                    return Ok(Chunk::Data(data.freeze()));
                }
                State::Trailers => return self.trailers(buffer),
                State::Done => return Ok(Chunk::End(HeaderMap::new())),
                _ => {
                    if !self.frame(buffer)? {
                        return Ok(Chunk::Pending);
                    }
                }
            }
        }
    }

    /// Takes framing bytes; whether data or trailers come next.
    fn frame(&mut self, buffer: &mut BytesMut) -> Result<bool, Refusal> {
        let mut taken = 0;
        for byte in buffer.iter() {
            taken += 1;
            self.state = self.step(*byte)?;
            if matches!(self.state, State::Data | State::Trailers) {
                break;
            }
        }
        buffer.advance(taken);
        Ok(matches!(self.state, State::Data | State::Trailers))
    }

    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        match self.state {
            State::Size => self.size(byte),
            State::LineFeed if byte == b'\n' => Ok(self.begin()),
            State::LineFeed => Err(Refusal::ChunkLine),
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => Ok(State::Size),
            State::DataCr | State::DataLf => Err(Refusal::ChunkEnd),
            _ => self.extension(byte),
        }
    }

    fn size(&mut self, byte: u8) -> Result<State, Refusal> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if self.digits > 0 => return Ok(State::LineFeed),
            b'\n' if self.digits > 0 => return Err(Refusal::ChunkLine),
            b';' if self.digits > 0 => return self.extended(State::ExtensionName { some: false }),
            _ => return Err(Refusal::ChunkSize),
        };
        self.digits += 1;
        if self.digits > DIGITS {
            return Err(Refusal::ChunkSize);
        }
        self.left = self.left << 4 | u64::from(digit);
        if self.left > u64::MAX >> 1 {
            return Err(Refusal::ChunkOverflow);
        }
        Ok(State::Size)
    }

    /// After the line of a chunk.
    fn begin(&mut self) -> State {
        let next = if self.left == 0 { State::Trailers } else { State::Data };
        self.digits = 0;
        self.extension = 0;
        next
    }

    fn extension(&mut self, byte: u8) -> Result<State, Refusal> {
        let name = State::ExtensionName { some: false };
        let token = class::is(&TOKEN, byte);
        let next = match (self.state, byte) {
            (State::Quoted, b'"') => State::AfterQuoted,
            (State::Quoted, b'\\') => State::QuotedPair,
            (State::Quoted | State::QuotedPair, b'\t' | 0x20..=0x7e | 0x80..) => State::Quoted,
            (State::ExtensionName { .. }, _) if token => State::ExtensionName { some: true },
            (State::ExtensionName { some: true }, b'=') => State::ExtensionValue,
            (State::ExtensionValue | State::ExtensionToken, _) if token => State::ExtensionToken,
            (State::ExtensionValue, b'"') => State::Quoted,
            (State::Quoted | State::QuotedPair | State::ExtensionValue, _)
            | (State::ExtensionName { some: false }, _) => return Err(Refusal::ChunkExtension),
            (_, b';') => name,
            (_, b'\r') => return Ok(State::LineFeed),
            (_, b'\n') => return Err(Refusal::ChunkLine),
            _ => return Err(Refusal::ChunkExtension),
        };
        self.extended(next)
    }

    /// Counts a byte of an extension.
    fn extended(&mut self, next: State) -> Result<State, Refusal> {
        self.extension += 1;
        self.extensions += 1;
        if self.extension > EXTENSION || self.extensions > EXTENSIONS {
            return Err(Refusal::ChunkExtensionTooLong);
        }
        Ok(next)
    }

    /// Reads the trailers once their empty line is there.
    fn trailers(&mut self, buffer: &mut BytesMut) -> Result<Chunk, Refusal> {
        loop {
            let found = next_line_end(buffer, &mut self.looked, TRAILERS_SIZE, TRAILERS_SIZE);
            let Some(at) = found.map_err(as_trailer)? else {
                return if self.looked >= TRAILERS_SIZE {
                    Err(Refusal::TrailersTooLarge)
                } else {
                    Ok(Chunk::Pending)
                };
            };
            let empty = at == self.line;
            self.line = self.looked;
            if empty {
                break;
            }
        }
        self.state = State::Done;
        let section = buffer.split_to(self.line).freeze();
        if section.len() == 2 {
            return Ok(Chunk::End(HeaderMap::new()));
        }
        let judge = |_, name: &[u8], _: &[u8]| {
            if is_forbidden_trailer(name) { Err(Refusal::TrailerForbidden) } else { Ok(()) }
        };
        field::parse(&section, 0, TRAILERS, judge).map(Chunk::End).map_err(as_trailer)
    }
}

/// Limits on a head are limits on trailers here.
fn as_trailer(refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::TooManyFields | Refusal::HeadTooLarge => Refusal::TrailersTooLarge,
        other => other,
    }
}

/// What may not come after the body: what frames, routes, identifies, authorizes, or says how to
/// read it (RFC 9110 section 6.5.1).
#[must_use]
pub fn is_forbidden_trailer(name: &[u8]) -> bool {
    const NAMES: &[&str] = &[
        "age",
        "authorization",
        "cache-control",
        "connection",
        "cookie",
        "date",
        "expect",
        "expires",
        "forwarded",
        "host",
        "http2-settings",
        "keep-alive",
        "location",
        "max-forwards",
        "origin",
        "pragma",
        "range",
        "referer",
        "retry-after",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "vary",
        "via",
        "www-authenticate",
        "x-real-ip",
    ];
    const BEGINNINGS: &[&str] = &[
        "access-control-",
        "content-",
        "if-",
        "proxy-",
        "x-consumer",
        "x-forwarded",
        "x-original",
    ];
    // A digest can only be known after the body (RFC 9530 section 2).
    let digest = name.eq_ignore_ascii_case(b"content-digest");
    class::one_of(name, NAMES)
        || class::begins_with(name, BEGINNINGS) && !digest
        || looks_alike(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Body, trailers and what is left; `None` where more is needed.
    type Decoded = Option<(Vec<u8>, Vec<(String, String)>, Vec<u8>)>;

    fn fed(pieces: &[&[u8]]) -> Result<Decoded, Refusal> {
        let mut decoder = ChunkedDecoder::new();
        let mut buffer = BytesMut::new();
        let mut body = Vec::new();
        let mut trailers = None;
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while trailers.is_none() {
                match decoder.decode(&mut buffer)? {
                    Chunk::Pending => break,
                    Chunk::Data(data) => {
                        assert!(!data.is_empty());
                        body.extend_from_slice(&data);
                    }
                    Chunk::End(map) => trailers = Some(map),
                }
            }
        }
        let text = |value: &http::HeaderValue| value.to_str().unwrap_or("?").to_owned();
        Ok(trailers.map(|map| {
            let list = map.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
            (body, list, buffer.to_vec())
        }))
    }

    /// The outcome, which is the same however the bytes are cut.
    fn decoded(bytes: &[u8]) -> Result<Decoded, Refusal> {
        let whole = fed(&[bytes]);
        let ones: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(fed(&ones), whole, "{:?} by ones", bytes.escape_ascii().to_string());
        if bytes.len() < 300 {
            for cut in 0..bytes.len() {
                let (first, second) = bytes.split_at(cut);
                let shown = bytes.escape_ascii().to_string();
                assert_eq!(fed(&[first, second]), whole, "{shown:?} cut at {cut}");
            }
        }
        whole
    }

    #[test]
    fn a_chunked_body_is_its_data_however_it_is_cut() {
        let cases: [(&[u8], &[u8], &[u8]); 6] = [
            (b"0\r\n\r\n", b"", b""),
            (b"5\r\nhello\r\n0\r\n\r\n", b"hello", b""),
            (b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\nGET /", b"hello!", b"GET /"),
            (b"0000000000000005\r\n\r\n0\r\n\r\n000\r\n\r\n", b"\r\n0\r\n", b""),
            (b"a;x;y=z;q=\"a\\\"b; \t\"\r\n0123456789\r\n0;last\r\n\r\n", b"0123456789", b""),
            (b"A\r\n0123456789\r\n0\r\n\r\n\r\n", b"0123456789", b"\r\n"),
        ];
        for (bytes, body, left) in cases {
            let shown = bytes.escape_ascii().to_string();
            assert_eq!(decoded(bytes), Ok(Some((body.into(), vec![], left.into()))), "{shown}");
            for end in 0..bytes.len() - left.len() {
                assert_eq!(fed(&[&bytes[..end]]), Ok(None), "{shown} cut short at {end}");
            }
        }
    }

    #[test]
    fn a_chunk_with_anything_odd_is_refused() {
        use Refusal::*;
        let cases: [(&[u8], Refusal); 34] = [
            (b"\r\n", ChunkSize),
            (b"\n", ChunkSize),
            (b";x\r\n", ChunkSize),
            (b" 5\r\n", ChunkSize),
            (b"5 \r\n", ChunkSize),
            (b"+5\r\n", ChunkSize),
            (b"-5\r\n", ChunkSize),
            (b"0x5\r\n", ChunkSize),
            (b"5_0\r\n", ChunkSize),
            (b"g\r\n", ChunkSize),
            (b"5\t\r\n", ChunkSize),
            (b"5\0\r\n", ChunkSize),
            (b"5,5\r\n", ChunkSize),
            (b"00000000000000005\r\n", ChunkSize),
            (b"10000000000000000\r\n", ChunkSize),
            (b"8000000000000000\r\n", ChunkOverflow),
            (b"ffffffffffffffff\r\n", ChunkOverflow),
            (b"5\n", ChunkLine),
            (b"5\rx", ChunkLine),
            (b"5;a\n", ChunkLine),
            (b"5;a\rb", ChunkLine),
            (b"5;\r\n", ChunkExtension),
            (b"5; a\r\n", ChunkExtension),
            (b"5;a \r\n", ChunkExtension),
            (b"5;a=\r\n", ChunkExtension),
            (b"5;a=\"b\r\n", ChunkExtension),
            (b"5;a=\"b\"c\r\n", ChunkExtension),
            (b"5;a=\"\n", ChunkExtension),
            (b"5;;\r\n", ChunkExtension),
            (b"5;a=b=c\r\n", ChunkExtension),
            (b"5;a=\"\\\x01\"\r\n", ChunkExtension),
            (b"5\r\nhello0\r\n", ChunkEnd),
            (b"5\r\nhello\n", ChunkEnd),
            (b"5\r\nhello\r0", ChunkEnd),
        ];
        for (bytes, refusal) in cases {
            assert_eq!(decoded(bytes), Err(refusal), "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn extensions_have_limits_in_a_chunk_and_in_a_body() {
        let chunk = |count: usize| format!("1;{}\r\nx\r\n", "e".repeat(count - 1));
        let body = |chunks: &str| decoded(format!("{chunks}0\r\n\r\n").as_bytes()).map(drop);
        assert_eq!(body(&chunk(256)), Ok(()));
        assert_eq!(body(&chunk(257)), Err(Refusal::ChunkExtensionTooLong));
        assert_eq!(body(&chunk(256).repeat(16)), Ok(()));
        let over = chunk(256).repeat(16) + &chunk(2);
        assert_eq!(body(&over), Err(Refusal::ChunkExtensionTooLong));
    }

    #[test]
    fn trailers_are_fields_of_the_body_and_nothing_else() {
        use Refusal::*;
        let trailed = |fields: &str| {
            let decoded = decoded(format!("1\r\nx\r\n0\r\n{fields}\r\nrest").as_bytes())?;
            let (body, trailers, left) = decoded.unwrap();
            assert_eq!((&body[..], &left[..]), (&b"x"[..], &b"rest"[..]));
            Ok(trailers)
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let two = vec![pair("grpc-status", "0"), pair("x-sum", "a b")];
        assert_eq!(trailed("Grpc-Status: 0\r\nX-Sum:a b \r\n"), Ok(two));
        assert_eq!(trailed("content-digest: x\r\n"), Ok(vec![pair("content-digest", "x")]));
        for name in [
            "Content-Length",
            "transfer-encoding",
            "Transfer_Encoding",
            "HOST",
            "authorization",
            "cookie",
            "set-cookie",
            "content-type",
            "Content-Encoding",
            "connection",
            "trailer",
            "te",
            "upgrade",
            "cache-control",
            "expect",
            "range",
            "if-match",
            "x-forwarded-for",
            "proxy-authorization",
            "age",
            "location",
            "via",
        ] {
            assert_eq!(trailed(&format!("{name}: x\r\n")), Err(TrailerForbidden), "{name}");
        }
        for (text, refusal) in [
            ("a: b\r\n c\r\n", Folded),
            ("a : b\r\n", SpaceBeforeColon),
            ("a\r\n", NoColon),
            ("a: b\n", BareLf),
            ("a: b\rc\r\n", BareCr),
            ("a: \0\r\n", Nul),
            ("a: \x01\r\n", FieldValue),
            (": b\r\n", FieldName),
        ] {
            assert_eq!(trailed(text), Err(refusal), "{text:?}");
        }
        assert_eq!(trailed(&"a: b\r\n".repeat(32)).map(|list| list.len()), Ok(32));
        assert_eq!(trailed(&"a: b\r\n".repeat(33)), Err(TrailersTooLarge));
        let large = |count: usize| trailed(&format!("a:{}\r\n", "b".repeat(count - 6))).map(drop);
        assert_eq!(large(8192), Ok(()));
        assert_eq!(large(8193), Err(TrailersTooLarge));
    }

    #[test]
    fn data_is_handed_on_as_it_comes_without_a_copy() {
        let mut decoder = ChunkedDecoder::new();
        let mut buffer = BytesMut::from(&b"6\r\nabc"[..]);
        let address = buffer[3..].as_ptr();
        let Ok(Chunk::Data(data)) = decoder.decode(&mut buffer) else { panic!("no data") };
        assert_eq!((&data[..], data.as_ptr()), (&b"abc"[..], address));
        assert!(matches!(decoder.decode(&mut buffer), Ok(Chunk::Pending)));
    }
}
