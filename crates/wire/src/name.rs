//! Names of fields that are often seen, found without a comparison letter by letter and without
//! memory of their own.

use http::HeaderName;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, ACCEPT_RANGES, AGE, AUTHORIZATION, CACHE_CONTROL,
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, DATE, DNT, ETAG, EXPECT,
    EXPIRES, FORWARDED, HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, LOCATION, ORIGIN,
    PRAGMA, RANGE, REFERER, SERVER, SET_COOKIE, TE, TRANSFER_ENCODING, UPGRADE, USER_AGENT, VARY,
    VIA,
};

/// A field that means something to the codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    ContentLength,
    TransferEncoding,
    Connection,
    Expect,
    Upgrade,
    Http2Settings,
    /// None of these, but what some servers take for one of the framing ones.
    LookAlike,
    Other,
}

impl Kind {
    /// What a field means whose name is not [`known`].
    pub(crate) fn of_unknown(name: &[u8]) -> Self {
        if looks_alike(name) { Kind::LookAlike } else { Kind::Other }
    }
}

/// The known name that `bytes` are, in any case, and what its field means. The bytes must hold no
/// control byte: one of these differs from a hyphen or digit by the bit of lower case only.
#[inline]
pub(crate) fn known(bytes: &[u8]) -> Option<(&'static HeaderName, Kind)> {
    let key = Key::of(bytes)?;
    let place = usize::from(*SLOTS.get(key.slot())?);
    let (name, kind, found) = KNOWN.get(place)?;
    if *found == key { Some((name, *kind)) } else { None }
}

/// Whether a name that is not one of those that frame or route could be taken for one:
/// `content_length`, `Transfer.Encoding`, `host_`. True of those names themselves, too.
#[must_use]
pub fn looks_alike(name: &[u8]) -> bool {
    const TRUE: [&str; 3] = ["contentlength", "transferencoding", "host"];
    // Most names differ in their first or last letter.
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return false };
    let may_begin = matches!(first | 0x20, b'c' | b't' | b'h') || !first.is_ascii_alphanumeric();
    let may_end = matches!(last | 0x20, b'h' | b'g' | b't') || !last.is_ascii_alphanumeric();
    if !may_begin || !may_end {
        return false;
    }
    let letters = || name.iter().filter(|byte| byte.is_ascii_alphanumeric());
    TRUE.iter().any(|other| letters().map(u8::to_ascii_lowercase).eq(other.bytes()))
}

/// A name of 2 to 24 bytes as numbers, in lower case. Without control bytes, only a known name has
/// its key: what else the bit of lower case makes equal is in none of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    length: usize,
    first: u64,
    last: u64,
    middle: u64,
}

/// The bit that makes a letter one of lower case, in each byte.
const LOWER: u64 = 0x2020_2020_2020_2020;

impl Key {
    #[inline(always)]
    const fn of(name: &[u8]) -> Option<Self> {
        let length = name.len();
        let (first, last, middle) = match length {
            2..=3 => match (name.first_chunk::<2>(), name.last_chunk::<2>()) {
                (Some(first), Some(last)) => {
                    (u16::from_le_bytes(*first) as u64, u16::from_le_bytes(*last) as u64, 0)
                }
                _ => return None,
            },
            4..=7 => match (name.first_chunk::<4>(), name.last_chunk::<4>()) {
                (Some(first), Some(last)) => {
                    (u32::from_le_bytes(*first) as u64, u32::from_le_bytes(*last) as u64, 0)
                }
                _ => return None,
            },
            8..=24 => match (name.first_chunk::<8>(), name.last_chunk::<8>()) {
                (Some(first), Some(last)) => {
                    let middle = match name.split_at_checked(8) {
                        Some((_, rest)) if length > 16 => match rest.first_chunk::<8>() {
                            Some(middle) => u64::from_le_bytes(*middle),
                            None => return None,
                        },
                        _ => 0,
                    };
                    (u64::from_le_bytes(*first), u64::from_le_bytes(*last), middle)
                }
                _ => return None,
            },
            _ => return None,
        };
        Some(Self { length, first: first | LOWER, last: last | LOWER, middle: middle | LOWER })
    }

    /// A place in the table; each known name has its own.
    #[inline(always)]
    const fn slot(&self) -> usize {
        let mixed = self.first ^ self.last.rotate_left(MIX.0) ^ self.length as u64;
        (mixed.wrapping_mul(MIX.1) >> 56) as usize
    }
}

/// Found by trial: with these no two known names share a slot.
const MIX: (u32, u64) = (27, 0xa145_66e6_9a4f_17b7);

/// No known name.
const NONE: u8 = u8::MAX;

/// Makes the tables of one list.
macro_rules! known {
    ($($text:literal $name:expr, $kind:ident;)+) => {
        static KNOWN: [(HeaderName, Kind, Key); COUNT] =
            [$(($name, Kind::$kind, key($text))),+];
        const KEYS: [Key; COUNT] = [$(key($text)),+];
        const COUNT: usize = [$($text),+].len();
    };
}

known! {
    "host" HOST, Other;
    "user-agent" USER_AGENT, Other;
    "accept" ACCEPT, Other;
    "accept-encoding" ACCEPT_ENCODING, Other;
    "accept-language" ACCEPT_LANGUAGE, Other;
    "connection" CONNECTION, Connection;
    "content-length" CONTENT_LENGTH, ContentLength;
    "content-type" CONTENT_TYPE, Other;
    "content-encoding" CONTENT_ENCODING, Other;
    "transfer-encoding" TRANSFER_ENCODING, TransferEncoding;
    "cookie" COOKIE, Other;
    "authorization" AUTHORIZATION, Other;
    "referer" REFERER, Other;
    "origin" ORIGIN, Other;
    "cache-control" CACHE_CONTROL, Other;
    "pragma" PRAGMA, Other;
    "expect" EXPECT, Expect;
    "upgrade" UPGRADE, Upgrade;
    "http2-settings" HeaderName::from_static("http2-settings"), Http2Settings;
    "te" TE, Other;
    "via" VIA, Other;
    "dnt" DNT, Other;
    "range" RANGE, Other;
    "forwarded" FORWARDED, Other;
    "if-none-match" IF_NONE_MATCH, Other;
    "if-modified-since" IF_MODIFIED_SINCE, Other;
    "x-api-key" HeaderName::from_static("x-api-key"), Other;
    "x-request-id" HeaderName::from_static("x-request-id"), Other;
    "x-real-ip" HeaderName::from_static("x-real-ip"), Other;
    "x-forwarded-for" HeaderName::from_static("x-forwarded-for"), Other;
    "x-forwarded-host" HeaderName::from_static("x-forwarded-host"), Other;
    "x-forwarded-proto" HeaderName::from_static("x-forwarded-proto"), Other;
    "x-requested-with" HeaderName::from_static("x-requested-with"), Other;
    "traceparent" HeaderName::from_static("traceparent"), Other;
    "priority" HeaderName::from_static("priority"), Other;
    "sec-ch-ua" HeaderName::from_static("sec-ch-ua"), Other;
    "sec-ch-ua-mobile" HeaderName::from_static("sec-ch-ua-mobile"), Other;
    "sec-ch-ua-platform" HeaderName::from_static("sec-ch-ua-platform"), Other;
    "sec-fetch-site" HeaderName::from_static("sec-fetch-site"), Other;
    "sec-fetch-mode" HeaderName::from_static("sec-fetch-mode"), Other;
    "sec-fetch-user" HeaderName::from_static("sec-fetch-user"), Other;
    "sec-fetch-dest" HeaderName::from_static("sec-fetch-dest"), Other;
    "server" SERVER, Other;
    "date" DATE, Other;
    "etag" ETAG, Other;
    "last-modified" LAST_MODIFIED, Other;
    "accept-ranges" ACCEPT_RANGES, Other;
    "age" AGE, Other;
    "vary" VARY, Other;
    "expires" EXPIRES, Other;
    "location" LOCATION, Other;
    "set-cookie" SET_COOKIE, Other;
    "keep-alive" HeaderName::from_static("keep-alive"), Other;
    "grpc-status" HeaderName::from_static("grpc-status"), Other;
    "grpc-message" HeaderName::from_static("grpc-message"), Other;
}

#[expect(clippy::panic, reason = "while compiling: each known name has a key")]
const fn key(text: &str) -> Key {
    match Key::of(text.as_bytes()) {
        Some(key) => key,
        None => panic!("too short or too long"),
    }
}

/// Where in [`KEYS`] each slot's name is.
#[expect(clippy::indexing_slicing, clippy::cast_possible_truncation, reason = "while compiling")]
static SLOTS: [u8; 256] = {
    let mut slots = [NONE; 256];
    let mut i = 0;
    while i < COUNT {
        let slot = KEYS[i].slot();
        assert!(slots[slot] == NONE, "two known names share a slot: look for another `MIX`");
        slots[slot] = i as u8;
        i += 1;
    }
    slots
};

#[cfg(test)]
mod tests {
    use super::*;

    /// As most clients write it: `Content-Type`.
    fn title(name: &str) -> String {
        let mut start = true;
        let letter = |c: char| {
            let upper = std::mem::replace(&mut start, c == '-');
            if upper { c.to_ascii_uppercase() } else { c }
        };
        name.chars().map(letter).collect()
    }

    #[test]
    fn a_known_name_is_found_in_any_case_and_is_what_the_library_makes_of_it() {
        for (name, kind, _) in &KNOWN {
            let text = name.as_str();
            for form in [text, &text.to_ascii_uppercase(), &title(text)] {
                let expected = HeaderName::from_bytes(form.as_bytes()).unwrap();
                assert_eq!(known(form.as_bytes()), Some((&expected, *kind)), "{form}");
            }
        }
    }

    #[test]
    fn a_name_that_differs_in_one_byte_is_another() {
        for (name, _, _) in &KNOWN {
            for at in 0..name.as_str().len() {
                for byte in 0x20..=255_u8 {
                    let mut bytes = name.as_str().as_bytes().to_vec();
                    bytes[at] = byte;
                    let found = known(&bytes).map(|(name, _)| name.clone());
                    if let Some(found) = found {
                        assert_eq!(HeaderName::from_bytes(&bytes).unwrap(), found, "{bytes:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_a_careless_server_takes_for_framing_or_host_is_found() {
        for name in [
            "content_length",
            "Content_Length",
            "contentlength",
            "content.length",
            "content-length-",
            "-content-length",
            "con~tent-length",
            "transfer_encoding",
            "Transfer.Encoding",
            "transferencoding",
            "transfer--encoding",
            "_host",
            "host_",
            "ho-st",
        ] {
            assert!(known(name.as_bytes()).is_none(), "{name}");
            assert_eq!(Kind::of_unknown(name.as_bytes()), Kind::LookAlike, "{name}");
        }
        for name in
            ["x-host", "hosts", "content-type", "content-lengths", "te", "t", "x-content-length"]
        {
            assert_eq!(Kind::of_unknown(name.as_bytes()), Kind::Other, "{name}");
        }
    }
}
