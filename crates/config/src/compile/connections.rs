//! How many connections there are to upstreams, and for how long.

use std::time::Duration;

use demilune_core::Period;
use demilune_core::snapshot::{KeepAlive, Pending};

use super::Compiler;
use crate::model::UpstreamConfig;

/// The longest a request waits for a place.
const PENDING_LONGEST: Duration = Duration::from_secs(60);

impl Compiler<'_> {
    pub(super) fn pending(&mut self, path: &str, upstream: &UpstreamConfig) -> Option<Pending> {
        let config = upstream.pending.as_ref()?;
        if !(1..=100_000).contains(&config.requests) {
            let path = format!("{path}.pending.requests");
            self.error("config.invalid_value", &path, "expected 1 to 100000");
        }
        if config.time.0.is_zero() || config.time.0 > PENDING_LONGEST {
            let path = format!("{path}.pending.time");
            self.error("config.invalid_value", &path, "expected more than zero, `60s` at most");
        }
        let requests = usize::try_from(config.requests).unwrap_or(1);
        Some(Pending { requests, time: config.time.0 })
    }

    pub(super) fn keep_alive(&mut self, path: &str, upstream: &UpstreamConfig) -> KeepAlive {
        if upstream.idle_connections > 1024 {
            let path = format!("{path}.idle_connections");
            self.error("config.invalid_value", &path, "at most 1024");
        }
        let config = &upstream.keep_alive;
        for (field, zero) in [
            ("idle", config.idle.0.is_zero()),
            ("age", config.age.is_some_and(|age| age.0.is_zero())),
            ("requests", config.requests == Some(0)),
        ] {
            if zero {
                let path = format!("{path}.keep_alive.{field}");
                let reason = "must not be zero; `idle_connections: 0` keeps no connection";
                self.error("config.invalid_value", &path, reason);
            }
        }
        KeepAlive {
            connections: usize::try_from(upstream.idle_connections).unwrap_or(0),
            idle: config.idle.0,
            age: config.age.map(|Period(age)| age),
            requests: config.requests,
        }
    }
}
