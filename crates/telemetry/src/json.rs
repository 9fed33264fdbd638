//! Lines of JSON, written straight into a buffer.
//!
//! Each exchange writes such a line, so this is made for speed: what the program knows (keys,
//! punctuation, its own words) is copied as it is, and what it does not know is looked at before
//! the line is begun and then copied too, unless something in it must be escaped. Whoever writes is
//! answerable for the punctuation: `before` is all that stands before a value, as `,"status":`
//! before a number, `,"host":"` before a string.

use std::borrow::Cow;

use demilune_core::head::RequestId;

use crate::redact::{may_introduce, redact};

/// The line that is being written.
#[derive(Debug)]
pub(crate) struct Json<'a>(&'a mut Vec<u8>);

impl<'a> Json<'a> {
    /// Appends to `out`.
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self(out)
    }

    /// What is JSON already, of the program's own.
    #[inline]
    pub(crate) fn raw<const N: usize>(&mut self, text: &'static [u8; N]) {
        self.0.extend_from_slice(text);
    }

    /// What is JSON already.
    #[inline]
    pub(crate) fn written(&mut self, text: &[u8]) {
        self.0.extend_from_slice(text);
    }

    /// What must not be escaped: a word of the program's own, a number as text.
    #[inline]
    pub(crate) fn word<const N: usize>(&mut self, before: &'static [u8; N], word: &str) {
        debug_assert!(!word.bytes().any(is_escaped), "{word:?}");
        self.raw(before);
        self.written(word.as_bytes());
        self.0.push(b'"');
    }

    /// A text.
    pub(crate) fn text<const N: usize>(&mut self, before: &'static [u8; N], text: &Text<'_>) {
        if text.plain {
            return self.word(before, &text.text);
        }
        self.raw(before);
        escape(self.0, &text.text);
        self.0.push(b'"');
    }

    /// A text, unless it is empty.
    pub(crate) fn known<const N: usize>(&mut self, before: &'static [u8; N], text: &Text<'_>) {
        if !text.text.is_empty() {
            self.text(before, text);
        }
    }

    /// A number.
    pub(crate) fn number<const N: usize>(&mut self, before: &'static [u8; N], number: u64) {
        self.raw(before);
        digits(self.0, number);
    }

    /// An id, as its `Display` writes it.
    pub(crate) fn id<const N: usize>(&mut self, before: &'static [u8; N], id: RequestId) {
        self.raw(before);
        for quarter in id.0.to_be_bytes().as_chunks().0 {
            self.0.extend_from_slice(&hex(u32::from_be_bytes(*quarter)));
        }
        self.0.push(b'"');
    }
}

/// What `write` writes.
pub(crate) fn written(write: impl FnOnce(&mut Json<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut Json::new(&mut out));
    out
}

/// A text, and whether it may be copied.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    text: Cow<'a, str>,
    /// Nothing in it must be escaped.
    plain: bool,
}

impl<'a> Text<'a> {
    /// A text in which nothing [asks for a closer look](closer).
    pub(crate) fn plain(text: &'a str) -> Self {
        Self { text: Cow::Borrowed(text), plain: true }
    }

    /// A name from the document.
    pub(crate) fn name(text: &'a str) -> Self {
        Self { text: Cow::Borrowed(text), plain: false }
    }

    /// A text from outside, redacted.
    pub(crate) fn outside(text: &'a str) -> Self {
        Self { text: redact(text), plain: false }
    }
}

/// Whether the last of these bytes must be escaped or begins the query of a path, or all of them a
/// secret.
pub(crate) const fn closer(bytes: [u8; 3]) -> bool {
    let [.., byte] = bytes;
    is_escaped(byte) | may_introduce(bytes) | (byte == b'?')
}

/// RFC 8259 section 7.
const fn is_escaped(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\')
}

fn escape(out: &mut Vec<u8>, text: &str) {
    for run in text.as_bytes().split_inclusive(|byte| is_escaped(*byte)) {
        match run {
            [plain @ .., last] if is_escaped(*last) => {
                out.extend_from_slice(plain);
                escape_byte(out, *last);
            }
            _ => out.extend_from_slice(run),
        }
    }
}

fn escape_byte(out: &mut Vec<u8>, byte: u8) {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\x08' => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        b'\x0c' => b'f',
        b'\r' => b'r',
        _ => {
            let [.., high, low] = hex(byte.into());
            return out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Decimal digits. Most numbers here have few.
#[inline]
fn digits(out: &mut Vec<u8>, number: u64) {
    match SHORT.get(usize::try_from(number).unwrap_or(usize::MAX)) {
        Some(Short { digits, length }) => {
            // All of them, for it is cheaper to copy as many each time.
            out.extend_from_slice(digits);
            out.truncate(out.len() - digits.len() + usize::from(*length));
        }
        None => many_digits(out, number),
    }
}

#[inline(never)]
fn many_digits(out: &mut Vec<u8>, number: u64) {
    digits(out, number / 1_000);
    let last = (number % 1_000) as u16;
    out.extend_from_slice(&[digit(last / 100), digit(last / 10), digit(last)]);
}

/// The last digit.
const fn digit(number: u16) -> u8 {
    b'0' + (number % 10) as u8
}

/// A number below a thousand.
#[derive(Debug, Clone, Copy)]
struct Short {
    digits: [u8; 3],
    length: u8,
}

/// All of them.
static SHORT: [Short; 1_000] = {
    let mut all = [Short { digits: [0; 3], length: 0 }; 1_000];
    let mut rest: &mut [Short] = &mut all;
    let mut number = 0;
    while let [short, others @ ..] = rest {
        let [ones, tens, hundreds] = [digit(number), digit(number / 10), digit(number / 100)];
        *short = match number {
            0..10 => Short { digits: [ones, 0, 0], length: 1 },
            10..100 => Short { digits: [tens, ones, 0], length: 2 },
            _ => Short { digits: [hundreds, tens, ones], length: 3 },
        };
        rest = others;
        number += 1;
    }
    all
};

/// Eight hexadecimal digits, all at once.
fn hex(number: u32) -> [u8; 8] {
    const fn all(byte: u8) -> u64 {
        u64::from_le_bytes([byte; 8])
    }
    // The upper half of what there is moves up, then the upper half of each half, until each byte
    // holds the value of one digit.
    let mut values = u64::from(number);
    values = (values << 16 | values) & 0x0000_ffff_0000_ffff;
    values = (values << 8 | values) & 0x00ff_00ff_00ff_00ff;
    values = (values << 4 | values) & all(0x0f);
    // From ten on, six more do not fit into four bits.
    let letters = (values + all(6)) >> 4 & all(1);
    (values + all(b'0') + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

#[cfg(test)]
mod tests;
