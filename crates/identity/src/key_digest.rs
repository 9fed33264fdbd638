//! How API keys are stored: HMAC-SHA-256 under a pepper that the document does not hold.
//!
//! Whoever reads the document, or a backup of it, gets digests that verify nothing without the
//! pepper. A slow hash would buy nothing more, since keys are random (178 bits) and not chosen by
//! people, and it would cost every request tens of milliseconds (OWASP, "Password Storage Cheat
//! Sheet", on peppering).

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::hmac;

use crate::decimal;

/// The least a pepper may have after trailing white space is trimmed, in bytes.
///
/// As long as the digest: RFC 2104, section 3, discourages keys shorter than that.
pub const MIN_PEPPER_LEN: usize = DIGEST_LEN;

/// A longer pepper adds no strength; it is rather the wrong file.
const MAX_PEPPER_LEN: usize = 4096;
const DIGEST_LEN: usize = 32;
const SCHEME: &str = "hmac-sha256:";

/// The secret under which API keys are digested, with its version.
///
/// Holds the keyed state of HMAC and not the bytes given; that state is wiped when dropped. It
/// cannot be printed: `Debug` shows the version alone.
pub struct Pepper {
    version: u32,
    key: hmac::Key,
}

impl Pepper {
    /// Takes the pepper numbered `version` (1 or more) from the content of a secret file or
    /// variable. White space at the end, which such files have, is trimmed: a pepper of raw random
    /// bytes is better written in hexadecimal or base64.
    ///
    /// Wiping `secret` afterwards is the caller's.
    ///
    /// # Errors
    ///
    /// [`PepperFormat`], where the version is 0 or the length is not 32 to 4096 bytes.
    pub fn new(version: u32, secret: &[u8]) -> Result<Self, PepperFormat> {
        let secret = secret.trim_ascii_end();
        if version == 0 {
            return Err(PepperFormat::Version);
        }
        if !(MIN_PEPPER_LEN..=MAX_PEPPER_LEN).contains(&secret.len()) {
            return Err(PepperFormat::Length { found: secret.len() });
        }
        Ok(Self { version, key: hmac::Key::new(hmac::HMAC_SHA256, secret) })
    }

    /// The version that this pepper's digests carry.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Digests `key`, the whole text of an API key: HMAC-SHA-256 (RFC 2104).
    #[must_use]
    pub fn digest(&self, key: &[u8]) -> KeyDigest {
        let tag = hmac::sign(&self.key, key);
        let mut bytes = [0; DIGEST_LEN];
        bytes.copy_from_slice(tag.as_ref());
        KeyDigest { version: self.version, bytes }
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pepper(version {}, concealed)", self.version)
    }
}

/// Why bytes cannot be a pepper. Repeats nothing of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PepperFormat {
    /// Version 0 was asked for.
    #[error("expected the pepper's version to be 1 or more, found 0")]
    Version,
    /// Too short to be a secret, or too long to be meant as one.
    #[error(
        "expected a pepper of {MIN_PEPPER_LEN} to {MAX_PEPPER_LEN} random bytes, \
         found {found} without trailing white space"
    )]
    Length {
        /// The length found without trailing white space, in bytes.
        found: usize,
    },
}

/// What is stored of an API key, written `hmac-sha256:<pepper version>:<64 hexadecimal digits>`.
///
/// A digest is not a secret: no key can be computed from it, nor can it be shown in a key's place.
/// Hence `Debug`, `Display` and `==` as for any value, and looking one up in a hash map is safe
/// although the map's comparison stops at the first difference. Timing such a comparison tells at
/// most how much of a digest of the guessed key agrees with a stored one; but without the pepper
/// nobody can choose guesses by their digest, so what was learnt helps no further guess: the
/// reasoning of "double HMAC verification". That ends where the pepper is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyDigest {
    version: u32,
    bytes: [u8; DIGEST_LEN],
}

impl KeyDigest {
    /// The version of the pepper that made it; 1 or more.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The 32 bytes of the HMAC.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }
}

impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}:", self.version)?;
        self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyDigest({self})")
    }
}

impl FromStr for KeyDigest {
    type Err = DigestFormat;

    /// Reads the one text form that `Display` writes: lower case, no leading zeros, no white space.
    fn from_str(text: &str) -> Result<Self, DigestFormat> {
        let rest = text.strip_prefix(SCHEME).ok_or(DigestFormat::Scheme)?;
        let (version, digits) = rest.split_once(':').ok_or(DigestFormat::Version)?;
        let version =
            decimal::parse(version).filter(|version| *version > 0).ok_or(DigestFormat::Version)?;
        let bytes = decode_hexadecimal(digits).ok_or(DigestFormat::Digits)?;
        Ok(Self { version, bytes })
    }
}

/// Why a text is not a key digest. Repeats nothing of it: it might be a key in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DigestFormat {
    /// It does not begin with `hmac-sha256:`.
    #[error("expected a key digest of the form `hmac-sha256:<version>:<64 hexadecimal digits>`")]
    Scheme,
    /// The pepper's version is no number from 1 to 4294967295 in plain decimal.
    #[error("expected the pepper's version, 1 or more, between the colons of the key digest")]
    Version,
    /// The digest is not 64 lower-case hexadecimal digits.
    #[error("expected 64 lower-case hexadecimal digits at the end of the key digest")]
    Digits,
}

fn decode_hexadecimal(digits: &str) -> Option<[u8; DIGEST_LEN]> {
    if digits.len() != 2 * DIGEST_LEN {
        return None;
    }
    let mut bytes = [0; DIGEST_LEN];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = (nibble(*high)? << 4) | nibble(*low)?;
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::ApiKey;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    fn pepper() -> Pepper {
        Pepper::new(1, SECRET).expect("pepper")
    }

    #[test]
    fn digests_are_hmac_sha_256() {
        // RFC 4231, cases 6 and 7; the keys of its other cases are shorter than a pepper may be.
        let rfc = Pepper::new(1, &[0xaa; 131]).expect("pepper");
        let mine = pepper();
        let cases: [(&Pepper, &[u8], &str); 4] = [
            (
                &rfc,
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (
                &rfc,
                b"This is a test using a larger than block-size key and a larger than block-size \
                  data. The key needs to be hashed before being used by the HMAC algorithm.",
                "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            ),
            // Made with Python's hmac module.
            (
                &mine,
                b"dml_live_0123456789ABCDEFGHIJabcdefghij_0N9gBf",
                "b83d4b0962cce965c961906d8ff4a6dd9a1ccdcfdb450f8154ce84b8b90eb193",
            ),
            (
                &mine,
                b"dml_a_k7Qm2XvT9pLcR4wZ8nBfY1sHdJ6gEu_3O8qR0",
                "74724e7980cb23be2269a0fba424d27531799344674cbd61f2b10f6d786ca30f",
            ),
        ];
        for (pepper, message, expected) in cases {
            assert_eq!(pepper.digest(message).to_string(), format!("hmac-sha256:1:{expected}"));
        }
    }

    #[test]
    fn a_key_is_found_by_its_digest() {
        let key = ApiKey::generate("live").expect("key");
        let stored: KeyDigest = key.digest(&pepper()).to_string().parse().expect("digest");
        let consumers = HashMap::from([(stored, "acme")]);
        let shown = ApiKey::parse(key.reveal()).expect("key");
        assert_eq!(consumers.get(&shown.digest(&pepper())), Some(&"acme"));
        let other = ApiKey::generate("live").expect("key");
        assert_eq!(consumers.get(&other.digest(&pepper())), None);
    }

    #[test]
    fn another_pepper_or_version_gives_another_digest() {
        let digest = pepper().digest(b"key");
        let other = Pepper::new(1, b"another secret of thirty-two bytes").expect("pepper");
        assert_ne!(other.digest(b"key").bytes(), digest.bytes());
        let rotated = Pepper::new(2, SECRET).expect("pepper").digest(b"key");
        assert_eq!((rotated.bytes(), rotated.version()), (digest.bytes(), 2));
        assert_ne!(rotated, digest);
    }

    #[test]
    fn white_space_that_files_end_with_is_no_part_of_the_pepper() {
        for end in ["\n", "\r\n", " \t\n\n"] {
            let secret = [SECRET, end.as_bytes()].concat();
            let read = Pepper::new(1, &secret).expect("pepper");
            assert_eq!(read.digest(b"key"), pepper().digest(b"key"));
        }
        let led = Pepper::new(1, &[b" ", SECRET].concat()).expect("pepper");
        assert_ne!(led.digest(b"key"), pepper().digest(b"key"));
    }

    #[test]
    fn a_pepper_too_short_too_long_or_without_version_is_refused() {
        let refusal = |version, secret: &[u8]| Pepper::new(version, secret).expect_err("refused");
        assert_eq!(refusal(1, b""), PepperFormat::Length { found: 0 });
        assert_eq!(refusal(1, &[b'\n'; 64]), PepperFormat::Length { found: 0 });
        assert_eq!(refusal(1, &[b'x'; 31]), PepperFormat::Length { found: 31 });
        assert_eq!(
            refusal(1, &[&[b'x'; 31][..], b"\n"].concat()),
            PepperFormat::Length { found: 31 }
        );
        assert_eq!(refusal(1, &[b'x'; 4097]), PepperFormat::Length { found: 4097 });
        assert_eq!(refusal(0, SECRET), PepperFormat::Version);
        assert_eq!(
            refusal(1, b"hunter2\n").to_string(),
            "expected a pepper of 32 to 4096 random bytes, found 7 without trailing white space"
        );
    }

    #[test]
    fn a_digest_has_one_text_form() {
        let hex = "00ff".repeat(16);
        let read = |text: &str| text.parse::<KeyDigest>();
        let text = format!("hmac-sha256:4294967295:{hex}");
        let digest = read(&text).expect("digest");
        assert_eq!((digest.version(), digest.to_string()), (u32::MAX, text));
        for scheme in ["", "hmac-sha256", "HMAC-SHA256:1:", "hmac-sha512:1:", " hmac-sha256:1:"] {
            assert_eq!(read(&format!("{scheme}{hex}")), Err(DigestFormat::Scheme), "{scheme:?}");
        }
        for version in ["", "0", "01", "+1", "-1", " 1", "4294967296", "x"] {
            let text = format!("hmac-sha256:{version}:{hex}");
            assert_eq!(read(&text), Err(DigestFormat::Version), "{version:?}");
        }
        for digits in [
            "",
            &"0".repeat(63),
            &"0".repeat(65),
            &"FF".repeat(32),
            &"0g".repeat(32),
            &"é".repeat(32),
        ] {
            let text = format!("hmac-sha256:1:{digits}");
            assert_eq!(read(&text), Err(DigestFormat::Digits), "{digits:?}");
        }
        assert_eq!(read(&format!("hmac-sha256:1:{hex}\n")), Err(DigestFormat::Digits));
    }

    #[test]
    fn the_pepper_is_not_shown() {
        assert_eq!(format!("{:?}", pepper()), "Pepper(version 1, concealed)");
    }

    #[test]
    fn a_key_written_where_its_digest_belongs_is_not_repeated() {
        let key = "dml_live_0123456789ABCDEFGHIJabcdefghij_0N9gBf";
        for text in [key.to_owned(), format!("hmac-sha256:1:{key}"), format!("hmac-sha256:{key}")] {
            let refused = text.parse::<KeyDigest>().expect_err("refused");
            assert!(!format!("{refused} {refused:?}").contains("ABCDEF"));
        }
    }
}
