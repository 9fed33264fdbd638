//! What the process has one of: the metrics, and the way to the log.

use std::io::{self, Write};
use std::sync::Arc;

use demilune_core::head::RequestId;
use demilune_core::time::Clock;

use crate::log::{self, Level};
use crate::metrics::{
    CertificateLabels, EndpointLabels, ListenerLabels, LookUpLabels, Metrics, NameLabels,
    OverloadLabels, RefusedLabels, ReloadLabels, RetryLabels, UpstreamLabels, VersionLabels,
};
use crate::recorder::Recorder;
use crate::stamp::Stamp;
use crate::writer::{BUFFER_LIMIT, Buffer, Writer};

/// Metrics, access log, events and the operator's log of one process.
pub struct Telemetry {
    metrics: Metrics,
    clock: Arc<dyn Clock>,
    writer: Writer,
    /// For what no worker's recorder writes.
    buffer: Arc<Buffer>,
}

impl Telemetry {
    /// Starts the thread that writes lines to `sink`. `clock` gives the times of the operator's
    /// log.
    ///
    /// # Errors
    /// Where the system refuses the thread.
    pub fn new(sink: Box<dyn Write + Send>, clock: Arc<dyn Clock>) -> io::Result<Arc<Self>> {
        let metrics = Metrics::new();
        let (dropped, errors) =
            (metrics.log_lines_dropped.clone(), metrics.log_write_errors.clone());
        let writer = Writer::start(sink, Arc::clone(&clock), dropped, errors)?;
        let buffer = writer.buffer(BUFFER_LIMIT);
        Ok(Arc::new(Self { metrics, clock, writer, buffer }))
    }

    /// A recorder for one worker.
    #[must_use]
    pub fn recorder(self: &Arc<Self>) -> Recorder {
        Recorder::new(Arc::clone(self), self.writer.buffer(BUFFER_LIMIT))
    }

    /// Tells the operator: `code` is stable, `message` a sentence, `fields` are names and values;
    /// what looks like a secret in them is masked.
    pub fn log(&self, level: Level, code: &'static str, message: &str, fields: &[(&str, &str)]) {
        let mut stamp = Stamp::default();
        let time = stamp.text(self.clock.now().wall);
        self.buffer.append(|lines| lines.push(&log::Line::new(time, level, code, message, fields)));
    }

    /// All metrics as OpenMetrics text, of the type [`CONTENT_TYPE`](crate::CONTENT_TYPE).
    #[must_use]
    pub fn render(&self) -> String {
        self.metrics.render()
    }

    /// Writes the lines that are buffered and ends the thread; waits five seconds at most. Lines
    /// of later exchanges are lost.
    pub fn shutdown(&self) {
        self.writer.shutdown();
    }

    /// A connection was accepted by `listener`.
    pub fn connection_opened(&self, listener: &str) {
        self.metrics.connections.get_or_create(&of(listener)).inc();
    }

    /// A connection that [was opened](Self::connection_opened) is closed.
    pub fn connection_closed(&self, listener: &str) {
        self.metrics.connections.get_or_create(&of(listener)).dec();
    }

    /// A connection was closed as soon as it came; `reason` is one word from a fixed set.
    pub fn connection_refused(&self, listener: &str, reason: &'static str) {
        let labels = RefusedLabels { listener: listener.into(), reason };
        self.metrics.connections_refused.get_or_create(&labels).inc();
    }

    /// A TLS handshake failed or took too long.
    pub fn tls_handshake_failed(&self, listener: &str) {
        self.metrics.tls_handshake_failures.get_or_create(&of(listener)).inc();
    }

    /// When the certificates in force end: listener, place in the document, and the second since
    /// the UNIX epoch. Forgets those of before.
    pub fn set_certificate_expiries<'a>(
        &self,
        all: impl IntoIterator<Item = (&'a str, &'a str, i64)>,
    ) {
        self.metrics.certificate_expiries.retain(|_| false);
        for (listener, place, second) in all {
            let labels = CertificateLabels { listener: listener.into(), place: place.into() };
            self.metrics.certificate_expiries.set(labels, second);
        }
    }

    /// An exchange panicked: counts it, and tells the operator which.
    pub fn exchange_panicked(&self, id: RequestId) {
        self.metrics.exchange_panics.inc();
        let id = id.to_string();
        let message = "an exchange panicked: a defect of the gateway, please report it";
        self.log(Level::Error, "exchange.panic", message, &[("request_id", &id)]);
    }

    /// A worker refuses new requests for `reason`, one word from a fixed set, or does so no more.
    pub fn overload(&self, reason: &'static str, refusing: bool) {
        let gauge = self.metrics.overloaded.get_or_create(&OverloadLabels { reason });
        if refusing {
            gauge.inc()
        } else {
            gauge.dec()
        };
    }

    /// What the health checks say of an endpoint.
    pub fn set_endpoint_health(&self, upstream: &str, endpoint: &str, healthy: bool) {
        let labels = EndpointLabels { upstream: upstream.into(), endpoint: endpoint.into() };
        self.metrics.endpoint_healthy.set(labels, i64::from(healthy));
    }

    /// An endpoint is taken out for its failures, or comes back.
    pub fn set_endpoint_ejected(&self, upstream: &str, endpoint: &str, ejected: bool) {
        let labels = EndpointLabels { upstream: upstream.into(), endpoint: endpoint.into() };
        if ejected {
            self.metrics.ejections.get_or_create(&labels).inc();
        }
        self.metrics.endpoint_ejected.set(labels, i64::from(ejected));
    }

    /// The circuit breaker of an upstream opens, or closes.
    pub fn set_circuit_open(&self, upstream: &str, open: bool) {
        self.metrics
            .circuit_open
            .set(UpstreamLabels { upstream: upstream.into() }, i64::from(open));
    }

    /// A request is sent to an upstream again, or is not, for want of budget.
    pub fn upstream_retry(&self, upstream: &str, sent: bool) {
        let result = if sent { "sent" } else { "over_budget" };
        let labels = RetryLabels { upstream: upstream.into(), result };
        self.metrics.retries.get_or_create(&labels).inc();
    }

    /// Forgets the circuit breakers of all upstreams but these: after a reload.
    pub fn keep_circuits<'a>(&self, kept: impl IntoIterator<Item = &'a str>) {
        let kept: Vec<_> = kept.into_iter().collect();
        self.metrics.circuit_open.retain(|labels| kept.contains(&&*labels.upstream));
    }

    /// Forgets the health of all endpoints but those of `kept`, pairs of upstream and endpoint:
    /// after a reload.
    pub fn keep_upstream_endpoints<'a>(&self, kept: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let kept: Vec<_> = kept.into_iter().collect();
        for gauges in [&self.metrics.endpoint_healthy, &self.metrics.endpoint_ejected] {
            gauges.retain(|labels| kept.contains(&(&*labels.upstream, &*labels.endpoint)));
        }
    }

    /// The name of an endpoint was looked up; so many of its addresses are in use now.
    pub fn name_looked_up(&self, name: &str, success: bool, addresses: usize) {
        let result = if success { "success" } else { "failure" };
        let labels = LookUpLabels { name: name.into(), result };
        self.metrics.name_look_ups.get_or_create(&labels).inc();
        let count = i64::try_from(addresses).unwrap_or(i64::MAX);
        self.metrics.name_addresses.set(NameLabels { name: name.into() }, count);
    }

    /// Forgets how many addresses all names have but those of `kept`: after a reload.
    pub fn keep_names<'a>(&self, kept: impl IntoIterator<Item = &'a str>) {
        let kept: Vec<_> = kept.into_iter().collect();
        self.metrics.name_addresses.retain(|labels| kept.contains(&&*labels.name));
    }

    /// A document came into force; `version` names its text.
    pub fn config_loaded(&self, version: &str) {
        let metrics = &self.metrics;
        metrics.config_version.set_only(VersionLabels { version: version.into() }, 1);
        metrics.config_reloads.get_or_create(&ReloadLabels { result: "success" }).inc();
        metrics.config_last_reload_successful.set(1);
        metrics.config_last_success.set(self.clock.now().wall.as_secs_f64());
    }

    /// A document was refused; the one before stays in force.
    pub fn config_refused(&self) {
        self.metrics.config_reloads.get_or_create(&ReloadLabels { result: "failure" }).inc();
        self.metrics.config_last_reload_successful.set(0);
    }

    /// `read` says how many counters of limits were forgotten before their time.
    pub fn watch_counter_evictions(&self, read: impl Fn() -> u64 + Send + Sync + 'static) {
        let help = "Counters of limits forgotten to make room";
        self.metrics.watched.insert("counter_evictions", help, Box::new(read));
    }

    /// `read` says how many jobs of the pool for heavy work have panicked.
    pub fn watch_compute_panics(&self, read: impl Fn() -> u64 + Send + Sync + 'static) {
        let help = "Jobs of the pool for heavy work that panicked";
        self.metrics.watched.insert("compute_panics", help, Box::new(read));
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

fn of(listener: &str) -> ListenerLabels {
    ListenerLabels { listener: listener.into() }
}
