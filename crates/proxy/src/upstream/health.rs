//! Active health checks: one task an endpoint, away from the workers.

use std::sync::Arc;

use demilune_core::path::Target;
use demilune_core::snapshot::Health;
use demilune_telemetry::{Level, Telemetry};
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Method};
use tokio::sync::watch;

use super::connect::connect;
use super::{EndpointState, Upload, UpstreamState};
use crate::http::Sending;
use crate::timer::Timers;
use crate::worker::Tasks;

/// The most bytes of a health check's answer that are read.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Checks one endpoint.
pub(super) struct Checker {
    pub(super) upstream: Arc<UpstreamState>,
    pub(super) endpoint: Arc<EndpointState>,
    pub(super) health: Health,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) grounds: (Timers, Tasks),
}

impl Checker {
    /// Until the other half of `stopped` is dropped.
    pub(super) async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut streak = (self.endpoint.is_healthy(), 0_u32);
        self.tell();
        loop {
            let result = tokio::select! {
                result = tokio::time::timeout(self.health.timeout, self.check()) => result,
                _ = stopped.changed() => return,
            };
            let outcome = result.unwrap_or_else(|_| Err("the check's deadline passed".to_owned()));
            let success = outcome.is_ok();
            streak = if streak.0 == success {
                (success, streak.1.saturating_add(1))
            } else {
                (success, 1)
            };
            let needed =
                if success { self.health.healthy_after } else { self.health.unhealthy_after };
            if success != self.endpoint.is_healthy() && streak.1 >= needed {
                self.endpoint.set_healthy(success);
                self.tell();
                self.log(outcome.err());
            }
            tokio::select! {
                () = tokio::time::sleep(self.health.interval) => {}
                _ = stopped.changed() => return,
            }
        }
    }

    fn tell(&self) {
        let (upstream, endpoint) = (&self.upstream.settings.name, &self.endpoint.endpoint.url);
        self.telemetry.set_endpoint_health(upstream, endpoint, self.endpoint.is_healthy());
    }

    fn log(&self, failure: Option<String>) {
        let fields = [
            ("upstream", &*self.upstream.settings.name),
            ("endpoint", &*self.endpoint.endpoint.url),
            ("reason", failure.as_deref().unwrap_or("")),
        ];
        if failure.is_some() {
            let message = "an endpoint does not answer its health check and gets no requests";
            self.telemetry.log(Level::Warn, "upstream.endpoint_down", message, &fields);
        } else {
            let message = "an endpoint answers its health check again";
            self.telemetry.log(Level::Info, "upstream.endpoint_up", message, &fields);
        }
    }

    /// One check, on a connection of its own: any 2xx is healthy.
    async fn check(&self) -> Result<(), String> {
        let settings = &self.upstream.settings;
        let (timers, tasks) = &self.grounds;
        let http2 = self.endpoint.http2;
        let connected = connect(&self.endpoint, settings, (timers, tasks), http2).await;
        let connected = connected.map_err(|failure| failure.reason().to_owned())?;
        let mut connection = connected.begin().ok_or("no request is taken")?;
        let target = Target::parse(&self.health.path).map_err(|refusal| refusal.to_string())?;
        let agent = HeaderValue::from_static("demilune-health");
        let sending = Sending {
            method: &Method::GET,
            target: target.as_path_and_query(),
            host: &self.endpoint.endpoint.authority,
            headers: &HeaderMap::from_iter([(USER_AGENT, agent)]),
            upgrade: None,
            trailers: false,
            limit: self.health.timeout,
        };
        let reply = connection.send(sending, Upload::Empty).await;
        let reply = reply.map_err(|failure| match failure.error {
            Some(error) => error.reason,
            None => "the check's deadline passed".to_owned(),
        })?;
        let mut read = 0;
        let idle = self.health.timeout;
        while let Some(data) = std::future::poll_fn(|cx| connection.poll_data(cx, idle)).await {
            read += data.map_err(|error| error.reason)?.len();
            if read > ANSWER_LIMIT {
                return Err("the answer is too large".to_owned());
            }
        }
        if reply.status.is_success() {
            Ok(())
        } else {
            Err(format!("status {}", reply.status.as_u16()))
        }
    }
}
