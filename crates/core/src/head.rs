//! A request as the policies see it: who connected, the normalised head, the route, the identity.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version};

use crate::consumer::Identity;
use crate::path::Target;
use crate::route::Route;
use crate::time::Moment;

/// The longest host name accepted, in bytes (RFC 1035 section 2.3.4).
pub const HOST_LIMIT: usize = 253;

/// Room for the colon and the digits of a port.
const PORT_ROOM: usize = 6;

/// Who connected, and how.
///
/// The client is the other end of the connection, unless somebody whom the listener believes spoke
/// for another one: a load balancer by the PROXY protocol for a connection, a proxy by a header for
/// a request.
#[derive(Debug, Clone)]
pub struct Downstream {
    /// The other end of the connection, whoever it spoke for.
    pub peer: SocketAddr,
    /// The listener that accepted it, as the document names it.
    pub listener: Arc<str>,
    /// What the TLS handshake settled; `None` on plain connections.
    pub tls: Option<TlsFacts>,
    address: IpAddr,
    port: Option<u16>,
    address_text: Arc<str>,
    hops: Option<Arc<str>>,
}

impl Downstream {
    /// A connection from `peer` to the listener of this name.
    #[must_use]
    pub fn new(peer: SocketAddr, listener: Arc<str>, tls: Option<TlsFacts>) -> Self {
        Self::relayed(peer, peer, listener, tls)
    }

    /// A connection from `peer`, which says that it passes on one from `client`, and is believed.
    #[must_use]
    pub fn relayed(
        peer: SocketAddr,
        client: SocketAddr,
        listener: Arc<str>,
        tls: Option<TlsFacts>,
    ) -> Self {
        let address = client.ip().to_canonical();
        let (port, address_text) = (Some(client.port()), address.to_string().into());
        Self { peer, listener, tls, address, port, address_text, hops: None }
    }

    /// For one request on this connection: it is `client`'s, and came by `hops`, from the one
    /// nearest to the client to the one nearest to us.
    #[must_use]
    pub fn forwarded(&self, client: IpAddr, hops: &[IpAddr]) -> Self {
        let address = client.to_canonical();
        let address_text: Arc<str> = address.to_string().into();
        let mut all = String::from(&*address_text);
        for hop in hops {
            // Writing to a string does not fail.
            let _ = write!(all, ", {}", hop.to_canonical());
        }
        let (listener, tls) = (Arc::clone(&self.listener), self.tls.clone());
        let hops = Some(all.into());
        Self { peer: self.peer, listener, tls, address, port: None, address_text, hops }
    }

    /// The client's address, IPv4-mapped IPv6 addresses unwrapped.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// [`Downstream::address`] as text, written once for all requests of the connection.
    #[must_use]
    pub fn address_text(&self) -> &str {
        &self.address_text
    }

    /// The client's port, where it is known.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether the client is another than the other end of the connection.
    #[must_use]
    pub fn is_passed_on(&self) -> bool {
        self.port != Some(self.peer.port()) || self.address != self.peer.ip().to_canonical()
    }

    /// What the upstream is told as `X-Forwarded-For`: the client, then the proxies between it and
    /// us that were believed.
    #[must_use]
    pub fn forwarded_for(&self) -> &str {
        self.hops.as_deref().unwrap_or(&self.address_text)
    }
}

/// What the TLS handshake settled.
#[derive(Debug, Clone, Default)]
pub struct TlsFacts {
    /// `TLSv1.2` or `TLSv1.3`.
    pub version: &'static str,
    /// The server name the client asked for, in lower case.
    pub server_name: Option<Arc<str>>,
    /// The client's certificate, verified against the listener's authorities; `None` where the
    /// client showed none.
    pub client_certificate: Option<Arc<ClientCertificate>>,
}

/// What a verified client certificate says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject as RFC 4514 writes it, such as `CN=acme, O=Acme Ltd`; may be empty.
    pub subject: String,
    /// DNS names, in lower case.
    pub dns_names: Vec<String>,
    /// URIs, SPIFFE ids among them.
    pub uris: Vec<String>,
    /// Addresses of electronic mail.
    pub emails: Vec<String>,
    /// SHA-256 of the certificate's DER form, 64 hexadecimal digits in lower case (what RFC 8705
    /// calls its thumbprint, there in base64url).
    pub thumbprint: String,
}

/// The scheme of the request as the client used it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    /// `http` or `https`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port meant where none is written.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The authority a request is for: a valid host in lower case, and the port where one was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    text: String,
    name_end: usize,
    port: Option<u16>,
}

/// The text is no host with an optional port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host name or address with an optional port")]
pub struct HostInvalid;

impl Host {
    /// Parses `host[:port]` (RFC 9110 section 7.2); names in lower case, one trailing dot cut off.
    ///
    /// # Errors
    /// For anything else: user information, paths, lists, spaces, empty names or labels, port 0 or
    /// none after the colon.
    pub fn parse(text: &str) -> Result<Self, HostInvalid> {
        let (name, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']').ok_or(HostInvalid)?;
            address.parse::<std::net::Ipv6Addr>().map_err(|_| HostInvalid)?;
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(port),
                None if rest.is_empty() => None,
                None => return Err(HostInvalid),
            };
            let end = address.len() + 2;
            (text.get(..end).ok_or(HostInvalid)?, port)
        } else {
            match text
                .bytes()
                .position(|byte| byte == b':')
                .and_then(|at| text.split_at_checked(at))
            {
                Some((name, port)) => (name, port.get(1..)),
                None => (text, None),
            }
        };
        let port = port.map(parse_port).transpose()?;
        let name = if name.starts_with('[') { name } else { checked_name(name)? };
        let name_end = name.len();
        let mut text = String::with_capacity(name_end + PORT_ROOM);
        text.push_str(name);
        text.make_ascii_lowercase();
        if let Some(port) = port {
            text.push(':');
            text.push_str(itoa::Buffer::new().format(port));
        }
        Ok(Self { text, name_end, port })
    }

    /// The name or address, in lower case, without the port.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.get(..self.name_end).unwrap_or_default()
    }

    /// The port as written.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// `name[:port]` in canonical form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether both mean the same authority under `scheme` (a written default port equals none).
    #[must_use]
    pub fn same_as(&self, other: &Self, scheme: Scheme) -> bool {
        let port = |host: &Self| host.port.unwrap_or(scheme.default_port());
        self.name() == other.name() && port(self) == port(other)
    }
}

fn parse_port(text: &str) -> Result<u16, HostInvalid> {
    if text.is_empty() || text.len() > 5 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(HostInvalid);
    }
    match text.parse::<u16>() {
        Ok(0) | Err(_) => Err(HostInvalid),
        Ok(port) => Ok(port),
    }
}

fn checked_name(name: &str) -> Result<&str, HostInvalid> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let mut label = 0_usize;
    for byte in name.bytes() {
        match byte {
            b'.' if label == 0 => return Err(HostInvalid),
            b'.' => label = 0,
            b'-' | b'_' => label += 1,
            byte if byte.is_ascii_alphanumeric() => label += 1,
            _ => return Err(HostInvalid),
        }
        if label > 63 {
            return Err(HostInvalid);
        }
    }
    if label > 0 && name.len() <= HOST_LIMIT { Ok(name) } else { Err(HostInvalid) }
}

/// The one normalised form of a request's head; ambiguous ones never get this far.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// The method; never `CONNECT` or `TRACE`.
    pub method: Method,
    /// How the client reached us.
    pub scheme: Scheme,
    /// The authority: from `Host`, the absolute target or `:authority`, which agree.
    pub host: Host,
    /// The canonical path, with the query.
    pub target: Target,
    /// The protocol the client speaks.
    pub version: Version,
    /// The headers as received, without those that frame the message or govern the connection.
    pub headers: HeaderMap,
    /// The body's length where the client declared it; `None` for streamed ones. `Some(0)` for no
    /// body.
    pub content_length: Option<u64>,
}

impl RequestHead {
    /// The only value of `name`; `Err` where there are several, which no credential may have.
    ///
    /// # Errors
    /// [`Doubled`] where the header occurs more than once.
    pub fn single(&self, name: &HeaderName) -> Result<Option<&HeaderValue>, Doubled> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(Doubled),
        }
    }

    /// Whether this is a CORS preflight (Fetch standard, section 3.2.2), and for which method.
    #[must_use]
    pub fn preflight(&self) -> Option<Method> {
        if self.method != Method::OPTIONS || !self.headers.contains_key(http::header::ORIGIN) {
            return None;
        }
        let wanted = self.headers.get(http::header::ACCESS_CONTROL_REQUEST_METHOD)?;
        Method::from_bytes(wanted.as_bytes()).ok()
    }
}

/// A header that must be single occurs several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Doubled;

/// The name of one exchange in every log, event, refusal and towards the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub u128);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0_u8; 32];
        for (place, byte) in text.chunks_exact_mut(2).zip(self.0.to_be_bytes()) {
            let nibbles = [byte >> 4, byte & 0xf];
            for (digit, nibble) in place.iter_mut().zip(nibbles) {
                *digit = DIGITS.get(usize::from(nibble)).copied().unwrap_or_default();
            }
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// What a hook may look at. Cheap to copy; nothing in it can be changed.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The exchange's id.
    pub id: RequestId,
    /// When the exchange began.
    pub now: Moment,
    /// Who connected.
    pub downstream: &'a Downstream,
    /// The head.
    pub head: &'a RequestHead,
    /// The route that matched.
    pub route: &'a Route,
    /// Who is calling; `None` before the Authenticate stage has passed and for anonymous callers.
    pub identity: Option<&'a Identity>,
}

impl Request<'_> {
    /// The value that the route's template captured for `{name}`, in canonical (encoded) form.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.route.parameter(self.head.target.path(), name)
    }
}

/// What the upstream will be sent: rewriters may change it.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// Path and query; setting it keeps it canonical.
    pub target: Target,
    /// All headers but those that frame the message.
    pub headers: HeaderMap,
}

/// The head of an answer on its way to the client: response hooks may change its headers.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// All headers but those that frame the message.
    pub headers: HeaderMap,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_form() {
        let cases = [
            ("API.Example.com", "api.example.com", None),
            ("api.example.com.", "api.example.com", None),
            ("localhost:8443", "localhost", Some(8443)),
            ("127.0.0.1:80", "127.0.0.1", Some(80)),
            ("[::1]:80", "[::1]", Some(80)),
            ("[2001:DB8::1]", "[2001:db8::1]", None),
        ];
        for (text, name, port) in cases {
            let host = Host::parse(text).unwrap();
            assert_eq!((host.name(), host.port()), (name, port), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "", ".", "a..b", "a b", "a/b", "a,b", "user@a", "a:", "a:0", "a:99999", "a:-1",
            "a:1:2", "[::1", "[::1]x", "[x]", "a\0", "é", "a:8o",
        ] {
            assert_eq!(Host::parse(text), Err(HostInvalid), "{text:?}");
        }
        assert!(Host::parse(&"a".repeat(64)).is_err());
    }

    #[test]
    fn a_written_default_port_is_the_same_authority() {
        let [a, b] = ["a", "a:443"].map(|text| Host::parse(text).unwrap());
        assert!(a.same_as(&b, Scheme::Https));
        assert!(!a.same_as(&b, Scheme::Http));
    }
}
