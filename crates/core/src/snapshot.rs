//! What the document means: built once, shared by all workers, never changed. A request holds the
//! one it began with to its end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::head::Scheme;
use crate::network::Networks;
use crate::route::{Route, RouteIndex};
use crate::secret::Secret;

/// One compiled document.
#[derive(Debug)]
pub struct Snapshot {
    /// Sixteen hexadecimal digits that name the document's text.
    pub version: Arc<str>,
    /// Where clients connect.
    pub listeners: Vec<Arc<Listener>>,
    /// All routes, by name.
    pub routes: Vec<Arc<Route>>,
    /// What a request runs into that no route matches: the default policies, and then a 404. So
    /// that looking for routes is limited and answered like everything else.
    pub unmatched: Arc<Route>,
    /// Where requests go, by name.
    pub upstreams: BTreeMap<Arc<str>, Arc<Upstream>>,
    /// Where the operator's probes and metrics are served; loopback only.
    pub admin: Option<SocketAddr>,
    /// How long open exchanges may go on after a shutdown began.
    pub drain: Duration,
    /// When new work is refused.
    pub overload: Overload,
}

/// When new work is refused because there is too much already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overload {
    /// Exchanges under way at the same time, over all workers; each takes an equal share.
    pub requests: usize,
    /// The process's resident memory, in bytes; `None` for a share of what there is.
    pub memory: Option<u64>,
    /// By how much a worker may run behind.
    pub delay: Duration,
}

/// An address that accepts connections.
#[derive(Debug)]
pub struct Listener {
    /// Its name in the document.
    pub name: Arc<str>,
    /// Where it listens.
    pub address: SocketAddr,
    /// How it speaks TLS; `None` for plain HTTP.
    pub tls: Option<ListenerTls>,
    /// Whether clients without TLS may speak HTTP/2 by beginning with its preface.
    pub prior_knowledge: bool,
    /// Who begins connections with a header of the PROXY protocol, and must.
    pub proxy_protocol: Option<Networks>,
    /// Which proxies are believed about the client of a request.
    pub trusted_proxies: Option<TrustedProxies>,
    /// Whether it serves nothing, and sends clients to `https` instead.
    pub redirects: bool,
    /// The routes it serves.
    pub routes: RouteIndex,
    /// What clients are allowed.
    pub limits: ClientLimits,
}

/// Proxies that are believed about whose requests they pass on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedProxies {
    /// Where they are.
    pub networks: Networks,
    /// The header in which each of them writes down whom it got the request from.
    pub header: ForwardedHeader,
}

/// The header by which proxies say where a request came from. Only the one named is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: a list of addresses.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// Limits on clients of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientLimits {
    /// Connections open at the same time, over all workers.
    pub connections: usize,
    /// Of these, from one address (IPv6: one /64); proxies that are believed are not counted, the
    /// clients of load balancers are.
    pub connections_per_address: usize,
    /// TLS handshakes, and headers of the PROXY protocol, under way at the same time, over all
    /// workers.
    pub handshakes: usize,
    /// From the connection's start to the end of the TLS handshake.
    pub handshake: Duration,
    /// From a request's first byte to the end of its head.
    pub head: Duration,
    /// Between two chunks of a request's body.
    pub body_idle: Duration,
    /// While the client takes nothing of an answer.
    pub write_idle: Duration,
    /// Without a request on a kept-alive connection.
    pub idle: Duration,
    /// From a request's head to the end of its answer; `None` for no limit.
    pub request: Option<Duration>,
    /// Bytes a second, on average, that a client must move while it is waited for.
    pub least_rate: u64,
    /// Size of a request's head, in bytes.
    pub head_size: usize,
}

/// The TLS side of a listener.
#[derive(Debug, Clone)]
pub struct ListenerTls {
    /// Chosen by server name; the first where none fits or the client named none.
    pub certificates: Vec<CertificateFiles>,
    /// The oldest version spoken.
    pub minimum_version: TlsVersion,
    /// The only cipher suites offered, by their names in IANA's registry; empty for all modern
    /// ones.
    pub cipher_suites: Vec<&'static str>,
    /// Whether clients are asked for certificates.
    pub client_certificates: Option<ClientCertificates>,
    /// Where the document says all this, such as `listeners.public.tls`.
    pub place: String,
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246), with forward secrecy and authenticated encryption only.
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

/// A certificate chain with its key, as read from files.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// PEM, leaf first.
    pub chain: Bytes,
    /// PEM.
    pub key: Secret,
    /// What the authority says of its revocation (RFC 6960), in DER, to be stapled to handshakes.
    pub ocsp: Option<Bytes>,
    /// Where the document names them, such as `listeners.public.tls.certificates[0]`.
    pub place: String,
}

/// By their chains: one public key has one private key, and another one beside it is refused before
/// it is used.
impl PartialEq for CertificateFiles {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain && self.place == other.place
    }
}

impl Eq for CertificateFiles {}

/// How clients prove who they are in the handshake.
#[derive(Debug, Clone)]
pub struct ClientCertificates {
    /// PEM of the authorities that issue them.
    pub authorities: Bytes,
    /// Whether a client without one is turned away.
    pub required: bool,
    /// Lists of revoked certificates, each PEM or DER. With one, every certificate of a chain must
    /// be covered by one that has not expired.
    pub revocation: Vec<Bytes>,
    /// Where the document says so, such as `listeners.public.tls.client_certificates`.
    pub place: String,
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// Its name in the document.
    pub name: Arc<str>,
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    /// How much of the requests each of them gets against the others, in their order; at least 1.
    pub weights: Vec<u16>,
    /// How TLS to the endpoints is verified; used where an endpoint is `https`.
    pub tls: UpstreamTls,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// Where HTTP/2 is spoken; `None` for nowhere.
    pub http2: Option<UpstreamHttp2>,
    /// For the TCP connection, and again for the TLS handshake.
    pub connect_timeout: Duration,
    /// From sending the request's head to the answer's head.
    pub response_timeout: Duration,
    /// Between two chunks of the answer's body, and for idle tunnels.
    pub idle_timeout: Duration,
    /// When a request is sent again.
    pub retry: Retry,
    /// Requests under way to each endpoint at the same time, over all workers.
    pub requests: usize,
    /// Who waits where no endpoint takes one more; `None` for nobody.
    pub pending: Option<Pending>,
    /// Connections kept between requests.
    pub keep_alive: KeepAlive,
    /// Active health checks; `None` for none.
    pub health: Option<Health>,
    /// What takes an endpoint out by how it answers requests; `None` for nothing.
    pub ejection: Option<Ejection>,
    /// What stops all requests for a while where too many fail; `None` for nothing.
    pub circuit_breaker: Option<CircuitBreaker>,
    /// Between two look-ups of the endpoints' names.
    pub look_up_every: Duration,
    /// What the endpoint is told as `Host`.
    pub host: HostHeader,
}

/// One address of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Plain or TLS.
    pub scheme: Scheme,
    /// Name or address, without brackets.
    pub host: Arc<str>,
    /// Port.
    pub port: u16,
    /// `https://host:port` in canonical form: what logs and metrics say.
    pub url: Arc<str>,
    /// What it is told as `Host` where the upstream says so.
    pub authority: HeaderValue,
}

/// How an upstream's certificate is verified. Verification cannot be turned off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamTls {
    /// PEM of the authorities trusted; `None` for the system's.
    pub authorities: Option<Bytes>,
    /// The name to verify and to send as SNI; `None` for the endpoint's host.
    pub server_name: Option<String>,
    /// What the gateway proves itself with; `None` for nothing.
    pub client_certificate: Option<CertificateFiles>,
    /// Names of which the certificate must have one, in place of the one above: DNS names,
    /// addresses, URIs. Empty for that one.
    pub alternative_names: Vec<String>,
    /// SHA-256 of the public keys (RFC 5280 section 4.1.2.7, in DER) of which the certificate must
    /// have one; empty for any.
    pub keys: Vec<[u8; 32]>,
    /// Whether TLS 1.2 is not spoken.
    pub tls13_only: bool,
    /// Where the document says so.
    pub place: String,
}

/// How endpoints come to be spoken to over HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamHttp2 {
    /// `https` endpoints are offered it beside HTTP/1.1, and choose.
    Alpn,
    /// `http` endpoints are known to speak it.
    PriorKnowledge,
}

/// How an endpoint is chosen among those that may get requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// The one with the fewest requests under way for its weight, over all workers; ties in turn.
    LeastRequest,
    /// Each in turn, as often as its weight says.
    RoundRobin,
    /// Of two, the one that is likely to answer sooner: by its latency, of which peaks count at
    /// once and fade, and by the requests under way.
    PeakEwma,
    /// Always the same for the same key, while it may get requests.
    ConsistentHash(ConsistentHash),
}

/// Requests of one key go to one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistentHash {
    /// What the key is.
    pub on: HashOn,
    /// By how much an endpoint may have more requests under way than its share, in percent.
    pub overload: u8,
}

/// What the key of a request is. One without it goes where the fewest requests are under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashOn {
    /// The value of this header, where it stands once.
    Header(HeaderName),
    /// The value of this cookie.
    Cookie(String),
    /// The caller that was proved.
    Consumer,
    /// The client's address.
    Address,
}

/// An active health check: `GET` of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The path asked for.
    pub path: Arc<str>,
    /// Between two checks.
    pub interval: Duration,
    /// For one check.
    pub timeout: Duration,
    /// Failures in a row that take an endpoint out.
    pub unhealthy_after: u32,
    /// Successes in a row that take it in again.
    pub healthy_after: u32,
}

/// What takes an endpoint out by how it answers requests (passive health checks).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row that take it out.
    pub after: u32,
    /// The statuses of answers that count as failures; no connection, no answer in time, and an
    /// exchange broken off always do.
    pub statuses: Vec<StatusCode>,
    /// For how long, the first time; it doubles each time that the endpoint fails again.
    pub time: Duration,
    /// For how long at most.
    pub longest: Duration,
    /// How many of the endpoints may be out at the same time, in percent. One always stays.
    pub share: u8,
}

/// What stops all requests to an upstream for a while where too many of them fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CircuitBreaker {
    /// The share of failures that opens it, in percent.
    pub share: u8,
    /// How many requests there must have been within the window.
    pub requests: u32,
    /// The time looked back on.
    pub window: Duration,
    /// For how long nothing is sent, the first time; it doubles each time that the requests fail
    /// which are sent then.
    pub open: Duration,
    /// For how long at most.
    pub longest: Duration,
    /// How many requests are sent then, and must succeed.
    pub probes: u32,
    /// The statuses of answers that count as failures; no connection, no answer in time, and an
    /// exchange broken off always do.
    pub statuses: Vec<StatusCode>,
}

/// Requests that wait for a place at an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// So many at the same time, over all workers.
    pub requests: usize,
    /// For so long.
    pub time: Duration,
}

/// Connections kept between requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// Idle ones kept for each endpoint by each worker.
    pub connections: usize,
    /// How long one is kept idle.
    pub idle: Duration,
    /// How old one gets; `None` for no limit.
    pub age: Option<Duration>,
    /// How many requests one serves; `None` for no limit.
    pub requests: Option<u32>,
}

/// When a request is sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// How often one request is, at most.
    pub attempts: u32,
    /// Where no connection could be made; to another endpoint.
    pub connect: bool,
    /// Where the endpoint broke the exchange off before its answer. This and what follows only
    /// without a body, and with an idempotent method (RFC 9110 section 9.2.2).
    pub reset: bool,
    /// Where no answer came in time.
    pub timeout: bool,
    /// After answers with these statuses.
    pub statuses: Vec<StatusCode>,
    /// How many times for a hundred requests to the upstream, over all workers.
    pub budget: u8,
}

/// What the upstream is told as `Host`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostHeader {
    /// The endpoint's own authority; the client's stands in `X-Forwarded-Host`.
    Endpoint,
    /// The client's.
    Client,
}

impl Snapshot {
    /// The listener named `name`.
    #[must_use]
    pub fn listener(&self, name: &str) -> Option<&Arc<Listener>> {
        self.listeners.iter().find(|listener| &*listener.name == name)
    }
}
