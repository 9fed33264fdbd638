//! Fuzz targets: every parser of bytes from outside, with the properties that must hold of it.
//!
//! Each target is a plain function. The tests here run all of them on seeds and on seeded
//! mutations of these, in every test run; `fuzz/libfuzzer` runs the same functions under
//! libFuzzer for as long as you like.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a target reports what it finds by panicking"
)]

mod wire;

use std::net::IpAddr;

use demilune_config::diagnostic::FileId;
use demilune_config::explain::Question;
use demilune_config::{load_text, tree};
use demilune_core::path::canonical_path;
use demilune_core::route::{HostPattern, Template, form_decoded};
use demilune_core::snapshot::{ForwardedHeader, TrustedProxies};
use demilune_core::{ByteSize, Host, Network, Networks, Period, Rate};
use demilune_identity::{ApiKey, BasicCredentials, KeyDigest, PasswordHash};
use demilune_proxy::fuzz::{proxy_header, walk};

/// A target: its name, what it runs, and inputs to start from.
pub struct Target {
    /// The name, as libFuzzer's binary has it.
    pub name: &'static str,
    /// Runs it once; panics where a property does not hold.
    pub run: fn(&[u8]),
    /// Inputs to start from.
    pub seeds: &'static [&'static str],
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target {
        name: "path",
        run: path,
        seeds: &["/a/./b/../c//d", "/%41%2f%5c", "/%252e", "/caf%C3%A9", "/..;/x", "/%c0%ae"],
    },
    Target {
        name: "host",
        run: host,
        seeds: &["a.example.com:80", "[::1]:443", "A.B.", "a,b", "u@h"],
    },
    Target {
        name: "document",
        run: document,
        seeds: &[
            "version: 1\nroutes:\n  a: { match: { path: / }, upstream: u, public: x }\n",
            "{\"version\": 1, \"routes\": {\"a\": []}}",
            "version: 1\nlisteners: {a: {address: '127.0.0.1:0'}}\nx: &a [*a, *a]\n",
            "a:\n  - b: |\n     text\n  - ? c\n    : d\n",
        ],
    },
    Target {
        name: "credentials",
        run: credentials,
        seeds: &[
            "dml_test_k5hwFoe4Jp8ud3oC8vWHSLqpHuSIDa_0kGPbv",
            "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
            "hmac-sha256:1:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ],
    },
    Target { name: "units", run: units, seeds: &["30s", "1MiB", "600/min", "250ms", "7d"] },
    Target {
        name: "patterns",
        run: patterns,
        seeds: &["/v1/{id}/x/**", "*.example.com", "a%20b+c=%zz", "/{a}/{b}"],
    },
    Target {
        name: "question",
        run: question,
        seeds: &["GET https://a/b from 192.0.2.7\nx: y\n\nbody", "POST /a?b=c\nhost: d"],
    },
    Target {
        name: "coding",
        run: coding,
        seeds: &["gzip\n\u{1f}\u{8b}\u{8}", "br\n\u{b}\u{8}", "deflate, gzip\nx", "\n\n"],
    },
    Target {
        name: "frames",
        run: frames,
        seeds: &[
            "\0\0\0\u{4}\0\0\0\0\0\0\0\u{2}\u{1}\u{5}\0\0\0\u{1}hi",
            "\0\0\u{8}\u{6}\0\0\0\0\0opaque!!\0\0\u{4}\u{8}\0\0\0\0\0\0\0\0\u{1}",
        ],
    },
    Target {
        name: "proxy_protocol",
        run: proxy_protocol,
        seeds: &[
            "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\nGET / HTTP/1.1\r\n",
            "PROXY TCP6 2001:db8::7 ::1 4711 443\r\n",
            "PROXY UNKNOWN x\r\n",
            "\r\n\r\n\0\r\nQUIT\n\u{21}\u{11}\0\u{c}abcdefghijkl",
            "\r\n\r\n\0\r\nQUIT\n\u{21}\u{11}\0\u{11}abcdefghijkl\u{2}\0\u{2}ab",
            "\r\n\r\n\0\r\nQUIT\n\u{20}\0\0\0",
        ],
    },
    Target {
        name: "forwarded",
        run: forwarded,
        seeds: &[
            "192.0.2.7, 10.0.0.2\n10.0.0.3",
            "[2001:db8::7]:4711,unknown, 10.0.0.2:80",
            "for=192.0.2.7;by=\"a, b\", for=10.0.0.2",
            "For=\"[2001:db8::7]:_x\";proto=https\nfor=\"\\1\", for=_hidden",
        ],
    },
    Target {
        name: "redact",
        run: redact,
        seeds: &[
            "dml_live_abc_def",
            "Bearer eyJhbGciOi.eyJzdWIi.sig",
            "Basic QWxhZGRpbg==",
            "plain",
        ],
    },
    Target { name: "request_head", run: wire::request_head, seeds: wire::REQUESTS },
    Target { name: "response_head", run: wire::response_head, seeds: wire::ANSWERS },
    Target { name: "chunked", run: wire::chunked, seeds: wire::CHUNKED },
];

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// A canonical path is canonical again, starts with a slash and holds nothing that was to be
/// refused.
fn path(bytes: &[u8]) {
    let Some(raw) = text(bytes) else { return };
    if let Ok(path) = canonical_path(raw) {
        assert_eq!(canonical_path(&path).as_deref(), Ok(&*path), "not stable");
        assert!(path.starts_with('/') && !path.contains("//") && path.is_ascii(), "{path}");
        let dots = |segment: &str| matches!(segment, "." | "..");
        assert!(!path.split('/').any(dots), "a dot segment is left");
        let lower = path.to_ascii_lowercase();
        for bad in ["%2f", "%5c", "%2e", "%00", "\\", ";"] {
            assert!(!lower.contains(bad), "`{bad}` is left");
        }
    }
}

/// A host reads back as itself.
fn host(bytes: &[u8]) {
    if let Some(Ok(host)) = text(bytes).map(Host::parse) {
        assert_eq!(Host::parse(host.as_str()).as_ref(), Ok(&host));
        assert!(!host.name().contains(['@', '/', ',', ' ', '\0']));
    }
}

/// Whatever the text, there is a document or a message that can be printed.
fn document(bytes: &[u8]) {
    let parsed = tree::parse(FileId(0), bytes);
    if let Err(found) = &parsed {
        assert!(!found.is_empty(), "refused without a reason");
    }
    let Some(text) = text(bytes) else { return };
    if let Err(rejected) = load_text("fuzz.yaml", text, std::path::Path::new(".")) {
        assert!(!rejected.to_string().is_empty());
    }
}

/// What parses prints no part of its secret.
fn credentials(bytes: &[u8]) {
    if let Ok(key) = ApiKey::parse(bytes) {
        assert_eq!(key.reveal().as_bytes(), bytes);
        assert!(!format!("{key:?}").contains(key.reveal()));
    }
    if let Ok(basic) = BasicCredentials::parse(bytes) {
        assert!(!basic.user.is_empty() && !basic.user.contains(':'));
    }
    let Some(text) = text(bytes) else { return };
    if let Ok(digest) = text.parse::<KeyDigest>() {
        assert_eq!(digest.to_string(), text);
    }
    if let Ok(hash) = text.parse::<PasswordHash>() {
        assert!(!format!("{hash:?}").contains(text));
    }
}

/// A quantity means the same after it was printed.
fn units(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(period) = text.parse::<Period>() {
        assert_eq!(period.to_string().parse::<Period>(), Ok(period));
    }
    if let Ok(size) = text.parse::<ByteSize>() {
        assert_eq!(size.to_string().parse::<ByteSize>(), Ok(size));
    }
    if let Ok(rate) = text.parse::<Rate>() {
        assert_eq!(rate.to_string().parse::<Rate>(), Ok(rate));
    }
}

/// A pattern reads back as itself.
fn patterns(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(template) = Template::parse(text) {
        assert_eq!(Template::parse(&template.to_string()).as_ref(), Ok(&template));
    }
    if let Ok(host) = HostPattern::parse(text) {
        assert_eq!(HostPattern::parse(&host.to_string()).as_ref(), Ok(&host));
    }
    let _ = form_decoded(text);
}

fn question(bytes: &[u8]) {
    if let Some(text) = text(bytes) {
        let _ = Question::parse(text);
    }
}

/// The first line names codings, the rest is the body. Nothing decodes beyond the limit, and what
/// is accepted in pieces is accepted whole, as the same. (Not the other way round: the ratio is
/// looked at as the pieces come.)
fn coding(bytes: &[u8]) {
    const LIMIT: u64 = 64 * 1024;
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (codings, body) = bytes.split_at(at);
    let body = body.get(1..).unwrap_or_default();
    let whole = demilune_proxy::fuzz::decode(body, codings, LIMIT);
    for piece in [1, 5] {
        let pieces = demilune_proxy::fuzz::decode_pieces(body, codings, LIMIT, piece);
        assert!(pieces.is_none() || pieces == whole, "{pieces:?} and {whole:?}");
    }
    if let Some(decoded) = whole {
        let length = u64::try_from(decoded).expect("a length");
        assert!(length <= LIMIT.max(body.len().try_into().expect("a length")));
    }
}

/// Frames mean the same however they are cut; streams begin once, in order.
fn frames(bytes: &[u8]) {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let bytes = [&preface[..], bytes].concat();
    let whole = demilune_proxy::fuzz::frames(std::iter::once(&*bytes));
    for size in [1, 2, 7, 13] {
        assert_eq!(demilune_proxy::fuzz::frames(bytes.chunks(size)), whole, "cut by {size}");
    }
    assert!(whole.0.windows(2).all(|pair| pair.first() < pair.last()), "{:?}", whole.0);
}

/// A header is found at the same place however much has come, and nothing behind it counts.
fn proxy_protocol(bytes: &[u8]) {
    let found = proxy_header(bytes);
    for end in 0..bytes.len() {
        let part = proxy_header(bytes.get(..end).unwrap_or_default());
        match (&found, &part) {
            (Ok(Some((length, _))), Ok(Some(_))) if end >= *length => assert_eq!(part, found),
            (Ok(Some((length, _))), part) => assert!(end < *length && *part == Ok(None)),
            (Ok(None), part) => assert_eq!(*part, Ok(None)),
            (Err(()), Ok(Some(_))) => panic!("what follows a header counts"),
            (Err(()), _) => {}
        }
    }
}

/// The client is the first address that is not trusted; what lies beyond it does not count.
fn forwarded(bytes: &[u8]) {
    let list = ["10.0.0.0/8", "2001:db8:1::/48"].map(|text| Network::try_from(text.to_owned()));
    let networks = Networks::new(&list.map(|network| network.expect("a network")));
    for header in [ForwardedHeader::XForwardedFor, ForwardedHeader::Forwarded] {
        let trusted = TrustedProxies { networks: networks.clone(), header };
        let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
        let peer = IpAddr::from([10, 0, 0, 1]);
        let Some((client, hops)) = walk(&trusted, peer, &lines) else { continue };
        assert!(hops.len() <= 32 && hops.iter().all(|hop| trusted.networks.contains(*hop)));
        assert_eq!(hops.first().copied().unwrap_or(client), peer);
        if !trusted.networks.contains(client) {
            let invented: &[u8] = b"junk\", for=\"_x";
            let more = [&[invented][..], &lines].concat();
            assert_eq!(walk(&trusted, peer, &more), Some((client, hops)));
        }
        let stranger = IpAddr::from([192, 0, 2, 9]);
        assert_eq!(walk(&trusted, stranger, &lines), Some((stranger, Vec::new())));
    }
}

/// No API key is left in what was redacted.
fn redact(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let redacted = demilune_telemetry::redact(text);
    for word in redacted.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
        if ApiKey::parse(word).is_ok() {
            panic!("a key is left in `{redacted}`");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutations of each seed.
    const ROUNDS: usize = 1500;

    /// A small generator with a fixed seed: the same inputs in every run (Marsaglia's xorshift64).
    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self, below: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 >> 33).unwrap() % below.max(1)
        }
    }

    fn mutate(bytes: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
        const SPICE: &[u8] = b"%/.\\;:*{}[]&!|>-#'\"\r\n\t\0\x7f\x80\xff ,@=0aZ";
        let at = numbers.next(bytes.len() + 1);
        match numbers.next(6) {
            0 => bytes.insert(at, SPICE[numbers.next(SPICE.len())]),
            1 if at < bytes.len() => bytes[at] = u8::try_from(numbers.next(256)).unwrap(),
            2 if at < bytes.len() => {
                bytes.remove(at);
            }
            3 => bytes.truncate(at),
            4 => {
                let from = numbers.next(other.len());
                bytes.splice(at..at, other[from..].iter().copied().take(64));
            }
            _ => {
                let copy = bytes[at..].to_vec();
                bytes.extend(copy.iter().take(64));
            }
        }
    }

    #[test]
    fn every_target_holds_on_its_seeds_and_their_mutations() {
        for target in TARGETS {
            let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
            for (i, seed) in target.seeds.iter().enumerate() {
                (target.run)(seed.as_bytes());
                let other = target.seeds[(i + 1) % target.seeds.len()].as_bytes();
                let mut bytes = seed.as_bytes().to_vec();
                for round in 0..ROUNDS {
                    if round % 12 == 0 {
                        bytes = seed.as_bytes().to_vec();
                    }
                    mutate(&mut bytes, other, &mut numbers);
                    (target.run)(&bytes);
                }
            }
        }
    }
}
