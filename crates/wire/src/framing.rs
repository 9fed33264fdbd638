//! How long a body is.

use crate::Refusal;

/// How long a body is (RFC 9112 section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyLength {
    /// So many bytes; 0 where there is no body.
    Known(u64),
    /// What [`ChunkedDecoder`](crate::ChunkedDecoder) makes of it.
    Chunked,
    /// Until the connection ends; only of answers.
    UntilClose,
}

/// The most digits a length may have.
const DIGITS: usize = 18;

/// Reads a length: decimal digits only, no leading zero, at most 18 of them.
pub(crate) fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    match value {
        [b'0'] => return Ok(0),
        [b'1'..=b'9', ..] if value.len() <= DIGITS => {}
        _ => return Err(Refusal::ContentLength),
    }
    value.iter().try_fold(0_u64, |length, byte| match byte {
        b'0'..=b'9' => Ok(length * 10 + u64::from(byte - b'0')),
        _ => Err(Refusal::ContentLength),
    })
}

/// What the framing fields of a head say.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    length: Option<u64>,
    chunked: bool,
}

impl Framing {
    /// Takes a field Content-Length.
    pub(crate) fn length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        match self.length.replace(content_length(value)?) {
            None => Ok(()),
            Some(_) => Err(Refusal::ContentLength),
        }
    }

    /// Takes a field Transfer-Encoding.
    pub(crate) fn coding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::TransferEncoding);
        }
        self.chunked = true;
        Ok(())
    }

    /// The length, or `None` where nothing gives one. `coding_allowed`: whether such a message may
    /// have a transfer coding at all.
    pub(crate) fn decide(&self, coding_allowed: bool) -> Result<Option<BodyLength>, Refusal> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Refusal::LengthAndCoding),
            (None, true) if !coding_allowed => Err(Refusal::CodingForbidden),
            (None, true) => Ok(Some(BodyLength::Chunked)),
            (Some(length), false) => Ok(Some(BodyLength::Known(length))),
            (None, false) => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_plain_decimal() {
        let longest = "9".repeat(DIGITS);
        for text in ["0", "1", "42", "1000", &longest] {
            assert_eq!(content_length(text.as_bytes()), Ok(text.parse().unwrap()));
        }
        let too_long = "1".repeat(DIGITS + 1);
        for text in [
            "", "00", "01", "007", "+1", "-1", "1 ", " 1", "1,1", "1, 1", "0x1", "1e3", "1.0", "a",
            "1a", "1_000", "\u{661}", &too_long,
        ] {
            assert_eq!(content_length(text.as_bytes()), Err(Refusal::ContentLength), "{text:?}");
        }
    }
}
