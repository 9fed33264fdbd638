//! Whose request it is: the walk along the addresses that proxies wrote down, from the gateway
//! outwards.
//!
//! Each proxy adds the address that it got the request from at the end of a list. The last entry is
//! that of the proxy next to us; it says the truth where that proxy is trusted, and so on. The
//! first address that is not trusted is the client. What stands before it is the client's own word:
//! it is not even read. An entry of a trusted proxy that cannot be understood is refused rather
//! than guessed about.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use demilune_core::snapshot::{ForwardedHeader, TrustedProxies};
use demilune_core::{Denial, Downstream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// The most proxies that a request may have come by.
const HOPS_LIMIT: usize = 32;

/// Where a request came from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Walked {
    /// The first address that is not trusted; the outermost one where all are.
    pub(crate) client: IpAddr,
    /// The trusted proxies after it, the one next to us first.
    pub(crate) hops: Vec<IpAddr>,
}

/// Why it cannot be told where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// An entry is no address.
    #[error("an entry that a trusted proxy wrote is no address")]
    Malformed,
    /// An entry hides the address (RFC 7239 sections 6.2 and 6.3).
    #[error("a trusted proxy hides whom it got the request from")]
    Hidden,
    /// There are more trusted proxies than can be meant.
    #[error("the request came by more than 32 trusted proxies")]
    TooMany,
}

/// The request's own `Downstream` where it came by a proxy that is trusted; `None` where the client
/// is who the connection says.
///
/// # Errors
/// 400 where a trusted proxy does not say whom it got the request from.
pub(crate) fn downstream(
    trusted: &TrustedProxies,
    connection: &Downstream,
    headers: &HeaderMap,
) -> Result<Option<Downstream>, Box<Denial>> {
    const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
    if !trusted.networks.contains(connection.address()) {
        return Ok(None);
    }
    let name = match trusted.header {
        ForwardedHeader::XForwardedFor => X_FORWARDED_FOR,
        ForwardedHeader::Forwarded => http::header::FORWARDED,
    };
    let values = headers.get_all(name).iter().rev().map(HeaderValue::as_bytes);
    match walk(trusted, connection.address(), values) {
        Ok(walked) if walked.hops.is_empty() => Ok(None),
        Ok(Walked { client, mut hops }) => {
            hops.reverse();
            Ok(Some(connection.forwarded(client, &hops)))
        }
        Err(lost) => {
            let code = match lost {
                Lost::TooMany => "forwarded.too_many",
                Lost::Malformed | Lost::Hidden => "forwarded.malformed",
            };
            let public = "it cannot be told where the request comes from";
            let denial = Denial::new(StatusCode::BAD_REQUEST, code, public);
            Err(Box::new(denial.log(lost.to_string())))
        }
    }
}

/// Walks from `peer` outwards; `values` are the header's, the last one first.
pub(crate) fn walk<'v>(
    trusted: &TrustedProxies,
    peer: IpAddr,
    values: impl Iterator<Item = &'v [u8]>,
) -> Result<Walked, Lost> {
    let mut walked = Walked { client: peer.to_canonical(), hops: Vec::new() };
    for value in values {
        if !trusted.networks.contains(walked.client) {
            break;
        }
        let entries = match trusted.header {
            ForwardedHeader::XForwardedFor => listed(value),
            ForwardedHeader::Forwarded => elements(value)?,
        };
        for entry in entries.into_iter().rev() {
            if !trusted.networks.contains(walked.client) {
                return Ok(walked);
            }
            let entry = entry.trim_ascii();
            // Empty entries mean nothing (RFC 9110 section 5.6.1.2).
            if entry.is_empty() {
                continue;
            }
            let address = match trusted.header {
                ForwardedHeader::XForwardedFor => node(entry)?,
                ForwardedHeader::Forwarded => node(&forwarded_for(entry)?)?,
            };
            if walked.hops.len() == HOPS_LIMIT {
                return Err(Lost::TooMany);
            }
            walked.hops.push(std::mem::replace(&mut walked.client, address));
        }
    }
    Ok(walked)
}

fn listed(value: &[u8]) -> Vec<&[u8]> {
    // One more than can be walked: the rest of the client's own is not cut up.
    let mut entries: Vec<_> = value.rsplitn(HOPS_LIMIT + 2, |byte| *byte == b',').collect();
    entries.reverse();
    entries
}

/// An address with or without a port (RFC 7239 section 6): `192.0.2.7`, `192.0.2.7:4711`,
/// `[2001:db8::7]:4711`, and without brackets where there is no port.
fn node(text: &[u8]) -> Result<IpAddr, Lost> {
    let text = std::str::from_utf8(text).map_err(|_| Lost::Malformed)?;
    if text.starts_with('_') || text.eq_ignore_ascii_case("unknown") {
        return Err(Lost::Hidden);
    }
    let (address, port): (IpAddr, _) = if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or(Lost::Malformed)?;
        let port = if rest.is_empty() { None } else { Some(rest) };
        (address.parse::<Ipv6Addr>().map_err(|_| Lost::Malformed)?.into(), port)
    } else if let Ok(address) = text.parse::<Ipv6Addr>() {
        (address.into(), None)
    } else {
        let end = text.find(':').unwrap_or(text.len());
        let (address, rest) = text.split_at_checked(end).ok_or(Lost::Malformed)?;
        let port = if rest.is_empty() { None } else { Some(rest) };
        (address.parse::<Ipv4Addr>().map_err(|_| Lost::Malformed)?.into(), port)
    };
    if let Some(port) = port {
        let port = port.strip_prefix(':').ok_or(Lost::Malformed)?;
        let digits = (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
        let hidden = port.len() > 1 && port.starts_with('_') && port.bytes().skip(1).all(is_hidden);
        if !(hidden || digits && port.parse::<u16>().is_ok()) {
            return Err(Lost::Malformed);
        }
    }
    Ok(address.to_canonical())
}

/// What may stand in an obfuscated identifier (RFC 7239 section 6.3).
fn is_hidden(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// The elements of a `Forwarded` value. Commas within quotes do not part them.
fn elements(value: &[u8]) -> Result<Vec<&[u8]>, Lost> {
    split(value, b',')
}

/// Parts `value` at `separator`, not within quoted strings (RFC 9110 section 5.6.4).
fn split(value: &[u8], separator: u8) -> Result<Vec<&[u8]>, Lost> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in value.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            byte if *byte == separator && !quoted => {
                parts.push(value.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    if quoted {
        return Err(Lost::Malformed);
    }
    parts.push(value.get(start..).unwrap_or_default());
    Ok(parts)
}

/// The value of `for` in one element, unquoted (RFC 7239 section 4). Each parameter stands once.
fn forwarded_for(element: &[u8]) -> Result<Vec<u8>, Lost> {
    let mut names: Vec<Vec<u8>> = Vec::new();
    let mut found = None;
    for pair in split(element, b';')? {
        let pair = pair.trim_ascii();
        if pair.is_empty() {
            continue;
        }
        let at = pair.iter().position(|byte| *byte == b'=').ok_or(Lost::Malformed)?;
        let (name, value) = pair.split_at_checked(at).ok_or(Lost::Malformed)?;
        let name = name.to_ascii_lowercase();
        let value = unquoted(value.get(1..).unwrap_or_default())?;
        if name.is_empty() || !name.iter().all(|b| is_token(*b)) || names.contains(&name) {
            return Err(Lost::Malformed);
        }
        if name == b"for" {
            found = Some(value);
        }
        names.push(name);
    }
    found.ok_or(Lost::Malformed)
}

/// A token, or what a quoted string says.
fn unquoted(value: &[u8]) -> Result<Vec<u8>, Lost> {
    let Some(rest) = value.strip_prefix(b"\"") else {
        let token = !value.is_empty() && value.iter().all(|byte| is_token(*byte));
        // Many leave the quotes out around a port, which the colon would need.
        let lax = value.iter().all(|byte| is_token(*byte) || *byte == b':');
        return if token || (lax && !value.is_empty()) {
            Ok(value.to_vec())
        } else {
            Err(Lost::Malformed)
        };
    };
    let mut text = Vec::with_capacity(rest.len());
    let mut bytes = rest.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return if bytes.next().is_none() { Ok(text) } else { Err(Lost::Malformed) },
            b'\\' => text.push(*bytes.next().ok_or(Lost::Malformed)?),
            byte => text.push(*byte),
        }
    }
    Err(Lost::Malformed)
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use demilune_core::{Network, Networks};

    use super::*;

    fn trusted(header: ForwardedHeader) -> TrustedProxies {
        let list = ["10.0.0.0/8", "2001:db8:1::/48"].map(|text| text.to_owned().try_into());
        let list: Vec<Network> = list.into_iter().map(Result::unwrap).collect();
        TrustedProxies { networks: Networks::new(&list), header }
    }

    /// `client < hop < hop`, or what went wrong; `lines` in the order sent.
    fn told(header: ForwardedHeader, peer: &str, lines: &[&str]) -> String {
        let values = lines.iter().rev().map(|line| line.as_bytes());
        match walk(&trusted(header), peer.parse().unwrap(), values) {
            Ok(Walked { client, hops }) => {
                let hops = hops.iter().rev().map(ToString::to_string);
                [vec![client.to_string()], hops.collect()].concat().join(" < ")
            }
            Err(lost) => format!("{lost:?}"),
        }
    }

    #[test]
    fn the_first_untrusted_address_from_the_right_is_the_client() {
        for (peer, lines, expected) in [
            ("10.0.0.1", &["192.0.2.7"][..], "192.0.2.7 < 10.0.0.1"),
            ("10.0.0.1", &["192.0.2.7, 10.0.0.2"], "192.0.2.7 < 10.0.0.2 < 10.0.0.1"),
            ("10.0.0.1", &["192.0.2.7", "10.0.0.2"], "192.0.2.7 < 10.0.0.2 < 10.0.0.1"),
            ("10.0.0.1", &["1.1.1.1, 192.0.2.7"], "192.0.2.7 < 10.0.0.1"),
            ("10.0.0.1", &["junk,,, \"\u{1}, 192.0.2.7"], "192.0.2.7 < 10.0.0.1"),
            ("10.0.0.1", &["10.0.0.9, 192.0.2.7, 10.0.0.2"], "192.0.2.7 < 10.0.0.2 < 10.0.0.1"),
            ("10.0.0.1", &["10.0.0.3,10.0.0.2"], "10.0.0.3 < 10.0.0.2 < 10.0.0.1"),
            ("10.0.0.1", &["192.0.2.7:4711"], "192.0.2.7 < 10.0.0.1"),
            ("10.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7 < 10.0.0.1"),
            ("10.0.0.1", &["2001:db8::7"], "2001:db8::7 < 10.0.0.1"),
            ("10.0.0.1", &["::ffff:192.0.2.7"], "192.0.2.7 < 10.0.0.1"),
            ("10.0.0.1", &["192.0.2.7, ::ffff:10.0.0.2"], "192.0.2.7 < 10.0.0.2 < 10.0.0.1"),
            ("2001:db8:1::5", &[" 192.0.2.7 ,"], "192.0.2.7 < 2001:db8:1::5"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[" , "], "10.0.0.1"),
            ("192.0.2.9", &["192.0.2.7"], "192.0.2.9"),
            ("192.0.2.9", &["junk"], "192.0.2.9"),
        ] {
            let found = told(ForwardedHeader::XForwardedFor, peer, lines);
            assert_eq!(found, expected, "{peer} {lines:?}");
        }
    }

    #[test]
    fn what_a_trusted_proxy_wrote_must_be_understood() {
        for text in [
            "junk",
            "192.0.2.7:",
            "192.0.2.7:0x1",
            "192.0.2.7:65536",
            "192.0.2.07",
            "192.0.2",
            "192.0.2.7 192.0.2.8",
            "[192.0.2.7]",
            "[2001:db8::7",
            "[2001:db8::7]4711",
            "\u{e9}",
            "fe80::1%eth0",
            "192.0.2.7;10.0.0.2",
            "\"192.0.2.7\"",
            "junk, 10.0.0.2",
        ] {
            let found = told(ForwardedHeader::XForwardedFor, "10.0.0.1", &[text]);
            assert_eq!(found, "Malformed", "{text}");
        }
        for text in ["unknown", "Unknown", "_hidden", "192.0.2.7, unknown, 10.0.0.2"] {
            let found = told(ForwardedHeader::XForwardedFor, "10.0.0.1", &[text]);
            assert_eq!(found, "Hidden", "{text}");
        }
    }

    #[test]
    fn the_walk_has_an_end() {
        let hops = |count: usize| ["10.0.0.2"].repeat(count).join(",");
        let walked = |text: &str| told(ForwardedHeader::XForwardedFor, "10.0.0.1", &[text]);
        assert!(walked(&hops(HOPS_LIMIT)).starts_with("10.0.0.2 < "));
        assert_eq!(walked(&hops(HOPS_LIMIT + 1)), "TooMany");
        assert_eq!(walked(&format!("192.0.2.7,{}", hops(HOPS_LIMIT))), "TooMany");
        let invented = format!("{}, 192.0.2.7", hops(1000));
        assert_eq!(walked(&invented), "192.0.2.7 < 10.0.0.1");
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_writes_it() {
        for (lines, expected) in [
            (&["for=192.0.2.7"][..], "192.0.2.7 < 10.0.0.1"),
            (&["For=\"[2001:db8::7]:4711\";proto=https;by=10.0.0.1"], "2001:db8::7 < 10.0.0.1"),
            (&["proto=http; FOR=\"192.0.2.7:4711\""], "192.0.2.7 < 10.0.0.1"),
            (&["for=192.0.2.7:4711"], "192.0.2.7 < 10.0.0.1"),
            (
                &["for=192.0.2.7;by=\"a, b\\\"; c\", for=10.0.0.2"],
                "192.0.2.7 < 10.0.0.2 < 10.0.0.1",
            ),
            (&["for=_hidden, for=192.0.2.7"], "192.0.2.7 < 10.0.0.1"),
            (&["for=\"broken", "for=192.0.2.7"], "192.0.2.7 < 10.0.0.1"),
            (&["for=\"\\192.0.2.7\""], "192.0.2.7 < 10.0.0.1"),
        ] {
            assert_eq!(told(ForwardedHeader::Forwarded, "10.0.0.1", lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_client_cannot_swallow_an_entry_by_a_quote() {
        for text in [
            // What a client may send, and what a proxy then adds behind it.
            "for=\", for=192.0.2.7",
            "for=10.0.0.9;x=\", for=\"[2001:db8::7]\"",
            "for=10.0.0.9;x=\"\\, for=\"192.0.2.7\"",
            "for=10.0.0.9;x=\", for=\"192.0.2.7:1\";by=\"10.0.0.1\"",
            "by=10.0.0.1",
            "for=",
            "for",
            "=192.0.2.7",
            "for=192.0.2.7;for=192.0.2.8",
            "for=192.0.2.7;by=a;BY=b",
            "for = 192.0.2.7",
            "for=192.0.2.7 junk",
            "for=\"192.0.2.7\"x",
            "for=192.0.2.7;x",
            "192.0.2.7",
        ] {
            let found = told(ForwardedHeader::Forwarded, "10.0.0.1", &[text]);
            assert_eq!(found, "Malformed", "{text}");
        }
        for text in ["for=unknown", "for=_x", "for=\"_x:1\"", "for=192.0.2.7, for=_x, for=10.0.0.2"]
        {
            let found = told(ForwardedHeader::Forwarded, "10.0.0.1", &[text]);
            assert_eq!(found, "Hidden", "{text}");
        }
    }
}
