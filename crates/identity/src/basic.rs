//! The value of `Authorization: Basic` (RFC 7617): a user and a password in base64.
//!
//! There is one reading of a value or none. Lenient parsers differ over white space, missing
//! padding, stray bits and control characters, and such differences let one client appear as two
//! to two servers, or carry a line feed into a log.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::password::MAX_PASSWORD_LEN;

/// The longest user-id admitted, in bytes.
pub const MAX_USER_LEN: usize = 1024;

const MAX_DECODED_LEN: usize = MAX_USER_LEN + 1 + MAX_PASSWORD_LEN;
const MAX_ENCODED_LEN: usize = MAX_DECODED_LEN.div_ceil(3) * 4;

/// The user and password that a client showed. Neither is checked against anything yet.
///
/// `Debug` shows neither: clients put keys into the user-id too.
pub struct BasicCredentials {
    /// The user-id: 1 to 1024 bytes, without control characters or colon.
    pub user: String,
    /// The password: 0 to 1024 bytes, without control characters. Wiped when dropped.
    pub password: Zeroizing<String>,
}

impl BasicCredentials {
    /// Reads the field's value, such as `Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==`.
    ///
    /// The scheme's name in any case (RFC 9110, section 11.1), one or more spaces (section 11.4),
    /// base64 with its padding and no bits astray (RFC 4648, section 4), in it UTF-8 without
    /// control characters (RFC 7617, sections 2 and 2.1), split at the first colon. An empty
    /// password is admitted here, as the RFC does; an empty user-id is not.
    ///
    /// # Errors
    ///
    /// [`BasicFormat`]; its `OtherScheme` says that the value is no Basic credential at all, while
    /// all the others say that it is a broken one.
    pub fn parse(value: &[u8]) -> Result<Self, BasicFormat> {
        let encoded = encoded(value)?;
        if encoded.len() > MAX_ENCODED_LEN {
            return Err(BasicFormat::TooLong);
        }
        // Decoded in place and never grown, so that no copy is left behind.
        let mut buffer = Zeroizing::new(vec![0; encoded.len().div_ceil(4) * 3]);
        let length =
            STANDARD.decode_slice(encoded, &mut buffer).map_err(|_| BasicFormat::Base64)?;
        let decoded = buffer.get(..length).ok_or(BasicFormat::Base64)?;
        let text = str::from_utf8(decoded).map_err(|_| BasicFormat::Utf8)?;
        // C1 controls too: RFC 7617 names those of ASCII, but terminals obey both.
        if text.chars().any(char::is_control) {
            return Err(BasicFormat::ControlCharacter);
        }
        let (user, password) = text.split_once(':').ok_or(BasicFormat::Colon)?;
        if user.is_empty() {
            return Err(BasicFormat::EmptyUser);
        }
        if user.len() > MAX_USER_LEN || password.len() > MAX_PASSWORD_LEN {
            return Err(BasicFormat::TooLong);
        }
        Ok(Self { user: user.to_owned(), password: Zeroizing::new(password.to_owned()) })
    }
}

impl fmt::Debug for BasicCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BasicCredentials(concealed)")
    }
}

/// Why a value carries no Basic credentials. Repeats nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BasicFormat {
    /// The scheme is another one, or none: no Basic credential was shown.
    #[error("expected the authentication scheme `Basic`, found another")]
    OtherScheme,
    /// Nothing but spaces after the scheme, or something other than a space.
    #[error("expected one or more spaces after `Basic`, then the credentials")]
    Separator,
    /// Longer than any user-id and password admitted.
    #[error(
        "expected a user-id of at most {MAX_USER_LEN} and a password of at most \
         {MAX_PASSWORD_LEN} bytes, found more"
    )]
    TooLong,
    /// Not base64 in its canonical form.
    #[error("expected canonical base64 with padding after `Basic`")]
    Base64,
    /// The decoded bytes are not UTF-8.
    #[error("expected user-id and password in UTF-8")]
    Utf8,
    /// A control character, which RFC 7617 forbids in both.
    #[error("expected user-id and password without control characters")]
    ControlCharacter,
    /// No colon between user-id and password.
    #[error("expected a colon between user-id and password")]
    Colon,
    /// Nothing before the colon.
    #[error("expected a user-id before the colon, found none")]
    EmptyUser,
}

/// What follows the scheme and its spaces.
fn encoded(value: &[u8]) -> Result<&[u8], BasicFormat> {
    let scheme_len = value.iter().take_while(|byte| is_token_byte(**byte)).count();
    let (scheme, rest) = value.split_at_checked(scheme_len).ok_or(BasicFormat::OtherScheme)?;
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return Err(BasicFormat::OtherScheme);
    }
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    match rest.split_at_checked(spaces) {
        Some(([_, ..], encoded @ [_, ..])) => Ok(encoded),
        _ => Err(BasicFormat::Separator),
    }
}

/// `tchar` of RFC 9110, section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(decoded: impl AsRef<[u8]>) -> Vec<u8> {
        format!("Basic {}", STANDARD.encode(decoded)).into_bytes()
    }

    fn refusal(value: impl AsRef<[u8]>) -> BasicFormat {
        BasicCredentials::parse(value.as_ref()).expect_err("this must be refused")
    }

    fn admitted(value: impl AsRef<[u8]>) -> (String, String) {
        let found = BasicCredentials::parse(value.as_ref()).expect("this must be admitted");
        (found.user, found.password.as_str().to_owned())
    }

    fn pair(user: &str, password: &str) -> (String, String) {
        (user.to_owned(), password.to_owned())
    }

    #[test]
    fn the_examples_of_rfc_7617_are_read() {
        let aladdin = pair("Aladdin", "open sesame");
        assert_eq!(admitted("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), aladdin);
        assert_eq!(admitted("Basic dGVzdDoxMjPCow=="), pair("test", "123£"));
    }

    #[test]
    fn the_scheme_is_read_in_any_case_and_with_any_number_of_spaces() {
        for start in ["basic ", "BASIC ", "bAsIc ", "Basic    "] {
            assert_eq!(admitted(format!("{start}YTpi")), pair("a", "b"), "{start}");
        }
    }

    #[test]
    fn the_first_colon_splits() {
        assert_eq!(admitted(value("a:b:c:")), pair("a", "b:c:"));
        assert_eq!(admitted(value("a::")), pair("a", ":"));
        assert_eq!(admitted(value("a:")), pair("a", ""));
        assert_eq!(refusal(value(":b")), BasicFormat::EmptyUser);
        assert_eq!(refusal(value(":")), BasicFormat::EmptyUser);
        assert_eq!(refusal(value("ab")), BasicFormat::Colon);
    }

    #[test]
    fn another_scheme_is_told_from_a_broken_basic() {
        for other in ["", " ", "Bearer YTpi", "Basics YTpi", "Basic-x YTpi", "Bas", "\u{ff}"] {
            assert_eq!(refusal(other), BasicFormat::OtherScheme, "{other:?}");
        }
        for broken in ["Basic", "Basic ", "Basic   ", "Basic\tYTpi", "Basic,YTpi", "Basic=YTpi"] {
            assert_eq!(refusal(broken), BasicFormat::Separator, "{broken:?}");
        }
    }

    #[test]
    fn base64_has_one_form() {
        // YTpi is `a:b`; YTo= is `a:`, whose stray bits must be zero; YT0= differs in those.
        assert_eq!(admitted("Basic YTo="), pair("a", ""));
        for text in [
            "YTo",
            "YTp=",
            "YTr=",
            "YTo==",
            "YTo=YTo=",
            "YTpi=",
            "YTpi====",
            "YTpi\t",
            "YTpi ",
            "YTpi\r\n",
            "YT pi",
            "YTpi,",
            "YTp-",
            "YTp_",
            "=",
            "====",
            "Y",
            "YT",
            "\u{ff}\u{ff}",
        ] {
            assert_eq!(refusal(format!("Basic {text}")), BasicFormat::Base64, "{text:?}");
        }
    }

    #[test]
    fn text_is_utf_8_without_control_characters() {
        for bytes in [&b"a\xff:b"[..], b"a:\xc0\xaf", b"a:\xed\xa0\x80", b"a:\xe2\x82"] {
            assert_eq!(refusal(value(bytes)), BasicFormat::Utf8);
        }
        for control in (0..0x20).chain(0x7f..0xa0).filter_map(char::from_u32) {
            let refused = BasicFormat::ControlCharacter;
            assert_eq!(refusal(value(format!("a{control}:b"))), refused, "{control:?}");
            assert_eq!(refusal(value(format!("a:{control}b"))), refused, "{control:?}");
        }
        assert_eq!(admitted(value("zoë:пароль 🔑")), pair("zoë", "пароль 🔑"));
    }

    #[test]
    fn the_longest_are_admitted_and_one_byte_more_is_not() {
        let longest = "x".repeat(1024);
        let found = admitted(value(format!("{longest}:{longest}")));
        assert_eq!((found.0.len(), found.1.len()), (1024, 1024));
        for text in [format!("{longest}x:y"), format!("x:{longest}y"), "x".repeat(8 << 20)] {
            assert_eq!(refusal(value(text)), BasicFormat::TooLong);
        }
    }

    #[test]
    fn whatever_is_cut_off_or_changed_is_refused_or_has_one_form() {
        let whole = value("Aladdin:open sesame");
        let mut variants: Vec<Vec<u8>> = (0..whole.len()).map(|n| whole[..n].to_vec()).collect();
        for at in 0..whole.len() {
            for byte in 0..=u8::MAX {
                let mut changed = whole.clone();
                changed[at] = byte;
                variants.push(changed);
            }
        }
        for variant in variants {
            if let Ok(found) = BasicCredentials::parse(&variant) {
                let again = value(format!("{}:{}", found.user, *found.password));
                assert!(variant.eq_ignore_ascii_case(&again), "two forms of one credential");
                assert_eq!(variant[5..], again[5..], "two forms of one credential");
            }
        }
    }

    #[test]
    fn nothing_is_shown() {
        let found = BasicCredentials::parse(&value("Aladdin:open sesame")).expect("credentials");
        assert_eq!(format!("{found:?}"), "BasicCredentials(concealed)");
        for text in ["Basic sesame!", "sesame", "Basic  c2VzYW1l"] {
            let refused = refusal(text);
            let shown = format!("{refused} {refused:?}").to_lowercase();
            assert!(!shown.contains("sesame") && !shown.contains("c2vz"), "{shown}");
        }
    }
}
