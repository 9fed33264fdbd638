//! Classes of bytes, as tables, and a search eight bytes at a step.

use memchr::memchr3;

/// Up to here a search goes eight bytes at a step.
const SHORT: usize = 64;

/// Token characters (RFC 9110 section 5.6.2).
pub(crate) const TOKEN: [bool; 256] = {
    let mut table = alphanumeric();
    set(&mut table, b"!#$%&'*+-.^_`|~");
    table
};

/// What may stand in a request's target: RFC 3986 without the fragment.
pub(crate) const TARGET: [bool; 256] = {
    let mut table = alphanumeric();
    set(&mut table, b"-._~:/?[]@!$&'()*+,;=%");
    table
};

const fn alphanumeric() -> [bool; 256] {
    let mut table = [false; 256];
    set(&mut table, b"0123456789");
    set(&mut table, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    set(&mut table, b"abcdefghijklmnopqrstuvwxyz");
    table
}

#[expect(clippy::indexing_slicing, reason = "while compiling; a byte is within 256")]
const fn set(table: &mut [bool; 256], bytes: &[u8]) {
    let mut i = 0;
    while i < bytes.len() {
        table[bytes[i] as usize] = true;
        i += 1;
    }
}

/// Whether `byte` is of the class.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "a byte is within 256")]
pub(crate) const fn is(table: &[bool; 256], byte: u8) -> bool {
    table[byte as usize]
}

/// Whether there is something and all of it is of the class.
#[inline]
pub(crate) fn all(table: &[bool; 256], bytes: &[u8]) -> bool {
    !bytes.is_empty() && run(table, bytes) == bytes.len()
}

/// How many bytes at the front are of the class.
#[inline]
pub(crate) fn run(table: &[bool; 256], bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !is(table, *byte)).unwrap_or(bytes.len())
}

/// Where the first CR, LF or NUL is: what a line ends with, or should not hold.
#[inline]
pub(crate) fn line_end(bytes: &[u8]) -> Option<usize> {
    // Lines are short: a call costs more than it saves. What is long is left to the experts.
    let short = bytes.get(..SHORT).unwrap_or(bytes);
    let mut from = 0;
    while let Some(within) = control(short.get(from..).unwrap_or_default()) {
        let at = from + within;
        if let Some(b'\r' | b'\n' | 0) = short.get(at) {
            return Some(at);
        }
        from = at + 1;
    }
    let rest = bytes.get(SHORT..).filter(|rest| !rest.is_empty())?;
    memchr3(b'\r', b'\n', 0, rest).map(|within| SHORT + within)
}

/// Where the first control byte below 0x20 is.
#[inline]
fn control(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut rest = bytes;
    while let Some((word, more)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*word);
        // The lowest bit that is set is exact: a borrow only reaches bytes above it.
        let found = word.wrapping_sub(ONES * 0x20) & !word & (ONES * 0x80);
        if found != 0 {
            let within = usize::try_from(found.trailing_zeros() / 8).unwrap_or_default();
            return Some(bytes.len() - rest.len() + within);
        }
        rest = more;
    }
    let within = rest.iter().position(|byte| *byte < 0x20)?;
    Some(bytes.len() - rest.len() + within)
}

/// Whether `bytes` begin with one of `beginnings`, which are in lower case.
pub(crate) fn begins_with(bytes: &[u8], beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| {
        let start = bytes.get(..beginning.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(beginning.as_bytes()))
    })
}

/// Whether `bytes` are one of `names`, which are in lower case.
pub(crate) fn one_of(bytes: &[u8], names: &[&str]) -> bool {
    names.iter().any(|name| bytes.eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_byte_is_found_wherever_it_is() {
        for length in 0..40 {
            for byte in 0..=255_u8 {
                for at in 0..length {
                    for filler in [b' ', b'a', 0x7f, 0x80, 0xff] {
                        let mut bytes = vec![filler; length];
                        bytes[at] = byte;
                        let expected = (byte < 0x20).then_some(at);
                        assert_eq!(control(&bytes), expected, "{byte:#x} at {at} of {length}");
                    }
                }
            }
            assert_eq!(control(&vec![0; length]), (length > 0).then_some(0));
        }
    }

    #[test]
    fn the_end_of_a_line_is_found_wherever_it_is() {
        for length in (0..20).chain(55..140) {
            for at in 0..length {
                for byte in [b'\r', b'\n', 0, b'\t', 1, 0x1f, 0x7f, 0xff] {
                    let mut bytes = vec![b'\t'; length];
                    bytes[at] = byte;
                    let expected = matches!(byte, b'\r' | b'\n' | 0).then_some(at);
                    assert_eq!(line_end(&bytes), expected, "{byte:#x} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn the_classes_are_those_of_the_grammars() {
        for byte in 0..=255_u8 {
            let token = byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
            assert_eq!(is(&TOKEN, byte), token, "{byte:#x}");
            let target = byte.is_ascii_graphic() && !b"\"#<>\\^`{|}".contains(&byte);
            assert_eq!(is(&TARGET, byte), target, "{byte:#x}");
        }
    }
}
