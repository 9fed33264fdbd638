//! Where requests go.

use std::path::PathBuf;
use std::time::Duration;

use demilune_core::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    BalanceConfig, CertificateConfig, CircuitBreakerConfig, EjectionConfig, EndpointConfig,
    RetryConfig,
};

/// A group of endpoints that serve the same.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Addresses: `http://10.0.0.11:8080` or `https://shop.internal:8443`, or such with a weight:
    /// `{ url: "http://10.0.0.11:8080", weight: 3 }`. At least one.
    pub endpoints: Vec<EndpointConfig>,
    /// How the endpoints' certificates are verified. Verification cannot be turned off.
    #[serde(default)]
    pub tls: Option<UpstreamTlsConfig>,
    /// How an endpoint is chosen: `least_request` (default), `round_robin`, `peak_ewma` or
    /// `consistent_hash`.
    #[serde(default)]
    pub balance: BalanceConfig,
    /// Where HTTP/2 is spoken: `alpn` (`https` endpoints that choose it) or `prior_knowledge`
    /// (`http` endpoints, without asking). Default: HTTP/1.1 only.
    #[serde(default)]
    pub http2: Option<UpstreamHttp2Config>,
    /// How long is waited for what.
    #[serde(default)]
    pub timeouts: TimeoutsConfig,
    /// When a request is sent again. By default once, to another endpoint, where no connection
    /// could be made.
    #[serde(default)]
    pub retry: RetryConfig,
    /// Requests under way to each endpoint at the same time, over all workers; beyond that they
    /// wait, as `pending` says, or get 503. One is under way from before its connection is opened.
    /// Default 1024, at most 100000.
    #[serde(default = "requests")]
    pub requests: u32,
    /// Requests that wait where every endpoint has as many as `requests` under way. Without it none
    /// does.
    #[serde(default)]
    pub pending: Option<PendingConfig>,
    /// Idle connections kept to each endpoint by each worker. Default 64, at most 1024.
    #[serde(default = "idle_connections")]
    pub idle_connections: u32,
    /// How long connections are kept between requests.
    #[serde(default)]
    pub keep_alive: KeepAliveConfig,
    /// Active health checks. Without them every endpoint counts as healthy.
    #[serde(default)]
    pub health: Option<HealthConfig>,
    /// Takes endpoints out by how they answer requests. Without it only `health` does.
    #[serde(default)]
    pub ejection: Option<EjectionConfig>,
    /// Stops all requests for a while where too many fail. Without it nothing does.
    #[serde(default)]
    pub circuit_breaker: Option<CircuitBreakerConfig>,
    /// How the endpoints' names are looked up. Only where an endpoint has a name.
    #[serde(default)]
    pub dns: Option<DnsConfig>,
    /// What the endpoints are told as `Host`: `endpoint` (their own name, default) or `client`
    /// (what the client asked for).
    #[serde(default)]
    pub host: HostConfig,
}

fn requests() -> u32 {
    1024
}

fn idle_connections() -> u32 {
    64
}

/// Requests that wait for a place at an endpoint.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PendingConfig {
    /// So many at the same time, over all workers; further ones get 503. Default 100, at most
    /// 100000.
    pub requests: u32,
    /// For so long at most; then 503. Default `1s`.
    pub time: Period,
}

impl Default for PendingConfig {
    fn default() -> Self {
        Self { requests: 100, time: Period(Duration::from_secs(1)) }
    }
}

/// How long connections are kept between requests.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct KeepAliveConfig {
    /// Idle for so long at most. Default `60s`.
    pub idle: Period,
    /// For so long at most, from its beginning. Default no limit.
    pub age: Option<Period>,
    /// For so many requests at most. Default no limit.
    pub requests: Option<u32>,
}

impl Default for KeepAliveConfig {
    fn default() -> Self {
        Self { idle: Period(Duration::from_secs(60)), age: None, requests: None }
    }
}

/// How an endpoint's certificate is verified.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTlsConfig {
    /// PEM file of the authorities trusted, instead of the system's. Relative to the document.
    #[serde(default)]
    pub authorities: Option<PathBuf>,
    /// The name to ask for (SNI) and to verify, instead of the endpoint's host.
    #[serde(default)]
    pub server_name: Option<String>,
    /// What the gateway proves itself with to the endpoints (mutual TLS).
    #[serde(default)]
    pub client_certificate: Option<CertificateConfig>,
    /// Names of which the endpoints' certificates must have one, instead of `server_name` or the
    /// endpoint's host: DNS names, addresses, or URIs such as `spiffe://example.com/shop`.
    #[serde(default)]
    pub subject_alternative_names: Vec<String>,
    /// Public keys of which the endpoints' certificates must have one, beside all else: `sha256:`
    /// and 64 hexadecimal digits, of the key's `SubjectPublicKeyInfo` in DER.
    #[serde(default)]
    pub public_keys: Vec<String>,
    /// The lowest version spoken. Default `tls_1_2`.
    #[serde(default)]
    pub minimum_version: TlsVersion,
}

/// A version of TLS.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum TlsVersion {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "tls_1_2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "tls_1_3")]
    Tls13,
}

/// How endpoints come to be spoken to over HTTP/2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UpstreamHttp2Config {
    /// `https` endpoints are offered it beside HTTP/1.1, and choose.
    Alpn,
    /// `http` endpoints are known to speak it.
    PriorKnowledge,
}

/// What the endpoints are told as `Host`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostConfig {
    /// Their own name.
    #[default]
    Endpoint,
    /// What the client asked for.
    Client,
}

/// How the names of endpoints are looked up: in the background, never for a request.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DnsConfig {
    /// Between two look-ups of a name, `1s` to `1h`. Where several upstreams have the same name,
    /// the shortest counts. Default `30s`.
    #[serde(default = "look_up_every")]
    pub interval: Period,
}

impl Default for DnsConfig {
    fn default() -> Self {
        Self { interval: look_up_every() }
    }
}

fn look_up_every() -> Period {
    Period(Duration::from_secs(30))
}

/// How long is waited for what.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimeoutsConfig {
    /// For the TCP connection, and again for the TLS handshake. Default `5s`.
    pub connect: Period,
    /// From the last byte sent to the answer's head. Default `60s`.
    pub response: Period,
    /// Between two chunks of the answer's body, and for WebSockets on which nothing is said.
    /// Default `60s`.
    pub idle: Period,
}

impl Default for TimeoutsConfig {
    fn default() -> Self {
        let seconds = |n| Period(Duration::from_secs(n));
        Self { connect: seconds(5), response: seconds(60), idle: seconds(60) }
    }
}

/// Active health checks: `GET` of a path; any 2xx is healthy.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthConfig {
    /// The path asked for.
    pub path: String,
    /// Between two checks. Default `10s`.
    #[serde(default = "interval")]
    pub interval: Period,
    /// For one check. Default `2s`.
    #[serde(default = "timeout")]
    pub timeout: Period,
    /// Failures in a row that take an endpoint out. Default 3.
    #[serde(default = "unhealthy_after")]
    pub unhealthy_after: u32,
    /// Successes in a row that take it in again. Default 2.
    #[serde(default = "healthy_after")]
    pub healthy_after: u32,
}

fn interval() -> Period {
    Period(Duration::from_secs(10))
}

fn timeout() -> Period {
    Period(Duration::from_secs(2))
}

fn unhealthy_after() -> u32 {
    3
}

fn healthy_after() -> u32 {
    2
}
