//! What a scrape shows.

use std::time::Duration;

use crate::fixture::{ATTEMPT, Facts, Fixture, deny, fault, proved};
use demilune_core::head::RequestId;
use demilune_core::record::End;
use demilune_core::stage::Stage;
use demilune_core::trail::StepVerdict;

impl Fixture {
    #[track_caller]
    fn shows(&self, lines: &[&str]) {
        let text = self.telemetry.render();
        for line in lines {
            assert!(text.lines().any(|it| it == *line), "{line} is not in\n{text}");
        }
    }
}

#[test]
fn an_exchange_is_counted_by_route_status_and_duration() {
    let fixture = Fixture::new();
    let facts = Facts::new();
    fixture.record(&facts, |_| {});
    fixture.record(&facts, |record| record.status = 404);
    fixture.record(&facts, |record| {
        (record.route, record.status) = (None, 404);
        record.duration = Duration::from_secs(11);
    });
    fixture.shows(&[
        "# TYPE demilune_http_requests counter",
        "demilune_http_requests_total{listener=\"public\",route=\"orders\",status=\"200\"} 1",
        "demilune_http_requests_total{listener=\"public\",route=\"orders\",status=\"404\"} 1",
        "demilune_http_requests_total{listener=\"public\",route=\"none\",status=\"404\"} 1",
        "# TYPE demilune_http_request_duration_seconds histogram",
        "demilune_http_request_duration_seconds_sum{route=\"orders\"} 0.003",
        "demilune_http_request_duration_seconds_count{route=\"orders\"} 2",
        "demilune_http_request_duration_seconds_bucket{le=\"0.001\",route=\"orders\"} 0",
        "demilune_http_request_duration_seconds_bucket{le=\"0.0025\",route=\"orders\"} 2",
        "demilune_http_request_duration_seconds_bucket{le=\"10.0\",route=\"none\"} 0",
        "demilune_http_request_duration_seconds_bucket{le=\"+Inf\",route=\"none\"} 1",
    ]);
}

#[test]
fn every_decision_is_counted() {
    let fixture = Fixture::new();
    let facts = Facts::new()
        .step("cors", Stage::Edge, StepVerdict::Continue)
        .step("cors", Stage::Edge, StepVerdict::Continue)
        .step("geo", Stage::Edge, fault(true, "x"))
        .asked("customers", StepVerdict::Absent)
        .asked("partners", proved())
        .step("preflight", Stage::Edge, StepVerdict::Answer(204))
        .step("waf", Stage::Inspect, fault(false, "x"))
        .step("waf", Stage::Inspect, deny(403, "waf.blocked", "x"));
    fixture.record(&facts, |_| {});
    fixture.shows(&[
        "# TYPE demilune_decisions counter",
        "demilune_decisions_total{policy=\"cors\",verdict=\"continue\",code=\"\"} 2",
        "demilune_decisions_total{policy=\"geo\",verdict=\"fault_open\",code=\"policy.fault\"} 1",
        "demilune_decisions_total{policy=\"customers\",verdict=\"absent\",code=\"\"} 1",
        "demilune_decisions_total{policy=\"partners\",verdict=\"proved\",code=\"\"} 1",
        "demilune_decisions_total{policy=\"preflight\",verdict=\"answer\",code=\"\"} 1",
        "demilune_decisions_total{policy=\"waf\",verdict=\"fault\",code=\"policy.fault\"} 1",
        "demilune_decisions_total{policy=\"waf\",verdict=\"deny\",code=\"waf.blocked\"} 1",
    ]);
}

#[test]
fn attempts_are_counted_by_how_they_went() {
    let fixture = Fixture::new();
    let sent = |facts: &Facts, status, end| {
        fixture.record(facts, |record| {
            record.attempt = Some(ATTEMPT);
            (record.status, record.end) = (status, end);
        });
    };
    let timeout = deny(504, "upstream.timeout", "no head within 1s");
    sent(&Facts::new(), 200, End::Complete);
    sent(&Facts::new(), 200, End::UpstreamCut);
    sent(&Facts::new(), 200, End::ClientLeft);
    sent(&Facts::new(), 0, End::ClientLeft);
    sent(&Facts::new().step("upstream", Stage::Upstream, timeout), 504, End::Complete);
    sent(&Facts::new().step("a", Stage::Response, deny(502, "a.b", "")), 502, End::Complete);
    let total = |outcome: &str, count: u32| {
        format!(
            "demilune_upstream_requests_total{{upstream=\"shop\",\
             endpoint=\"https://10.0.0.11:8443\",outcome=\"{outcome}\"}} {count}"
        )
    };
    fixture.shows(&[
        &total("answered", 3),
        &total("cut", 1),
        &total("client_left", 1),
        &total("upstream.timeout", 1),
        "demilune_upstream_head_duration_seconds_count{upstream=\"shop\"} 4",
        "demilune_upstream_head_duration_seconds_sum{upstream=\"shop\"} 0.0036",
    ]);
}

#[test]
fn what_a_client_sent_never_becomes_a_label() {
    let fixture = Fixture::new();
    fixture.record(&Facts::new(), |record| {
        (record.method, record.host) = ("CANARY", "canary");
        (record.path, record.user_agent) = ("/canary", "canary");
        record.route = None;
    });
    assert!(!fixture.telemetry.render().to_lowercase().contains("canary"));
}

#[test]
fn labels_cannot_break_the_text() {
    let fixture = Fixture::new();
    fixture.record(&Facts::new(), |record| record.route = Some("a\"}\n\\b"));
    let line = "demilune_http_requests_total{listener=\"public\",route=\"a\\\"}\\n\\\\b\",\
                status=\"200\"} 1";
    fixture.shows(&[line]);
}

#[test]
fn connections_are_counted_by_listener() {
    let fixture = Fixture::new();
    for _ in 0..3 {
        fixture.telemetry.connection_opened("public");
    }
    fixture.telemetry.connection_closed("public");
    fixture.telemetry.connection_refused("public", "connections");
    fixture.telemetry.tls_handshake_failed("partners");
    fixture.shows(&[
        "# TYPE demilune_connections gauge",
        "demilune_connections{listener=\"public\"} 2",
        "demilune_connections_refused_total{listener=\"public\",reason=\"connections\"} 1",
        "demilune_tls_handshake_failures_total{listener=\"partners\"} 1",
    ]);
}

#[test]
fn endpoints_that_left_the_document_are_forgotten() {
    let fixture = Fixture::new();
    fixture.telemetry.set_endpoint_health("shop", "http://a:1", true);
    fixture.telemetry.set_endpoint_health("shop", "http://b:1", true);
    fixture.telemetry.set_endpoint_health("shop", "http://b:1", false);
    fixture.telemetry.set_endpoint_health("ledger", "http://a:1", true);
    let a = "demilune_upstream_endpoint_healthy{upstream=\"shop\",endpoint=\"http://a:1\"} 1";
    let b = "demilune_upstream_endpoint_healthy{upstream=\"shop\",endpoint=\"http://b:1\"} 0";
    fixture.shows(&["# TYPE demilune_upstream_endpoint_healthy gauge", a, b]);
    fixture.telemetry.keep_upstream_endpoints([("shop", "http://b:1"), ("new", "http://a:1")]);
    fixture.shows(&[b]);
    let text = fixture.telemetry.render();
    assert!(!text.contains("http://a:1"), "{text}");
}

#[test]
fn the_document_in_force_and_the_fate_of_the_newest_are_shown() {
    let fixture = Fixture::new();
    fixture.shows(&[
        "demilune_config_reloads_total{result=\"success\"} 0",
        "demilune_config_reloads_total{result=\"failure\"} 0",
        "demilune_config_last_reload_successful 0",
    ]);
    fixture.telemetry.config_loaded("0123456789abcdef");
    fixture.telemetry.config_loaded("fedcba9876543210");
    fixture.shows(&[
        "demilune_config_version_info{version=\"fedcba9876543210\"} 1",
        "demilune_config_reloads_total{result=\"success\"} 2",
        "demilune_config_last_reload_successful 1",
        "demilune_config_last_success_timestamp_seconds 1800000000.0",
    ]);
    assert!(!fixture.telemetry.render().contains("0123456789abcdef"));
    fixture.telemetry.config_refused();
    fixture.shows(&[
        "demilune_config_version_info{version=\"fedcba9876543210\"} 1",
        "demilune_config_reloads_total{result=\"failure\"} 1",
        "demilune_config_last_reload_successful 0",
        "demilune_config_last_success_timestamp_seconds 1800000000.0",
    ]);
}

#[test]
fn a_panic_is_counted_and_told_of() {
    let fixture = Fixture::new();
    fixture.telemetry.exchange_panicked(RequestId(1));
    fixture.shows(&["demilune_exchange_panics_total 1"]);
    let lines = fixture.lines("log");
    assert_eq!(lines[0]["code"], "exchange.panic");
    assert_eq!(lines[0]["fields"]["request_id"], "00000000000000000000000000000001");
}

#[test]
fn numbers_that_others_keep_are_read_when_scraped() {
    let fixture = Fixture::new();
    fixture.telemetry.watch_counter_evictions(|| 41);
    fixture.telemetry.watch_counter_evictions(|| 42);
    fixture.telemetry.watch_compute_panics(|| 7);
    fixture.shows(&["demilune_counter_evictions 42", "demilune_compute_panics 7"]);
}

#[test]
fn the_rest_has_its_names_and_the_text_its_end() {
    let fixture = Fixture::new();
    let build = format!("demilune_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    fixture.shows(&[
        &build,
        "demilune_exchange_panics_total 0",
        "demilune_log_lines_dropped_total 0",
        "demilune_log_write_errors_total 0",
    ]);
    assert!(fixture.telemetry.render().ends_with("# EOF\n"));
}
