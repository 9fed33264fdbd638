//! The PROXY protocol (HAProxy's `proxy-protocol.txt`, 2020/03/05), versions 1 and 2: who a
//! connection is passed on for.
//!
//! Strict: only TCP over IPv4 and IPv6, one spelling of each line, bounded lengths. Whoever sends
//! the header is believed, so a broken one is a fault to be looked at, and not to be tolerated.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest line of version 1, its end included (section 2.1).
const LINE_LIMIT: usize = 107;
/// The largest header of version 2; extensions need some hundred bytes.
pub(crate) const HEADER_LIMIT: usize = 4096;
/// What begins a header of version 2 (section 2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Before the addresses of version 2.
const FIXED: usize = 16;
/// The type of the extension that holds a checksum of the header.
const CRC32C: u8 = 3;

/// A whole header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its bytes; what follows them is the client's.
    pub(crate) length: usize,
    /// Whose connection it is; `None` where the sender speaks for itself or does not know.
    pub(crate) source: Option<SocketAddr>,
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// They begin as none does.
    #[error("the connection does not begin with a header of the PROXY protocol")]
    Missing,
    /// The line of version 1 is not as it must be.
    #[error("the line of version 1 is not well-formed")]
    Line,
    /// There is no end within the limit.
    #[error("the header is too long")]
    TooLong,
    /// Neither `LOCAL` nor `PROXY`, or another version than 2.
    #[error("the version or the command is not known")]
    Command,
    /// Not TCP over IPv4 or IPv6.
    #[error("the addresses are not of TCP over IPv4 or IPv6")]
    Family,
    /// The length leaves no room for the addresses, or an extension runs beyond it.
    #[error("the length does not fit what is in the header")]
    Length,
    /// The checksum is another.
    #[error("the checksum is wrong")]
    Checksum,
}

/// The header that `bytes` begin with; `None` where it is not all there yet: then all of them
/// belong to it.
///
/// # Errors
/// As soon as they cannot become a header any more.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Header>, Broken> {
    let begins = |word: &[u8]| bytes.iter().zip(word).all(|(a, b)| a == b);
    if begins(&SIGNATURE) {
        binary(bytes)
    } else if begins(b"PROXY ") {
        line(bytes)
    } else {
        Err(Broken::Missing)
    }
}

fn line(bytes: &[u8]) -> Result<Option<Header>, Broken> {
    let Some(end) = bytes.iter().take(LINE_LIMIT).position(|byte| *byte == b'\n') else {
        return if bytes.len() < LINE_LIMIT { Ok(None) } else { Err(Broken::TooLong) };
    };
    let text = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let text = text.and_then(|line| std::str::from_utf8(line).ok()).ok_or(Broken::Line)?;
    if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err(Broken::Line);
    }
    let source = written(text).ok_or(Broken::Line)?;
    Ok(Some(Header { length: end + 1, source }))
}

/// What a line of version 1 says: `None` where it is not well-formed.
fn written(text: &str) -> Option<Option<SocketAddr>> {
    let rest = text.strip_prefix("PROXY ")?;
    // What follows the word is to be ignored (section 2.1).
    if rest == "UNKNOWN" || rest.starts_with("UNKNOWN ") {
        return Some(None);
    }
    let parts: Vec<&str> = rest.splitn(6, ' ').collect();
    let [family, source, destination, from, to] = parts[..] else { return None };
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => Some(text.parse::<Ipv4Addr>().ok()?.into()),
            "TCP6" => Some(text.parse::<Ipv6Addr>().ok()?.into()),
            _ => None,
        }
    };
    let _ = (address(destination)?, port(to)?);
    Some(Some(SocketAddr::new(address(source)?, port(from)?)))
}

fn port(text: &str) -> Option<u16> {
    let port = text.parse::<u16>().ok()?;
    (port.to_string() == text).then_some(port)
}

fn binary(bytes: &[u8]) -> Result<Option<Header>, Broken> {
    let rest = bytes.get(SIGNATURE.len()..).unwrap_or_default();
    let local = match rest.first() {
        None => return Ok(None),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(_) => return Err(Broken::Command),
    };
    // Of a connection of the sender's own nothing but the length counts (section 2.2).
    let needed = match rest.get(1) {
        None => return Ok(None),
        Some(_) if local => 0,
        Some(0x00) => 0,
        Some(0x11) => 12,
        Some(0x21) => 36,
        Some(_) => return Err(Broken::Family),
    };
    let Some(&[family, high, low]) = rest.get(1..4) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length < needed {
        return Err(Broken::Length);
    }
    let length = FIXED + length;
    if length > HEADER_LIMIT {
        return Err(Broken::TooLong);
    }
    let Some(header) = bytes.get(..length) else { return Ok(None) };
    if local {
        return Ok(Some(Header { length, source: None }));
    }
    let body = header.get(FIXED..).unwrap_or_default();
    extensions(header, FIXED + needed)?;
    let source = match (family, body) {
        (0x11, [a, b, c, d, _, _, _, _, high, low, ..]) => {
            let port = u16::from_be_bytes([*high, *low]);
            Some(SocketAddr::new(Ipv4Addr::new(*a, *b, *c, *d).into(), port))
        }
        (0x21, body) => {
            let octets = body.first_chunk::<16>().ok_or(Broken::Length)?;
            let port = body.get(32..).and_then(<[u8]>::first_chunk).ok_or(Broken::Length)?;
            let address = Ipv6Addr::from(*octets);
            Some(SocketAddr::new(address.into(), u16::from_be_bytes(*port)))
        }
        _ => None,
    };
    Ok(Some(Header { length, source }))
}

/// Walks over the extensions that begin at `at`: each must end within the header, and a checksum
/// must be right (section 2.2.3). The others say nothing that is used here.
fn extensions(header: &[u8], mut at: usize) -> Result<(), Broken> {
    while let Some(rest) = header.get(at..).filter(|rest| !rest.is_empty()) {
        let [kind, high, low, ..] = rest else { return Err(Broken::Length) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let value = rest.get(3..3 + length).ok_or(Broken::Length)?;
        if *kind == CRC32C {
            let told = value.try_into().map(u32::from_be_bytes).map_err(|_| Broken::Length)?;
            let value = at + 3..at + 3 + length;
            let zeroed = header.iter().enumerate();
            let zeroed = zeroed.map(|(i, byte)| if value.contains(&i) { 0 } else { *byte });
            if crc32c(zeroed) != told {
                return Err(Broken::Checksum);
            }
        }
        at += 3 + length;
    }
    Ok(())
}

/// Castagnoli's CRC-32 (RFC 3720 appendix B.4), bit by bit: the header is short.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(bytes: &[u8]) -> String {
        match parse(bytes) {
            Ok(Some(header)) if header.length == bytes.len() => match header.source {
                Some(source) => source.to_string(),
                None => "itself".to_owned(),
            },
            other => format!("{other:?}"),
        }
    }

    /// A header of version 2.
    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb];

    fn v6() -> Vec<u8> {
        let address: Ipv6Addr = "2001:db8::7".parse().unwrap();
        [&address.octets()[..], &address.octets(), &[0x12, 0x67, 0x01, 0xbb]].concat()
    }

    #[test]
    fn well_formed_headers_name_the_client() {
        let longest = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                       ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
        let all = "ffff:".repeat(8);
        let all = all.trim_end_matches(':');
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n", "192.0.2.7:4711".to_owned()),
            ("PROXY TCP6 2001:db8::7 ::1 4711 443\r\n", "[2001:db8::7]:4711".to_owned()),
            (longest, format!("[{all}]:65535")),
            ("PROXY UNKNOWN\r\n", "itself".to_owned()),
            ("PROXY UNKNOWN ffff:: ::1 1 2 what not\r\n", "itself".to_owned()),
        ] {
            assert_eq!(source(line.as_bytes()), expected, "{line}");
        }
        assert_eq!(source(&v2(0x21, 0x11, &V4)), "192.0.2.7:4711");
        assert_eq!(source(&v2(0x21, 0x21, &v6())), "[2001:db8::7]:4711");
        let authority = [&V4[..], &[2, 0, 3], b"abc", &[4, 0, 0]].concat();
        assert_eq!(source(&v2(0x21, 0x11, &authority)), "192.0.2.7:4711");
        assert_eq!(source(&v2(0x20, 0x00, &[])), "itself");
        assert_eq!(source(&v2(0x20, 0x31, b"ignored")), "itself");
        assert_eq!(source(&v2(0x21, 0x00, &[])), "itself");
    }

    #[test]
    fn lines_that_are_nearly_right_are_refused() {
        for line in [
            "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\n",
            "PROXY TCP4  192.0.2.7 198.51.100.1 4711 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443 \r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443 x\r\n",
            "PROXY TCP4 192.0.2.07 198.51.100.1 4711 443\r\n",
            "PROXY TCP4 192.0.2 198.51.100.1 4711 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 04711 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 +4711 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4711\r\n",
            "PROXY TCP4 192.0.2.7 ::1 4711 443\r\n",
            "PROXY TCP4 2001:db8::7 2001:db8::1 4711 443\r\n",
            "PROXY TCP6 192.0.2.7 198.51.100.1 4711 443\r\n",
            "PROXY TCP6 fe80::1%eth0 ::1 4711 443\r\n",
            "PROXY UDP4 192.0.2.7 198.51.100.1 4711 443\r\n",
            "PROXY tcp4 192.0.2.7 198.51.100.1 4711 443\r\n",
            "PROXY UNKNOWNX\r\n",
            "PROXY UNKNOWN \u{e9}\r\n",
            "PROXY UNKNOWN\t\r\n",
            "PROXY \r\n",
            "PROXY UNKNOWN \r\r\n",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(Broken::Line), "{line:?}");
        }
        let long = format!("PROXY UNKNOWN {}", "x".repeat(LINE_LIMIT));
        assert_eq!(parse(long.as_bytes()), Err(Broken::TooLong));
        for text in ["GET / HTTP/1.1\r\n", "proxy TCP4", "\u{16}\u{3}\u{1}", "\r\n\r\nGET", "P "] {
            assert_eq!(parse(text.as_bytes()), Err(Broken::Missing), "{text:?}");
        }
    }

    #[test]
    fn binary_headers_that_are_nearly_right_are_refused() {
        let short = [&V4[..], &[4, 0]].concat();
        let beyond = [&V4[..], &[4, 0, 2, 0]].concat();
        let long = [&V4[..], &[4, 0x0f, 0xff], &[0; 0xfff]].concat();
        for (bytes, expected) in [
            (v2(0x11, 0x11, &V4), Broken::Command),
            (v2(0x22, 0x11, &V4), Broken::Command),
            (v2(0x21, 0x12, &V4), Broken::Family),
            (v2(0x21, 0x31, &[0; 216]), Broken::Family),
            (v2(0x21, 0x11, &[0; 11]), Broken::Length),
            (v2(0x21, 0x21, &[0; 35]), Broken::Length),
            (v2(0x21, 0x11, &short), Broken::Length),
            (v2(0x21, 0x11, &beyond), Broken::Length),
            (v2(0x21, 0x11, &long), Broken::TooLong),
            (v2(0x21, 0x11, &[&V4[..], &[3, 0, 4, 0, 0, 0, 0]].concat()), Broken::Checksum),
            (v2(0x21, 0x11, &[&V4[..], &[3, 0, 1, 0]].concat()), Broken::Length),
        ] {
            assert_eq!(parse(&bytes), Err(expected), "{bytes:?}");
        }
    }

    #[test]
    fn a_checksum_that_is_right_is_taken() {
        // RFC 3720 appendix B.4.
        assert_eq!(crc32c([0; 32].into_iter()), 0x8a91_36aa);
        assert_eq!(crc32c(0..32), 0x46dd_794e);
        let mut bytes = v2(0x21, 0x11, &[&V4[..], &[3, 0, 4, 0, 0, 0, 0]].concat());
        let sum = crc32c(bytes.iter().copied()).to_be_bytes();
        let at = bytes.len() - 4;
        bytes.splice(at.., sum);
        assert_eq!(source(&bytes), "192.0.2.7:4711");
    }

    #[test]
    fn every_beginning_of_a_header_asks_for_more_and_nothing_behind_it_is_taken() {
        let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n".to_vec();
        for header in [line, v2(0x21, 0x11, &V4), v2(0x21, 0x21, &v6()), v2(0x20, 0, b"abc")] {
            for end in 0..header.len() {
                assert_eq!(parse(&header[..end]), Ok(None), "{end} of {header:?}");
            }
            let more = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            let found = parse(&more).unwrap().unwrap();
            assert_eq!(found.length, header.len());
        }
    }
}
