//! Upstreams.

use std::collections::BTreeMap;
use std::sync::Arc;

use demilune_core::head::Scheme;
use demilune_core::path::Target;
use demilune_core::snapshot::{
    Balance, Endpoint, Health, HostHeader, Upstream, UpstreamHttp2, UpstreamTls,
};
use http::HeaderValue;

use super::Compiler;
use crate::model::{
    BalanceConfig, EndpointUrl, HealthConfig, HostConfig, UpstreamConfig, UpstreamHttp2Config,
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
            if config.endpoints.iter().take(i).any(|other| other == endpoint) {
                let path = format!("{path}.endpoints[{i}]");
                self.error("config.duplicate", &path, "this endpoint is written twice");
            }
        }
        if config.retries > 10 {
            self.error("config.invalid_value", &format!("{path}.retries"), "at most 10");
        }
        if !(1..=100_000).contains(&config.requests) {
            self.error("config.invalid_value", &format!("{path}.requests"), "expected 1 to 100000");
        }
        if config.idle_connections > 1024 {
            let path = format!("{path}.idle_connections");
            self.error("config.invalid_value", &path, "at most 1024");
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
            endpoints: config.endpoints.iter().filter_map(endpoint).collect(),
            tls: self.upstream_tls(&path, config),
            balance: match config.balance {
                BalanceConfig::LeastRequest => Balance::LeastRequest,
                BalanceConfig::RoundRobin => Balance::RoundRobin,
            },
            http2: self.upstream_http2(&path, config),
            connect_timeout: timeouts.connect.0,
            response_timeout: timeouts.response.0,
            idle_timeout: timeouts.idle.0,
            retries: config.retries,
            requests: usize::try_from(config.requests).unwrap_or(1),
            idle_connections: usize::try_from(config.idle_connections).unwrap_or(0),
            health: config.health.as_ref().map(|health| self.health(&path, health)),
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
        if config.endpoints.iter().all(|endpoint| endpoint.scheme != scheme) {
            self.error("config.no_effect", &format!("{path}.http2"), reason);
        }
        Some(http2)
    }

    fn upstream_tls(&mut self, path: &str, config: &UpstreamConfig) -> UpstreamTls {
        let path = format!("{path}.tls");
        let Some(tls) = &config.tls else {
            return UpstreamTls { place: path, ..UpstreamTls::default() };
        };
        if config.endpoints.iter().all(|endpoint| endpoint.scheme == Scheme::Http) {
            let reason = "`tls` has no effect: no endpoint is `https`";
            self.error("config.no_effect", &path, reason);
        }
        if let Some(name) = &tls.server_name
            && demilune_core::Host::parse(name).is_err()
        {
            let path = format!("{path}.server_name");
            self.error("config.invalid_value", &path, "expected a host name");
        }
        let authorities = tls.authorities.as_ref().and_then(|file| {
            self.files
                .read(file)
                .map_err(|reason| {
                    self.error("config.unreadable", &format!("{path}.authorities"), reason);
                })
                .ok()
        });
        UpstreamTls { authorities, server_name: tls.server_name.clone(), place: path }
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
