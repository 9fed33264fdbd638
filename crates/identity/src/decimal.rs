//! Numbers inside of hashes and digests, in the one way each can be written.

/// Reads a `u32` in its canonical decimal form: digits only, no sign, no leading zero.
///
/// `str::parse` alone admits `+1` and `007`, so that one credential could be written in many ways.
pub(crate) fn parse(text: &str) -> Option<u32> {
    let canonical = text == "0" || text.starts_with(|first| matches!(first, '1'..='9'));
    if canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_the_canonical_form_is_a_number() {
        assert_eq!(parse("0"), Some(0));
        assert_eq!(parse("19456"), Some(19456));
        assert_eq!(parse("4294967295"), Some(u32::MAX));
        for text in ["", "00", "01", "+1", "-1", " 1", "1 ", "1_0", "1e3", "4294967296", "١"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
