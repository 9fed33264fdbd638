//! Origins: how browsers write them, and which of them the document means.

use std::fmt;

use demilune_core::{Host, RequestHead, Scheme};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An origin: `https://app.example.com`, `https://app.example.com:8443`, `https://*.example.com`,
/// or `*` for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(extend("pattern" = "^(\\*|https?://(\\*\\.)?[^/*@?#]+)$"))]
pub enum OriginPattern {
    /// Every origin.
    Any,
    /// This one.
    Exact(Origin),
    /// Those whose host has one or more labels before this one's.
    Below(Origin),
}

/// Scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    host: String,
    port: u16,
}

impl Origin {
    /// Reads an origin as browsers write it (RFC 6454 section 6.2): nothing before, between or
    /// behind scheme, host and port.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let scheme = [Scheme::Http, Scheme::Https]
            .into_iter()
            .find(|known| scheme.eq_ignore_ascii_case(known.as_str()))?;
        let host = Host::parse(authority).ok()?;
        // A trailing dot or a zero before the port would make two texts of one origin.
        if !host.as_str().eq_ignore_ascii_case(authority) {
            return None;
        }
        let port = host.port().unwrap_or(scheme.default_port());
        Some(Self { scheme, host: host.name().to_owned(), port })
    }

    /// Whether `self` is the origin of the request that carries it.
    pub(super) fn is_own(&self, head: &RequestHead) -> bool {
        self.scheme == head.scheme
            && self.host == head.host.name()
            && self.port == head.host.port().unwrap_or(head.scheme.default_port())
    }

    fn is_below(&self, suffix: &Self) -> bool {
        self.scheme == suffix.scheme
            && self.port == suffix.port
            && self
                .host
                .strip_suffix(&suffix.host)
                .and_then(|labels| labels.strip_suffix('.'))
                .is_some_and(|labels| !labels.is_empty())
    }

    /// Whether nobody on the way can write pages of this origin: TLS, or no way at all.
    pub(super) fn is_authentic(&self) -> bool {
        self.scheme == Scheme::Https
            || matches!(self.host.as_str(), "localhost" | "127.0.0.1" | "[::1]")
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, wildcard: &str) -> fmt::Result {
        write!(f, "{}://{wildcard}{}", self.scheme.as_str(), self.host)?;
        if self.port == self.scheme.default_port() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl OriginPattern {
    pub(super) fn admits(&self, origin: &Origin) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => exact == origin,
            Self::Below(suffix) => origin.is_below(suffix),
        }
    }

    /// Whether all that `other` admits is admitted here.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (_, Self::Any) | (Self::Exact(_), Self::Below(_)) => false,
            (_, Self::Exact(origin)) => self.admits(origin),
            (Self::Below(mine), Self::Below(theirs)) => mine == theirs || theirs.is_below(mine),
        }
    }
}

impl TryFrom<String> for OriginPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let expected = || {
            format!(
                "expected an origin such as `https://app.example.com` or `https://*.example.com`, \
                 without a path or a slash at its end, found `{text}`"
            )
        };
        match text.split_once("://*.") {
            None => Origin::parse(&text).map(Self::Exact).ok_or_else(expected),
            Some((scheme, suffix)) => {
                let origin = Origin::parse(&format!("{scheme}://{suffix}")).ok_or_else(expected)?;
                // Anybody can have a name below `com`, and nothing is below an address.
                let labels = origin.host.split('.').count();
                if labels < 2 || origin.host.parse::<std::net::Ipv4Addr>().is_ok() {
                    return Err(format!(
                        "expected at least two names behind the wildcard, such as \
                         `https://*.example.com`, found `{text}`"
                    ));
                }
                Ok(Self::Below(origin))
            }
        }
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(origin) => origin.write(f, ""),
            Self::Below(origin) => origin.write(f, "*."),
        }
    }
}

impl From<OriginPattern> for String {
    fn from(pattern: OriginPattern) -> Self {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Result<OriginPattern, String> {
        text.to_owned().try_into()
    }

    #[test]
    fn an_origin_pattern_has_one_form() {
        for (text, expected) in [
            ("https://App.Example.com", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("https://[::1]:8443", "https://[::1]:8443"),
            ("https://*.example.com:8443", "https://*.example.com:8443"),
            ("*", "*"),
        ] {
            assert_eq!(String::from(pattern(text).unwrap()), expected);
        }
        for text in [
            "",
            "null",
            "example.com",
            "https://",
            "https://a/",
            "https://a/b",
            "https://a?b",
            "https://u@a",
            "ftp://a",
            "https://*",
            "https://*.com",
            "https://*.*.example.com",
            "https://a.*.example.com",
            "https://a*.example.com",
            "https://*.192.0.2.7",
            "https://*.[::1]",
            "https://a:0",
            "https://a:",
            "https://a:0443",
            "https://a.",
            "**",
            "https://a b",
            "https://a,https://b",
        ] {
            assert!(pattern(text).is_err(), "{text:?}");
        }
    }
}
