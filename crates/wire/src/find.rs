//! Where a head ends.

use crate::Refusal;
use crate::class::{self, TOKEN};

/// Limits on a head.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Bytes of the first line, without its end.
    pub line: usize,
    /// Bytes of the whole head, the empty line included.
    pub size: usize,
    /// Header fields.
    pub fields: usize,
}

/// Looks for the end of a head as its bytes come; looks at each byte once.
#[derive(Debug, Default, Clone)]
pub struct HeadFinder {
    /// How far has been looked.
    looked: usize,
    /// Where the line begins that is being looked through.
    line: usize,
    /// Lines before it, without an empty one that was skipped.
    lines: usize,
}

impl HeadFinder {
    /// Looks at what has come since the last call. `buffer` holds all bytes of the message so far,
    /// from its first on.
    ///
    /// `Some(end)`: the head is `buffer[..end]`, its empty line included. `None`: more bytes are
    /// needed. One empty line before the first line is skipped and counts into the head (RFC 9112
    /// section 2.2); [`parse_response`](crate::parse_response) then refuses it. The outcome does
    /// not depend on how the bytes were cut on their way.
    ///
    /// # Errors
    /// As early as can be: [`Refusal::NotHttp`], [`Refusal::BareLf`], [`Refusal::BareCr`],
    /// [`Refusal::Nul`], a second empty line, and what is over a limit.
    pub fn find(&mut self, buffer: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Refusal> {
        while self.lines == 0 {
            if self.looked == self.line && buffer.get(self.line).is_some_and(is_alien) {
                return Err(Refusal::NotHttp);
            }
            let (bound, refusal) = match self.line.saturating_add(limits.line).saturating_add(1) {
                line if line <= limits.size => (line, Refusal::LineTooLong),
                _ => (limits.size, Refusal::HeadTooLarge),
            };
            let Some(at) = next_line_end(buffer, &mut self.looked, bound, limits.size)? else {
                return if self.looked >= bound { Err(refusal) } else { Ok(None) };
            };
            match at - self.line {
                0 if at == 0 => {}
                0 => return Err(Refusal::RequestLine),
                _ => self.lines = 1,
            }
            self.line = self.looked;
        }
        loop {
            let Some(at) = next_line_end(buffer, &mut self.looked, limits.size, limits.size)?
            else {
                let whole = self.looked >= limits.size;
                return if whole { Err(Refusal::HeadTooLarge) } else { Ok(None) };
            };
            if at == self.line {
                return Ok(Some(self.looked));
            }
            // The first line is no field.
            if self.lines > limits.fields {
                return Err(Refusal::TooManyFields);
            }
            self.line = self.looked;
            self.lines += 1;
        }
    }
}

/// Where the CR of the next CRLF is, looking on from `looked` and moving it. `None` where there is
/// none before `bound` yet; the CRLF itself must end within `size`. A CR without what follows it is
/// looked at again.
#[inline(always)]
pub(crate) fn next_line_end(
    buffer: &[u8],
    looked: &mut usize,
    bound: usize,
    size: usize,
) -> Result<Option<usize>, Refusal> {
    let window = buffer.get(..bound).unwrap_or(buffer);
    let Some(found) = class::line_end(window.get(*looked..).unwrap_or_default()) else {
        *looked = window.len().max(*looked);
        return Ok(None);
    };
    let at = *looked + found;
    *looked = at;
    match buffer.get(at..).unwrap_or_default() {
        [b'\r', ..] if at + 2 > size => Err(Refusal::HeadTooLarge),
        [b'\r', b'\n', ..] => {
            *looked = at + 2;
            Ok(Some(at))
        }
        [b'\r'] => Ok(None),
        [b'\r', ..] => Err(Refusal::BareCr),
        [b'\n', ..] => Err(Refusal::BareLf),
        _ => Err(Refusal::Nul),
    }
}

/// Whether neither a first line nor an empty one can begin so.
fn is_alien(byte: &u8) -> bool {
    !class::is(&TOKEN, *byte) && !matches!(byte, b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { line: 20, size: 60, fields: 3 };

    /// The outcome with all bytes at once, which is that with the bytes one at a time.
    fn found(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        let whole = HeadFinder::default().find(bytes, &LIMITS);
        let mut finder = HeadFinder::default();
        let mut by_ones = Ok(None);
        for end in 0..=bytes.len() {
            by_ones = finder.find(&bytes[..end], &LIMITS);
            if by_ones != Ok(None) {
                break;
            }
        }
        assert_eq!(by_ones, whole, "{:?}", bytes.escape_ascii().to_string());
        for cut in 0..bytes.len() {
            let mut finder = HeadFinder::default();
            let first = finder.find(&bytes[..cut], &LIMITS);
            let outcome = if first == Ok(None) { finder.find(bytes, &LIMITS) } else { first };
            assert_eq!(outcome, whole, "{:?} cut at {cut}", bytes.escape_ascii().to_string());
        }
        whole
    }

    #[test]
    fn a_head_ends_with_its_empty_line_however_it_is_cut() {
        assert_eq!(found(b"GET / HTTP/1.1\r\n\r\n"), Ok(Some(18)));
        assert_eq!(found(b"GET / HTTP/1.1\r\na: b\r\n\r\nbody\n\0"), Ok(Some(24)));
        assert_eq!(found(b"\r\nGET / HTTP/1.1\r\n\r\n"), Ok(Some(20)));
        for part in ["", "\r", "\r\n", "G", "GET / HTTP/1.1\r", "GET / HTTP/1.1\r\na:\r\n\r"] {
            assert_eq!(found(part.as_bytes()), Ok(None), "{part:?}");
        }
    }

    #[test]
    fn what_cannot_become_a_head_is_refused_at_once() {
        use Refusal::*;
        let cases: [(&[u8], Refusal); 14] = [
            (b"\x16\x03\x01", NotHttp),
            (b"\0", NotHttp),
            (b" GET", NotHttp),
            (b"\x80", NotHttp),
            (b"\r\n ", NotHttp),
            (b"\n", BareLf),
            (b"\rG", BareCr),
            (b"\r\n\n", BareLf),
            (b"\r\n\r\n", RequestLine),
            (b"GET / HTTP/1.1\n", BareLf),
            (b"GET / HTTP/1.1\r\na\rb", BareCr),
            (b"GET / HTTP/1.1\r\na: \0", Nul),
            (b"GET / HTTP/1.1\r\na\r\n\r\r", BareCr),
            (b"GET\0", Nul),
        ];
        for (bytes, refusal) in cases {
            assert_eq!(found(bytes), Err(refusal), "{:?}", bytes.escape_ascii().to_string());
        }
    }

    #[test]
    fn limits_hold_to_the_byte() {
        let line = |count: usize| [&b"a".repeat(count)[..], b"\r\n\r\n"].concat();
        assert_eq!(found(&line(20)), Ok(Some(24)));
        assert_eq!(found(&line(21)), Err(Refusal::LineTooLong));
        assert_eq!(found(&b"a".repeat(20)), Ok(None));
        assert_eq!(found(&b"a".repeat(21)), Err(Refusal::LineTooLong));
        let size = |count: usize| [b"a\r\n", &b"b".repeat(count - 7)[..], b"\r\n\r\n"].concat();
        assert_eq!(found(&size(60)), Ok(Some(60)));
        assert_eq!(found(&size(61)), Err(Refusal::HeadTooLarge));
        assert_eq!(found(&size(61)[..59]), Ok(None));
        assert_eq!(found(b"a\r\nb\r\nc\r\nd\r\n\r\n"), Ok(Some(14)));
        assert_eq!(found(b"a\r\nb\r\nc\r\nd\r\ne\r\n"), Err(Refusal::TooManyFields));
        let mut finder = HeadFinder::default();
        let narrow = HeadLimits { line: 100, size: 10, fields: 1 };
        assert_eq!(finder.find(&b"a".repeat(11), &narrow), Err(Refusal::HeadTooLarge));
    }
}
