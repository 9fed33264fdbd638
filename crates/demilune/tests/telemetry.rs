//! What the gateway tells of its exchanges: each once, whole, and in its own words only.

#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong in a test must stop it, in its functions too"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use demilune_identity::ApiKey;
use demilune_testkit::{
    ALICE_KEY, Authority, Client, Document, Gateway, Origin, eventually, gateway,
};
use serde_json::Value;

const EXE: &str = env!("CARGO_BIN_EXE_demilune");

/// A document with routes that refuse for all kinds of reasons.
fn document(origin: &Origin) -> String {
    let text: String = Document::before(origin)
        .routes(&[
            "open: { match: { path: /open/** }, upstream: origin, public: a test }",
            "slow: { match: { path: /slow/** }, upstream: origin, public: a test }",
            "keyed: { match: { path: /keyed/** }, upstream: origin, authenticate: keys }",
            "dead: { match: { path: /dead/** }, upstream: dead, authenticate: keys }",
            "blocked: { match: { path: /blocked/** }, upstream: origin, public: a test, \
             policies: [ { ip_restriction: { deny: [127.0.0.0/8] } } ] }",
            "sized: { match: { path: /sized/** }, upstream: origin, public: a test, \
             policies: [ { request_size: { body: 4B } } ] }",
            "limited: { match: { path: /limited/** }, upstream: origin, public: a test, \
             policies: [ { rate_limit: { per: route, limit: 1/h } } ] }",
            "shared: { match: { path: /shared/**, methods: [PUT] }, upstream: origin, \
             public: a test, \
             policies: [ { cors: { origins: [\"https://a.example\"], methods: [PUT] } } ] }",
        ])
        .into();
    // Nobody listens on port 1.
    let dead = "  dead: { endpoints: [\"http://127.0.0.1:1\"] }\n";
    text.replace("upstreams:\n", &format!("upstreams:\n{dead}"))
}

/// A request and what is told of it: the status, the code, and the types of its events.
struct Case<'a> {
    method: &'a str,
    path: &'a str,
    headers: &'a [(&'a str, &'a str)],
    told: (u16, &'a str, &'a [&'a str]),
}

fn case<'a>(
    method: &'a str,
    path: &'a str,
    headers: &'a [(&'a str, &'a str)],
    told: (u16, &'a str, &'a [&'a str]),
) -> Case<'a> {
    Case { method, path, headers, told }
}

/// The lines of one kind that are about `path`.
fn about<'a>(lines: &'a [Value], kind: &str, path: &str) -> Vec<&'a Value> {
    let wanted = |line: &&Value| line["kind"] == kind && line["path"] == path;
    lines.iter().filter(wanted).collect()
}

#[test]
fn every_exchange_is_one_line_and_every_refusal_and_every_proof_one_event() {
    let (origin, gate) = Origin::held();
    let gateway = gateway(EXE).config(document(&origin)).start();
    let unknown = ApiKey::generate("test").unwrap();
    let [alice, wrong] = [[("x-api-key", ALICE_KEY)], [("x-api-key", unknown.reveal())]];
    let page = [("origin", "https://a.example"), ("access-control-request-method", "PUT")];
    let stranger = [("origin", "https://b.example")];
    let cases = [
        case("GET", "/open/ok", &[], (200, "", &[])),
        case("GET", "/keyed/ok", &alice, (200, "", &["auth.succeeded"])),
        case("GET", "/keyed/none", &[], (401, "authentication.required", &[])),
        case("GET", "/keyed/unknown", &wrong, (401, "key_auth.unknown", &[])),
        case("GET", "/keyed/bad", &[("x-api-key", "x")], (401, "key_auth.malformed", &[])),
        case("GET", "/dead/x", &alice, (502, "upstream.unreachable", &["auth.succeeded"])),
        case("GET", "/blocked/x", &[], (403, "ip_restriction.address", &[])),
        case("POST", "/sized/x", &[("content-length", "5")], (413, "request_size.body", &[])),
        case("GET", "/limited/1", &[], (200, "", &[])),
        case("GET", "/limited/2", &[], (429, "rate_limit.exceeded", &[])),
        case("OPTIONS", "/shared/asked", &page, (204, "", &[])),
        case("PUT", "/shared/refused", &stranger, (403, "cors.origin", &[])),
        case("GET", "/nowhere", &[], (404, "route.none", &[])),
        case("GET", "/open/a%2Fb", &[], (400, "http.path", &[])),
        case("TRACE", "/open/trace", &[], (405, "http.method", &[])),
    ];
    for case in &cases {
        let mut client = gateway.client("main");
        client.begin(case.method, case.path, case.headers);
        let reply = client.read(false).unwrap();
        assert_eq!(reply.status, case.told.0, "{} {}", case.path, reply.text());
    }
    let mut leaves = gateway.client("main");
    leaves.begin("GET", "/slow/left", &[]);
    origin.wait_seen(cases.iter().filter(|case| case.told.0 == 200).count() + 1);
    drop(leaves);
    gateway.access("/slow/left");
    drop(gate);
    let lines = gateway.stop();
    for Case { path, told: (status, code, more), .. } in &cases {
        let [access] = about(&lines, "access", path)[..] else { panic!("{path}: {lines:#?}") };
        assert_eq!(access["status"], *status, "{access}");
        assert_eq!(access["code"].as_str().unwrap_or_default(), *code, "{access}");
        assert_eq!(access["end"], "complete", "{access}");
        let events = about(&lines, "event", path);
        let types: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        let refused = (!code.is_empty()).then_some(*code);
        let expected: Vec<&str> = more.iter().copied().chain(refused).collect();
        assert_eq!(types, expected, "{path}");
        assert!(events.iter().all(|e| e["request_id"] == access["request_id"]), "{events:?}");
    }
    let [left] = about(&lines, "access", "/slow/left")[..] else { panic!("{lines:#?}") };
    assert_eq!((&left["status"], &left["end"]), (&0.into(), &"client_left".into()), "{left}");
    assert!(about(&lines, "event", "/slow/left").is_empty());
    let exchanges = lines.iter().filter(|line| line["kind"] == "access").count();
    assert_eq!(exchanges, cases.len() + 1);
}

#[test]
fn bytes_that_are_no_request_are_one_line_and_one_event_too() {
    let origin = Origin::start();
    let gateway = gateway(EXE).config(document(&origin)).start();
    let long = "x".repeat(60_000);
    let cases = [
        ("GET /open HTTP/1.1\r\nno colon\r\n\r\n".to_owned(), 400, "http.field_line"),
        ("GET /open HTTP/3.0\r\nhost: a\r\n\r\n".to_owned(), 505, "http.version_unsupported"),
        (format!("GET /open HTTP/1.1\r\nx: {long}\r\n\r\n"), 431, "http.head_too_large"),
        ("GET /open HTTP/1.1\r\nhost: a\r\n".to_owned(), 0, "http.head_incomplete"),
    ];
    let mut ids = Vec::new();
    for (bytes, status, _) in &cases {
        let mut client = gateway.client("main");
        client.send(bytes);
        client.finish();
        let reply = client.read(false);
        assert_eq!(reply.as_ref().map_or(0, |reply| reply.status), *status);
        ids.push(reply.map(|reply| reply.json()["request_id"].clone()));
    }
    let lines = gateway.stop();
    for ((_, status, code), id) in cases.iter().zip(ids) {
        let of = |kind: &str, key: &str| {
            let wanted = |line: &&Value| line["kind"] == kind && line[key] == *code;
            lines.iter().filter(wanted).collect::<Vec<_>>()
        };
        let ([access], [event]) = (&of("access", "code")[..], &of("event", "type")[..]) else {
            panic!("{code}: {lines:#?}")
        };
        assert_eq!(access["status"], *status);
        assert_eq!(access["request_id"], event["request_id"]);
        assert!(id.is_none_or(|id| id == access["request_id"]), "{access}");
    }
}

#[test]
fn one_id_names_an_exchange_wherever_it_is_spoken_of() {
    let origin = Origin::start();
    let gateway = gateway(EXE).config(document(&origin)).start();
    let mut client = gateway.client("main");
    let forged = [("x-api-key", ALICE_KEY), ("x-request-id", "forged")];
    assert_eq!(client.get("/keyed/ok", &forged).status, 200);
    let refused = client.get("/keyed/refused", &[]);
    let told = refused.json();
    assert_eq!(told["status"], 401);
    let lines = gateway.stop();
    for (path, id) in [
        ("/keyed/ok", origin.last().header("x-request-id").unwrap()),
        ("/keyed/refused", told["request_id"].as_str().unwrap()),
    ] {
        assert_eq!(id.len(), 32, "{id}");
        assert!(id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        for kind in ["access", "event"] {
            let [line] = about(&lines, kind, path)[..] else { panic!("{path}: {lines:#?}") };
            assert_eq!(line["request_id"], id, "{line}");
        }
    }
}

#[test]
fn a_line_says_everything_that_the_documentation_says_it_does() {
    let origin = Origin::start();
    let gateway = gateway(EXE).config(document(&origin)).start();
    let mut client = gateway.client("main");
    let headers =
        [("x-api-key", ALICE_KEY), ("user-agent", "a test/1.0"), ("host", "API.example:80")];
    let reply = client.request("POST", "/keyed/%7Euser?q=1", &headers, Some(b"1234567"));
    assert_eq!(reply.status, 200);
    let line = gateway.access("/keyed/~user");
    let expected = [
        ("listener", "main".into()),
        ("client", "127.0.0.1".into()),
        ("method", "POST".into()),
        ("host", "api.example:80".into()),
        ("path", "/keyed/~user".into()),
        ("version", "HTTP/1.1".into()),
        ("status", 200.into()),
        ("route", "keyed".into()),
        ("consumer", "alice".into()),
        ("proved_by", Value::from(vec!["keys"])),
        ("received", 7.into()),
        ("sent", 5.into()),
        ("end", "complete".into()),
        ("user_agent", "a test/1.0".into()),
    ];
    for (name, value) in &expected {
        assert_eq!(&line[name], value, "{name} of {line}");
    }
    let keys: BTreeSet<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    let mut all: BTreeSet<&str> = expected.iter().map(|(name, _)| *name).collect();
    all.extend(["kind", "time", "request_id", "port", "trail", "upstream"]);
    all.extend(["duration_us", "admitted_us"]);
    assert_eq!(keys, all);
    let upstream = &line["upstream"];
    assert_eq!((&upstream["name"], &upstream["attempts"]), (&"origin".into(), &1.into()));
    assert_eq!(upstream["endpoint"], origin.url());
    let trail = line["trail"].as_array().unwrap();
    let step = |name: &str| trail.iter().find(|step| step["policy"] == name).unwrap();
    assert_eq!(
        (&step("keys")["stage"], &step("keys")["verdict"]),
        (&"authenticate".into(), &"proved".into())
    );
    let event = gateway.wait(|line| line["type"] == "auth.succeeded");
    assert_eq!((&event["consumer"], &event["proved_by"]), (&"alice".into(), &line["proved_by"]));
    assert!(!gateway.printed().contains("q=1"), "a query was written");
}

/// Every name and set of labels that is counted, with its value.
fn series(gateway: &Gateway) -> BTreeMap<String, String> {
    let reply = gateway.operator("/metrics");
    assert!(reply.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = reply.text();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.rsplit_once(' ').unwrap()).map(|(k, v)| (k.into(), v.into())).collect()
}

/// The names in the table of metrics in docs/operating.md.
fn documented() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operating.md");
    let text = fs::read_to_string(path).unwrap();
    let names =
        text.lines().filter_map(|line| line.strip_prefix("| `demilune_")?.split('`').next());
    names.map(|name| format!("demilune_{name}")).collect()
}

#[test]
fn the_metrics_are_those_that_are_documented() {
    let (origin, gate) = Origin::held();
    let authority = Authority::new();
    let builder = gateway(EXE);
    authority.issue(builder.folder(), "api", &["api.example"]);
    let tls = "tls: { certificates: [ { chain: api.pem, key: api.key } ] }, \
               limits: { connections: 1 }";
    let health = "health: { path: /open/health }";
    let text = document(&origin)
        .replace(
            "listeners:\n",
            &format!("listeners:\n  secure: {{ address: 127.0.0.1:0, {tls} }}\n"),
        )
        .replace("\"] }\nsecrets", &format!("\"], {health} }}\nsecrets"));
    assert!(text.contains(health), "{text}");
    // One endpoint by name and one by address, where nobody listens: it is ejected and passed by.
    let alone = "[\"http://127.0.0.1:1\"]";
    assert!(text.contains(alone), "{text}");
    let failing = "[\"http://127.0.0.1:1\", \"http://localhost:1\"], circuit_breaker: {}, \
                   ejection: { after: 1, time: 1h, longest: 1h }";
    let text = text.replace(alone, failing) + "overload: { requests: 2 }\n";
    // One for each of two workers: the third is refused.
    let gateway = builder.config(text).start();
    let mut clients = [(); 3].map(|()| gateway.client("main"));
    for client in &mut clients {
        client.begin("GET", "/slow/held", &[]);
    }
    gateway.wait(|line| line["code"] == "gateway.overloaded");
    drop(gate);
    assert!(clients.iter_mut().all(|client| client.read(false).is_some()));
    for path in ["/keyed/", "/dead/"] {
        gateway.client("main").get(path, &[("x-api-key", ALICE_KEY)]);
    }
    let (kept, _) = Client::connect_tls(gateway.address("secure"), "api.example", &authority);
    assert!(gateway.client("secure").ends(), "a connection too many was accepted");
    drop(kept);
    let wanted = documented();
    eventually("all that is documented is counted, and nothing else", || {
        let mut plain = gateway.client("secure");
        plain.send("GET / HTTP/1.1\r\n\r\n");
        let _ = plain.rest();
        let name = |series: &String| {
            let name = series.split('{').next().unwrap();
            let ends =
                if name.contains("_seconds_") { &["_bucket", "_sum", "_count"][..] } else { &[] };
            ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned()
        };
        let counted: BTreeSet<String> = series(&gateway).keys().map(name).collect();
        let unknown: Vec<_> = counted.difference(&wanted).collect();
        assert!(unknown.is_empty(), "not documented: {unknown:?}");
        (counted == wanted).then_some(())
    });
}

#[test]
fn the_metrics_count_what_happened() {
    let origin = Origin::start();
    let gateway = gateway(EXE).config(document(&origin)).start();
    let mut client = gateway.client("main");
    for _ in 0..3 {
        client.get("/open/", &[]);
    }
    client.get("/keyed/", &[("x-api-key", ALICE_KEY)]);
    for _ in 0..2 {
        client.get("/keyed/", &[]);
    }
    client.get("/blocked/", &[]);
    client.get("/nowhere", &[]);
    client.get("/dead/", &[("x-api-key", ALICE_KEY)]);
    gateway.wait_many(9, |line| line["kind"] == "access");
    let counted = series(&gateway);
    let (url, dead) = (origin.url(), "http://127.0.0.1:1");
    let up = "demilune_upstream_requests_total{upstream";
    for (series, value) in [
        (r#"demilune_http_requests_total{listener="main",route="open",status="200"}"#.into(), "3"),
        (r#"demilune_http_requests_total{listener="main",route="keyed",status="200"}"#.into(), "1"),
        (r#"demilune_http_requests_total{listener="main",route="keyed",status="401"}"#.into(), "2"),
        (r#"demilune_http_requests_total{listener="main",route="none",status="404"}"#.into(), "1"),
        (r#"demilune_http_requests_total{listener="main",route="dead",status="502"}"#.into(), "1"),
        (r#"demilune_http_request_duration_seconds_count{route="open"}"#.into(), "3"),
        (r#"demilune_decisions_total{policy="keys",verdict="proved",code=""}"#.into(), "2"),
        (r#"demilune_decisions_total{policy="keys",verdict="absent",code=""}"#.into(), "2"),
        (
            [
                r#"demilune_decisions_total{policy="ip_restriction",verdict="deny","#,
                r#"code="ip_restriction.address"}"#,
            ]
            .concat(),
            "1",
        ),
        (format!(r#"{up}="origin",endpoint="{url}",outcome="answered"}}"#), "4"),
        (format!(r#"{up}="dead",endpoint="{dead}",outcome="upstream.unreachable"}}"#), "1"),
        (r#"demilune_upstream_head_duration_seconds_count{upstream="origin"}"#.into(), "4"),
        (r#"demilune_connections{listener="main"}"#.into(), "1"),
        ("demilune_exchange_panics_total".into(), "0"),
        ("demilune_log_lines_dropped_total".into(), "0"),
        ("demilune_config_last_reload_successful".into(), "1"),
    ] {
        let series: String = series;
        assert_eq!(counted.get(&series).map(String::as_str), Some(value), "{series} {counted:#?}");
    }
}

#[test]
fn nothing_that_a_client_chooses_becomes_a_label() {
    let origin = Origin::start();
    let gateway = gateway(EXE).config(document(&origin)).start();
    let mut client = gateway.client("main");
    let mut ask = |number: usize| {
        let (host, agent) = (format!("h{number}.example"), format!("agent/{number}"));
        let key = format!("key-{number}");
        let own = format!("x-{number}");
        let headers = [("host", &*host), ("user-agent", &*agent), (&*own, "1")];
        let method = format!("METHOD{number}");
        let path = |first: &str| format!("/{first}/{number}?q{number}={number}");
        assert_eq!(client.request(&method, &path("open"), &headers, None).status, 200);
        assert_eq!(client.request("GET", &path("nowhere"), &headers, None).status, 404);
        let headers = [("host", &*host), ("x-api-key", &*key), ("x-forwarded-for", &*host)];
        assert_eq!(client.request("GET", &path("keyed"), &headers, None).status, 401);
    };
    ask(0);
    gateway.wait_many(3, |line| line["kind"] == "access");
    let before: BTreeSet<String> = series(&gateway).into_keys().collect();
    (1..=1_000).for_each(&mut ask);
    gateway.wait_many(3_003, |line| line["kind"] == "access");
    let after: BTreeSet<String> = series(&gateway).into_keys().collect();
    assert_eq!(before, after);
}

#[test]
fn nothing_that_a_client_sends_breaks_out_of_its_line() {
    let origin = Origin::start();
    let mut gateway = gateway(EXE).config(document(&origin)).start();
    let forged = "\",\"forged\":true,\"x\":\"";
    let line = "{\"kind\":\"event\",\"type\":\"forged\"}";
    let bytes = [
        format!("GET /open/{forged} HTTP/1.1\r\nhost: a\r\n\r\n"),
        format!("GET /open/%0a{line}%0a HTTP/1.1\r\nhost: a\r\n\r\n"),
        "GET /open/%22,%22forged%22:true%5c HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
        "GET /open/\\\\\" HTTP/1.1\r\nhost: a\r\n\r\n".to_owned(),
        format!("GET /open/host HTTP/1.1\r\nhost: a{forged}\r\n\r\n"),
        format!("GET /open/host HTTP/1.1\r\nhost: a\\n{line}\r\n\r\n"),
        format!("GET /open/agent HTTP/1.1\r\nhost: a\r\nuser-agent: {forged}\\\r\n\r\n"),
        format!("GET /open/agent HTTP/1.1\r\nhost: a\r\nuser-agent: \t{line}\t\r\n\r\n"),
        format!("GET /open/agent HTTP/1.1\r\nhost: a\r\nuser-agent: \u{2028}{line}\r\n\r\n"),
        format!("GET /open/agent HTTP/1.1\r\nhost: a\r\nuser-agent: x\n{line}\r\n\r\n"),
        format!("GET /open/agent HTTP/1.1\r\nhost: a\r\nuser-agent: x\r{line}\r\n\r\n"),
        "GET /open/agent HTTP/1.1\r\nhost: a\r\nuser-agent: \u{1b}[2J\0\u{7f}\r\n\r\n".to_owned(),
        format!("GET /keyed/ HTTP/1.1\r\nhost: a\r\nx-api-key: {forged}\r\n\r\n"),
        format!("GET /keyed/ HTTP/1.1\r\nhost: a\r\nauthorization: {forged}\r\n\r\n"),
        format!("{forged} /open/ HTTP/1.1\r\nhost: a\r\n\r\n"),
        format!("GET http://u{forged}@a/ HTTP/1.1\r\nhost: a\r\n\r\n"),
    ];
    for request in &bytes {
        let mut client = gateway.client("main");
        client.send(request);
        assert!(client.read(false).is_some(), "no answer to {request:?}");
    }
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
    let mut accesses = 0;
    for line in gateway.printed().lines() {
        let parsed: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        let object = parsed.as_object().unwrap();
        assert!(!object.contains_key("forged") && parsed["type"] != "forged", "{line}");
        assert!(!line.chars().any(|c| c.is_control() || c == '\u{2028}'), "{line:?}");
        accesses += usize::from(parsed["kind"] == "access");
    }
    assert_eq!(accesses, bytes.len(), "{}", gateway.printed());
}
