//! Requests with secrets in them, good and malformed.

use demilune_testkit::{ALICE_KEY, Client, Gateway, Reply};

use crate::origin::MISANSWERS;
use crate::{BASIC, Search};

/// In headers that every request has.
const HEADERS: [(&str, &str); 8] = [
    ("cookie", "session=canary-cookie"),
    ("x-custom", "canary-custom"),
    ("referer", "https://a.example/?token=canary-referer"),
    ("proxy-authorization", "Basic canary-proxy"),
    ("x-auth-token", "canary-token"),
    ("user-agent", "agent/1 (Bearer canary-agent)"),
    ("sec-websocket-key", "Y2FuYXJ5LXdlYnNvY2tldA=="),
    ("sec-websocket-protocol", "canary-protocol"),
];

const PATHS: [&str; 20] = [
    "/open/ok",
    "/open/cut",
    "/open/odd",
    "/open/half",
    "/open/dml_live_canaryPath0123456789ABCDEFGHIJ_0N9gBf",
    "/open/eyJjYW5hcnk.eyJjYW5hcnk.canary",
    "/keyed/ok",
    "/query/ok",
    "/env/ok",
    "/passwords/ok",
    "/plain/ok",
    "/both/ok",
    "/blocked/x",
    "/sized/x",
    "/headers/x",
    "/target/x",
    "/limited/x",
    "/shared/x",
    "/untrusted/x",
    "/open/a%2fb/dml_live_canaryPath0123456789ABCDEFGHIJ_0N9gBf",
];

/// Whether the origin's own words may stand in the answer.
fn is_proxied(reply: &Reply) -> bool {
    reply.header("content-type") != Some("application/problem+json")
}

pub(crate) fn ask_everywhere(search: &mut Search, connect: &dyn Fn() -> Client, unknown: &str) {
    let credentials = [
        ("x-api-key", ALICE_KEY.to_owned()),
        ("x-api-key", unknown.to_owned()),
        ("x-api-key", "canary-no-key".to_owned()),
        ("authorization", format!("Basic {}", BASIC[0])),
        ("authorization", format!("Basic {}", BASIC[1])),
        ("authorization", format!("Basic {}", BASIC[2])),
        ("authorization", "Basic canary!".to_owned()),
        ("authorization", "Bearer canary-bearer".to_owned()),
        ("authorization", format!("ApiKey {ALICE_KEY}")),
    ];
    for path in PATHS.into_iter().chain(["/dead/x", "/nowhere/x", "/late/x"]) {
        // One is enough where each costs a deadline.
        let some = if path == "/late/x" { 1 } else { credentials.len() };
        for (name, value) in credentials.iter().take(some) {
            let mut headers = HEADERS.to_vec();
            headers.push((name, value));
            headers.push(("origin", "https://b.example"));
            let target = format!("{path}?token=canary-query&key={unknown}");
            let reply = connect().request("POST", &target, &headers, Some(b"canary-body"));
            if !is_proxied(&reply) {
                search.answered(path, &reply);
            }
        }
    }
}

/// The secrets of [`HEADERS`] as they stand in a head.
fn secrets() -> String {
    HEADERS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
}

/// Requests that get no further than the codec or the head, or whose bodies do not, each with its
/// code.
fn malformed() -> Vec<(&'static str, String)> {
    let secrets = secrets();
    let get = |rest: &str| format!("GET /open/x HTTP/1.1\r\nhost: a\r\n{secrets}{rest}\r\n\r\n");
    let line = |line: &str| format!("{line}\r\nhost: a\r\n{secrets}\r\n");
    let post = |rest: &str| format!("POST /open/x HTTP/1.1\r\nhost: a\r\n{secrets}{rest}");
    let chunks = |body: &str| post(&format!("transfer-encoding: chunked\r\n\r\n{body}"));
    let many: String = (0..120).map(|n| format!("x-{n}: canary\r\n")).collect();
    vec![
        ("http.not_http", line("\u{16}canary")),
        ("http.http2_preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ncanary".to_owned()),
        ("http.request_line", line("GET /canary canary HTTP/1.1")),
        ("http.method_name", line("c@nary /canary HTTP/1.1")),
        ("http.target", line("GET canary HTTP/1.1")),
        ("http.target", line("GET http://user:canary@a/open HTTP/1.1")),
        ("http.version", "canary canary canary\r\n\r\n".to_owned()),
        ("http.version_unsupported", line("GET /canary HTTP/2.0")),
        ("http.bare_lf", get("x: canary\ncanary: y")),
        ("http.bare_cr", get("x: canary\rcanary: y")),
        ("http.nul", get("x: canary\0")),
        ("http.folded_field", get("x: canary\r\n canary")),
        ("http.space_before_colon", get("cookie : canary")),
        ("http.field_line", get("no colon canary")),
        ("http.field_name", get("can ary: canary")),
        ("http.field_value", get("cookie: canary\u{1}")),
        ("http.look_alike_field", get("content_length: canary")),
        ("http.head_too_large", get(&format!("x: {}", "canary".repeat(10_000)))),
        ("http.head_too_large", line(&format!("GET /{} HTTP/1.1", "canary".repeat(10_000)))),
        ("http.too_many_fields", get(&many)),
        ("http.head_incomplete", "GET /canary HTTP/1.1\r\ncookie: canary".to_owned()),
        ("http.host", get("host: canary")),
        ("http.host", line("GET http://canary/ HTTP/1.1")),
        ("http.host", format!("GET /open HTTP/1.1\r\nhost: user:canary@a\r\n{secrets}\r\n")),
        ("http.scheme", line("GET https://a/x HTTP/1.1")),
        ("http.method", line("TRACE /open/x HTTP/1.1")),
        ("http.method", line("CONNECT a:443 HTTP/1.1")),
        ("http.content_length", get("content-length: canary")),
        ("http.length_and_coding", get("content-length: 9\r\ntransfer-encoding: chunked")),
        ("http.transfer_encoding", get("transfer-encoding: canary")),
        (
            "http.transfer_encoding_version",
            line("POST /canary HTTP/1.0\r\ntransfer-encoding: chunked"),
        ),
        ("http.connection", get("connection: canary canary")),
        ("http.connection_names", get("connection: x-canary")),
        ("http.h2c", get("connection: upgrade\r\nupgrade: h2c-canary")),
        ("http.expectation", get("expect: canary")),
        ("http.chunk_size", chunks("canary\r\n")),
        ("http.chunk_overflow", chunks("ffffffffffffffff\r\ncanary")),
        ("http.chunk_line", chunks("6;canary\ncanary")),
        ("http.chunk_extension", chunks("6; canary\r\ncanary")),
        ("http.chunk_extension_too_long", chunks(&format!("6;{}", "canary".repeat(100)))),
        ("http.chunk_end", chunks("6\r\ncanarycanary\r\n")),
        ("http.trailer_forbidden", chunks("0\r\ncookie: canary\r\n\r\n")),
        ("http.trailers_too_large", chunks(&format!("0\r\n{many}\r\n"))),
        ("http.body", post("content-length: 9\r\n\r\ncanary")),
    ]
}

/// Sends all that is malformed, and the odd ones among those that ask for a WebSocket. Gives the
/// codes that must come of it.
pub(crate) fn ask_badly(search: &mut Search, gateway: &Gateway) -> Vec<&'static str> {
    let socket =
        "host: a\r\nsec-websocket-version: 13\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
    let secrets = secrets();
    let open = |path: &str, rest: &str| {
        ("", format!("GET {path} HTTP/1.1\r\n{socket}{secrets}\r\n{rest}"))
    };
    let mut all = malformed();
    all.push(open("/open/x", ""));
    all.push(open("/sockets/odd", "canary-message"));
    all.push(open("/sockets/ok", "canary-message"));
    for (_, request) in &all {
        let mut client = gateway.client("main");
        client.send(request);
        // No more will come.
        client.finish();
        if let Some(reply) = client.read(false).filter(|reply| !is_proxied(reply)) {
            search.answered("something bad", &reply);
        }
    }
    let mut slow = gateway.client("hasty");
    slow.send("GET /canary HTTP/1.1\r\ncookie: canary");
    search.answered("half a head", &slow.read(false).unwrap());
    let mut tunnel = gateway.client("main");
    tunnel.send(format!("GET /sockets/tunnel HTTP/1.1\r\n{socket}{secrets}\r\n"));
    assert_eq!(tunnel.read(false).unwrap().status, 101);
    tunnel.send("canary-message");
    let codes = all.into_iter().map(|(code, _)| code).filter(|code| !code.is_empty());
    codes.chain(["http.head_timeout"]).collect()
}

/// Asks for every answer that is none. Gives the codes that must come of it.
pub(crate) fn ask_for_misanswers(
    search: &mut Search,
    gateway: &Gateway,
) -> impl Iterator<Item = &'static str> {
    for number in 0..MISANSWERS.len() {
        let path = format!("/open/{number}");
        let reply = gateway.client("main").get(&path, &HEADERS);
        assert_eq!(reply.status, 502, "{}", reply.text());
        search.answered(&path, &reply);
    }
    MISANSWERS.into_iter().map(|(code, _)| code)
}

/// More passwords at once than can be looked at: some requests fault.
pub(crate) fn ask_too_much(search: &mut Search, gateway: &Gateway) {
    let basic = format!("Basic {}", BASIC[1]);
    let mut clients: Vec<Client> = (0..200).map(|_| gateway.client("main")).collect();
    for client in &mut clients {
        client.begin("GET", "/plain/many", &[("authorization", &basic)]);
    }
    for client in &mut clients {
        search.answered("/plain/many", &client.read(false).unwrap());
    }
}
