//! Lines of JSON, written straight into a buffer.
//!
//! Each exchange writes such a line, so this is made for speed: what the program knows (keys,
//! punctuation, its own words) is copied as it is, and what it does not know is looked at many
//! bytes at a time and copied too, unless something in it must be escaped. Whoever writes is
//! answerable for the punctuation: `before` is all that stands before a value, as
//! `,"status":` before a number, `,"host":"` before a string.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use crate::redact::{may_introduce, redact};
use crate::scan::{self, all, below, zero};

/// The line that is being written.
#[derive(Debug)]
pub(crate) struct Json<'a>(&'a mut Vec<u8>);

impl<'a> Json<'a> {
    /// Appends to `out`.
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self(out)
    }

    /// What is JSON already.
    #[inline]
    pub(crate) fn raw<const N: usize>(&mut self, text: &'static [u8; N]) {
        self.0.extend_from_slice(text);
    }

    /// A word of the program's own, in which nothing must be escaped.
    #[inline]
    pub(crate) fn word<const N: usize>(&mut self, before: &'static [u8; N], word: &'static str) {
        self.safe(before, word);
    }

    /// What must not be escaped, as its writer knows.
    #[inline]
    pub(crate) fn safe<const N: usize>(&mut self, before: &'static [u8; N], text: &str) {
        debug_assert!(!must_escape(text), "{text:?}");
        self.raw(before);
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(b'"');
    }

    /// A text of which nothing is known.
    pub(crate) fn text<const N: usize>(&mut self, before: &'static [u8; N], text: &str) {
        self.raw(before);
        if must_escape(text) {
            escape(self.0, text);
        } else {
            self.0.extend_from_slice(text.as_bytes());
        }
        self.0.push(b'"');
    }

    /// A text from outside.
    pub(crate) fn outside<const N: usize>(&mut self, before: &'static [u8; N], text: &Outside<'_>) {
        if text.plain {
            self.safe(before, &text.text);
        } else {
            self.text(before, &text.text);
        }
    }

    /// A text from outside, unless it is empty.
    pub(crate) fn known<const N: usize>(&mut self, before: &'static [u8; N], text: &Outside<'_>) {
        if !text.text.is_empty() {
            self.outside(before, text);
        }
    }

    /// Several texts as a list.
    pub(crate) fn texts<'t, const N: usize>(
        &mut self,
        before: &'static [u8; N],
        texts: impl Iterator<Item = &'t str>,
    ) {
        self.raw(before);
        for (at, text) in texts.enumerate() {
            if at == 0 {
                self.text(br#"[""#, text);
            } else {
                self.text(br#",""#, text);
            }
        }
        self.raw(b"]");
    }

    /// A number.
    pub(crate) fn number<const N: usize>(&mut self, before: &'static [u8; N], number: u64) {
        self.raw(before);
        digits(self.0, number);
    }

    /// What is written by its `Display`, in which nothing must be escaped.
    pub(crate) fn display<const N: usize>(
        &mut self,
        before: &'static [u8; N],
        value: &impl fmt::Display,
    ) {
        self.raw(before);
        // Writing to a vector does not fail.
        let _ = write!(self.0, "{value}");
        self.0.push(b'"');
    }
}

/// A text from outside: redacted, and looked at once for all the lines that repeat it.
#[derive(Debug)]
pub(crate) struct Outside<'a> {
    text: Cow<'a, str>,
    /// Nothing in it must be escaped.
    plain: bool,
}

impl<'a> Outside<'a> {
    /// Redacts `text`.
    pub(crate) fn new(text: &'a str) -> Self {
        let closer = |before, this| escaped(this) | may_introduce(before, this);
        Self::looked_at(text, scan::any(text.as_bytes(), closer))
    }

    /// Redacts the path without the query.
    pub(crate) fn path(path: &'a str) -> Self {
        let query = |this| zero(this ^ all(b'?'));
        let closer = |before, this| query(this) | escaped(this) | may_introduce(before, this);
        if scan::any(path.as_bytes(), closer) {
            Self::looked_at(path.split('?').next().unwrap_or_default(), true)
        } else {
            Self::looked_at(path, false)
        }
    }

    fn looked_at(text: &'a str, closer: bool) -> Self {
        let text = if closer { redact(text) } else { Cow::Borrowed(text) };
        Self { text, plain: !closer }
    }
}

/// RFC 8259 section 7.
const fn is_escaped(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\')
}

/// [`is_escaped`] for the bytes of a word: not zero where it holds for one of them.
const fn escaped(word: u64) -> u64 {
    below(word, b' ') | zero(word ^ all(b'"')) | zero(word ^ all(b'\\'))
}

fn must_escape(text: &str) -> bool {
    scan::any(text.as_bytes(), |_, this| escaped(this))
}

#[cold]
fn escape(out: &mut Vec<u8>, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for run in text.as_bytes().split_inclusive(|byte| is_escaped(*byte)) {
        let (plain, last) = match run {
            [plain @ .., last] if is_escaped(*last) => (plain, *last),
            _ => {
                out.extend_from_slice(run);
                continue;
            }
        };
        out.extend_from_slice(plain);
        let short = match last {
            b'"' | b'\\' => last,
            b'\x08' => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            b'\x0c' => b'f',
            b'\r' => b'r',
            _ => {
                let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied();
                let digits = [last >> 4, last & 0xf].map(|it| digit(it).unwrap_or_default());
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
                continue;
            }
        };
        out.extend_from_slice(&[b'\\', short]);
    }
}

/// Decimal digits. Most numbers here are small.
fn digits(out: &mut Vec<u8>, number: u64) {
    let digit = |number: u64| b'0' + (number % 10) as u8;
    if number < 10 {
        out.push(digit(number));
        return;
    }
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    let mut rest = number;
    for place in digits.iter_mut().rev() {
        *place = digit(rest);
        rest /= 10;
        start -= 1;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}
