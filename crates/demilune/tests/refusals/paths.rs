//! Paths that are refused unless their route says why it needs them.

use demilune_testkit::{Document, Origin};
use serde_json::json;

use crate::start;

/// What is odd, the key that admits it, a path that has it, and what the origin gets to see.
const ODD: [(&str, &str, &str); 5] = [
    ("encoded_slash", "/odd/group%2fname", "/odd/group%2Fname"),
    ("encoded_slash", "/odd/a%5cb", "/odd/a%5Cb"),
    ("double_encoding", "/odd/100%2525", "/odd/100%2525"),
    ("semicolon", "/odd/a;v=1/b", "/odd/a;v=1/b"),
    ("not_utf8", "/odd/caf%e9", "/odd/caf%E9"),
];

fn routes(keys: &[&str]) -> String {
    let reasons: Vec<String> = keys.iter().map(|key| format!("{key}: for the test")).collect();
    let exceptions = format!("path_exceptions: {{ {} }}", reasons.join(", "));
    format!("odd: {{ match: {{ path: /odd/** }}, upstream: origin, public: test, {exceptions} }}")
}

#[test]
fn each_is_admitted_where_the_route_says_so_and_nowhere_else() {
    for (key, path, forwarded) in ODD {
        let origin = Origin::start();
        let plain = "plain: { match: { path: /** }, upstream: origin, public: test }";
        let gateway = start(Document::before(&origin).routes(&[&routes(&[key]), plain]));
        let mut client = gateway.client("main");
        assert_eq!(client.get(path, &[]).status, 200, "{path}");
        assert_eq!(origin.last().line, format!("GET {forwarded} HTTP/1.1"));
        let elsewhere = path.replacen("/odd", "/elsewhere", 1);
        assert_eq!(client.get(&elsewhere, &[]).status, 400, "{elsewhere}");
        for (other, path, _) in ODD.into_iter().filter(|(other, ..)| *other != key) {
            assert_eq!(client.get(path, &[]).status, 400, "{key} admits {other}");
        }
        assert_eq!(origin.seen().len(), 1, "{:#?}", origin.seen());
    }
}

#[test]
fn a_refusal_is_logged_with_its_route_and_why() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin).routes(&[&routes(&[])]));
    assert_eq!(gateway.client("main").get("/odd/a%2fb", &[]).status, 400);
    let line = gateway.wait(|line| line["kind"] == "access");
    assert_eq!((&line["code"], &line["route"]), (&json!("http.path"), &json!("odd")), "{line}");
}

#[test]
fn no_exception_lets_a_dot_segment_or_a_nul_through() {
    let origin = Origin::start();
    let all = ["encoded_slash", "double_encoding", "semicolon", "not_utf8"];
    let gateway = start(Document::before(&origin).routes(&[&routes(&all)]));
    for path in [
        "/odd/..;/admin",
        "/odd/..;x=1/admin",
        "/odd/..%2fadmin",
        "/odd/x%2f..%2f..%2fadmin",
        "/odd/x%5c..%5cadmin",
        "/odd/%2e%2e/admin",
        "/odd/%2e%2e%2fadmin",
        "/odd/%252e%252e/admin",
        "/odd/%252e%252e%252fadmin",
        "/odd/%25252e%25252e/admin",
        "/odd/.%252e/admin",
        "/odd/..%253b/admin",
        "/odd/a%00b",
        "/odd/a%0d%0ab",
        "/odd/a%zz",
    ] {
        let reply = gateway.client("main").get(path, &[]);
        assert_eq!(reply.status, 400, "{path}");
    }
    assert!(origin.seen().is_empty(), "{:#?}", origin.seen());
}
