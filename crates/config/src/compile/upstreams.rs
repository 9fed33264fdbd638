//! Upstreams.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use demilune_core::head::Scheme;
use demilune_core::path::Target;
use demilune_core::snapshot::{
    Balance, ConsistentHash, Endpoint, HashOn, Health, HostHeader, Upstream, UpstreamHttp2,
};
use http::{HeaderName, HeaderValue};

use super::Compiler;
use crate::model::{
    BalanceConfig, DnsConfig, EndpointConfig, EndpointUrl, HashOnConfig, HealthConfig, HostConfig,
    UpstreamConfig, UpstreamHttp2Config,
};

/// The most endpoints of one upstream.
const ENDPOINTS_LIMIT: usize = 1024;

impl Compiler<'_> {
    pub(crate) fn upstreams(&mut self) -> BTreeMap<Arc<str>, Arc<Upstream>> {
        let model = &self.document.model;
        let mut all = BTreeMap::new();
        for (name, config) in &model.upstreams {
            let upstream = self.upstream(name, config);
            all.insert(Arc::clone(&upstream.name), Arc::new(upstream));
        }
        all
    }

    fn upstream(&mut self, name: &str, config: &UpstreamConfig) -> Upstream {
        let path = format!("upstreams.{name}");
        let count = config.endpoints.len();
        if count == 0 || count > ENDPOINTS_LIMIT {
            let reason = format!("expected 1 to {ENDPOINTS_LIMIT} endpoints, found {count}");
            self.error("config.invalid_value", &format!("{path}.endpoints"), reason);
        }
        for (i, endpoint) in config.endpoints.iter().enumerate() {
            if config.endpoints.iter().take(i).any(|other| other.url == endpoint.url) {
                let path = format!("{path}.endpoints[{i}]");
                self.error("config.duplicate", &path, "this endpoint is written twice");
            }
            if !(1..=100).contains(&endpoint.weight) {
                let path = format!("{path}.endpoints[{i}].weight");
                let reason = "expected 1 to 100; leave an endpoint out that is to get nothing";
                self.error("config.invalid_value", &path, reason);
            }
        }
        if !(1..=100_000).contains(&config.requests) {
            self.error("config.invalid_value", &format!("{path}.requests"), "expected 1 to 100000");
        }
        let timeouts = &config.timeouts;
        for (field, period) in [
            ("connect", timeouts.connect),
            ("response", timeouts.response),
            ("idle", timeouts.idle),
        ] {
            if period.0.is_zero() {
                let path = format!("{path}.timeouts.{field}");
                self.error("config.invalid_value", &path, "a deadline of zero lets nothing pass");
            }
        }
        Upstream {
            name: name.into(),
            endpoints: config.endpoints.iter().filter_map(|e| endpoint(&e.url)).collect(),
            weights: config.endpoints.iter().map(|endpoint| endpoint.weight.max(1)).collect(),
            tls: self.upstream_tls(&path, config),
            balance: self.balance(&format!("{path}.balance"), &config.balance),
            http2: self.upstream_http2(&path, config),
            connect_timeout: timeouts.connect.0,
            response_timeout: timeouts.response.0,
            idle_timeout: timeouts.idle.0,
            retry: self.retry(&path, config),
            requests: usize::try_from(config.requests).unwrap_or(1),
            pending: self.pending(&path, config),
            keep_alive: self.keep_alive(&path, config),
            health: config.health.as_ref().map(|health| self.health(&path, health)),
            ejection: self.ejection(&path, config),
            circuit_breaker: self.circuit_breaker(&path, config),
            look_up_every: self.look_up_every(&path, config),
            host: match config.host {
                HostConfig::Endpoint => HostHeader::Endpoint,
                HostConfig::Client => HostHeader::Client,
            },
        }
    }

    fn upstream_http2(&mut self, path: &str, config: &UpstreamConfig) -> Option<UpstreamHttp2> {
        let (http2, scheme, reason) = match config.http2? {
            UpstreamHttp2Config::Alpn => {
                let reason = "`alpn` has no effect: no endpoint is `https`";
                (UpstreamHttp2::Alpn, Scheme::Https, reason)
            }
            UpstreamHttp2Config::PriorKnowledge => {
                let reason = "`prior_knowledge` has no effect: no endpoint is `http`; \
                              `https` endpoints choose HTTP/2 by `alpn`";
                (UpstreamHttp2::PriorKnowledge, Scheme::Http, reason)
            }
        };
        if config.endpoints.iter().all(|endpoint| endpoint.url.scheme != scheme) {
            self.error("config.no_effect", &format!("{path}.http2"), reason);
        }
        Some(http2)
    }

    fn balance(&mut self, path: &str, config: &BalanceConfig) -> Balance {
        let config = match config {
            BalanceConfig::LeastRequest => return Balance::LeastRequest,
            BalanceConfig::RoundRobin => return Balance::RoundRobin,
            BalanceConfig::PeakEwma => return Balance::PeakEwma,
            BalanceConfig::ConsistentHash(config) => config,
        };
        let path = format!("{path}.consistent_hash.on");
        let on = match &config.on {
            HashOnConfig::Consumer => HashOn::Consumer,
            HashOnConfig::Address => HashOn::Address,
            HashOnConfig::Header(name) => match HeaderName::from_str(name) {
                Ok(name) => HashOn::Header(name),
                Err(_) => {
                    let path = format!("{path}.header");
                    self.error("config.invalid_value", &path, "expected a header's name");
                    HashOn::Address
                }
            },
            HashOnConfig::Cookie(name) => {
                // RFC 6265 section 4.1.1: a cookie's name is a token, as a header's is.
                if HeaderName::from_str(name).is_err() {
                    let path = format!("{path}.cookie");
                    self.error("config.invalid_value", &path, "expected a cookie's name");
                }
                HashOn::Cookie(name.clone())
            }
        };
        Balance::ConsistentHash(ConsistentHash { on, overload: config.overload.0 })
    }

    fn look_up_every(&mut self, path: &str, config: &UpstreamConfig) -> Duration {
        let Some(dns) = &config.dns else { return DnsConfig::default().interval.0 };
        let named = |endpoint: &EndpointConfig| {
            endpoint.url.host.name().trim_matches(['[', ']']).parse::<IpAddr>().is_err()
        };
        if !config.endpoints.iter().any(named) {
            let reason = "`dns` has no effect: every endpoint is an address";
            self.error("config.no_effect", &format!("{path}.dns"), reason);
        }
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(3600));
        if !(least..=most).contains(&dns.interval.0) {
            let path = format!("{path}.dns.interval");
            self.error("config.invalid_value", &path, "expected `1s` to `1h`");
        }
        dns.interval.0
    }

    fn health(&mut self, path: &str, config: &HealthConfig) -> Health {
        if let Err(refusal) = Target::parse(&config.path) {
            let path = format!("{path}.health.path");
            self.error("config.invalid_value", &path, refusal.to_string());
        }
        for (field, zero) in [
            ("interval", config.interval.0.is_zero()),
            ("timeout", config.timeout.0.is_zero()),
            ("unhealthy_after", config.unhealthy_after == 0),
            ("healthy_after", config.healthy_after == 0),
        ] {
            if zero {
                let path = format!("{path}.health.{field}");
                self.error("config.invalid_value", &path, "must not be zero");
            }
        }
        Health {
            path: config.path.as_str().into(),
            interval: config.interval.0,
            timeout: config.timeout.0,
            unhealthy_after: config.unhealthy_after,
            healthy_after: config.healthy_after,
        }
    }
}

fn endpoint(url: &EndpointUrl) -> Option<Endpoint> {
    let name = url.host.name();
    let authority = if url.port() == url.scheme.default_port() {
        name.to_owned()
    } else {
        format!("{name}:{}", url.port())
    };
    Some(Endpoint {
        scheme: url.scheme,
        host: name.trim_start_matches('[').trim_end_matches(']').into(),
        port: url.port(),
        url: url.to_string().into(),
        authority: HeaderValue::from_str(&authority).ok()?,
    })
}
