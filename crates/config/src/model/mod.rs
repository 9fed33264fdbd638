//! The document as it is written: one strict model for the file, the schema, the console and the
//! control plane. What it means is decided by `compile`.

mod endpoint;
mod failing;
mod listener;
mod route;
mod upstream;

pub use endpoint::{
    BalanceConfig, ConsistentHashConfig, EndpointConfig, EndpointUrl, HashOnConfig,
};
pub use failing::{CircuitBreakerConfig, EjectionConfig, RetryConfig, RetryOn};
pub use listener::{
    CertificateConfig, CipherSuiteConfig, ClientCertificatesConfig, ClientCertificatesMode,
    ClientLimitsConfig, ForwardedHeaderConfig, ListenerConfig, ListenerTlsConfig, PlainHttp2Config,
    ProxyProtocolConfig, RedirectConfig, TlsVersionConfig, TrustedProxiesConfig,
};
pub use route::{Authenticate, MatchConfig, RouteConfig};
pub use upstream::{
    DnsConfig, HealthConfig, HostConfig, KeepAliveConfig, PendingConfig, TimeoutsConfig,
    TlsVersion, UpstreamConfig, UpstreamHttp2Config, UpstreamTlsConfig,
};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use demilune_core::{ByteSize, Period};
use demilune_policies::{AuthenticatorConfig, CredentialConfig, PolicyConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};

/// The whole configuration of a gateway.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The version of this format: 1.
    pub version: u32,
    /// Where secrets are read from. Everything else refers to them by these names; a secret itself
    /// never stands in the document.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretSource>,
    /// Where clients connect.
    #[serde(default)]
    pub listeners: BTreeMap<String, ListenerConfig>,
    /// Where requests go.
    #[serde(default)]
    pub upstreams: BTreeMap<String, UpstreamConfig>,
    /// Who may call.
    #[serde(default)]
    pub consumers: BTreeMap<String, ConsumerConfig>,
    /// The ways of proving who is calling; routes name them.
    #[serde(default)]
    pub authenticators: BTreeMap<String, AuthenticatorConfig>,
    /// What every route gets.
    #[serde(default)]
    pub defaults: DefaultsConfig,
    /// What is served.
    #[serde(default)]
    pub routes: BTreeMap<String, RouteConfig>,
    /// The operator's probes and metrics: `/livez`, `/readyz`, `/metrics`.
    #[serde(default)]
    pub admin: Option<AdminConfig>,
    /// How the gateway ends.
    #[serde(default)]
    pub shutdown: ShutdownConfig,
    /// When new requests are refused because there is too much to do already.
    #[serde(default)]
    pub overload: OverloadConfig,
}

/// Where a secret is read from, when the document is loaded.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// A file; one line break at its end is cut off. Relative to the document.
    File(PathBuf),
    /// An environment variable.
    Env(String),
}

/// A caller.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsumerConfig {
    /// The groups it belongs to.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Free facts about it.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// How it can prove who it is: hashes only.
    #[serde(default)]
    pub credentials: Vec<CredentialConfig>,
}

/// What every route gets.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DefaultsConfig {
    /// The policies. A route's own policy of the same key replaces the one here.
    #[serde(default)]
    pub policies: Vec<PolicyConfig>,
    /// Names of policies above that no route can replace: a floor.
    #[serde(default)]
    pub locked: Vec<String>,
    /// Why, by policy: needed for each entry of `on_fault` that opens.
    #[serde(default)]
    pub reasons: BTreeMap<String, String>,
    /// What happens when a policy cannot decide, by policy: `closed` (503) or `open`.
    #[serde(default)]
    pub on_fault: BTreeMap<String, FaultMode>,
}

/// What happens when a policy cannot decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FaultMode {
    /// The request is refused with 503.
    Closed,
    /// The request goes on; an event says so each time.
    Open,
}

/// The operator's endpoints.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminConfig {
    /// A loopback address with port.
    #[serde(deserialize_with = "address")]
    #[schemars(with = "String")]
    pub address: SocketAddr,
}

/// How the gateway ends.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShutdownConfig {
    /// How long exchanges under way may go on after SIGTERM or SIGINT. Default `30s`.
    #[serde(default = "drain")]
    pub drain: Period,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { drain: drain() }
    }
}

/// When new requests are refused, with 503 and `Retry-After`, before those under way suffer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OverloadConfig {
    /// Requests under way at the same time; each worker takes an equal share. Default 20000.
    pub requests: u32,
    /// Memory that the process uses (resident). Where left out, eight tenths of what the machine,
    /// or the process's control group, has.
    pub memory: Option<ByteSize>,
    /// By how much a worker may run behind, twice in a row. Default `500ms`.
    pub delay: Period,
}

impl Default for OverloadConfig {
    fn default() -> Self {
        let delay = Period(std::time::Duration::from_millis(500));
        Self { requests: 20_000, memory: None, delay }
    }
}

fn drain() -> Period {
    Period(std::time::Duration::from_secs(30))
}

/// Reads an address with a port.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        let found: String = text.chars().take(60).collect();
        let expected = "expected an address and a port such as `127.0.0.1:8080` or `[::1]:8080`";
        de::Error::custom(format!("{expected}, found `{found}`"))
    })
}
