//! Documents with secrets in them, good and mistaken.

use std::fs;
use std::process::Command;

use demilune_testkit::{Document, Origin, gateway};

use crate::{EXE, Search};

/// Documents with a secret where it does not belong; the rest is what surrounds it.
fn mistakes() -> Vec<(&'static str, String)> {
    let document = |part: &str| {
        format!(
            "version: 1
listeners: {{ main: {{ address: 127.0.0.1:0 }} }}
upstreams: {{ origin: {{ endpoints: [\"http://127.0.0.1:1\"] }} }}
routes: {{ all: {{ match: {{ path: /** }}, upstream: origin, public: a test }} }}
admin: {{ address: 127.0.0.1:0 }}
{part}
"
        )
    };
    let credential = |text: &str| {
        document(&format!("consumers: {{ alice: {{ credentials: [ {{ {text} }} ] }} }}"))
    };
    let key = "dml_live_canaryKey0123456789ABCDEFGHIJKL_0N9gBf";
    let rewrite = |set: &str| {
        document(&format!(
            "defaults: {{ policies: [ {{ rewrite: {{ request: {{ {set} }} }} }} ] }}"
        ))
    };
    vec![
        ("a secret in place of its source", document("secrets: { key: canary-inline }")),
        ("a secret under a wrong key", document("secrets: { key: { vlaue: canary-inline } }")),
        ("a list of secrets", document("secrets: { key: [canary-inline] }")),
        ("an empty name beside it", document("secrets: { \"\": canary-inline }")),
        ("a key in place of its hash", credential(&format!("api_key: {{ hash: {key} }}"))),
        ("a key in place of its credential", credential(&format!("api_key: {key}"))),
        (
            "a password in place of its hash",
            credential("basic: { user: alice, password_hash: canary-password }"),
        ),
        (
            "a password under a wrong key",
            credential("basic: { user: alice, pasword: canary-password }"),
        ),
        (
            "a password under another wrong key",
            credential("basic: { user: alice, pass: canary-password }"),
        ),
        (
            "a pepper in place of its name",
            document("authenticators: { keys: { key_auth: { pepper: canary-pepper } } }"),
        ),
        (
            "a key's text in place of its file",
            document(
                "listeners: { tls: { address: 127.0.0.1:0, tls: { certificates: [ { chain: a, key: \
             \"-----BEGIN PRIVATE KEY----- canary\" } ] } } }",
            ),
        ),
        (
            "a header with a mistake beside it",
            rewrite("set: { authorization: \"Bearer canary-set\" }, removee: []"),
        ),
        (
            "a header with a bad template",
            rewrite("set: { authorization: \"Bearer canary-set {\" }"),
        ),
        ("a header with a bad name", rewrite("set: { \"x api-key\": canary-set }")),
        ("a quote that is not closed", document("secrets: { key: \"canary-unclosed }")),
        ("a tab before it", document("secrets:\n\tkey: canary-tab")),
        ("an alias beside it", document("secrets: { key: canary-alias, other: *canary }")),
        ("a key twice", document("secrets: { key: canary-one, key: canary-two }")),
        ("a hidden character beside it", document("secrets: { key: canary\u{202e}-hidden }")),
        (
            "a password in an endpoint",
            document(
                "upstreams: { origin: { endpoints: [\"http://user:canary-url@127.0.0.1:1\"] } }",
            ),
        ),
        (
            "a token in an endpoint",
            document(
                "upstreams: { origin: { endpoints: [\"http://127.0.0.1:1/?token=canary-url\"] } }",
            ),
        ),
        ("a key in place of a consumer", document(&format!("consumers: {{ alice: {key} }}"))),
        (
            "a key in a list",
            document(&format!("consumers: {{ alice: {{ credentials: [ {key} ] }} }}")),
        ),
    ]
}

#[test]
fn no_secret_in_a_mistaken_document_is_told_to_anybody() {
    let origin = Origin::start();
    let good: String = Document::before(&origin).into();
    let mut gateway = gateway(EXE).config(&good).start();
    let mut search = Search::new([]);
    let folder = tempfile::tempdir().unwrap();
    let before = folder.path().join("good.yaml");
    fs::write(&before, &good).unwrap();
    for (what, text) in mistakes() {
        assert!(text.contains("canary"), "{what}: nothing is planted");
        let rejected = gateway.reload(&text);
        assert_eq!(rejected["code"], "config.rejected", "{what}: {rejected}");
        search.heard(format!("{what}: the log"), rejected.to_string());
        search.heard(format!("{what}: /readyz"), gateway.operator("/readyz").text());
        let path = folder.path().join("bad.yaml");
        fs::write(&path, &text).unwrap();
        let path = path.to_str().unwrap();
        for command in [
            &["check", path][..],
            &["check", path, "--output", "json"],
            &["explain", "GET http://a/", "--config", path],
            &["diff", before.to_str().unwrap(), path],
        ] {
            let output = Command::new(EXE).args(command).output().unwrap();
            // Two documents can be compared though one of them does not compile.
            let fails = output.status.code() == Some(1) || command[0] == "diff";
            assert!(fails, "{what}: {command:?}");
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said).into_owned();
            search.heard(format!("{what}: {}", command[0]), said);
        }
    }
    search.operator(&gateway);
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0), "{}", gateway.printed());
    search.heard("the log", gateway.printed());
    search.finds_nothing();
}

#[test]
fn no_secret_in_a_document_that_changes_is_told_to_anybody() {
    let origin = Origin::start();
    let set = |header: &str| {
        let rewrite = format!("rewrite: {{ request: {{ set: {{ {header} }} }} }}");
        String::from(Document::before(&origin).route(&format!("policies: [ {{ {rewrite} }} ]")))
    };
    let mut gateway = gateway(EXE).config(set("x-auth-token: canary-one")).start();
    let mut search = Search::new([]);
    for header in ["x-auth-token: canary-two", "x-secret: canary-three", "cookie: a=canary-four"] {
        let loaded = gateway.reload(&set(header));
        assert_eq!(loaded["code"], "config.loaded", "{loaded}");
    }
    assert_eq!(gateway.client("main").get("/", &[]).status, 200);
    assert_eq!(origin.last().header("cookie"), Some("a=canary-four"));
    // A file that is no pepper any more.
    let rejected = gateway.after_reload(|| {
        fs::write(gateway.folder().join("pepper"), "canary-short").unwrap();
    });
    assert_eq!(rejected["code"], "config.rejected", "{rejected}");
    search.operator(&gateway);
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0), "{}", gateway.printed());
    search.heard("the log", gateway.printed());
    search.finds_nothing();
}
