//! Every metric, by name.
//!
//! What each exchange counts is [`sharded`]; the rest happens rarely and is counted in place.

mod cells;
mod found;
mod labels;
mod sharded;
mod table;
mod watch;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

pub(crate) use cells::{Cells, Written};
use labels::{AttemptLabels, DecisionLabels, RequestLabels, RouteLabels};
pub(crate) use labels::{
    CertificateLabels, EndpointLabels, ListenerLabels, LookUpLabels, NameLabels, OverloadLabels,
    RefusedLabels, ReloadLabels, RetryLabels, UpstreamLabels, VersionLabels,
};
use sharded::{Count, Histogram, Sharded};
use table::Table;
use watch::Watched;

/// The media type of what `Telemetry::render` gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of the process.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Sharded<RequestLabels, Count>,
    request_duration: Sharded<RouteLabels, Histogram>,
    decisions: Sharded<DecisionLabels, Count>,
    upstream_requests: Sharded<AttemptLabels, Count>,
    upstream_head_duration: Sharded<UpstreamLabels, Histogram>,
    pub(crate) endpoint_healthy: Table<EndpointLabels>,
    pub(crate) endpoint_ejected: Table<EndpointLabels>,
    pub(crate) ejections: Family<EndpointLabels, Counter>,
    pub(crate) circuit_open: Table<UpstreamLabels>,
    pub(crate) retries: Family<RetryLabels, Counter>,
    pub(crate) name_addresses: Table<NameLabels>,
    pub(crate) name_look_ups: Family<LookUpLabels, Counter>,
    pub(crate) connections: Family<ListenerLabels, Gauge>,
    pub(crate) connections_refused: Family<RefusedLabels, Counter>,
    pub(crate) tls_handshake_failures: Family<ListenerLabels, Counter>,
    pub(crate) certificate_expiries: Table<CertificateLabels>,
    pub(crate) config_version: Table<VersionLabels>,
    pub(crate) config_reloads: Family<ReloadLabels, Counter>,
    pub(crate) config_last_reload_successful: Gauge,
    pub(crate) config_last_success: Gauge<f64, AtomicU64>,
    pub(crate) exchange_panics: Counter,
    pub(crate) overloaded: Family<OverloadLabels, Gauge>,
    pub(crate) log_lines_dropped: Counter,
    pub(crate) log_write_errors: Counter,
    pub(crate) watched: Arc<Watched>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("demilune"),
            requests: Sharded::new(),
            request_duration: Sharded::new(),
            decisions: Sharded::new(),
            upstream_requests: Sharded::new(),
            upstream_head_duration: Sharded::new(),
            endpoint_healthy: Table::new(),
            endpoint_ejected: Table::new(),
            ejections: Family::default(),
            circuit_open: Table::new(),
            retries: Family::default(),
            name_addresses: Table::new(),
            name_look_ups: Family::default(),
            connections: Family::default(),
            connections_refused: Family::default(),
            tls_handshake_failures: Family::default(),
            certificate_expiries: Table::new(),
            config_version: Table::new(),
            config_reloads: Family::default(),
            config_last_reload_successful: Gauge::default(),
            config_last_success: Gauge::default(),
            exchange_panics: Counter::default(),
            overloaded: Family::default(),
            log_lines_dropped: Counter::default(),
            log_write_errors: Counter::default(),
            watched: Arc::default(),
        };
        metrics.register();
        // Both are there from the start: an alarm on failures needs the zero before the first one.
        for result in ["success", "failure"] {
            drop(metrics.config_reloads.get_or_create(&ReloadLabels { result }));
        }
        metrics
    }

    /// Names as they are shown, less the prefix and less the suffix that the type adds (`_total`,
    /// `_info`).
    fn register(&mut self) {
        let mut registry = Registrations(&mut self.registry);
        registry.add("http_requests", "Exchanges closed", &self.requests);
        registry.add(
            "http_request_duration_seconds",
            "From the head of a request to the last byte of its answer",
            &self.request_duration,
        );
        registry.add("decisions", "Decisions of policies and authenticators", &self.decisions);
        registry.add(
            "upstream_requests",
            "Exchanges with upstreams, by the endpoint used last",
            &self.upstream_requests,
        );
        registry.add(
            "upstream_head_duration_seconds",
            "From sending a request to the head of its answer",
            &self.upstream_head_duration,
        );
        registry.add("connections", "Connections open", &self.connections);
        registry.add(
            "connections_refused",
            "Connections closed at once",
            &self.connections_refused,
        );
        registry.add(
            "tls_handshake_failures",
            "TLS handshakes that failed or took too long",
            &self.tls_handshake_failures,
        );
        registry.add(
            "tls_certificate_expiry_timestamp_seconds",
            "When a certificate of a listener ends",
            &self.certificate_expiries,
        );
        registry.add("config_version_info", "The document in force", &self.config_version);
        registry.add("config_reloads", "Documents loaded or refused", &self.config_reloads);
        registry.add(
            "config_last_reload_successful",
            "Whether the newest document is in force",
            &self.config_last_reload_successful,
        );
        registry.add(
            "config_last_success_timestamp_seconds",
            "When the document in force was loaded",
            &self.config_last_success,
        );
        registry.add("overloaded", "Workers that refuse new requests", &self.overloaded);
        registry.add("exchange_panics", "Exchanges that panicked", &self.exchange_panics);
        registry.add("log_lines_dropped", "Lines of the log lost", &self.log_lines_dropped);
        registry.add("log_write_errors", "Failures of the log's sink", &self.log_write_errors);
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.0.register("build", "The program", build);
        self.register_upstreams();
        self.registry.register_collector(Box::new(Arc::clone(&self.watched)));
    }

    /// What is known of upstreams beside what each exchange counts.
    fn register_upstreams(&mut self) {
        let mut registry = Registrations(&mut self.registry);
        registry.add(
            "upstream_endpoint_healthy",
            "Whether an endpoint passes its health check",
            &self.endpoint_healthy,
        );
        registry.add(
            "upstream_endpoint_ejected",
            "Whether an endpoint is out for its failures",
            &self.endpoint_ejected,
        );
        registry.add(
            "upstream_ejections",
            "How often an endpoint was taken out for its failures",
            &self.ejections,
        );
        registry.add(
            "upstream_circuit_open",
            "Whether an upstream gets no requests for their failures",
            &self.circuit_open,
        );
        registry.add("upstream_retries", "Requests sent again, or not", &self.retries);
        registry.add(
            "upstream_name_addresses",
            "Addresses in use of an endpoint's name",
            &self.name_addresses,
        );
        registry.add("upstream_name_look_ups", "Look-ups of endpoints' names", &self.name_look_ups);
    }

    /// All metrics as OpenMetrics text.
    pub(crate) fn render(&self) -> String {
        let mut text = String::with_capacity(16 << 10);
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

struct Registrations<'a>(&'a mut Registry);

impl Registrations<'_> {
    fn add(&mut self, name: &str, help: &str, metric: &(impl Metric + Clone)) {
        self.0.register(name, help, metric.clone());
    }
}
