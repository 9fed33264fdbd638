//! Where clients connect.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use demilune_core::{ByteSize, Network, Period};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An address that accepts connections.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerConfig {
    /// Address and port, such as `0.0.0.0:443`; IPv6 in brackets.
    #[serde(deserialize_with = "super::address")]
    #[schemars(with = "String")]
    pub address: SocketAddr,
    /// TLS, 1.2 at least. Without it the listener speaks plain HTTP.
    #[serde(default)]
    pub tls: Option<ListenerTlsConfig>,
    /// Why plain HTTP is right here; needed on any address but a loopback one.
    #[serde(default)]
    pub plain_http: Option<String>,
    /// Load balancers that begin each connection with a header of the PROXY protocol, version 1 or
    /// 2: the client is the one that the header names. Default: none, and nobody is believed.
    #[serde(default)]
    pub proxy_protocol: Option<ProxyProtocolConfig>,
    /// Proxies that are believed about the client of a request. Default: none, and headers about
    /// the client are removed unread.
    #[serde(default)]
    pub trusted_proxies: Option<TrustedProxiesConfig>,
    /// What clients are allowed.
    #[serde(default)]
    pub limits: ClientLimitsConfig,
}

/// The PROXY protocol.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyProtocolConfig {
    /// Networks or single addresses, such as `10.0.0.0/8`. Connections from there must begin with
    /// the header; in those from elsewhere it is a broken request.
    pub from: Vec<Network>,
}

/// Proxies in front of the gateway.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustedProxiesConfig {
    /// Networks or single addresses of the proxies. The client is the first address that stands in
    /// none of them, counted from the gateway outwards.
    pub networks: Vec<Network>,
    /// The header in which the proxies write down whom they got the request from. Only this one is
    /// read.
    pub header: ForwardedHeaderConfig,
}

/// A header by which proxies say where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ForwardedHeaderConfig {
    /// `X-Forwarded-For`.
    #[serde(rename = "x-forwarded-for")]
    XForwardedFor,
    /// `Forwarded`, of RFC 7239.
    #[serde(rename = "forwarded")]
    Forwarded,
}

/// TLS towards clients.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerTlsConfig {
    /// Certificates, chosen by the name the client asks for; the first one where none fits.
    pub certificates: Vec<CertificateConfig>,
}

/// A certificate with its key.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateConfig {
    /// PEM file of the certificate chain, leaf first. Relative to the document.
    pub chain: PathBuf,
    /// PEM file of the private key. Relative to the document.
    pub key: PathBuf,
}

/// What clients of a listener are allowed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClientLimitsConfig {
    /// Connections open at the same time, over all workers. Default 20000.
    pub connections: u32,
    /// Of these, from one address; IPv6 is counted by /64. Proxies under `trusted_proxies` are not
    /// counted; behind the PROXY protocol the clients are. Default 1024.
    pub connections_per_address: u32,
    /// TLS handshakes, and headers of the PROXY protocol, under way at the same time, over all
    /// workers. Default 4096.
    pub handshakes: u32,
    /// For the TLS handshake, and the header of the PROXY protocol before it. Default `10s`.
    pub handshake: Period,
    /// From a request's first byte to the end of its head. Default `10s`.
    pub head: Period,
    /// Between two chunks of a request's body. Default `30s`.
    pub body_idle: Period,
    /// While the client takes nothing of an answer. Default `30s`.
    pub write_idle: Period,
    /// Without a request on a connection that is kept alive. Default `60s`.
    pub idle: Period,
    /// Size of a request's head. Default `32KiB`, at least `8KiB`, at most `256KiB`.
    pub head_size: ByteSize,
}

impl Default for ClientLimitsConfig {
    fn default() -> Self {
        let seconds = |n| Period(Duration::from_secs(n));
        Self {
            connections: 20_000,
            connections_per_address: 1024,
            handshakes: 4096,
            handshake: seconds(10),
            head: seconds(10),
            body_idle: seconds(30),
            write_idle: seconds(30),
            idle: seconds(60),
            head_size: ByteSize(32 << 10),
        }
    }
}
