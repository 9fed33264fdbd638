//! API keys: `dml_<env>_<30 base62>_<6 base62>`.
//!
//! The shape follows GitHub's tokens ("Behind GitHub's new authentication token formats", 2021): a
//! fixed prefix lets secret scanners find a leaked key, the environment tells a person which one it
//! is, and the checksum refuses typing errors and guesses before anything is looked up. The secret
//! part carries 30 × log2(62) ≈ 178 bits, so a key needs no slow hash: a keyed digest
//! ([`KeyDigest`]) is what gets stored.

use std::fmt;

use zeroize::Zeroizing;

use crate::key_digest::{KeyDigest, Pepper};

const PREFIX: &str = "dml_";
const MAX_ENV_LEN: usize = 16;
const SECRET_LEN: usize = 30;
const CHECKSUM_LEN: usize = 6;
const MIN_LEN: usize = PREFIX.len() + 1 + 1 + SECRET_LEN + 1 + CHECKSUM_LEN;
const MAX_LEN: usize = MIN_LEN - 1 + MAX_ENV_LEN;

/// An API key in clear: held while it is made or checked, never stored.
///
/// Its memory is wiped when dropped, `Debug` shows `dml_<env>_…` alone, and there is neither
/// `Display` nor `==`: keys are compared by their [`KeyDigest`].
pub struct ApiKey {
    text: Zeroizing<String>,
}

impl ApiKey {
    /// Makes a new key for the environment `env` (1 to 16 of `a-z0-9`, such as `live` or `test`).
    ///
    /// Every character of the secret part is drawn uniformly from the operating system's
    /// randomness.
    ///
    /// # Errors
    ///
    /// [`KeyCreation`], where `env` is none or no randomness could be had.
    pub fn generate(env: &str) -> Result<Self, KeyCreation> {
        if !is_env(env) {
            return Err(KeyCreation::Environment);
        }
        // Never grows past this capacity, so no copy of the secret is left behind in freed memory.
        let mut text = Zeroizing::new(String::with_capacity(MAX_LEN));
        text.push_str(PREFIX);
        text.push_str(env);
        text.push('_');
        push_secret(&mut text, getrandom::fill).map_err(KeyCreation::Randomness)?;
        let checksum = checksum(text.as_bytes());
        text.push('_');
        text.extend(checksum.map(char::from));
        Ok(Self { text })
    }

    /// Reads a key as a client sent it. Any bytes of any length are safe to pass; no more than the
    /// longest key's are looked at.
    ///
    /// Strict: prefix, environment, exact lengths, alphabet and checksum must all be right, and
    /// nothing is trimmed. A success says only that the key is well formed: whose it is, if
    /// anybody's, its digest tells.
    ///
    /// # Errors
    ///
    /// [`KeyFormat`], naming the first part that is wrong.
    pub fn parse(text: impl AsRef<[u8]>) -> Result<Self, KeyFormat> {
        let bytes = text.as_ref();
        if !bytes.starts_with(PREFIX.as_bytes()) {
            return Err(KeyFormat::Prefix);
        }
        if !(MIN_LEN..=MAX_LEN).contains(&bytes.len()) {
            return Err(KeyFormat::Length { found: bytes.len() });
        }
        let text = str::from_utf8(bytes).map_err(|_| KeyFormat::Alphabet)?;
        let (signed, check) = text.rsplit_once('_').ok_or(KeyFormat::Parts)?;
        let (env, secret) = signed
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('_'))
            .ok_or(KeyFormat::Parts)?;
        if !is_env(env) {
            return Err(KeyFormat::Environment);
        }
        if secret.len() != SECRET_LEN || check.len() != CHECKSUM_LEN {
            return Err(KeyFormat::Parts);
        }
        if !is_base62(secret) || !is_base62(check) {
            return Err(KeyFormat::Alphabet);
        }
        // Both sides are computed from what the client sent: there is no secret here to time.
        if checksum(signed.as_bytes()) != check.as_bytes() {
            return Err(KeyFormat::Checksum);
        }
        Ok(Self { text: Zeroizing::new(text.to_owned()) })
    }

    /// The environment the key was made for, such as `live`. Not secret.
    #[must_use]
    pub fn env(&self) -> &str {
        self.text.split('_').nth(1).unwrap_or_default()
    }

    /// The whole key in clear: to print it once, to the one who asked for it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The digest by which this key is stored and looked up.
    #[must_use]
    pub fn digest(&self, pepper: &Pepper) -> KeyDigest {
        pepper.digest(self.text.as_bytes())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}_…", self.env())
    }
}

/// Why bytes are not an API key. Repeats nothing of what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFormat {
    /// It does not begin with `dml_`: another system's token, perhaps.
    #[error("expected an API key that begins with `dml_`")]
    Prefix,
    /// Too short or too long for any key.
    #[error("expected an API key of {MIN_LEN} to {MAX_LEN} bytes, found {found}")]
    Length {
        /// The length found, in bytes.
        found: usize,
    },
    /// The parts between the underscores are not four, or not of the right length.
    #[error("expected an API key of the form `dml_<env>_<30 characters>_<6 characters>`")]
    Parts,
    /// The environment is not 1 to 16 of `a-z0-9`.
    #[error("expected the API key's environment to be 1 to 16 of a-z and 0-9")]
    Environment,
    /// A character outside `0-9A-Za-z`.
    #[error("expected the API key to have only 0-9, A-Z and a-z between its underscores")]
    Alphabet,
    /// The checksum does not belong to the rest: mistyped, cut and pasted wrongly, or guessed.
    #[error("the API key's checksum is wrong: mistyped or made up")]
    Checksum,
}

/// Why no API key was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyCreation {
    /// The environment asked for is not 1 to 16 of `a-z0-9`.
    #[error("expected an environment of 1 to 16 of a-z and 0-9, such as `live`")]
    Environment,
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness: {0}")]
    Randomness(getrandom::Error),
}

fn is_env(env: &str) -> bool {
    (1..=MAX_ENV_LEN).contains(&env.len())
        && env.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

fn is_base62(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Appends `SECRET_LEN` uniform base62 characters, drawn from what `fill` puts into a buffer.
fn push_secret<E>(
    text: &mut String,
    mut fill: impl FnMut(&mut [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut missing = SECRET_LEN;
    // A little more than one secret, so that a second draw is rare: 8 of 256 bytes are rejected.
    let mut bytes = Zeroizing::new([0_u8; SECRET_LEN + 6]);
    while missing > 0 {
        fill(bytes.as_mut_slice())?;
        for symbol in bytes.iter().copied().filter_map(uniform_symbol).take(missing) {
            text.push(char::from(symbol));
            missing = missing.saturating_sub(1);
        }
    }
    Ok(())
}

/// Maps a uniform byte to a uniform symbol, or to none: the 8 bytes above 4 × 62 would make the
/// first 8 symbols more likely than the others.
fn uniform_symbol(byte: u8) -> Option<u8> {
    (byte < 248).then(|| symbol(byte % 62))
}

/// The base62 symbol of a value below 62, in the order of ASCII: `0-9A-Za-z`.
fn symbol(value: u8) -> u8 {
    match value {
        0..10 => b'0' + value,
        10..36 => b'A' + (value - 10),
        _ => b'a' + (value - 36) % 26,
    }
}

/// CRC-32 of `signed` in base62, padded on the left: 62⁶ > 2³² > 62⁵, so six symbols hold it.
fn checksum(signed: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut rest = crc32(signed);
    let mut symbols = [0_u8; CHECKSUM_LEN];
    for place in symbols.iter_mut().rev() {
        *place = symbol((rest % 62) as u8);
        rest /= 62;
    }
    symbols
}

/// CRC-32 as in Ethernet and gzip (RFC 1952, section 8), bit by bit: a key is short.
fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let low_bit_set = crc & 1 == 1;
            crc >>= 1;
            if low_bit_set {
                crc ^= 0xEDB8_8320;
            }
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::convert::Infallible;

    use super::*;

    // Made with zlib's crc32, independently of the code above.
    const KEYS: [(&str, &str); 5] = [
        ("live", "dml_live_0123456789ABCDEFGHIJabcdefghij_0N9gBf"),
        ("test", "dml_test_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz_492xs3"),
        ("a", "dml_a_k7Qm2XvT9pLcR4wZ8nBfY1sHdJ6gEu_3O8qR0"),
        ("prod0eu1staging9", "dml_prod0eu1staging9_000000000000000000000000000000_2jo7yX"),
        ("live", "dml_live_000000000000000000000000000356_00Ln2E"),
    ];

    fn refusal(text: impl AsRef<[u8]>) -> KeyFormat {
        ApiKey::parse(text).expect_err("this must not be a key")
    }

    #[test]
    fn keys_made_elsewhere_are_read() {
        for (env, text) in KEYS {
            let key = ApiKey::parse(text).expect(text);
            assert_eq!((key.env(), key.reveal()), (env, text));
            assert!(ApiKey::parse(text.as_bytes()).is_ok());
        }
    }

    #[test]
    fn crc32_gives_the_check_value_of_its_catalogue() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn a_generated_key_reads_back_and_is_like_no_other() {
        let mut seen = BTreeSet::new();
        for _ in 0..500 {
            let key = ApiKey::generate("test").expect("randomness");
            assert_eq!(ApiKey::parse(key.reveal()).expect("own key").env(), "test");
            assert!(seen.insert(key.reveal().to_owned()), "the same key twice");
        }
    }

    #[test]
    fn an_environment_is_one_to_sixteen_of_lower_case_and_digits() {
        for env in ["a", "0", "live", "prod0eu1staging9"] {
            assert!(ApiKey::generate(env).is_ok(), "{env}");
        }
        for env in ["", "Live", "li_ve", "li ve", "lïve", "live\n", "12345678901234567"] {
            assert_eq!(ApiKey::generate(env).err(), Some(KeyCreation::Environment), "{env:?}");
        }
    }

    #[test]
    fn every_symbol_is_equally_likely() {
        let mut count = BTreeMap::new();
        for symbol in (0..=u8::MAX).filter_map(uniform_symbol) {
            *count.entry(symbol).or_insert(0) += 1;
        }
        assert_eq!(count.len(), 62);
        assert!(count.iter().all(|(symbol, n)| symbol.is_ascii_alphanumeric() && *n == 4));
    }

    #[test]
    fn rejected_bytes_are_drawn_again() {
        let mut draws = 0;
        let mut text = String::new();
        let fill = |bytes: &mut [u8]| {
            draws += 1;
            bytes.fill(if draws < 3 { 255 } else { 61 });
            Ok::<(), Infallible>(())
        };
        assert_eq!(push_secret(&mut text, fill), Ok(()));
        assert_eq!((draws, text), (3, "z".repeat(SECRET_LEN)));
    }

    #[test]
    fn generated_secrets_use_the_alphabet_evenly() {
        let mut count = BTreeMap::<char, f64>::new();
        for _ in 0..2000 {
            let key = ApiKey::generate("x").expect("randomness");
            for symbol in key.reveal().split('_').nth(2).expect("secret").chars() {
                *count.entry(symbol).or_default() += 1.0;
            }
        }
        // Chi-squared over 62 symbols (61 degrees of freedom): above 170 about once in 10¹¹ runs.
        let expected = 2000.0 * 30.0 / 62.0;
        let chi_squared: f64 = count.values().map(|n| (n - expected).powi(2) / expected).sum();
        assert_eq!(count.len(), 62);
        assert!(chi_squared < 170.0, "{chi_squared}");
    }

    #[test]
    fn any_one_byte_changed_cut_or_added_is_refused() {
        let text = KEYS[0].1;
        for at in 0..text.len() {
            for byte in 0..=u8::MAX {
                let mut changed = text.as_bytes().to_vec();
                if changed[at] != byte {
                    changed[at] = byte;
                    refusal(&changed);
                }
                let mut longer = text.as_bytes().to_vec();
                longer.insert(at, byte);
                refusal(&longer);
            }
            let mut shorter = text.as_bytes().to_vec();
            shorter.remove(at);
            refusal(&shorter);
        }
    }

    #[test]
    fn two_neighbours_exchanged_are_refused() {
        let text = KEYS[0].1.as_bytes();
        for at in 1..text.len() {
            let mut exchanged = text.to_vec();
            exchanged.swap(at - 1, at);
            refusal(&exchanged);
        }
    }

    #[test]
    fn a_refusal_names_the_part_that_is_wrong() {
        let secret = "0123456789ABCDEFGHIJabcdefghij";
        assert_eq!(refusal(""), KeyFormat::Prefix);
        assert_eq!(refusal(format!("DML_live_{secret}_0N9gBf")), KeyFormat::Prefix);
        assert_eq!(refusal(format!(" dml_live_{secret}_0N9gBf")), KeyFormat::Prefix);
        assert_eq!(refusal("dml_"), KeyFormat::Length { found: 4 });
        assert_eq!(refusal(format!("dml_live{secret}x0N9gBf")), KeyFormat::Parts);
        assert_eq!(refusal(format!("dml_live_{secret}0N9gBf")), KeyFormat::Parts);
        assert_eq!(refusal(format!("dml_live_{secret}0_N9gBf")), KeyFormat::Parts);
        assert_eq!(refusal(format!("dml__live{secret}_0N9gBf")), KeyFormat::Environment);
        assert_eq!(refusal(format!("dml_Live_{secret}_0N9gBf")), KeyFormat::Environment);
        assert_eq!(refusal("dml_live_0123456789ABCDEFGHIJ-bcdefghij_0N9gBf"), KeyFormat::Alphabet);
        assert_eq!(refusal(format!("dml_live_{secret}_0N9gBg")), KeyFormat::Checksum);
    }

    #[test]
    fn hostile_bytes_are_refused_without_harm() {
        let huge = [b"dml_live_".to_vec(), vec![b'0'; 8 << 20]].concat();
        assert_eq!(refusal(&huge), KeyFormat::Length { found: huge.len() });
        assert_eq!(refusal(vec![0xff; 1 << 20]), KeyFormat::Prefix);
        for length in 0..80 {
            for byte in [0, b'_', b'0', b' ', 0x80, 0xff] {
                refusal([b"dml_".to_vec(), vec![byte; length]].concat());
            }
        }
        refusal("dml_live_ééééééééééééééé_0N9gBf");
        refusal(format!("{}\n", KEYS[0].1));
        refusal(format!("{}\0", KEYS[0].1));
    }

    #[test]
    fn nothing_secret_is_shown() {
        let text = KEYS[0].1;
        assert_eq!(format!("{:?}", ApiKey::parse(text).expect("key")), "dml_live_…");
        let refused = refusal(text.replace("ABC", "XYZ"));
        assert!(!format!("{refused} {refused:?}").contains("XYZ"));
    }
}
