//! What the end of an attempt says of the endpoint, and what follows from it.

use std::time::Duration;

use demilune_core::Clock;
use demilune_core::snapshot::Balance;
use demilune_telemetry::{Level, Telemetry};
use http::StatusCode;

use super::circuit::{Changed, Pass};
use super::ejection::Ejected;
use super::{EndpointState, UpstreamState};

/// How an attempt ended, as far as the endpoint has to do with it. A client that left says nothing
/// of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With the head of an answer.
    Answered(StatusCode),
    /// No connection could be made.
    Unconnected,
    /// No head of an answer came in time.
    Late,
    /// It broke the exchange off, or answered what nobody understands.
    Broken,
}

impl Outcome {
    /// Whether it counts as a failure where these statuses do.
    pub(super) fn is_failure(self, statuses: &[StatusCode]) -> bool {
        match self {
            Self::Answered(status) => statuses.contains(&status),
            Self::Unconnected | Self::Late | Self::Broken => true,
        }
    }

    fn reason(self) -> String {
        match self {
            Self::Answered(status) => format!("status {}", status.as_u16()),
            Self::Unconnected => "no connection".to_owned(),
            Self::Late => "no answer in time".to_owned(),
            Self::Broken => "it broke the exchange off".to_owned(),
        }
    }
}

/// The statuses by which an endpoint that answers soon does not count as quick.
const FAILURES: [StatusCode; 3] =
    [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];

impl UpstreamState {
    /// Takes note of the end of an attempt, and of the time to the head of its answer.
    pub(super) fn note(
        &self,
        endpoint: &EndpointState,
        (outcome, head_after): (Outcome, Duration),
        clock: &dyn Clock,
        telemetry: &Telemetry,
    ) {
        if self.settings.balance == Balance::PeakEwma {
            let answered = !outcome.is_failure(&FAILURES);
            endpoint.latency.measured(answered.then_some(head_after), clock.monotonic());
        }
        let Some(settings) = &self.settings.ejection else { return };
        if !outcome.is_failure(&settings.statuses) {
            endpoint.conduct.succeeded();
        } else if let Some(Ejected(time)) = self.failed(settings, endpoint, clock.monotonic()) {
            let (upstream, url) = (&*self.settings.name, &*endpoint.endpoint.url);
            telemetry.set_endpoint_ejected(upstream, url, true);
            let (reason, time) = (outcome.reason(), format!("{time:?}"));
            let fields =
                [("upstream", upstream), ("endpoint", url), ("reason", &reason), ("for", &time)];
            let message = "an endpoint has failed too often in a row and gets no requests";
            telemetry.log(Level::Warn, "upstream.endpoint_ejected", message, &fields);
        }
    }

    /// Takes note of the end of a request that a circuit breaker let pass; `None` where it says
    /// nothing of the upstream.
    pub(super) fn ended(
        &self,
        pass: Pass,
        outcome: Option<Outcome>,
        clock: &dyn Clock,
        telemetry: &Telemetry,
    ) {
        let Some(outcome) = outcome else { return };
        let failed = outcome.is_failure(&pass.circuit().settings.statuses);
        let upstream = &*self.settings.name;
        match pass.end(failed, clock.monotonic()) {
            None => {}
            Some(Changed::Opened(time)) => {
                telemetry.set_circuit_open(upstream, true);
                let (reason, time) = (outcome.reason(), format!("{time:?}"));
                let fields = [("upstream", upstream), ("reason", &*reason), ("for", &*time)];
                let message = "too many requests to an upstream fail, and it gets none";
                telemetry.log(Level::Warn, "upstream.circuit_opened", message, &fields);
            }
            Some(Changed::Closed) => {
                telemetry.set_circuit_open(upstream, false);
                let message = "requests to an upstream succeed again, and it gets all of them";
                let fields = [("upstream", upstream)];
                telemetry.log(Level::Info, "upstream.circuit_closed", message, &fields);
            }
        }
    }

    /// Tells of the endpoints that are not out any more.
    pub(super) fn tell_returned(&self, now: Duration, telemetry: &Telemetry) {
        if self.settings.ejection.is_none() {
            return;
        }
        for endpoint in self.endpoints.iter().filter(|e| e.conduct.has_returned(now)) {
            let (upstream, url) = (&*self.settings.name, &*endpoint.endpoint.url);
            telemetry.set_endpoint_ejected(upstream, url, false);
            let fields = [("upstream", upstream), ("endpoint", url)];
            let message = "an endpoint that was ejected gets requests again";
            telemetry.log(Level::Info, "upstream.endpoint_returned", message, &fields);
        }
    }
}
