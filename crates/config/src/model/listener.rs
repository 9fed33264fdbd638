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
    /// HTTP/2 on a listener without TLS; over TLS, clients choose it by ALPN.
    #[serde(default)]
    pub http2: Option<PlainHttp2Config>,
    /// `https`: serves no route, and answers every request with 308 to the same place under
    /// `https`. Only without `tls`. Default: routes are served.
    #[serde(default)]
    pub redirect: Option<RedirectConfig>,
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

/// How clients of a listener without TLS come to speak HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlainHttp2Config {
    /// By beginning with its preface (RFC 9113 section 3.3); all others speak HTTP/1.
    PriorKnowledge,
}

/// Where a listener sends its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RedirectConfig {
    /// To the host they asked for, by HTTPS at its usual port.
    Https,
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
    /// The oldest version spoken, `"1.2"` or `"1.3"`. Default `"1.2"`; nothing older is offered.
    #[serde(default)]
    pub minimum_version: TlsVersionConfig,
    /// The only cipher suites offered. Default: all of those that can be named here, each with
    /// forward secrecy and authenticated encryption.
    #[serde(default)]
    pub cipher_suites: Vec<CipherSuiteConfig>,
    /// Certificates of clients. Default: none are asked for.
    #[serde(default)]
    pub client_certificates: Option<ClientCertificatesConfig>,
}

/// A version of TLS.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum TlsVersionConfig {
    /// TLS 1.2 and newer.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 only.
    #[serde(rename = "1.3")]
    Tls13,
}

/// A cipher suite, by its name in IANA's registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CipherSuiteConfig {
    /// TLS 1.3.
    #[serde(rename = "TLS_AES_256_GCM_SHA384")]
    Aes256,
    /// TLS 1.3.
    #[serde(rename = "TLS_AES_128_GCM_SHA256")]
    Aes128,
    /// TLS 1.3.
    #[serde(rename = "TLS_CHACHA20_POLY1305_SHA256")]
    ChaCha20,
    /// TLS 1.2, for certificates with an elliptic curve.
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384")]
    EcdsaAes256,
    /// TLS 1.2, for certificates with an elliptic curve.
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")]
    EcdsaAes128,
    /// TLS 1.2, for certificates with an elliptic curve.
    #[serde(rename = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")]
    EcdsaChaCha20,
    /// TLS 1.2, for RSA certificates.
    #[serde(rename = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384")]
    RsaAes256,
    /// TLS 1.2, for RSA certificates.
    #[serde(rename = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256")]
    RsaAes128,
    /// TLS 1.2, for RSA certificates.
    #[serde(rename = "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256")]
    RsaChaCha20,
}

/// A certificate with its key.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateConfig {
    /// PEM file of the certificate chain, leaf first. Relative to the document.
    pub chain: PathBuf,
    /// PEM file of the private key. Relative to the document.
    pub key: PathBuf,
    /// DER file of the authority's OCSP response, which is stapled to handshakes. Relative to the
    /// document; somebody has to renew it. Default: none.
    #[serde(default)]
    pub ocsp: Option<PathBuf>,
}

/// Certificates of clients.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificatesConfig {
    /// PEM file of the authorities that issue them. Relative to the document.
    pub authorities: PathBuf,
    /// Whether a client without one is turned away: `required` or `optional`. Default `required`.
    #[serde(default)]
    pub mode: ClientCertificatesMode,
    /// PEM or DER files of revocation lists. With one, every certificate of a client's chain must
    /// be covered by a list that has not expired. Relative to the document. Default: none, and
    /// nothing is looked up.
    #[serde(default)]
    pub revocation: Vec<PathBuf>,
}

/// Whether clients must show a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificatesMode {
    /// A client without one gets no connection.
    #[default]
    Required,
    /// A client without one is served; one that is not good is refused all the same.
    Optional,
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
    /// From a request's head to the end of its answer. No limit where left out: then the deadlines
    /// for each step count alone.
    pub request: Option<Period>,
    /// The least a client must move in a second, on average, of a body it sends and of an answer
    /// it takes, once it has kept the gateway waiting for ten seconds. Default `500B`.
    pub least_rate: ByteSize,
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
            request: None,
            least_rate: ByteSize(500),
            head_size: ByteSize(32 << 10),
        }
    }
}
