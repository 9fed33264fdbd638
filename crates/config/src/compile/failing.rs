//! What is done about endpoints and upstreams that fail.

use std::time::Duration;

use demilune_core::snapshot::{CircuitBreaker, Ejection, Retry};
use http::StatusCode;

use super::Compiler;
use crate::model::{CircuitBreakerConfig, EjectionConfig, RetryConfig, RetryOn, UpstreamConfig};

/// The longest time for which anything is taken out.
const LONGEST: Duration = Duration::from_secs(3600);

/// The most retries for a hundred requests.
const BUDGET_LIMIT: u8 = 20;

impl Compiler<'_> {
    pub(super) fn ejection(&mut self, path: &str, upstream: &UpstreamConfig) -> Option<Ejection> {
        let config = upstream.ejection.as_ref()?;
        let path = format!("{path}.ejection");
        let EjectionConfig { after, time, longest, share, .. } = config;
        self.within(&path, "after", (1..=1000).contains(after), "expected 1 to 1000");
        self.times(&path, ("time", time.0), ("longest", longest.0));
        let count = upstream.endpoints.len();
        if count == 1 {
            let reason = "`ejection` has no effect: the only endpoint always stays";
            self.error("config.no_effect", &path, reason);
        } else if count > 1 && count.saturating_mul(usize::from(share.0)) < 100 {
            let reason = format!("no effect: {share} of {count} endpoints is less than one");
            self.error("config.no_effect", &format!("{path}.share"), reason);
        }
        Some(Ejection {
            after: *after,
            statuses: self.statuses(&format!("{path}.statuses"), &config.statuses),
            time: time.0,
            longest: longest.0,
            share: share.0,
        })
    }

    pub(super) fn circuit_breaker(
        &mut self,
        path: &str,
        upstream: &UpstreamConfig,
    ) -> Option<CircuitBreaker> {
        let config = upstream.circuit_breaker.as_ref()?;
        let path = format!("{path}.circuit_breaker");
        let CircuitBreakerConfig { share, requests, window, open, longest, probes, .. } = config;
        self.within(&path, "share", share.0 > 0, "must not be zero");
        let few = (1..=1_000_000).contains(requests);
        self.within(&path, "requests", few, "expected 1 to 1000000");
        let window_fits = (Duration::from_secs(1)..=LONGEST).contains(&window.0);
        self.within(&path, "window", window_fits, "expected `1s` to `1h`");
        self.within(&path, "probes", (1..=1000).contains(probes), "expected 1 to 1000");
        self.times(&path, ("open", open.0), ("longest", longest.0));
        Some(CircuitBreaker {
            share: share.0,
            requests: *requests,
            window: window.0,
            open: open.0,
            longest: longest.0,
            probes: *probes,
            statuses: self.statuses(&format!("{path}.statuses"), &config.statuses),
        })
    }

    pub(super) fn retry(&mut self, path: &str, upstream: &UpstreamConfig) -> Retry {
        let RetryConfig { attempts, on, statuses, budget } = &upstream.retry;
        let path = format!("{path}.retry");
        self.within(&path, "attempts", *attempts <= 10, "at most 10");
        let modest = budget.0 <= BUDGET_LIMIT;
        self.within(
            &path,
            "budget",
            modest,
            "at most `20%`: an upstream that fails is not to be \
                                              asked more",
        );
        for (i, one) in on.iter().enumerate() {
            if on.iter().take(i).any(|other| other == one) {
                self.error("config.duplicate", &format!("{path}.on[{i}]"), "this is written twice");
            }
        }
        let all = self.statuses(&format!("{path}.statuses"), statuses);
        let beyond = on.iter().any(|on| *on != RetryOn::Connect) || !all.is_empty();
        if beyond && (*attempts == 0 || budget.0 == 0) {
            let field = if *attempts == 0 { "attempts" } else { "budget" };
            let reason = "with this nothing is sent again that was sent";
            self.error("config.no_effect", &format!("{path}.{field}"), reason);
        }
        Retry {
            attempts: *attempts,
            connect: on.contains(&RetryOn::Connect),
            reset: on.contains(&RetryOn::Reset),
            timeout: on.contains(&RetryOn::Timeout),
            statuses: all,
            budget: budget.0,
        }
    }

    /// Two times, the first of which is to be the shorter.
    fn times(&mut self, path: &str, time: (&str, Duration), longest: (&str, Duration)) {
        let long = longest.1 <= LONGEST;
        self.within(path, time.0, !time.1.is_zero(), "must not be zero");
        self.within(path, longest.0, long, "`1h` at most");
        let ordered = time.1 <= longest.1 || !long;
        let reason = format!("`{}` is shorter than `{}`", longest.0, time.0);
        self.within(path, longest.0, ordered, &reason);
    }

    fn statuses(&mut self, path: &str, all: &[u16]) -> Vec<StatusCode> {
        let mut statuses = Vec::new();
        for (i, number) in all.iter().enumerate() {
            let path = format!("{path}[{i}]");
            match StatusCode::from_u16(*number).ok().filter(StatusCode::is_server_error) {
                Some(status) if statuses.contains(&status) => {
                    self.error("config.duplicate", &path, "this status is written twice");
                }
                Some(status) => statuses.push(status),
                None => self.error("config.invalid_value", &path, "expected 500 to 599"),
            }
        }
        statuses
    }

    fn within(&mut self, path: &str, field: &str, good: bool, reason: &str) {
        if !good {
            self.error("config.invalid_value", &format!("{path}.{field}"), reason);
        }
    }
}
