//! What the log says of an exchange.

use crate::fixture::{ATTEMPT, Facts, Fixture, deny, fault, proved};
use demilune_core::record::{Attempt, End, Record};
use demilune_core::stage::Stage;
use demilune_core::trail::{Finding, StepVerdict};
use demilune_telemetry::Level;
use serde_json::{Value, json};

fn access<'a>(facts: &'a Facts, change: impl FnOnce(&mut Record<'a>)) -> Value {
    let fixture = Fixture::new();
    fixture.record(facts, change);
    let mut lines = fixture.lines("access");
    assert_eq!(lines.len(), 1, "one access line for each exchange");
    lines.remove(0)
}

/// Type, policy, stage and reason of each event.
fn events(facts: &Facts) -> Vec<String> {
    let fixture = Fixture::new();
    fixture.record(facts, |_| {});
    let word = |line: &Value, key: &str| line[key].as_str().unwrap_or("-").to_owned();
    let told = |line: Value| ["type", "policy", "stage", "reason"].map(|key| word(&line, key));
    fixture.lines("event").into_iter().map(|line| told(line).join(" | ")).collect()
}

#[test]
fn the_access_line_says_everything_that_is_known() {
    let mut facts = Facts::new()
        .tls()
        .identity("acme", &["partners", "certificates"])
        .step("ip_restriction", Stage::Edge, StepVerdict::Continue)
        .asked("customers", StepVerdict::Absent)
        .asked("partners", proved())
        .step("geo", Stage::Authorize, fault(true, "no database"))
        .step("openapi", Stage::Response, deny(502, "openapi.response", "field `x` is unknown"));
    facts.trail.find(Finding { policy: "waf", code: "waf.942100", text: "in `q`".to_owned() });
    let line = access(&facts, |record| {
        record.status = 502;
        record.attempt = Some(ATTEMPT);
        record.received = 7;
        record.end = End::ClientLeft;
    });
    let step = |policy: &str, stage: &str, verdict: &str, us: u64| -> Value {
        json!({ "policy": policy, "stage": stage, "verdict": verdict, "us": us })
    };
    let coded = |mut step: Value, code: &str| {
        step["code"] = json!(code);
        step
    };
    let expected = json!({
        "kind": "access",
        "time": "2027-01-15T08:00:00.000042Z",
        "request_id": "000000000000000000000000000000ab",
        "listener": "public",
        "client": "198.51.100.7",
        "port": 50123,
        "tls": "TLSv1.3",
        "method": "GET",
        "host": "api.example.com",
        "path": "/v1/orders",
        "version": "HTTP/1.1",
        "status": 502,
        "route": "orders",
        "consumer": "acme",
        "proved_by": ["partners", "certificates"],
        "code": "openapi.response",
        "reason": "field `x` is unknown",
        "trail": [
            step("ip_restriction", "edge", "continue", 3),
            step("customers", "authenticate", "absent", 7),
            step("partners", "authenticate", "proved", 7),
            coded(step("geo", "authorize", "fault_open", 3), "policy.fault"),
            coded(step("openapi", "response", "deny", 3), "openapi.response"),
        ],
        "findings": [{ "policy": "waf", "code": "waf.942100", "text": "in `q`" }],
        "upstream": {
            "name": "shop", "endpoint": "https://10.0.0.11:8443", "attempts": 2, "head_us": 900,
        },
        "received": 7,
        "sent": 512,
        "end": "client_left",
        "duration_us": 1500,
        "admitted_us": 12,
        "user_agent": "probe/1.0",
    });
    assert_eq!(line, expected);
}

#[test]
fn what_is_not_known_is_left_out() {
    let line = access(&Facts::new(), |record| {
        (record.version, record.method, record.host) = ("", "", "");
        (record.path, record.user_agent) = ("", "");
        (record.route, record.status) = (None, 0);
    });
    let keys: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "kind",
        "time",
        "request_id",
        "listener",
        "client",
        "port",
        "status",
        "received",
        "sent",
        "end",
        "duration_us",
        "admitted_us",
    ];
    expected.sort_unstable();
    let mut keys = keys;
    keys.sort_unstable();
    assert_eq!(keys, expected);
}

#[test]
fn findings_beyond_the_limit_are_counted() {
    let mut facts = Facts::new();
    for number in 0..20 {
        facts.trail.find(Finding { policy: "waf", code: "waf.x", text: number.to_string() });
    }
    let line = access(&facts, |_| {});
    assert_eq!(line["findings"].as_array().unwrap().len(), 16);
    assert_eq!(line["findings_dropped"], 4);
}

#[test]
fn an_exchange_that_nobody_refused_or_proved_gives_no_event() {
    let facts = Facts::new()
        .step("cors", Stage::Edge, StepVerdict::Answer(204))
        .asked("partners", StepVerdict::Absent);
    assert_eq!(events(&facts), Vec::<String>::new());
}

#[test]
fn a_refusal_gives_one_event_of_its_code() {
    let facts = Facts::new().step("ip_restriction", Stage::Edge, StepVerdict::Continue).step(
        "rate_limit",
        Stage::Edge,
        deny(429, "rate_limit.exceeded", "over 10/s"),
    );
    assert_eq!(events(&facts), ["rate_limit.exceeded | rate_limit | edge | over 10/s"]);
}

#[test]
fn a_refused_credential_gives_one_event_not_two() {
    let facts = Facts::new()
        .asked("customers", proved())
        .asked("partners", deny(401, "key_auth.unknown", "no such key"));
    assert_eq!(events(&facts), ["key_auth.unknown | partners | authenticate | no such key"]);
}

#[test]
fn a_proved_identity_gives_an_event_and_a_later_refusal_another() {
    let facts = Facts::new().identity("acme", &["partners"]).asked("partners", proved());
    assert_eq!(events(&facts), ["auth.succeeded | partners | authenticate | -"]);
    let facts = facts.step("scopes", Stage::Authorize, deny(403, "scopes.missing", ""));
    let expected =
        ["auth.succeeded | partners | authenticate | -", "scopes.missing | scopes | authorize | -"];
    assert_eq!(events(&facts), expected);
}

#[test]
fn a_policy_that_could_not_decide_gives_an_event_open_or_closed() {
    let open = Facts::new().step("geo", Stage::Edge, fault(true, "no database")).step(
        "waf",
        Stage::Edge,
        fault(true, "out of memory"),
    );
    let expected = [
        "policy.fault_open | geo | edge | no database",
        "policy.fault_open | waf | edge | out of memory",
    ];
    assert_eq!(events(&open), expected);
    let closed = Facts::new().asked("partners", fault(false, "the pool is full"));
    assert_eq!(events(&closed), ["policy.fault | partners | authenticate | the pool is full"]);
}

#[test]
fn an_event_says_whose_exchange_it_was() {
    let facts = Facts::new().identity("acme", &["a", "b"]).asked("a", proved());
    let fixture = Fixture::new();
    fixture.record(&facts, |record| record.method = "POST");
    let expected = json!({
        "kind": "event",
        "type": "auth.succeeded",
        "time": "2027-01-15T08:00:00.000042Z",
        "request_id": "000000000000000000000000000000ab",
        "client": "198.51.100.7",
        "listener": "public",
        "route": "orders",
        "host": "api.example.com",
        "method": "POST",
        "path": "/v1/orders",
        "stage": "authenticate",
        "status": 200,
        "consumer": "acme",
        "proved_by": ["a", "b"],
    });
    assert_eq!(fixture.lines("event"), [expected]);
}

#[test]
fn nobody_can_forge_a_line() {
    let forged = "x\"}\n{\"kind\":\"access\",\"status\":200}\r\n\u{1b}[2J\u{0}\\";
    let facts = Facts::new().step("a", Stage::Edge, deny(400, "a.b", "said \"\n{}\""));
    let fixture = Fixture::new();
    fixture.record(&facts, |record| {
        (record.path, record.user_agent) = (forged, forged);
        (record.host, record.method) = (forged, forged);
    });
    let text = fixture.text();
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(!text.bytes().any(|byte| byte < b' ' && byte != b'\n'), "{text}");
    let line = &fixture.lines("access")[0];
    for key in ["path", "user_agent", "host", "method"] {
        assert_eq!(line[key], forged, "{key}");
    }
    assert_eq!(fixture.lines("event")[0]["path"], forged);
}

#[test]
fn names_from_the_document_are_shown_as_they_are_each_time() {
    const NAMES: [&str; 4] = ["\"a\\\n", "{\"b\":\u{1f}}", "\u{2028}🌒", "plain"];
    let fixture = Fixture::new();
    let recorder = fixture.telemetry.recorder();
    for name in NAMES.into_iter().chain(NAMES) {
        let mut facts = Facts::new().identity(name, &[name, "b"]).asked(name, proved());
        facts.downstream.listener = name.into();
        let mut record = facts.record();
        record.route = Some(name);
        record.attempt = Some(Attempt { upstream: name, endpoint: name, ..ATTEMPT });
        recorder.record(&record);
    }
    let (access, events) = (fixture.lines("access"), fixture.lines("event"));
    assert_eq!((access.len(), events.len()), (8, 8));
    for (line, name) in access.iter().zip(NAMES.into_iter().chain(NAMES)) {
        let upstream = json!({
            "name": name, "endpoint": name, "attempts": 2, "head_us": 900,
        });
        let step = json!({
            "policy": name, "stage": "authenticate", "verdict": "proved", "us": 7,
        });
        assert_eq!(line["upstream"], upstream);
        assert_eq!(line["trail"], json!([step]));
    }
    for (line, name) in access.iter().chain(&events).zip(NAMES.into_iter().cycle()) {
        for key in ["listener", "route", "consumer"] {
            assert_eq!(line[key], name, "{key}");
        }
        assert_eq!(line["proved_by"], json!([name, "b"]));
    }
}

#[test]
fn a_recorder_mixes_nothing_up_between_exchanges() {
    let fixture = Fixture::new();
    let recorder = fixture.telemetry.recorder();
    let refused = || deny(403, "scopes.missing", "needs `admin`");
    let several = [
        Facts::new(),
        Facts::new().step("cors", Stage::Edge, StepVerdict::Continue),
        Facts::new().step("cors", Stage::Response, StepVerdict::Continue),
        Facts::new().asked("cors", StepVerdict::Continue).asked("partners", proved()),
        Facts::new().asked("partners", proved()).step("scopes", Stage::Authorize, refused()),
    ];
    let mut expected = Vec::new();
    for number in 0..several.len() * several.len() {
        let facts = &several[number * 7 % several.len()];
        let change = |record: &mut Record<'_>| {
            record.route = [None, Some("none"), Some("orders")][number % 3];
            record.attempt = [None, Some(ATTEMPT)][number % 2];
            record.status = [200, 403, 0][number / 3 % 3];
        };
        expected.push(access(facts, change));
        let mut record = facts.record();
        change(&mut record);
        recorder.record(&record);
    }
    assert_eq!(fixture.lines("access"), expected);
}

#[test]
fn no_secret_gets_into_the_log() {
    const CANARY: &str = "dml_live_CanaryCanaryCanaryCanary0000_Canary";
    const TOKEN: &str = "eyJCanary.eyJCanary.Canary";
    let subject = format!("user {TOKEN}");
    let path = format!("/keys/{CANARY}");
    let user_agent = format!("curl {TOKEN} Basic Canary==");
    let host = format!("{CANARY}.example.com");
    let mut facts = Facts::new()
        .identity(&subject, &["jwt"])
        .step("a", Stage::Edge, fault(true, "Bearer Canary"))
        .step("a", Stage::Edge, deny(400, "a.b", "found dml_live_Canary"));
    facts.trail.find(Finding { policy: "a", code: "a.c", text: format!("arg {CANARY}") });
    let fixture = Fixture::new();
    fixture.record(&facts, |record| {
        (record.path, record.user_agent, record.host) = (&path, &user_agent, &host);
        record.method = CANARY;
    });
    let fields = [("reason", CANARY)];
    fixture.telemetry.log(Level::Error, "x.y", "upstream said Bearer Canary", &fields);
    let text = fixture.text();
    assert!(!text.contains("Canary"), "{text}");
    assert_eq!(fixture.lines("access")[0]["path"], "/keys/dml_[redacted]");
    assert_eq!(fixture.lines("access")[0]["user_agent"], "curl eyJ[redacted] Basic [redacted]");
}

#[test]
fn a_query_is_never_logged() {
    let line = access(&Facts::new(), |record| record.path = "/a?key=Canary");
    assert_eq!(line["path"], "/a");
}

#[test]
fn a_long_user_agent_is_cut_between_characters() {
    let long = format!("{}é…", "x".repeat(255));
    let secret = format!("{} dml_live_Canary", "x".repeat(245));
    let facts = Facts::new();
    let line = access(&facts, |record| record.user_agent = &long);
    assert_eq!(line["user_agent"], "x".repeat(255));
    let line = access(&facts, |record| record.user_agent = &secret);
    assert_eq!(line["user_agent"], format!("{} dml_[redacted]", "x".repeat(245)));
}

#[test]
fn the_operator_is_told_in_lines_of_their_own() {
    let fixture = Fixture::new();
    let fields = [("upstream", "shop"), ("reason", "timed out")];
    fixture.telemetry.log(Level::Warn, "upstream.endpoint_down", "an endpoint is down", &fields);
    fixture.telemetry.log(Level::Info, "start", "started", &[]);
    let time = "2027-01-15T08:00:00.000000Z";
    let expected = [
        json!({
            "kind": "log", "time": time, "level": "warn", "code": "upstream.endpoint_down",
            "message": "an endpoint is down",
            "fields": { "upstream": "shop", "reason": "timed out" },
        }),
        json!({
            "kind": "log", "time": time, "level": "info", "code": "start", "message": "started",
        }),
    ];
    assert_eq!(fixture.lines("log"), expected);
}

#[test]
fn workers_record_side_by_side() {
    let fixture = Fixture::new();
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let recorder = fixture.telemetry.recorder();
            scope.spawn(move || {
                let facts = Facts::new();
                let host = format!("worker-{worker}");
                for received in 0..2_000 {
                    let mut record = facts.record();
                    (record.host, record.received) = (&host, received);
                    recorder.record(&record);
                }
            });
        }
    });
    let lines = fixture.lines("access");
    assert_eq!(lines.len(), 8_000);
    for worker in 0..4 {
        let host = format!("worker-{worker}");
        let of_worker = lines.iter().filter(|line| line["host"] == host.as_str());
        let received: Vec<u64> = of_worker.map(|line| line["received"].as_u64().unwrap()).collect();
        assert_eq!(received, (0..2_000).collect::<Vec<u64>>(), "in order, none lost");
    }
    let counted =
        "demilune_http_requests_total{listener=\"public\",route=\"orders\",status=\"200\"} 8000";
    assert!(fixture.telemetry.render().contains(counted));
}
