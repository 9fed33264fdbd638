//! What the client may read of a refusal, what the log says of it, and that both go together.

use demilune_testkit::{Document, Origin};
use serde_json::{Value, json};

use crate::start;

/// Two routes, one of them with a condition on the method.
fn routes(origin: &Origin) -> Document {
    Document::before(origin).routes(&[
        "open: { match: { path: /open, methods: [GET] }, upstream: origin, public: for the test }",
        "shut: { match: { path: /shut }, upstream: origin, authenticate: keys }",
    ])
}

#[test]
fn a_request_that_no_route_matches_is_refused_with_404() {
    let origin = Origin::start();
    let gateway = start(routes(&origin));
    let mut client = gateway.client("main");
    for (method, path) in [("GET", "/nowhere"), ("POST", "/open"), ("GET", "/open/more")] {
        let reply = client.request(method, path, &[], None);
        assert_eq!((reply.status, reply.header("content-type")), (404, Some(PROBLEM)), "{path}");
        let line = gateway.access(path);
        assert_eq!(line["request_id"], reply.json()["request_id"]);
        let told = json!([line["code"], line["status"], line["method"], line["route"]]);
        assert_eq!(told, json!(["route.none", 404, method, null]), "{line}");
        assert_eq!((&line["host"], &line["end"]), (&"api.example.com".into(), &"complete".into()));
    }
    assert!(origin.seen().is_empty());
}

const PROBLEM: &str = "application/problem+json";

#[test]
fn a_refusal_is_problem_json_with_the_id_that_the_log_has_and_nothing_of_the_reason() {
    let origin = Origin::start();
    let gateway = start(routes(&origin));
    let mut client = gateway.client("main");
    let unknown = "dml_test_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz_492xs3";
    let reply = client.get("/shut?secret=canary", &[("x-api-key", unknown)]);
    let line = gateway.access("/shut");
    let expected = json!({
        "title": "Unauthorized",
        "status": 401,
        "detail": "the API key is not valid",
        "request_id": line["request_id"],
    });
    assert_eq!((reply.status, reply.json()), (401, expected));
    assert_eq!(reply.header("content-type"), Some(PROBLEM));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.header("content-length"), Some(&*reply.body.len().to_string()));
    assert_eq!(line["code"], "key_auth.unknown");
    assert_eq!(line["reason"], "no consumer has this key");
    assert_eq!(line["route"], "shut");
    assert_eq!((&line["sent"], &line["end"]), (&reply.body.len().into(), &"complete".into()));
    let lines = gateway.stop();
    let printed = format!("{lines:?}");
    assert!(!printed.contains(unknown) && !printed.contains("canary"), "{printed}");
}

#[test]
fn each_refusal_gives_one_event_and_each_admission_of_a_caller_too() {
    let origin = Origin::start();
    let gateway = start(routes(&origin));
    let mut client = gateway.client("main");
    let key = demilune_testkit::ALICE_KEY;
    for (path, key) in
        [("/nowhere", ""), ("/shut", ""), ("/shut", "x"), ("/shut", key), ("/open", "")]
    {
        let headers = [("x-api-key", key)];
        let sent = if key.is_empty() { &headers[..0] } else { &headers };
        client.get(path, sent);
    }
    let lines = gateway.stop();
    let access: Vec<&Value> = lines.iter().filter(|line| line["kind"] == "access").collect();
    assert_eq!(access.len(), 5);
    let told: Vec<Value> = access
        .iter()
        .map(|line| {
            let events = lines.iter().filter(|event| {
                event["kind"] == "event" && event["request_id"] == line["request_id"]
            });
            let events: Vec<&Value> = events.map(|event| &event["type"]).collect();
            json!([line["status"], line["code"], events])
        })
        .collect();
    let expected = [
        json!([404, "route.none", ["route.none"]]),
        json!([401, "authentication.required", ["authentication.required"]]),
        json!([401, "key_auth.malformed", ["key_auth.malformed"]]),
        json!([200, null, ["auth.succeeded"]]),
        json!([200, null, []]),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_refused_head_request_is_told_all_but_the_body_and_logged_as_complete() {
    let origin = Origin::start();
    let gateway = start(routes(&origin));
    let mut client = gateway.client("main");
    for (path, status) in [("/nowhere", 404), ("/shut", 401), ("/a%2Fb", 400)] {
        let reply = client.request("HEAD", path, &[], None);
        assert_eq!((reply.status, reply.header("content-type")), (status, Some(PROBLEM)));
        // Not the length of another answer than `GET` gets (RFC 9110 section 8.6).
        assert_ne!(reply.header("content-length"), Some("0"), "{path}");
        let line = gateway.access(path);
        let told = json!([line["status"], line["end"], line["sent"]]);
        assert_eq!(told, json!([status, "complete", 0]), "{path}");
    }
}

#[test]
fn what_no_route_matches_passes_the_default_policies_first() {
    let origin = Origin::start();
    let limit = "policies: [{ rate_limit: { per: address, limit: 2/h } }]";
    let gateway = start(routes(&origin).defaults(limit));
    let mut client = gateway.client("main");
    let statuses = [(); 4].map(|()| client.get("/nowhere", &[]).status);
    assert_eq!(statuses, [404, 404, 429, 429]);
}

/// A path that can only just be forwarded, and that grows too long when it is rewritten.
fn long_path() -> String {
    format!("/{}", "a".repeat(8000))
}

/// A policy that cannot decide about [`long_path`].
fn faulting(origin: &Origin, more: &str) -> Document {
    let to = format!("/{}", "b".repeat(500));
    let change = format!("path: {{ replace_prefix: {{ from: /, to: {to} }} }}");
    let rewrite = format!("rewrite: {{ request: {{ {change} }} }}");
    Document::before(origin).route(&format!("policies: [{{ {rewrite} }}]{more}"))
}

#[test]
fn where_a_policy_cannot_decide_the_request_is_refused() {
    let origin = Origin::start();
    let gateway = start(faulting(&origin, ""));
    let mut client = gateway.client("main");
    assert_eq!(client.get("/short", &[]).status, 200);
    let reply = client.get(&long_path(), &[]);
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
    assert_eq!(reply.json()["retry_after"], 5);
    assert_eq!(reply.json()["detail"], "the gateway could not decide about this request");
    assert_eq!(gateway.access(&long_path())["code"], "policy.fault");
    gateway.wait(|line| line["kind"] == "event" && line["type"] == "policy.fault");
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn where_the_operator_opened_it_the_request_goes_on_and_an_event_says_so() {
    let origin = Origin::start();
    let open = ", on_fault: { rewrite: open }, reasons: { rewrite: for the test }";
    let gateway = start(faulting(&origin, open));
    assert_eq!(gateway.client("main").get(&long_path(), &[]).status, 200);
    assert_eq!(origin.last().line, format!("GET {} HTTP/1.1", long_path()));
    let line = gateway.access(&long_path());
    assert_eq!((&line["status"], &line["code"]), (&200.into(), &Value::Null));
    let of_request =
        |event: &Value| event["kind"] == "event" && event["request_id"] == line["request_id"];
    let event = gateway.wait(of_request);
    assert_eq!(
        (&event["type"], &event["policy"]),
        (&"policy.fault_open".into(), &"rewrite".into())
    );
    let lines = gateway.stop();
    assert_eq!(lines.iter().filter(|line| of_request(line)).count(), 1);
}
