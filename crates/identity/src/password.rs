//! Password hashes: argon2id (RFC 9106) in PHC strings,
//! `$argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>`.
//!
//! Parameters are bounded on both sides. Below OWASP's minimum ("Password Storage Cheat Sheet":
//! m=19456 KiB, t=2, p=1) a stolen hash is guessed too fast; above the maximum each attempt to log
//! in would burn the gateway's own memory and time.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::LazyLock;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroizing;

use crate::constant_time::constant_time_eq;
use crate::decimal;
use crate::new_password::{PasswordCreation, check_new_password};

/// The longest password admitted, in bytes. What is longer is refused without hashing.
pub const MAX_PASSWORD_LEN: usize = 1024;

/// Memory in KiB: OWASP's minimum up to 256 MiB.
const MEMORY_KIB: RangeInclusive<u32> = 19_456..=262_144;
/// Passes over that memory.
const PASSES: RangeInclusive<u32> = 2..=10;
/// Lanes. We compute them one after the other: more of them do not make it faster.
const LANES: RangeInclusive<u32> = 1..=4;
/// RFC 9106, section 4: 16 bytes are enough for every use, 8 are admitted where space is short.
const SALT_LEN: RangeInclusive<usize> = 8..=64;
const OUTPUT_LEN: RangeInclusive<usize> = 16..=64;

const NEW_SALT_LEN: usize = 16;
const NEW_OUTPUT_LEN: usize = 32;
/// More than the longest text within the bounds above (206 bytes).
const MAX_TEXT_LEN: usize = 256;

/// What an attempt costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// What new hashes cost: OWASP's minimum.
const NEW_COST: Cost = Cost { memory_kib: 19_456, passes: 2, lanes: 1 };

impl Cost {
    fn parse(text: &str) -> Result<Self, HashFormat> {
        // In this order, as the reference implementation writes and demands it.
        let (memory, passes, lanes) = text
            .strip_prefix("m=")
            .and_then(|rest| rest.split_once(",t="))
            .and_then(|(memory, rest)| Some((memory, rest.split_once(",p=")?)))
            .map(|(memory, (passes, lanes))| (memory, passes, lanes))
            .ok_or(HashFormat::Parameters)?;
        let read = |text| decimal::parse(text).ok_or(HashFormat::Parameters);
        let (memory_kib, passes, lanes) = (read(memory)?, read(passes)?, read(lanes)?);
        if !MEMORY_KIB.contains(&memory_kib) {
            return Err(HashFormat::Memory { found: memory_kib });
        }
        if !PASSES.contains(&passes) {
            return Err(HashFormat::Passes { found: passes });
        }
        if !LANES.contains(&lanes) {
            return Err(HashFormat::Lanes { found: lanes });
        }
        Ok(Self { memory_kib, passes, lanes })
    }

    fn work(self) -> u64 {
        u64::from(self.memory_kib) * u64::from(self.passes)
    }

    fn hash(self, password: &[u8], salt: &[u8], output: &mut [u8]) -> argon2::Result<()> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(output.len()))?;
        let argon2id = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        argon2id.hash_password_into(password, salt, output)
    }
}

/// The hash of a password, read and found sound: only such can be verified against.
///
/// Verifying takes tens of milliseconds and, for its time, the memory that the hash asks for (19 to
/// 256 MiB): run it on a bounded pool, never on a thread that serves connections. `Debug` shows the
/// parameters alone.
#[derive(Clone)]
pub struct PasswordHash {
    cost: Cost,
    salt: Vec<u8>,
    output: Zeroizing<Vec<u8>>,
}

impl PasswordHash {
    /// Hashes a new password with a fresh salt and gives the PHC string to store.
    ///
    /// The password is hashed as its UTF-8 bytes, without Unicode normalisation.
    ///
    /// # Errors
    ///
    /// [`PasswordCreation`], where the password is too short (below 12 characters), too long (above
    /// 1024 bytes), has control characters or is one that attackers try first; or where the machine
    /// gave no randomness or memory.
    pub fn create(password: &str) -> Result<String, PasswordCreation> {
        check_new_password(password)?;
        let mut salt = [0; NEW_SALT_LEN];
        getrandom::fill(&mut salt).map_err(PasswordCreation::Randomness)?;
        let mut output = Zeroizing::new([0; NEW_OUTPUT_LEN]);
        NEW_COST
            .hash(password.as_bytes(), &salt, output.as_mut_slice())
            .map_err(|_| PasswordCreation::Hashing)?;
        let Cost { memory_kib, passes, lanes } = NEW_COST;
        Ok(format!(
            "$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${}${}",
            STANDARD_NO_PAD.encode(salt),
            STANDARD_NO_PAD.encode(output.as_slice()),
        ))
    }

    /// Tells whether `password` is the one that was hashed.
    ///
    /// The result is compared in constant time. A password above 1024 bytes is none, without any
    /// work: its length is known to who sent it, so nothing is learnt from the quick answer.
    #[must_use]
    pub fn verify(&self, password: &[u8]) -> bool {
        if password.len() > MAX_PASSWORD_LEN {
            return false;
        }
        let mut output = Zeroizing::new(vec![0; self.output.len()]);
        self.cost.hash(password, &self.salt, &mut output).is_ok()
            && constant_time_eq(&output, &self.output)
    }

    /// A hash that no known password matches, with the parameters of [`create`](Self::create).
    ///
    /// Verify against it when the user is unknown, so that the time of the answer does not tell who
    /// exists (CWE-208). Its output is all zeros: a password for it would be a preimage.
    #[must_use]
    pub fn dummy() -> &'static Self {
        static DUMMY: LazyLock<PasswordHash> =
            LazyLock::new(|| PasswordHash::unmatched(NEW_COST, NEW_SALT_LEN, NEW_OUTPUT_LEN));
        &DUMMY
    }

    /// As [`dummy`](Self::dummy), with the parameters of the costliest of `hashes`, if any.
    ///
    /// For a directory whose hashes were made elsewhere. Where their parameters differ among
    /// themselves, the time of the answer still tells the cheaper ones from unknown users.
    #[must_use]
    pub fn dummy_for<'a>(hashes: impl IntoIterator<Item = &'a Self>) -> Self {
        hashes.into_iter().max_by_key(|hash| hash.cost.work()).map_or_else(
            || Self::dummy().clone(),
            |hash| Self::unmatched(hash.cost, hash.salt.len(), hash.output.len()),
        )
    }

    fn unmatched(cost: Cost, salt_len: usize, output_len: usize) -> Self {
        Self { cost, salt: vec![0; salt_len], output: Zeroizing::new(vec![0; output_len]) }
    }
}

impl FromStr for PasswordHash {
    type Err = HashFormat;

    /// Reads a PHC string, in the one form that the reference implementation writes: parameters in
    /// the order `m,t,p`, without `keyid` or `data`, base64 without padding.
    fn from_str(text: &str) -> Result<Self, HashFormat> {
        let rest = text.strip_prefix("$argon2id$").ok_or_else(|| other_scheme(text))?;
        if text.len() > MAX_TEXT_LEN {
            return Err(HashFormat::Parts);
        }
        let rest = rest.strip_prefix("v=19$").ok_or(HashFormat::Version)?;
        let (cost, rest) = rest.split_once('$').ok_or(HashFormat::Parts)?;
        let (salt, output) = rest.split_once('$').ok_or(HashFormat::Parts)?;
        let cost = Cost::parse(cost)?;
        let salt = STANDARD_NO_PAD.decode(salt).map_err(|_| HashFormat::Base64)?;
        let output = STANDARD_NO_PAD.decode(output).map_err(|_| HashFormat::Base64)?;
        if !SALT_LEN.contains(&salt.len()) {
            return Err(HashFormat::Salt { found: salt.len() });
        }
        if !OUTPUT_LEN.contains(&output.len()) {
            return Err(HashFormat::Output { found: output.len() });
        }
        Ok(Self { cost, salt, output: Zeroizing::new(output) })
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cost { memory_kib, passes, lanes } = self.cost;
        write!(f, "PasswordHash(argon2id m={memory_kib},t={passes},p={lanes}, concealed)")
    }
}

/// Why a text is not a password hash that we verify against. Repeats nothing of it but the
/// parameters' numbers: it might be a password in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashFormat {
    /// A bcrypt hash (`$2a$`, `$2b$`, `$2x$`, `$2y$`).
    #[error("expected an argon2id hash, `$argon2id$v=19$…`, found a bcrypt hash: hash anew")]
    Bcrypt,
    /// An argon2i or argon2d hash.
    #[error("expected an argon2id hash, `$argon2id$v=19$…`, found another kind of argon2")]
    OtherArgon2,
    /// A hash by some other scheme (`$6$`, `{SSHA}` …).
    #[error("expected an argon2id hash, `$argon2id$v=19$…`, found a hash by another scheme")]
    OtherScheme,
    /// No hash at all: a password in clear, perhaps.
    #[error("expected an argon2id hash, `$argon2id$v=19$…`, found none: no passwords in clear")]
    NoHash,
    /// Not version 19 (0x13) of argon2.
    #[error("expected `v=19` after `$argon2id$`")]
    Version,
    /// Parts are missing, or the whole is too long.
    #[error("expected `$argon2id$v=19$m=…,t=…,p=…$<salt>$<hash>` of at most {MAX_TEXT_LEN} bytes")]
    Parts,
    /// The parameters are not written `m=…,t=…,p=…`.
    #[error("expected the parameters `m=…,t=…,p=…`, in this order, in plain numbers, and no more")]
    Parameters,
    /// Memory outside of the bounds.
    #[error(
        "expected a memory cost m of {} to {} KiB, found {found}",
        MEMORY_KIB.start(), MEMORY_KIB.end()
    )]
    Memory {
        /// The memory found, in KiB.
        found: u32,
    },
    /// Number of passes outside of the bounds.
    #[error("expected a time cost t of {} to {}, found {found}", PASSES.start(), PASSES.end())]
    Passes {
        /// The number of passes found.
        found: u32,
    },
    /// Number of lanes outside of the bounds.
    #[error("expected a parallelism p of {} to {}, found {found}", LANES.start(), LANES.end())]
    Lanes {
        /// The number of lanes found.
        found: u32,
    },
    /// Salt or hash is not base64 without padding.
    #[error("expected salt and hash in canonical base64 without padding")]
    Base64,
    /// Salt too short or too long.
    #[error("expected a salt of {} to {} bytes, found {found}", SALT_LEN.start(), SALT_LEN.end())]
    Salt {
        /// The salt's length found, in bytes.
        found: usize,
    },
    /// Hash too short or too long.
    #[error(
        "expected a hash of {} to {} bytes, found {found}",
        OUTPUT_LEN.start(), OUTPUT_LEN.end()
    )]
    Output {
        /// The hash's length found, in bytes.
        found: usize,
    },
}

/// Names what stands where an argon2id hash should.
fn other_scheme(text: &str) -> HashFormat {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| text.starts_with(prefix));
    if starts(&["$2$", "$2a$", "$2b$", "$2x$", "$2y$"]) {
        HashFormat::Bcrypt
    } else if starts(&["$argon2"]) {
        HashFormat::OtherArgon2
    } else if starts(&["$", "{"]) {
        HashFormat::OtherScheme
    } else {
        HashFormat::NoHash
    }
}

#[cfg(test)]
mod tests {
    use argon2::PasswordVerifier as _;

    use super::*;

    const SALT: &str = "AAECAwQFBgcICQoLDA0ODw";
    const OUTPUT: &str = "gYJZtjEAJqjg26xdLmknq8/bB7MiWPrE9hsYuA+SkIU";
    const PASSWORD: &str = "correct horse battery staple";

    // Made with the reference implementation in C; the first stands among its own test vectors.
    const VECTORS: [(&str, &str); 4] = [
        (
            "password",
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ\
             $CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        ),
        (
            PASSWORD,
            "$argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw\
             $gYJZtjEAJqjg26xdLmknq8/bB7MiWPrE9hsYuA+SkIU",
        ),
        (
            "pässwörd 🔑 lang genug",
            "$argon2id$v=19$m=20480,t=3,p=4$MDEyMzQ1Njc4OWFiY2RlZg$zdI6Uj+nBYFMdChmTdNclg",
        ),
        (
            "",
            "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg\
             $9y5Gf9AiaY5ZAWS1HmvXuavyNsfDeNKkbXHPMr1v85JrIEPFUbS1BXKasPA1vHbgV6Y5E+yFll5SvoC3Ryuv\
             eQ",
        ),
    ];

    fn parse(text: &str) -> PasswordHash {
        text.parse().expect("this must be a hash")
    }

    fn refusal(text: &str) -> HashFormat {
        text.parse::<PasswordHash>().expect_err("this must not be a hash")
    }

    #[test]
    fn hashes_of_the_reference_implementation_are_verified() {
        for (password, text) in VECTORS {
            let hash = parse(text);
            assert!(hash.verify(password.as_bytes()), "{password}");
            assert!(!hash.verify(format!("{password} ").as_bytes()), "{password}");
        }
    }

    #[test]
    fn a_created_hash_verifies_its_password_here_and_elsewhere() {
        let text = PasswordHash::create(PASSWORD).expect("hash");
        assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        let hash = parse(&text);
        assert!(hash.verify(PASSWORD.as_bytes()));
        assert!(!hash.verify(b"Correct horse battery staple"));
        assert_eq!((hash.salt.len(), hash.output.len()), (16, 32));
        let theirs = argon2::PasswordHash::new(&text).expect("a PHC string");
        assert!(Argon2::default().verify_password(PASSWORD.as_bytes(), &theirs).is_ok());
    }

    #[test]
    fn the_same_password_gets_another_salt() {
        let [one, other] = [(); 2].map(|()| PasswordHash::create(PASSWORD).expect("hash"));
        assert_ne!(parse(&one).salt, parse(&other).salt);
        assert_ne!(parse(&one).output, parse(&other).output);
    }

    #[test]
    fn a_weak_password_gets_no_hash() {
        assert_eq!(PasswordHash::create("short"), Err(PasswordCreation::TooShort { found: 5 }));
    }

    #[test]
    fn a_password_too_long_is_refused_without_work() {
        // A cost that cannot be computed: only a refusal before any hashing returns from this.
        let impossible = Cost { memory_kib: u32::MAX, passes: u32::MAX, lanes: 1 };
        let hash = PasswordHash::unmatched(impossible, 16, 32);
        assert!(!hash.verify(&[b'x'; MAX_PASSWORD_LEN + 1]));
        assert!(!hash.verify(&vec![b'x'; 8 << 20]));
    }

    #[test]
    fn the_dummy_costs_what_a_real_hash_costs_and_matches_nothing() {
        let dummy = PasswordHash::dummy();
        let real = parse(&PasswordHash::create(PASSWORD).expect("hash"));
        assert_eq!(dummy.cost, real.cost);
        assert_eq!(dummy.salt.len(), real.salt.len());
        assert_eq!(dummy.output.len(), real.output.len());
        assert!(![&b""[..], b"\0", PASSWORD.as_bytes()].iter().any(|guess| dummy.verify(guess)));
    }

    #[test]
    fn a_dummy_for_hashes_costs_what_the_costliest_costs() {
        let hashes = VECTORS.map(|(_, text)| parse(text));
        let dummy = PasswordHash::dummy_for(&hashes);
        assert_eq!(dummy.cost, Cost { memory_kib: 65_536, passes: 2, lanes: 1 });
        assert_eq!((dummy.salt.len(), dummy.output.len()), (8, 32));
        assert_eq!(PasswordHash::dummy_for([]).cost, NEW_COST);
    }

    #[test]
    fn what_is_no_argon2id_is_named_and_refused() {
        let bcrypt = "$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";
        for scheme in ["$2$", "$2a", "$2b", "$2x", "$2y"] {
            assert_eq!(refusal(&format!("{scheme}{bcrypt}")), HashFormat::Bcrypt, "{scheme}");
        }
        for kind in ["argon2i", "argon2d", "argon2", "argon2ID"] {
            let text = format!("${kind}$v=19$m=19456,t=2,p=1${SALT}${OUTPUT}");
            assert_eq!(refusal(&text), HashFormat::OtherArgon2, "{kind}");
        }
        for text in ["$1$salt$x", "$6$salt$x", "$scrypt$ln=17", "{SSHA}x", "$apr1$x", "$"] {
            assert_eq!(refusal(text), HashFormat::OtherScheme, "{text}");
        }
        for text in ["", "hunter2hunter2", " $argon2id$v=19$", "Aladdin:open sesame"] {
            assert_eq!(refusal(text), HashFormat::NoHash, "{text}");
        }
    }

    #[test]
    fn parameters_outside_of_the_bounds_are_refused() {
        let with = |cost: &str| format!("$argon2id$v=19${cost}${SALT}${OUTPUT}");
        for cost in ["m=19456,t=2,p=1", "m=262144,t=10,p=4"] {
            parse(&with(cost));
        }
        for found in [0, 8, 19_455, 262_145, u32::MAX] {
            let text = with(&format!("m={found},t=2,p=1"));
            assert_eq!(refusal(&text), HashFormat::Memory { found });
        }
        for found in [0, 1, 11, u32::MAX] {
            let text = with(&format!("m=19456,t={found},p=1"));
            assert_eq!(refusal(&text), HashFormat::Passes { found });
        }
        for found in [0, 5, u32::MAX] {
            let text = with(&format!("m=19456,t=2,p={found}"));
            assert_eq!(refusal(&text), HashFormat::Lanes { found });
        }
        for cost in [
            "",
            "m=19456",
            "m=19456,t=2",
            "t=2,m=19456,p=1",
            "m=19456,t=2,p=1,keyid=AAAA",
            "m=019456,t=2,p=1",
            "m=+19456,t=2,p=1",
            "m=4294967296,t=2,p=1",
            "m=19456,t=2,p=1 ",
            "m=19456,t=2,t=2,p=1",
            "m=,t=,p=",
            "m=-1,t=2,p=1",
            "M=19456,t=2,p=1",
        ] {
            assert_eq!(refusal(&with(cost)), HashFormat::Parameters, "{cost}");
        }
    }

    #[test]
    fn version_parts_salt_and_hash_are_checked() {
        let start = "$argon2id$v=19$m=19456,t=2,p=1";
        let old = format!("$argon2id$m=19456,t=2,p=1${SALT}${OUTPUT}");
        assert_eq!(refusal(&old), HashFormat::Version);
        assert_eq!(refusal(&old.replace("$m=", "$v=16$m=")), HashFormat::Version);
        for text in [start.to_owned(), format!("{start}${SALT}"), "$argon2id$v=19$".to_owned()] {
            assert_eq!(refusal(&text), HashFormat::Parts, "{text}");
        }
        assert_eq!(refusal(&format!("{start}${SALT}${}", "A".repeat(300))), HashFormat::Parts);
        for end in [
            format!("{SALT}==${OUTPUT}"),
            format!("{SALT}${OUTPUT}="),
            format!("{SALT}${OUTPUT}\n"),
            format!("{SALT}${OUTPUT}$"),
            format!("AAECAwQFBgcICQoLDA0ODx${OUTPUT}"),
            format!("sält${OUTPUT}"),
        ] {
            assert_eq!(refusal(&format!("{start}${end}")), HashFormat::Base64, "{end}");
        }
        let with = |salt: usize, output: usize| {
            let encode = |length| STANDARD_NO_PAD.encode(vec![7; length]);
            format!("{start}${}${}", encode(salt), encode(output))
        };
        parse(&with(8, 16));
        let longest = with(64, 64).replace("m=19456,t=2,p=1", "m=262144,t=10,p=4");
        assert_eq!(longest.len(), 206);
        parse(&longest);
        for found in [0, 7, 65] {
            assert_eq!(refusal(&with(found, 32)), HashFormat::Salt { found });
        }
        for found in [0, 15, 65] {
            assert_eq!(refusal(&with(16, found)), HashFormat::Output { found });
        }
    }

    #[test]
    fn hostile_text_is_refused_without_harm() {
        let whole = VECTORS[1].1;
        for shorter in (0..whole.len()).filter_map(|length| whole.get(..length)) {
            if let Ok(hash) = shorter.parse::<PasswordHash>() {
                let output = STANDARD_NO_PAD.encode(hash.output.as_slice());
                assert!(hash.output.len() >= 16 && shorter.ends_with(&output), "{shorter}");
            }
        }
        refusal(&"$".repeat(1 << 20));
        refusal(&format!("$argon2id$v=19${}", "m=".repeat(1 << 20)));
        refusal("$argon2id$v=19$m=1\0,t=2,p=1$é$é");
    }

    #[test]
    fn neither_hash_nor_refused_text_is_shown() {
        let shown = format!("{:?}", parse(VECTORS[1].1));
        assert_eq!(shown, "PasswordHash(argon2id m=19456,t=2,p=1, concealed)");
        for text in ["hunter2hunter2", "$2y$10$hunter2", "$argon2id$v=19$hunter2$x$y"] {
            let refused = refusal(text);
            assert!(!format!("{refused} {refused:?}").contains("hunter2"));
        }
    }
}
