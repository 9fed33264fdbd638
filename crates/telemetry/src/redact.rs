//! Secrets masked in text that came from outside.
//!
//! Clients put credentials where they do not belong: into paths, into `User-Agent`, into what an
//! upstream's error repeats. What is known by its shape is masked: the gateway's own keys
//! (`dml_…`), JSON Web Tokens (`eyJ….…`), and what follows `Bearer` or `Basic`.

use std::borrow::Cow;
use std::ops::Range;

const MASK: &str = "[redacted]";

/// Words that follow `Bearer` or `Basic` in sentences, and are no credential.
const PLAIN: &[&str] =
    &["auth", "authentication", "credential", "credentials", "header", "scheme", "token"];

/// `text` with each secret masked as `[redacted]`; borrowed where there is none, which is nearly
/// always.
///
/// What introduces a secret (`dml_`, `eyJ`, `Bearer `) is kept, so that it can be told what was
/// there. A secret that was cut off at its end is masked too.
///
/// ```
/// use demilune_telemetry::redact;
///
/// assert_eq!(redact("/v1/keys/dml_live_0123"), "/v1/keys/dml_[redacted]");
/// assert_eq!(redact("/v1/keys"), "/v1/keys");
/// ```
#[must_use]
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut from = 0;
    while let Some(secret) = next_secret(text, from) {
        out.push_str(text.get(from..secret.start).unwrap_or_default());
        out.push_str(MASK);
        from = secret.end;
    }
    if from == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(from..).unwrap_or_default());
    Cow::Owned(out)
}

/// Three neighbours that each kind of secret cannot do without, and that are rare elsewhere.
pub(crate) const fn may_introduce([first, second, third]: [u8; 3]) -> bool {
    let key = (first == b'm') & (second == b'l') & (third == b'_');
    let token = (second == b'y') & (third == b'J');
    // `Bea` or `Bas`, or nearly: two bits make an `e` of `E`, `A` and `a`, and three an `s` of `S`,
    // `A` and `a`.
    let scheme = (first | 0x20 == b'b') & (second | 0x24 == b'e') & (third | 0x32 == b's');
    key | token | scheme
}

/// One byte that each kind of secret cannot do without, and that is rare elsewhere.
const fn is_trigger(byte: u8) -> bool {
    matches!(byte, b'_' | b'J' | b'B' | b'b')
}

/// The first secret at or after `from`, without what introduces it.
fn next_secret(text: &str, from: usize) -> Option<Range<usize>> {
    let rest = text.as_bytes().get(from..)?;
    let suspects = rest.iter().enumerate().filter(|(_, byte)| is_trigger(**byte));
    for (offset, byte) in suspects {
        let before = rest.get(..offset)?;
        let after = rest.get(offset + 1..)?;
        let length = match byte {
            b'_' if before.ends_with(b"dml") => Some((0, span(after, is_word))),
            b'J' if before.ends_with(b"ey") => Some((0, token(after))),
            b'B' | b'b' => credential(after),
            _ => None,
        };
        if let Some((skipped, length)) = length.filter(|(_, length)| *length > 0) {
            let start = from + offset + 1 + skipped;
            return Some(start..start + length);
        }
    }
    None
}

/// How much of a JSON Web Token follows: none where there is no dot in it.
fn token(after: &[u8]) -> usize {
    let length = span(after, |byte| is_word(byte) || matches!(byte, b'-' | b'.' | b'='));
    if after.get(..length).is_some_and(|it| it.contains(&b'.')) { length } else { 0 }
}

/// After the `B` of `Bearer` or `Basic`: how much to skip, and how long the credential is.
fn credential(after: &[u8]) -> Option<(usize, usize)> {
    let named = |name: &[u8]| {
        let head = after.get(..name.len())?;
        head.eq_ignore_ascii_case(name).then_some(name.len())
    };
    let scheme = named(b"earer").or_else(|| named(b"asic"))?;
    let mut rest = after.get(scheme..)?;
    loop {
        rest = match rest {
            [b' ' | b'\t' | b'+' | b':', rest @ ..] | [b'%', b'2', b'0', rest @ ..] => rest,
            _ => break,
        };
    }
    let skipped = after.len() - rest.len();
    if skipped == scheme {
        return None;
    }
    // RFC 9110 section 11.2, `token68`; percent-encoded where it stands in a path.
    let length = span(rest, |byte| {
        is_word(byte) || matches!(byte, b'-' | b'.' | b'~' | b'+' | b'/' | b'=' | b'%')
    });
    let word = rest.get(..length)?;
    let plain = PLAIN.iter().any(|plain| word.eq_ignore_ascii_case(plain.as_bytes()));
    (!plain).then_some((skipped, length))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn span(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| belongs(**byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_by_their_shape() {
        let cases = [
            ("dml_live_0123456789ABCDEFGHIJabcdefghij_0N9gBf", "dml_[redacted]"),
            ("/keys/dml_test_abc/x", "/keys/dml_[redacted]/x"),
            ("key=dml_a_b, key=dml_c_d", "key=dml_[redacted], key=dml_[redacted]"),
            ("dml_live_cut", "dml_[redacted]"),
            ("eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln", "eyJ[redacted]"),
            ("/t/eyJhbGciOiJub25lIn0.eyJz", "/t/eyJ[redacted]"),
            ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer [redacted]"),
            ("bEARER   s3cr3t==; next", "bEARER   [redacted]; next"),
            ("/Bearer%20s3cr3t%2Fx/y", "/Bearer%20[redacted]"),
            ("/basic+dXNlcjpwYXNz", "/basic+[redacted]"),
            ("Basic\tdXNlcjpwYXNz", "Basic\t[redacted]"),
            ("bearer: s3cr3t", "bearer: [redacted]"),
            ("Bearer eyJhbGciOiJub25lIn0.eyJz", "Bearer [redacted]"),
            ("Bearer dml_live_x Basic a", "Bearer [redacted] Basic [redacted]"),
            ("BasicBasic abc", "BasicBasic [redacted]"),
            ("€dml_x€Bearer y€", "€dml_[redacted]€Bearer [redacted]€"),
        ];
        for (text, expected) in cases {
            assert_eq!(redact(text), expected, "{text}");
        }
    }

    #[test]
    fn no_secret_escapes_the_first_look() {
        let looks = |text: &str| {
            text.as_bytes().windows(3).any(|bytes| bytes.try_into().is_ok_and(may_introduce))
        };
        assert!(looks("dml_x") && looks("eyJa.b"));
        for mask in 0..1_u32 << 6 {
            let case =
                |at: usize, c: char| if mask >> at & 1 == 1 { c.to_ascii_uppercase() } else { c };
            for scheme in ["bearer", "basic"] {
                let scheme: String = scheme.char_indices().map(|(at, c)| case(at, c)).collect();
                assert_eq!(redact(&format!("{scheme} x")), format!("{scheme} [redacted]"));
                assert!(looks(&scheme), "{scheme}");
            }
        }
        assert!(!looks("/v1/members/label/full_name Mobile Safari AppleWebKit x86_64 JSON number"));
    }

    #[test]
    fn everything_else_is_kept_and_not_copied() {
        for text in [
            "",
            "/v1/products/42",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Mobile",
            "dml_",
            "dml-x_y",
            "eyJ",
            "eyJhbGciOiJub25lIn0",
            "Bearer",
            "Bearer ",
            "bearers of tokens",
            "the Basic credentials are malformed",
            "no Bearer token",
            "öäü _ J b €",
        ] {
            assert!(matches!(redact(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }
}
