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

/// What may stand in a request's target: RFC 3986 without the fragment, and what is in none of its
/// productions but sent raw by browsers (URL standard, the query percent-encode set) and read alike
/// by all.
pub(crate) const TARGET: [bool; 256] = {
    let mut table = alphanumeric();
    set(&mut table, b"-._~:/?[]@!$&'()*+,;=%{|}^`\\");
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
    let mut rest = bytes;
    while let Some((eight, more)) = rest.split_first_chunk::<8>() {
        // All eight are looked up before one branch.
        if !eight.iter().fold(true, |all, byte| all & is(table, *byte)) {
            break;
        }
        rest = more;
    }
    let within = rest.iter().position(|byte| !is(table, *byte)).unwrap_or(rest.len());
    bytes.len() - rest.len() + within
}

const ONES: u64 = 0x0101_0101_0101_0101;

/// The highest bit of each byte of `word` that is a control byte below 0x20.
#[inline(always)]
const fn controls(word: u64) -> u64 {
    // No sum reaches the next byte: 0x7f + 0x60 is 0xdf.
    !(((word & (ONES * 0x7f)) + ONES * 0x60) | word) & (ONES * 0x80)
}

/// The highest bit of each byte of `word` that is a colon.
#[inline(always)]
const fn colons(word: u64) -> u64 {
    let other = word ^ (ONES * b':' as u64);
    !(((other & (ONES * 0x7f)) + ONES * 0x7f) | other) & (ONES * 0x80)
}

/// Where the first CR, LF or NUL is: what a line ends with, or should not hold.
#[inline(always)]
pub(crate) fn line_end(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    while let Some((eight, more)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*eight);
        let mut found = controls(word);
        while found != 0 {
            let bit = found.trailing_zeros() & !7;
            if matches!((word >> bit) & 0xff, 0x0d | 0x0a | 0) {
                return Some(bytes.len() - rest.len() + (bit / 8) as usize);
            }
            found &= found - 1;
        }
        rest = more;
        // Most lines are short, and a call costs more than it saves them; this one is not.
        if bytes.len() - rest.len() == SHORT {
            return memchr3(b'\r', b'\n', 0, rest).map(|within| SHORT + within);
        }
    }
    let within = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n' | 0))?;
    Some(bytes.len() - rest.len() + within)
}

/// Where the first colon or control byte below 0x20 is: the end of a field's name, or what should
/// not be in it.
#[inline]
pub(crate) fn name_end(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    while let Some((eight, more)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*eight);
        let found = controls(word) | colons(word);
        if found != 0 {
            return Some(bytes.len() - rest.len() + (found.trailing_zeros() / 8) as usize);
        }
        rest = more;
    }
    let within = rest.iter().position(|byte| *byte == b':' || *byte < 0x20)?;
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
    fn the_end_of_a_name_is_found_wherever_it_is() {
        for length in 0..20 {
            for byte in 0..=255_u8 {
                for at in 0..length {
                    for filler in [b' ', b'a', b';', 0x7f, 0x80, 0xba, 0xff] {
                        let mut bytes = vec![filler; length];
                        bytes[at] = byte;
                        let expected = (byte < 0x20 || byte == b':').then_some(at);
                        assert_eq!(name_end(&bytes), expected, "{byte:#x} at {at} of {length}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_run_ends_where_the_first_other_byte_is() {
        for length in 0..20 {
            for at in 0..length {
                let mut bytes = vec![b'a'; length];
                assert_eq!(run(&TOKEN, &bytes), length);
                bytes[at] = b' ';
                assert_eq!(run(&TOKEN, &bytes), at);
            }
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
            let target = byte.is_ascii_graphic() && !b"\"#<>".contains(&byte);
            assert_eq!(is(&TARGET, byte), target, "{byte:#x}");
        }
    }
}
