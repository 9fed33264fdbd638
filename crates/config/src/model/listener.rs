//! Where clients connect.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use demilune_core::{ByteSize, Period};
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
    /// HTTP/2 on a listener without TLS; over TLS, clients choose it by ALPN.
    #[serde(default)]
    pub http2: Option<PlainHttp2Config>,
    /// What clients are allowed.
    #[serde(default)]
    pub limits: ClientLimitsConfig,
}

/// How clients of a listener without TLS come to speak HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlainHttp2Config {
    /// By beginning with its preface (RFC 9113 section 3.3); all others speak HTTP/1.
    PriorKnowledge,
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
    /// For the TLS handshake. Default `10s`.
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
            handshake: seconds(10),
            head: seconds(10),
            body_idle: seconds(30),
            write_idle: seconds(30),
            idle: seconds(60),
            head_size: ByteSize(32 << 10),
        }
    }
}
