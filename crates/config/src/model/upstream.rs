//! Where requests go.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use demilune_core::Period;
use demilune_core::head::{Host, Scheme};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A group of endpoints that serve the same.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamConfig {
    /// Addresses: `http://10.0.0.11:8080` or `https://shop.internal:8443`. At least one.
    pub endpoints: Vec<EndpointUrl>,
    /// How the endpoints' certificates are verified. Verification cannot be turned off.
    #[serde(default)]
    pub tls: Option<UpstreamTlsConfig>,
    /// How an endpoint is chosen: `least_request` (default) or `round_robin`.
    #[serde(default)]
    pub balance: BalanceConfig,
    /// Where HTTP/2 is spoken: `alpn` (`https` endpoints that choose it) or `prior_knowledge`
    /// (`http` endpoints, without asking). Default: HTTP/1.1 only.
    #[serde(default)]
    pub http2: Option<UpstreamHttp2Config>,
    /// How long is waited for what.
    #[serde(default)]
    pub timeouts: TimeoutsConfig,
    /// How many further endpoints are tried where no connection could be made. Default 1, at most
    /// 10.
    #[serde(default = "retries")]
    pub retries: u32,
    /// Requests under way to each endpoint at the same time, over all workers; beyond that, 503.
    /// Default 1024, at most 100000.
    #[serde(default = "requests")]
    pub requests: u32,
    /// Idle connections kept to each endpoint by each worker. Default 64, at most 1024.
    #[serde(default = "idle_connections")]
    pub idle_connections: u32,
    /// Active health checks. Without them every endpoint counts as healthy.
    #[serde(default)]
    pub health: Option<HealthConfig>,
    /// What the endpoints are told as `Host`: `endpoint` (their own name, default) or `client`
    /// (what the client asked for).
    #[serde(default)]
    pub host: HostConfig,
}

fn retries() -> u32 {
    1
}

fn requests() -> u32 {
    1024
}

fn idle_connections() -> u32 {
    64
}

/// How an endpoint's certificate is verified.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTlsConfig {
    /// PEM file of the authorities trusted, instead of the system's. Relative to the document.
    #[serde(default)]
    pub authorities: Option<PathBuf>,
    /// The name to ask for (SNI) and to verify, instead of the endpoint's host.
    #[serde(default)]
    pub server_name: Option<String>,
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BalanceConfig {
    /// The one with the fewest requests under way.
    #[default]
    LeastRequest,
    /// Each in turn.
    RoundRobin,
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

/// `http://host[:port]` or `https://host[:port]`, nothing behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    /// Plain or TLS.
    pub scheme: Scheme,
    /// Host and port.
    pub host: Host,
}

impl EndpointUrl {
    /// The port: as written, or the scheme's.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.host.port().unwrap_or(self.scheme.default_port())
    }
}

const EXPECTED: &str = "expected an endpoint such as `http://10.0.0.11:8080` or \
                        `https://shop.internal:8443`, without a path";

impl FromStr for EndpointUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or(EXPECTED)?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(EXPECTED),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let host = Host::parse(rest).map_err(|_| EXPECTED)?;
        Ok(Self { scheme, host })
    }
}

impl std::fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}:{}", self.scheme.as_str(), self.host.name(), self.port())
    }
}

impl<'de> Deserialize<'de> for EndpointUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for EndpointUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for EndpointUrl {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EndpointUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^https?://[^/?#@\\s]+/?$" })
    }
}
