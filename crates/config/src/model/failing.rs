//! What is done about endpoints and upstreams that fail.

use std::time::Duration;

use demilune_core::{Percent, Period};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Takes endpoints out by how they answer requests: so many failures in a row, and an endpoint gets
/// no requests for a while.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EjectionConfig {
    /// Failures in a row that take an endpoint out, over all workers. No connection, no answer in
    /// time, an exchange broken off and these `statuses` are failures. Default 5.
    pub after: u32,
    /// Statuses of answers that are failures, of 500 to 599. Default 502, 503 and 504.
    pub statuses: Vec<u16>,
    /// For how long, the first time. It doubles each time that the endpoint fails again soon after
    /// its return. Default `30s`.
    pub time: Period,
    /// For how long at most. Default `5min`.
    pub longest: Period,
    /// How many of the endpoints may be out at the same time. One always stays. Default `50%`.
    pub share: Percent,
}

impl Default for EjectionConfig {
    fn default() -> Self {
        Self {
            after: 5,
            statuses: gateway_statuses(),
            time: Period(Duration::from_secs(30)),
            longest: Period(Duration::from_secs(300)),
            share: Percent(50),
        }
    }
}

/// Stops all requests to the upstream for a while where too many of them fail: 503 and
/// `Retry-After` without asking any endpoint.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CircuitBreakerConfig {
    /// The share of failures that opens it. Default `50%`.
    pub share: Percent,
    /// How many requests there must have been within the window, over all workers. Default 20.
    pub requests: u32,
    /// The time looked back on. Default `10s`.
    pub window: Period,
    /// For how long nothing is sent, the first time. It doubles each time that one of the `probes`
    /// fails. Default `5s`.
    pub open: Period,
    /// For how long at most. Default `1min`.
    pub longest: Period,
    /// How many requests are sent when that time has passed; when they all succeed it closes.
    /// Default 3.
    pub probes: u32,
    /// Statuses of answers that are failures, of 500 to 599. Default 502, 503 and 504.
    pub statuses: Vec<u16>,
}

impl Default for CircuitBreakerConfig {
    fn default() -> Self {
        Self {
            share: Percent(50),
            requests: 20,
            window: Period(Duration::from_secs(10)),
            open: Period(Duration::from_secs(5)),
            longest: Period(Duration::from_secs(60)),
            probes: 3,
            statuses: gateway_statuses(),
        }
    }
}

/// Sends a request again that got no answer. Never more than the budget allows.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// How often one request is sent again at most, 0 to 10. Default 1.
    pub attempts: u32,
    /// After what. `connect` holds for every request, the others for requests without a body whose
    /// method is idempotent. Default `[connect]`.
    pub on: Vec<RetryOn>,
    /// After answers with these statuses, of 500 to 599, that have no `Retry-After`. Default none.
    pub statuses: Vec<u16>,
    /// How many retries there may be for all requests to the upstream together. Default and most
    /// `20%`.
    pub budget: Percent,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self { attempts: 1, on: vec![RetryOn::Connect], statuses: Vec::new(), budget: Percent(20) }
    }
}

/// What a request is sent again after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RetryOn {
    /// No connection could be made: to another endpoint.
    Connect,
    /// The endpoint broke the exchange off before its answer.
    Reset,
    /// No answer came within `timeouts.response`.
    Timeout,
}

/// By which a server says that it stands before one that fails.
fn gateway_statuses() -> Vec<u16> {
    vec![502, 503, 504]
}
