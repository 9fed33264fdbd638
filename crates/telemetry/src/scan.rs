//! Whether a text asks for a closer look: nearly none does, so looking has to be cheap.
//!
//! Eight bytes are looked at in one step, as one number. A test of such a word gives a number that
//! is zero where it holds for none of the bytes.

const BYTES: usize = size_of::<u64>();

/// Whether `test` holds for any byte of `bytes`. It is given words of eight bytes, and words of the
/// byte before each of them; before the first stands a space. Of fewer than eight bytes, it may see
/// some twice or followed by spaces.
#[inline]
pub(crate) fn any(bytes: &[u8], test: impl Fn(u64, u64) -> u64) -> bool {
    let Some((first, later)) = bytes.split_first_chunk() else {
        let this = few(bytes);
        return test(this << 8 | u64::from(b' '), this) != 0;
    };
    let first = word(first);
    let mut found = test(first << 8 | u64::from(b' '), first);
    let earlier = bytes.get(BYTES - 1..).unwrap_or_default();
    let (words, rest) = later.as_chunks();
    // Without a branch between the words, so that several may be looked at in one step.
    for (before, this) in earlier.as_chunks().0.iter().zip(words) {
        found |= test(word(before), word(this));
    }
    // Looks again at some bytes, which is cheaper than at the rest one by one.
    if let (false, Some(ends)) = (rest.is_empty(), bytes.last_chunk::<{ BYTES + 1 }>()) {
        let ([before @ .., _], [_, this @ ..]) = (ends, ends);
        found |= test(word(before), word(this));
    }
    found != 0
}

/// At most seven bytes, with spaces or with some of them twice.
fn few(bytes: &[u8]) -> u64 {
    let Some((first, last)) = bytes.first_chunk().zip(bytes.last_chunk()) else {
        return bytes.iter().rev().fold(all(b' '), |word, byte| word << 8 | u64::from(*byte));
    };
    u64::from(u32::from_le_bytes(*last)) << 32 | u64::from(u32::from_le_bytes(*first))
}

fn word(bytes: &[u8; BYTES]) -> u64 {
    u64::from_le_bytes(*bytes)
}

/// The word of this byte only.
pub(crate) const fn all(byte: u8) -> u64 {
    u64::from_le_bytes([byte; BYTES])
}

/// Whether one of the bytes is below `limit`, which is at most 128.
pub(crate) const fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(all(limit)) & !word & all(0x80)
}

/// Whether one of the bytes is zero.
pub(crate) const fn zero(word: u64) -> u64 {
    below(word, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_is_seen_with_the_one_before_it_in_texts_of_any_length() {
        let pair = |a: u8, b: u8| move |before, this| zero((before ^ all(a)) | (this ^ all(b)));
        for length in 0..100 {
            let mut bytes = vec![b'.'; length];
            assert!(!any(&bytes, |_, this| zero(this ^ all(b'x'))), "{length}");
            for at in 0..length {
                bytes[at] = b'x';
                assert!(any(&bytes, |_, this| zero(this ^ all(b'x'))), "{at} of {length}");
                let before = if at == 0 { b' ' } else { b'.' };
                assert!(any(&bytes, pair(before, b'x')), "{at} of {length}");
                assert!(at + 1 == length || any(&bytes, pair(b'x', b'.')), "{at} of {length}");
                bytes[at] = b'.';
            }
        }
    }

    #[test]
    fn every_byte_is_told_from_every_other() {
        for byte in 0..=u8::MAX {
            for other in [0, 1, b' ', b'"', b'\\', 0x7f, 0x80, 0xff] {
                let bytes = [other, byte, other, other, other, other, other, byte];
                let word = u64::from_le_bytes(bytes);
                assert!(zero(word ^ all(byte)) != 0);
                assert_eq!(zero(word) != 0, bytes.contains(&0), "{bytes:?}");
                for limit in [1, b' ', 0x80] {
                    let expected = bytes.iter().any(|byte| *byte < limit);
                    assert_eq!(below(word, limit) != 0, expected, "{bytes:?} {limit}");
                }
            }
        }
    }
}
