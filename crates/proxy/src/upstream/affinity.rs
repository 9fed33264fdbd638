//! The key by which requests that belong together go to the same endpoint.

use std::net::IpAddr;

use demilune_core::Identity;
use demilune_core::snapshot::{Balance, HashOn};
use http::HeaderMap;
use http::header::COOKIE;

/// The key of a request, where its upstream wants one and the request has it.
pub(crate) fn affinity(
    balance: &Balance,
    headers: &HeaderMap,
    identity: Option<&Identity>,
    client: IpAddr,
) -> Option<u64> {
    let Balance::ConsistentHash(settings) = balance else { return None };
    match &settings.on {
        HashOn::Header(name) => {
            let mut values = headers.get_all(name).iter();
            let value = values.next().filter(|_| values.next().is_none())?;
            Some(hash(value.as_bytes()))
        }
        HashOn::Cookie(name) => {
            let fields = headers.get_all(COOKIE).iter();
            let mut pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
            let value = pairs.find_map(|pair| {
                pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")
            });
            value.map(hash)
        }
        HashOn::Consumer => identity.map(|identity| hash(identity.subject.as_bytes())),
        HashOn::Address => Some(match client.to_canonical() {
            IpAddr::V4(v4) => hash(&v4.octets()),
            IpAddr::V6(v6) => hash(&v6.octets()),
        }),
    }
}

/// The same in every process, so that several gateways agree: FNV-1a, then mixed. It keeps nothing
/// apart that must not meet.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014).
pub(super) fn mix(value: u64) -> u64 {
    let mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use demilune_core::snapshot::ConsistentHash;
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn key(on: HashOn, headers: &[(&'static str, &'static str)]) -> Option<u64> {
        let balance = Balance::ConsistentHash(ConsistentHash { on, overload: 25 });
        let field = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let headers: HeaderMap = headers.iter().map(field).collect();
        affinity(&balance, &headers, None, IpAddr::from([192, 0, 2, 1]))
    }

    #[test]
    fn a_header_counts_where_it_stands_once() {
        let on = || HashOn::Header(HeaderName::from_static("x-tenant"));
        assert_eq!(key(on(), &[("x-tenant", "a")]), Some(hash(b"a")));
        assert_eq!(key(on(), &[]), None);
        assert_eq!(key(on(), &[("x-tenant", "a"), ("x-tenant", "b")]), None);
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let on = || HashOn::Cookie("id".to_owned());
        assert_eq!(key(on(), &[("cookie", "xid=1; id=2;id=3")]), Some(hash(b"2")));
        assert_eq!(key(on(), &[("cookie", "a=1"), ("cookie", "id=7")]), Some(hash(b"7")));
        assert_eq!(key(on(), &[("cookie", "identity=1; id")]), None);
    }

    #[test]
    fn an_address_is_one_however_it_is_written_and_nobody_has_no_name() {
        let balance = |on| Balance::ConsistentHash(ConsistentHash { on, overload: 0 });
        let of = |ip: &str| {
            affinity(&balance(HashOn::Address), &HeaderMap::new(), None, ip.parse().unwrap())
        };
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(key(HashOn::Consumer, &[]), None);
    }

    #[test]
    fn hashes_stay_what_they_are() {
        assert_eq!([hash(b""), hash(b"a")], [HASH_OF_NOTHING, HASH_OF_A]);
    }

    const HASH_OF_NOTHING: u64 = 0xc381_7c01_6ba4_ff30;
    const HASH_OF_A: u64 = 0x5f29_c2aa_dd9b_8527;
}
