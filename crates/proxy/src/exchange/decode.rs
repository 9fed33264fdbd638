//! Content codings of bodies, undone under limits (RFC 9110 section 8.4): piece by piece as a body
//! comes, or whole.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, ErrorKind, Read};
use std::rc::Rc;

use bytes::{Buf, Bytes};

use super::inflate::Inflate;

/// A body may decode to at most so many times its size: what expands more is a bomb.
const RATIO_LIMIT: u64 = 100;
/// Below this size, in bytes, the ratio is not looked at.
pub(crate) const RATIO_FREE: u64 = 64 * 1024;
/// The most codings one body may have.
const CODINGS_LIMIT: usize = 2;
/// The most bytes that are decoded at once.
const PIECE: usize = 16 * 1024;

/// Why a body could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecodeFailure {
    /// A coding that is not known, or too many of them.
    Unknown,
    /// Not in the coding that it claims, cut short, or with bytes behind its end.
    Broken,
    /// Over the limit, or over the ratio.
    TooLarge,
}

/// Undoes the codings that `fields` (the values of `Content-Encoding`, in order) name, last one
/// first.
pub(crate) fn decode<'f>(
    body: &Bytes,
    fields: impl Iterator<Item = &'f [u8]>,
    limit: u64,
) -> Result<Bytes, DecodeFailure> {
    let mut decoder = Decoder::new(fields)?;
    if !decoder.is_coded() {
        return Ok(body.clone());
    }
    decoder.push(body.clone());
    decoder.end();
    let mut out = Vec::new();
    while let Pulled::Piece(piece) = decoder.pull()? {
        out.extend_from_slice(&piece);
        if size(out.len()) > limit {
            return Err(DecodeFailure::TooLarge);
        }
    }
    Ok(out.into())
}

fn size(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// Undoes the codings of one body as it comes. It holds no more than what it was given and one
/// piece of what comes of it.
pub(crate) struct Decoder {
    given: Rc<Given>,
    /// `None` where there is no coding.
    outermost: Option<Box<Layer>>,
    piece: Vec<u8>,
}

/// What can be had of a [`Decoder`] now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pulled {
    /// The next bytes; never none.
    Piece(Bytes),
    /// Nothing before more is pushed, or the end is.
    More,
    /// All has been had.
    End,
}

impl Decoder {
    /// For a body with these values of `Content-Encoding`.
    pub(crate) fn new<'f>(fields: impl Iterator<Item = &'f [u8]>) -> Result<Self, DecodeFailure> {
        let mut codings = Vec::new();
        for field in fields {
            let text = std::str::from_utf8(field).map_err(|_| DecodeFailure::Unknown)?;
            codings.extend(text.split(',').map(|coding| coding.trim().to_ascii_lowercase()));
        }
        codings.retain(|coding| coding != "identity");
        if codings.len() > CODINGS_LIMIT {
            return Err(DecodeFailure::Unknown);
        }
        let given = Rc::<Given>::default();
        let mut outermost: Option<Box<Layer>> = None;
        for coding in codings.iter().rev() {
            let source: Source = match outermost.take() {
                None => Box::new(Feed { given: Rc::clone(&given), current: Bytes::new() }),
                Some(layer) => Box::new(BufReader::with_capacity(PIECE, layer)),
            };
            outermost = Some(Box::new(Layer::new(coding, source, &given)?));
        }
        let piece = if outermost.is_some() { vec![0; PIECE] } else { Vec::new() };
        Ok(Self { given, outermost, piece })
    }

    /// Whether there is any coding to undo.
    pub(crate) fn is_coded(&self) -> bool {
        self.outermost.is_some()
    }

    /// The next bytes of the body as received.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        let all = self.given.all.get().saturating_add(size(bytes.len()));
        self.given.all.set(all);
        if !bytes.is_empty() {
            self.given.left.borrow_mut().push_back(bytes);
        }
    }

    /// The body is over.
    pub(crate) fn end(&mut self) {
        self.given.ended.set(true);
    }

    /// The next bytes decoded. Not to be asked again after a failure.
    pub(crate) fn pull(&mut self) -> Result<Pulled, DecodeFailure> {
        let Some(outermost) = &mut self.outermost else {
            return Ok(match self.given.left.borrow_mut().pop_front() {
                Some(bytes) => Pulled::Piece(bytes),
                None if self.given.ended.get() => Pulled::End,
                None => Pulled::More,
            });
        };
        match outermost.read(&mut self.piece) {
            Ok(0) => Ok(Pulled::End),
            Ok(length) => {
                let piece = self.piece.get(..length).unwrap_or_default();
                Ok(Pulled::Piece(Bytes::copy_from_slice(piece)))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Pulled::More),
            Err(_) if self.given.too_large.get() => Err(DecodeFailure::TooLarge),
            Err(_) => Err(DecodeFailure::Broken),
        }
    }
}

/// What a decoder was given, shared with the innermost of its layers.
#[derive(Default)]
struct Given {
    left: RefCell<VecDeque<Bytes>>,
    ended: Cell<bool>,
    /// Bytes given so far.
    all: Cell<u64>,
    /// Whether a layer stopped for the ratio.
    too_large: Cell<bool>,
}

/// Reads what was given. Where that is used up and the end has not come it would block, which the
/// decoders above pass on, and go on from later.
struct Feed {
    given: Rc<Given>,
    current: Bytes,
}

impl BufRead for Feed {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.is_empty() {
            match self.given.left.borrow_mut().pop_front() {
                Some(next) => self.current = next,
                None if self.given.ended.get() => {}
                None => return Err(ErrorKind::WouldBlock.into()),
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.current.advance(amount.min(self.current.len()));
    }
}

impl Read for Feed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

type Source = Box<dyn BufRead>;

/// One coding being undone.
struct Layer {
    coding: Coding,
    given: Rc<Given>,
    out: u64,
    /// Whether its stream has come to its end.
    over: bool,
}

enum Coding {
    /// gzip; or deflate, which is the zlib format (RFC 9110 section 8.4.1.2): a bare deflate stream
    /// is refused.
    Deflate(Box<Inflate<Source>>),
    Brotli(Box<brotli_decompressor::Decompressor<Source>>),
}

impl Layer {
    fn new(coding: &str, source: Source, given: &Rc<Given>) -> Result<Self, DecodeFailure> {
        let coding = match coding {
            "gzip" | "x-gzip" => Coding::Deflate(Box::new(Inflate::gzip(source))),
            "deflate" => Coding::Deflate(Box::new(Inflate::zlib(source))),
            // Takes its input byte by byte, so that what stands behind the stream's end is left
            // and seen.
            "br" => Coding::Brotli(Box::new(brotli_decompressor::Decompressor::new(source, 1))),
            _ => return Err(DecodeFailure::Unknown),
        };
        Ok(Self { coding, given: Rc::clone(given), out: 0, over: false })
    }

    fn decoded(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.coding {
            Coding::Deflate(decoder) => decoder.read(buffer),
            Coding::Brotli(decoder) => decoder.read(buffer),
        }
    }

    /// What is behind the stream, which is over.
    fn rest(&mut self) -> io::Result<&[u8]> {
        match &mut self.coding {
            Coding::Deflate(decoder) => {
                decoder.source().map_or(Ok(&[]), |source| source.fill_buf())
            }
            Coding::Brotli(decoder) => decoder.get_mut().fill_buf(),
        }
    }
}

impl Read for Layer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.over {
            let length = self.decoded(buffer)?;
            if length > 0 {
                self.out = self.out.saturating_add(size(length));
                let most = self.given.all.get().saturating_mul(RATIO_LIMIT).max(RATIO_FREE);
                if self.out > most {
                    self.given.too_large.set(true);
                    return Err(ErrorKind::InvalidData.into());
                }
                return Ok(length);
            }
            self.over = true;
        }
        // A second member behind the first would be seen by some readers only.
        if self.rest()?.is_empty() { Ok(0) } else { Err(ErrorKind::InvalidData.into()) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap().into()
    }

    /// "hello hello hello" by the reference encoder, and something behind its end.
    fn brotli(behind: &[u8]) -> Bytes {
        let mut bytes = vec![0x0b, 0x08, 0x80];
        bytes.extend_from_slice(b"hello hello hello");
        bytes.push(0x03);
        bytes.extend_from_slice(behind);
        bytes.into()
    }

    fn decoded(body: &Bytes, codings: &[&str], limit: u64) -> Result<Bytes, DecodeFailure> {
        decode(body, codings.iter().map(|coding| coding.as_bytes()), limit)
    }

    #[test]
    fn known_codings_are_undone_in_reverse_order() {
        let body = Bytes::from_static(b"hello hello hello");
        assert_eq!(decoded(&body, &[], 100), Ok(body.clone()));
        assert_eq!(decoded(&body, &["identity"], 100), Ok(body.clone()));
        assert_eq!(decoded(&gzip(&body), &["GZIP"], 100), Ok(body.clone()));
        assert_eq!(decoded(&gzip(&gzip(&body)), &["gzip, gzip"], 100), Ok(body.clone()));
        assert_eq!(decoded(&gzip(&gzip(&body)), &["gzip", "gzip"], 100), Ok(body.clone()));
        assert_eq!(decoded(&brotli(b""), &["br"], 100), Ok(body));
    }

    #[test]
    fn what_is_not_what_it_claims_is_refused() {
        let body = Bytes::from_static(b"hello");
        let whole = gzip(&body);
        let cut = whole.slice(..whole.len() - 3);
        let behind = Bytes::from([&whole[..], b"x"].concat());
        let twice = Bytes::from([&whole[..], &whole[..]].concat());
        for broken in [&body, &cut, &behind, &twice, &Bytes::new()] {
            assert_eq!(decoded(broken, &["gzip"], 100), Err(DecodeFailure::Broken));
        }
        assert_eq!(decoded(&body, &["br"], 100), Err(DecodeFailure::Broken));
        assert_eq!(decoded(&brotli(b"x"), &["br"], 100), Err(DecodeFailure::Broken));
        assert_eq!(decoded(&body, &["deflate"], 100), Err(DecodeFailure::Broken));
        // Of gzip's trailer, the checksum and the length; then a header that is none.
        for wrong in [1, 8, whole.len()] {
            let mut bytes = whole.to_vec();
            *bytes.get_mut(whole.len() - wrong).unwrap() ^= 1;
            assert_eq!(decoded(&bytes.into(), &["gzip"], 100), Err(DecodeFailure::Broken));
        }
        for unknown in ["zstd", "compress", "", "gzip,gzip,gzip", "gzip;q=1"] {
            assert_eq!(decoded(&body, &[unknown], 100), Err(DecodeFailure::Unknown), "{unknown}");
        }
    }

    /// As [`decoded`], given in pieces of so many bytes, each used up before the next.
    fn piecemeal(body: &Bytes, coding: &str, length: usize) -> Result<Vec<u8>, DecodeFailure> {
        let mut decoder = Decoder::new(std::iter::once(coding.as_bytes()))?;
        let mut out = Vec::new();
        for piece in body.chunks(length) {
            decoder.push(Bytes::copy_from_slice(piece));
            while let Pulled::Piece(piece) = decoder.pull()? {
                out.extend_from_slice(&piece);
            }
        }
        decoder.end();
        loop {
            match decoder.pull()? {
                Pulled::Piece(piece) => out.extend_from_slice(&piece),
                Pulled::More => panic!("more after the end"),
                Pulled::End => return Ok(out),
            }
        }
    }

    #[test]
    fn it_makes_no_difference_how_a_body_is_divided() {
        let text: Vec<u8> = (0..9_000_u32).flat_map(|n| n.to_string().into_bytes()).collect();
        let (plain, zipped) = (Bytes::from(text), gzip(b"hello hello hello"));
        let (once, bomb) = (gzip(&plain), gzip(&vec![0; 1 << 20]));
        let twice = gzip(&once);
        for length in [1, 7, 4096, 1 << 20] {
            assert_eq!(piecemeal(&plain, "identity", length).unwrap(), plain);
            assert_eq!(piecemeal(&once, "gzip", length).unwrap(), plain);
            assert_eq!(piecemeal(&twice, "gzip, gzip", length).unwrap(), plain);
            assert_eq!(piecemeal(&brotli(b""), "br", length).unwrap(), b"hello hello hello");
            for broken in [
                zipped.slice(..zipped.len() - 1),
                [&zipped[..], b"x"].concat().into(),
                Bytes::new(),
            ] {
                assert_eq!(piecemeal(&broken, "gzip", length), Err(DecodeFailure::Broken));
            }
            let behind = piecemeal(&brotli(b"x"), "br", length);
            assert_eq!(behind, Err(DecodeFailure::Broken));
            assert_eq!(piecemeal(&bomb, "gzip", length), Err(DecodeFailure::TooLarge));
        }
    }

    #[test]
    fn all_that_can_be_told_of_what_has_come_is_given_before_more_comes() {
        for length in [1, PIECE - 1, PIECE, PIECE + 1, 32 << 10, 40_000, 3 * PIECE, 200_000] {
            let text: Vec<u8> = (0..u32::MAX).flat_map(u32::to_le_bytes).take(length).collect();
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            for encoder in [&mut gzip as &mut dyn Write, &mut zlib] {
                encoder.write_all(&text).unwrap();
                encoder.flush().unwrap();
            }
            for (coding, coded) in [("gzip", gzip.get_ref()), ("deflate", zlib.get_ref())] {
                let mut decoder = Decoder::new(std::iter::once(coding.as_bytes())).unwrap();
                let mut out = Vec::new();
                decoder.push(Bytes::copy_from_slice(coded));
                while let Pulled::Piece(piece) = decoder.pull().unwrap() {
                    out.extend_from_slice(&piece);
                }
                assert!(out == text, "{coding} {length}: {}", out.len());
            }
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_unfolds() {
        let bomb = gzip(&vec![0; 10 << 20]);
        assert_eq!(decoded(&bomb, &["gzip"], 1 << 20), Err(DecodeFailure::TooLarge));
        assert_eq!(decoded(&bomb, &["gzip"], u64::MAX), Err(DecodeFailure::TooLarge));
        let nested = gzip(&bomb);
        assert_eq!(decoded(&nested, &["gzip, gzip"], u64::MAX), Err(DecodeFailure::TooLarge));
    }
}
