//! Who may call: keys, passwords, any of them, all of them, nobody in particular.

use demilune_testkit::{ALICE_KEY, ALICE_PASSWORD, BOB_KEY, Document, Gateway, Origin, Reply};
use serde_json::{Value, json};

use crate::start;

/// Well formed, and nobody's.
const UNKNOWN_KEY: &str = "dml_test_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz_492xs3";

/// `alice:` and [`ALICE_PASSWORD`], and `alice:wrong`, in base64.
const RIGHT: &str = "Basic YWxpY2U6Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ==";
const WRONG: &str = "Basic YWxpY2U6d3Jvbmc=";

const KEY: &str = "x-api-key";
const PASSWORD: &str = "authorization";

/// What the client and the log are told of a request: status, consumer, code.
fn ask(gateway: &Gateway, number: usize, headers: &[(&str, &str)]) -> (Reply, Value) {
    let path = format!("/{number}");
    let reply = gateway.client("main").get(&path, headers);
    let line = gateway.access(&path);
    assert_eq!(line["status"], reply.status, "{line}");
    (reply, json!([line["status"], line["consumer"], line["code"]]))
}

/// Asks each, and compares what is told.
fn check(route: &str, cases: &[(&[(&str, &str)], Value)]) {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin).route(route));
    for (number, (headers, expected)) in cases.iter().enumerate() {
        let (_, told) = ask(&gateway, number, headers);
        assert_eq!(told, *expected, "{headers:?}");
    }
    let admitted = cases.iter().filter(|(_, expected)| expected[0] == 200).count();
    assert_eq!(origin.seen().len(), admitted);
    let printed = gateway.printed();
    for secret in [ALICE_KEY, BOB_KEY, UNKNOWN_KEY, ALICE_PASSWORD, RIGHT, WRONG] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn a_key_proves_its_consumer_and_nothing_else_does() {
    check(
        "authenticate: keys",
        &[
            (&[(KEY, ALICE_KEY)], json!([200, "alice", null])),
            (&[(KEY, BOB_KEY)], json!([200, "bob", null])),
            (&[], json!([401, null, "authentication.required"])),
            (&[(KEY, UNKNOWN_KEY)], json!([401, null, "key_auth.unknown"])),
            (&[(KEY, "")], json!([401, null, "key_auth.malformed"])),
            (&[(KEY, "alice")], json!([401, null, "key_auth.malformed"])),
            (&[(KEY, ALICE_KEY.trim_start_matches("d"))], json!([401, null, "key_auth.malformed"])),
            (&[(KEY, ALICE_KEY), (KEY, ALICE_KEY)], json!([401, null, "key_auth.ambiguous"])),
            (&[(KEY, ALICE_KEY), ("X-API-KEY", BOB_KEY)], json!([401, null, "key_auth.ambiguous"])),
            (&[("x_api_key", ALICE_KEY)], json!([401, null, "authentication.required"])),
            (&[(PASSWORD, RIGHT)], json!([401, null, "authentication.required"])),
            (&[("x-consumer-name", "alice")], json!([401, null, "authentication.required"])),
        ],
    );
}

#[test]
fn a_key_in_the_query_counts_where_the_operator_said_so() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin).route("authenticate: query_keys"));
    let mut client = gateway.client("main");
    let mut ask = |target: String, headers: &[(&str, &str)]| client.get(&target, headers).status;
    assert_eq!(ask(format!("/?key={ALICE_KEY}"), &[]), 200);
    assert_eq!(ask(format!("/?key={ALICE_KEY}&key={ALICE_KEY}"), &[]), 401);
    assert_eq!(ask(format!("/?key={ALICE_KEY}"), &[(KEY, ALICE_KEY)]), 401);
    assert_eq!(ask("/?key=".to_owned(), &[]), 401);
    assert_eq!(ask(format!("/?Key={ALICE_KEY}"), &[]), 401);
    let gateway = start(Document::before(&origin).route("authenticate: keys"));
    assert_eq!(gateway.client("main").get(&format!("/?key={ALICE_KEY}"), &[]).status, 401);
}

#[test]
fn a_public_route_asks_nobody() {
    check(
        "policies: []",
        &[
            (&[], json!([200, null, null])),
            (&[(KEY, UNKNOWN_KEY)], json!([200, null, null])),
            (&[(KEY, ALICE_KEY)], json!([200, null, null])),
        ],
    );
}

#[test]
fn passwords_are_refused_over_plain_http_though_they_are_right() {
    check(
        "authenticate: passwords",
        &[
            (&[(PASSWORD, RIGHT)], json!([403, null, "basic_auth.plain_text"])),
            (&[(PASSWORD, WRONG)], json!([403, null, "basic_auth.plain_text"])),
            (&[], json!([401, null, "authentication.required"])),
        ],
    );
}

#[test]
fn passwords_pass_over_plain_http_where_the_operator_said_why() {
    check(
        "authenticate: plain_passwords",
        &[
            (&[(PASSWORD, RIGHT)], json!([200, "alice", null])),
            (&[(PASSWORD, WRONG)], json!([401, null, "basic_auth.rejected"])),
            (&[(PASSWORD, "Basic %")], json!([401, null, "basic_auth.malformed"])),
            (&[(PASSWORD, RIGHT), (PASSWORD, RIGHT)], json!([401, null, "basic_auth.malformed"])),
            (&[(PASSWORD, "Bearer x")], json!([401, null, "authentication.required"])),
        ],
    );
}

#[test]
fn any_of_several_proves_and_a_refused_one_is_not_made_good_by_another() {
    check(
        "authenticate: { any_of: [keys, plain_passwords] }",
        &[
            (&[(KEY, BOB_KEY)], json!([200, "bob", null])),
            (&[(PASSWORD, RIGHT)], json!([200, "alice", null])),
            (&[(KEY, UNKNOWN_KEY), (PASSWORD, RIGHT)], json!([401, null, "key_auth.unknown"])),
            (&[], json!([401, null, "authentication.required"])),
        ],
    );
}

#[test]
fn where_nobody_in_particular_may_call_too_a_refused_credential_is_still_refused() {
    check(
        "authenticate: { any_of: [keys], anonymous: for the test }",
        &[
            (&[], json!([200, null, null])),
            (&[(KEY, ALICE_KEY)], json!([200, "alice", null])),
            (&[(KEY, UNKNOWN_KEY)], json!([401, null, "key_auth.unknown"])),
        ],
    );
}

#[test]
fn all_of_several_must_prove_one_caller() {
    check(
        "authenticate: { all_of: [keys, plain_passwords] }",
        &[
            (&[(KEY, ALICE_KEY), (PASSWORD, RIGHT)], json!([200, "alice", null])),
            (&[(KEY, ALICE_KEY)], json!([401, null, "authentication.required"])),
            (&[(PASSWORD, RIGHT)], json!([401, null, "authentication.required"])),
            (&[(KEY, ALICE_KEY), (PASSWORD, WRONG)], json!([401, null, "basic_auth.rejected"])),
            (
                &[(KEY, BOB_KEY), (PASSWORD, RIGHT)],
                json!([401, null, "authentication.callers_differ"]),
            ),
        ],
    );
    let origin = Origin::start();
    let all = "authenticate: { all_of: [keys, plain_passwords] }";
    let gateway = start(Document::before(&origin).route(all));
    gateway.client("main").get("/", &[(KEY, ALICE_KEY), (PASSWORD, RIGHT)]);
    assert_eq!(origin.last().header("x-consumer-proved-by"), Some("keys, plain_passwords"));
    assert_eq!(gateway.access("/")["proved_by"], json!(["keys", "plain_passwords"]));
}

#[test]
fn a_401_carries_the_challenges_of_all_ways_in_and_what_is_wrong_reads_the_same() {
    let origin = Origin::start();
    let any = "authenticate: { any_of: [keys, plain_passwords] }";
    let gateway = start(Document::before(&origin).route(any));
    let challenges = ["ApiKey realm=\"demilune\"", "Basic realm=\"demilune\", charset=\"UTF-8\""];
    let mut details = Vec::new();
    for (number, headers) in [
        &[][..],
        &[(KEY, UNKNOWN_KEY)],
        &[(KEY, "x")],
        &[(KEY, ALICE_KEY), (KEY, ALICE_KEY)],
        &[(PASSWORD, WRONG)],
    ]
    .iter()
    .enumerate()
    {
        let (reply, _) = ask(&gateway, number, headers);
        assert_eq!(reply.status, 401);
        assert_eq!(reply.all("www-authenticate"), challenges, "{headers:?}");
        details.push(reply.json()["detail"].clone());
    }
    assert_eq!(details[0], "this resource needs a credential");
    assert!(details[1..4].iter().all(|detail| detail == "the API key is not valid"), "{details:?}");
    assert_eq!(origin.connections(), 0);
}
