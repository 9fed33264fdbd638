//! Headers and targets: what stays, what goes, and what only the gateway says.

use demilune_testkit::{ALICE_KEY, ALICE_PASSWORD, Document, Origin, Seen};

use crate::start;

/// The names of what an origin was sent.
fn names(seen: &Seen) -> Vec<&str> {
    let mut names: Vec<&str> = seen.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names
}

/// What an origin is sent beside what the client says.
const OURS: [&str; 5] =
    ["host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id"];

#[test]
fn what_governs_one_connection_does_not_reach_the_origin() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    let headers = [
        ("connection", "keep-alive, Nominated"),
        ("Connection", "Also-Nominated,close-to"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic c2VjcmV0"),
        ("proxy-authenticate", "Basic"),
        ("te", "trailers"),
        ("trailer", "x-t"),
        ("upgrade", "TLS/1.2"),
        ("nominated", "1"),
        ("also-nominated", "1"),
        ("close-to", "1"),
        ("x-stays", "1"),
    ];
    assert_eq!(gateway.client("main").get("/", &headers).status, 200);
    let seen = origin.last();
    assert_eq!(names(&seen), [&OURS[..], &["x-stays"]].concat());
}

#[test]
fn what_governs_the_origins_connection_does_not_reach_the_client() {
    let origin = Origin::answering(|_| {
        b"HTTP/1.1 200 OK\r\nconnection: keep-alive, X-Nominated\r\nkeep-alive: timeout=5\r\n\
          proxy-connection: keep-alive\r\nproxy-authenticate: Basic\r\nte: trailers\r\n\
          trailer: x-t\r\nupgrade: h2c\r\nx-nominated: 1\r\nx-stays: 1\r\nset-cookie: a=1\r\n\
          set-cookie: b=2\r\ncontent-length: 0\r\n\r\n"
            .to_vec()
    });
    let gateway = start(Document::before(&origin));
    let reply = gateway.client("main").get("/", &[]);
    let mut names: Vec<&str> = reply.headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "date", "set-cookie", "set-cookie", "x-stays"]);
    assert_eq!(reply.all("set-cookie"), ["a=1", "b=2"]);
}

#[test]
fn everything_else_passes_as_it_came() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    let value = "\"caf\u{e9}\" ; q=1, \t x";
    let headers = [
        ("cookie", "a=1; b=2"),
        ("x-many", "1"),
        ("X-Many", "2"),
        ("x-odd", value),
        ("x-empty", ""),
        ("user-agent", "test/1.0"),
    ];
    assert_eq!(gateway.client("main").get("/", &headers).status, 200);
    let seen = origin.last();
    assert_eq!(seen.all("x-many"), ["1", "2"]);
    for (name, value) in headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("x-many")) {
        assert_eq!(seen.all(name), [*value], "{name}");
    }
    assert_eq!(gateway.access("/")["user_agent"], "test/1.0");
}

/// In whatever spelling, only the gateway says these.
const LOOK_ALIKES: [&str; 20] = [
    "X-Consumer-Name",
    "x-consumer-groups",
    "x-consumer-proved-by",
    "x_consumer_name",
    "X_CONSUMER-groups",
    "x-consumer_anything",
    "X-Forwarded-For",
    "x_forwarded_for",
    "X-FORWARDED-HOST",
    "x-forwarded_host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "X_Forwarded_Proto",
    "x-real-ip",
    "x_real_ip",
    "X-Real_IP",
    "forwarded",
    "X-Request-Id",
    "x_request_id",
];

#[test]
fn only_the_gateway_says_who_calls_and_from_where() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    let forged = LOOK_ALIKES.map(|name| (name, "forged"));
    assert_eq!(gateway.client("main").get("/", &forged).status, 200);
    let seen = origin.last();
    assert_eq!(names(&seen), OURS);
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.header("x-forwarded-host"), Some("api.example.com"));
    assert_eq!(gateway.access("/")["request_id"], seen.header("x-request-id").unwrap());
}

#[test]
fn the_origin_is_told_who_calls_in_the_gateways_words_alone() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin).route("authenticate: keys"));
    let mut headers = LOOK_ALIKES.map(|name| (name, "forged")).to_vec();
    headers.push(("x-api-key", ALICE_KEY));
    assert_eq!(gateway.client("main").get("/", &headers).status, 200);
    let seen = origin.last();
    assert_eq!(seen.all("x-consumer-name"), ["alice"]);
    assert_eq!(seen.all("x-consumer-groups"), ["gold"]);
    assert_eq!(seen.all("x-consumer-proved-by"), ["keys"]);
    assert!(!seen.headers.iter().any(|(_, value)| value == "forged"), "{seen:#?}");
    let line = gateway.access("/");
    assert_eq!((&line["consumer"], &line["proved_by"][0]), (&"alice".into(), &"keys".into()));
}

#[test]
fn a_nomination_of_what_the_gateway_says_is_refused() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin).route("authenticate: keys"));
    for nominated in OURS.into_iter().chain(LOOK_ALIKES).chain(["x-api-key", "authorization"]) {
        // A name written with underscores is not what the gateway says, and may be nominated.
        let written = nominated.replace('_', "-");
        let mut client = gateway.client("main");
        let headers = [("connection", &*written), ("x-api-key", ALICE_KEY)];
        let reply = client.get("/", &headers);
        assert_eq!(reply.status, 400, "{nominated}");
        let id = &reply.json()["request_id"];
        let line = gateway.wait(|line| line["kind"] == "access" && line["request_id"] == *id);
        assert_eq!(line["code"], "http.connection_names", "{nominated}");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_nomination_does_not_take_away_what_the_gateway_says() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin).route("authenticate: keys"));
    // Spelled so that the codec does not know them, and some servers do.
    let spelled = LOOK_ALIKES.into_iter().filter(|name| name.contains('_') && !name.contains('-'));
    for nominated in spelled {
        let headers = [("connection", nominated), ("x-api-key", ALICE_KEY)];
        assert_eq!(gateway.client("main").get("/", &headers).status, 200, "{nominated}");
        assert_eq!(origin.last().header("x-consumer-name"), Some("alice"));
        assert_eq!(origin.last().header("x-forwarded-for"), Some("127.0.0.1"));
        assert!(OURS.iter().all(|name| origin.last().header(name).is_some()), "{nominated}");
    }
}

#[test]
fn a_credential_does_not_reach_the_origin_by_any_of_its_ways() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin).routes(&[
        "key: { match: { path: /key }, upstream: origin, authenticate: query_keys }",
        "password: { match: { path: /password }, upstream: origin, authenticate: plain_passwords }",
    ]));
    let mut client = gateway.client("main");
    let headers = [("X-Api-Key", ALICE_KEY), ("x_api_key", ALICE_KEY), ("x-api_key", ALICE_KEY)];
    assert_eq!(client.get("/key?a=1", &headers).status, 200);
    assert_eq!(origin.last().line, "GET /key?a=1 HTTP/1.1");
    assert_eq!(names(&origin.last()).iter().filter(|name| name.contains("key")).count(), 0);
    for (query, forwarded) in [("", ""), ("a=1&", "?a=1"), ("a=%201&&b&", "?a=%201&&b")] {
        for parameter in ["key", "%6bey", "k%65y"] {
            let path = format!("/key?{query}{parameter}={ALICE_KEY}");
            assert_eq!(client.get(&path, &[]).status, 200, "{path}");
            assert_eq!(origin.last().line, format!("GET /key{forwarded} HTTP/1.1"));
        }
    }
    let basic = format!("Basic {}", base64(format!("alice:{ALICE_PASSWORD}").as_bytes()));
    assert_eq!(client.get("/password", &[("authorization", &basic)]).status, 200);
    assert_eq!(origin.last().header("authorization"), None);
    assert_eq!(origin.last().header("x-consumer-proved-by"), Some("plain_passwords"));
    let lines = gateway.stop();
    let printed = format!("{lines:?}");
    assert!(!printed.contains(ALICE_KEY) && !printed.contains(&basic), "{printed}");
}

#[test]
fn a_credential_that_a_public_route_does_not_ask_for_does_not_reach_the_origin_either() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    let headers = [("x-api-key", ALICE_KEY), ("authorization", "Basic x"), ("x_api_key", "x")];
    assert_eq!(gateway.client("main").get(&format!("/?key={ALICE_KEY}"), &headers).status, 200);
    assert_eq!(names(&origin.last()), OURS);
    assert_eq!(origin.last().line, "GET / HTTP/1.1");
}

#[test]
fn a_credential_is_kept_where_the_route_says_so() {
    let origin = Origin::start();
    let keep = "authenticate: query_keys, keep_credential: the origin checks it again";
    let gateway = start(Document::before(&origin).route(keep));
    let mut client = gateway.client("main");
    assert_eq!(client.get("/", &[("x-api-key", ALICE_KEY)]).status, 200);
    assert_eq!(origin.last().header("x-api-key"), Some(ALICE_KEY));
    let path = format!("/?key={ALICE_KEY}");
    assert_eq!(client.get(&path, &[]).status, 200);
    assert_eq!(origin.last().line, format!("GET {path} HTTP/1.1"));
}

#[test]
fn the_origin_is_asked_for_by_its_own_name_unless_it_wants_the_clients() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    assert_eq!(gateway.client("main").get("/", &[]).status, 200);
    assert_eq!(origin.last().all("host"), [origin.address.to_string()]);
    let gateway = start(Document::before(&origin).upstream("host: client"));
    let host = [("host", "Shop.Example.com:8080")];
    assert_eq!(gateway.client("main").get("/", &host).status, 200);
    assert_eq!(origin.last().all("host"), ["shop.example.com:8080"]);
    assert_eq!(origin.last().header("x-forwarded-host"), Some("shop.example.com:8080"));
}

#[test]
fn the_canonical_path_is_forwarded_and_the_query_as_it_came() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    for (sent, forwarded) in [
        ("/a/./b//c%7e", "/a/b/c~"),
        ("/a/b/../c/", "/a/c/"),
        ("/caf%c3%a9", "/caf%C3%A9"),
        ("//a", "/a"),
        ("/a?b=/../c//%2e%2e&%zz&&;=", "/a?b=/../c//%2e%2e&%zz&&;="),
        ("/a?", "/a?"),
        ("/%61?x=http://b/?c", "/a?x=http://b/?c"),
    ] {
        assert_eq!(client.get(sent, &[]).status, 200, "{sent}");
        assert_eq!(origin.last().line, format!("GET {forwarded} HTTP/1.1"), "{sent}");
    }
    gateway.access("/a/b/c~");
}

#[test]
fn requests_and_answers_are_rewritten() {
    let origin = Origin::answering(|_| {
        b"HTTP/1.1 200 OK\r\nserver: secret/1.0\r\nx-kept: 1\r\ncontent-length: 0\r\n\r\n".to_vec()
    });
    let rewrite = "{ rewrite: { request: { set: { x-tenant: \"{tenant}\", x-fixed: one }, \
                   remove: [cookie], path: { replace_prefix: { from: /v1, to: /internal } } }, \
                   response: { set: { x-served-by: gateway }, remove: [server] } } }";
    let gateway = start(Document::before(&origin).routes(&[&format!(
        "all: {{ match: {{ path: \"/v1/{{tenant}}/**\" }}, upstream: origin, \
         public: for the test, policies: [{rewrite}] }}"
    )]));
    let headers = [("cookie", "a=1"), ("x-tenant", "forged"), ("x-fixed", "forged")];
    let reply = gateway.client("main").get("/v1/acme/orders?a=1", &headers);
    assert_eq!(reply.all("x-served-by"), ["gateway"]);
    assert_eq!((reply.header("server"), reply.header("x-kept")), (None, Some("1")));
    let seen = origin.last();
    assert_eq!(seen.line, "GET /internal/acme/orders?a=1 HTTP/1.1");
    assert_eq!((seen.all("x-tenant"), seen.all("x-fixed")), (vec!["acme"], vec!["one"]));
    assert_eq!(seen.header("cookie"), None);
    assert_eq!(gateway.access("/v1/acme/orders")["status"], 200);
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let number = group.iter().fold(0_usize, |number, byte| number << 8 | usize::from(*byte));
        let number = number << (8 * (3 - group.len()));
        for digit in 0..4 {
            let shown = digit <= group.len();
            let index = number >> (18 - 6 * digit) & 63;
            text.push(if shown { char::from(DIGITS[index]) } else { '=' });
        }
    }
    text
}
