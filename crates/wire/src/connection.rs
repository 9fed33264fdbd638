//! What the field Connection may say.

use http::Version;

use crate::Refusal;
use crate::class::{self, TOKEN};
use crate::name::looks_alike;

/// The most elements of all fields Connection: each is looked for among all fields.
const OPTIONS_LIMIT: u8 = 32;

/// Who says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// A client, whose list could strip a field that the gateway or the upstream relies on.
    Client,
    /// An upstream. Honest ones name `Transfer-Encoding`, and strip but what is their own.
    Upstream,
}

/// What the fields Connection of a head say.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    options: u8,
    close: bool,
    keep_alive: bool,
}

impl Connection {
    /// Takes a field: a list of tokens (RFC 9110 section 7.6.1), none of which, in a request, names
    /// a field that has to reach the other end.
    pub(crate) fn take(&mut self, value: &[u8], side: Side) -> Result<(), Refusal> {
        if value == b"keep-alive" {
            self.keep_alive = true;
            return Ok(());
        }
        for token in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.options = self.options.saturating_add(1);
            if self.options > OPTIONS_LIMIT {
                return Err(Refusal::Connection);
            }
            // Empty elements mean nothing (RFC 9110 section 5.6.1.2).
            if token.is_empty() {
                continue;
            }
            if !class::all(&TOKEN, token) {
                return Err(Refusal::Connection);
            }
            if token.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if token.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if side == Side::Client && token.eq_ignore_ascii_case(b"http2-settings") {
                return Err(Refusal::H2c);
            } else if side == Side::Client && end_to_end(token) {
                return Err(Refusal::ConnectionNames);
            }
        }
        Ok(())
    }

    /// Whether the connection may be used again (RFC 9112 section 9.3).
    pub(crate) fn persistent(&self, version: Version) -> bool {
        !self.close && (version == Version::HTTP_11 || self.keep_alive)
    }
}

/// Whether a name frames, routes, identifies, authorizes or describes: never the connection's own.
fn end_to_end(name: &[u8]) -> bool {
    const NAMES: &[&str] = &[
        "age",
        "authorization",
        "cache-control",
        "connection",
        "cookie",
        "date",
        "etag",
        "expect",
        "expires",
        "forwarded",
        "from",
        "host",
        "location",
        "max-forwards",
        "origin",
        "pragma",
        "range",
        "referer",
        "set-cookie",
        "transfer-encoding",
        "user-agent",
        "vary",
        "via",
    ];
    const BEGINNINGS: &[&str] = &[
        "accept",
        "access-control-",
        "content-",
        "if-",
        "sec-",
        "x-",
        "traceparent",
        "tracestate",
    ];
    class::one_of(name, NAMES) || class::begins_with(name, BEGINNINGS) || looks_alike(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(value: &str) -> Result<(bool, bool), Refusal> {
        let mut connection = Connection::default();
        connection.take(value.as_bytes(), Side::Client)?;
        Ok((connection.persistent(Version::HTTP_11), connection.persistent(Version::HTTP_10)))
    }

    #[test]
    fn close_wins_and_an_old_client_has_to_ask() {
        assert_eq!(client("keep-alive"), Ok((true, true)));
        assert_eq!(client("Keep-Alive, te"), Ok((true, true)));
        assert_eq!(client("close"), Ok((false, false)));
        assert_eq!(client("keep-alive , CLOSE"), Ok((false, false)));
        assert_eq!(client("upgrade"), Ok((true, false)));
    }

    #[test]
    fn what_is_no_list_of_tokens_is_refused() {
        for value in ["a b", "close;x", "\"close\"", "\u{e9}"] {
            assert_eq!(client(value), Err(Refusal::Connection), "{value:?}");
        }
    }

    #[test]
    fn empty_elements_of_the_list_mean_nothing() {
        for value in ["", ",", " , ,"] {
            assert_eq!(client(value), Ok((true, false)), "{value:?}");
        }
        for value in ["close,", ",close", "close,,te"] {
            assert_eq!(client(value), Ok((false, false)), "{value:?}");
        }
    }

    #[test]
    fn no_client_strips_a_field_that_somebody_relies_on() {
        for name in [
            "Content-Length",
            "transfer-encoding",
            "Transfer_Encoding",
            "HOST",
            "authorization",
            "cookie",
            "content-type",
            "Content-Encoding",
            "X-Forwarded-For",
            "x-consumer-id",
            "x-real-ip",
            "forwarded",
            "expect",
            "cache-control",
            "connection",
        ] {
            let refused = Err(Refusal::ConnectionNames);
            assert_eq!(client(name), refused, "{name}");
            assert_eq!(client(&format!("close, {name}")), refused, "{name}");
            assert_eq!(Connection::default().take(name.as_bytes(), Side::Upstream), Ok(()));
        }
        assert_eq!(client("Upgrade, HTTP2-Settings"), Err(Refusal::H2c));
    }
}
