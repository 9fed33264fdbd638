//! Secrets planted wherever one can come in, and looked for in everything that the gateway says.

#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong in a test must stop it, in its functions too"
)]

use std::fs;
use std::process::Command;

use demilune_identity::ApiKey;
use demilune_testkit::{
    ALICE_KEY, ALICE_PASSWORD, Authority, Client, Document, Gateway, Origin, Reply, gateway,
};

const EXE: &str = env!("CARGO_BIN_EXE_demilune");

/// What the file `pepper` holds, which the document of the testkit names.
const PEPPER: &str = "an example pepper, of more than thirty-two bytes";
const ENV_PEPPER: &str = "canary-env-pepper-of-more-than-thirty-two-bytes";

/// `alice` with her password, with a wrong one, and nobody we know.
const BASIC: [&str; 3] = [
    "YWxpY2U6Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ==",
    "YWxpY2U6Y2FuYXJ5LXdyb25nLXBhc3N3b3Jk",
    "bWFsbG9yeTpjYW5hcnktdW5rbm93bi1wYXNzd29yZA==",
];

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

/// Everything planted, and what has been said so far.
struct Search {
    planted: Vec<String>,
    said: Vec<(String, String)>,
}

impl Search {
    fn new(planted: impl IntoIterator<Item = String>) -> Self {
        let own = [PEPPER, ENV_PEPPER, ALICE_PASSWORD, "canary", "Y2FuYXJ5LXdlYnNvY2tldA"];
        let planted = own.into_iter().chain(BASIC).map(str::to_owned).chain(planted).collect();
        let mut search = Self { planted, said: Vec::new() };
        search.plant_key(ALICE_KEY);
        search
    }

    /// The part of an API key that is secret.
    fn plant_key(&mut self, key: &str) {
        self.planted.push(key.rsplit('_').nth(1).unwrap().to_owned());
    }

    fn heard(&mut self, by: impl Into<String>, text: impl Into<String>) {
        self.said.push((by.into(), text.into()));
    }

    /// An answer that the gateway made by itself.
    fn answered(&mut self, path: &str, reply: &Reply) {
        self.heard(
            format!("the answer to {path}"),
            format!("{:?} {}", reply.headers, reply.text()),
        );
    }

    fn operator(&mut self, gateway: &Gateway) {
        for path in ["/metrics", "/readyz", "/livez"] {
            self.heard(path, gateway.operator(path).text());
        }
    }

    fn finds_nothing(&self) {
        assert!(!self.said.is_empty());
        let mut found = Vec::new();
        for (by, text) in &self.said {
            for line in text.lines() {
                let canary = self.planted.iter().find(|canary| line.contains(canary.as_str()));
                found.extend(canary.map(|canary| format!("{canary} in {by}: {line}")));
            }
        }
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

/// What identifies hashes, and the inside of keys.
fn stored(document: &str, key: &str) -> Vec<String> {
    let digests = document.split("hmac-sha256:1:").skip(1);
    let digests = digests.map(|rest| rest.split('"').next().unwrap().to_owned());
    let hashes = document.split("$argon2id$").skip(1);
    let hashes = hashes.map(|rest| rest.split('"').next().unwrap().rsplit('$').next().unwrap());
    let lines = key.lines().filter(|line| line.len() > 15 && !line.starts_with("--"));
    let all: Vec<String> = digests.chain(hashes.chain(lines).map(str::to_owned)).collect();
    assert!(all.len() >= 4 && all.iter().all(|one| one.len() > 15), "{all:?}");
    all
}

/// Upstreams that fail in every way there is, and routes to each kind of refusal.
fn document(origin: &Origin, late: &Origin) -> String {
    let route =
        |path: &str, more: &str| format!("{path}: {{ match: {{ path: /{path}/** }}, {more} }}");
    let public = "upstream: origin, public: a test";
    let guarded = |policy: &str| format!("{public}, policies: [ {{ {policy} }} ]");
    let routes = [
        route("open", public),
        route("keyed", "upstream: origin, authenticate: keys"),
        route("query", "upstream: origin, authenticate: query_keys"),
        route("env", "upstream: origin, authenticate: env_keys"),
        route("passwords", "upstream: origin, authenticate: passwords"),
        route("plain", "upstream: origin, authenticate: plain_passwords"),
        route("both", "upstream: origin, authenticate: { all_of: [keys, plain_passwords] }"),
        route("blocked", &guarded("ip_restriction: { deny: [127.0.0.0/8] }")),
        route("sized", &guarded("request_size: { body: 4B }")),
        route("headers", &guarded("request_size: { headers: 64B }")),
        route("target", &guarded("request_size: { target: 8B }")),
        route("limited", &guarded("rate_limit: { per: route, limit: 1/h }")),
        route("shared", &guarded("cors: { origins: [\"https://a.example\"] }")),
        route("sockets", &format!("{public}, websocket: a test")),
        route("dead", "upstream: dead, public: a test"),
        route("late", "upstream: late, public: a test"),
        route("untrusted", "upstream: untrusted, public: a test"),
    ];
    let routes: Vec<&str> = routes.iter().map(String::as_str).collect();
    let text: String = Document::before(origin).routes(&routes).into();
    let upstreams = format!(
        "upstreams:
  dead: {{ endpoints: [\"http://127.0.0.1:1\"] }}
  late: {{ endpoints: [\"{}\"], timeouts: {{ response: 50ms }} }}
  untrusted:
    endpoints: [\"https://{}\"]
    tls: {{ authorities: authority.pem }}
",
        late.url(),
        origin.address
    );
    let tls = "tls: { certificates: [ { chain: api.pem, key: api.key } ] }";
    text.replace("upstreams:\n", &upstreams)
        .replace(
            "listeners:\n",
            &format!("listeners:\n  secure: {{ address: 127.0.0.1:0, {tls} }}\n"),
        )
        .replace("secrets:\n", "secrets:\n  env_pepper: { env: CANARY_PEPPER }\n")
        .replace(
            "authenticators:\n",
            "authenticators:\n  env_keys: { key_auth: { pepper: env_pepper } }\n",
        )
}

/// An origin whose answers hold secrets, or are none.
fn origin() -> Origin {
    Origin::answering(|seen| {
        let answer = |text: &str| text.as_bytes().to_vec();
        match seen.line.split(['/', ' ', '?']).nth(3).unwrap_or_default() {
            "cut" => Vec::new(),
            "garbage" => answer("canary-garbage: this is no HTTP\r\n\r\n"),
            "field" => answer("HTTP/1.1 200 OK\r\nset cookie: canary-field\r\n\r\n"),
            "tunnel" => answer(concat!(
                "HTTP/1.1 101 canary\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
                "sec-websocket-accept: kzJR19hOWh7QcjFkTcPWZMSobuc=\r\nx: canary\r\n\r\n",
                "canary-message"
            )),
            "odd" => answer("HTTP/1.1 101 canary-phrase\r\nx: canary\r\n\r\n"),
            "half" => {
                answer("HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\ncanary")
            }
            _ => answer(
                "HTTP/1.1 200 OK\r\nset-cookie: canary-answer\r\ncontent-length: 6\r\n\r\ncanary",
            ),
        }
    })
}

const PATHS: [&str; 22] = [
    "/open/ok",
    "/open/cut",
    "/open/garbage",
    "/open/field",
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

/// What is refused and told of below.
const CODES: &str = "
    auth.succeeded authentication.required basic_auth.malformed cors.origin
    basic_auth.plain_text basic_auth.rejected http.head_too_large http.host
    http.malformed http.method http.path ip_restriction.address route.websocket
    key_auth.malformed key_auth.unknown policy.fault rate_limit.exceeded
    request_size.body request_size.headers request_size.target route.none
    upstream.broken upstream.response_timeout upstream.tls
    upstream.unexpected_status upstream.unreachable http.body
";

/// Whether the origin's own words may stand in the answer.
fn is_proxied(reply: &Reply) -> bool {
    reply.header("content-type") != Some("application/problem+json")
}

fn ask_everywhere(search: &mut Search, connect: &dyn Fn() -> Client, unknown: &str) {
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

/// Requests that get no further than the codec or the head.
fn ask_badly(search: &mut Search, gateway: &Gateway) {
    let secrets: Vec<String> =
        HEADERS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let secrets = secrets.concat();
    let long = "canary".repeat(10_000);
    let coding = "transfer-encoding:";
    let socket =
        "host: a\r\nsec-websocket-version: 13\r\nconnection: upgrade\r\nupgrade: websocket\r\n";
    for request in [
        format!("GET /open HTTP/1.1\r\nhost: a\r\n{secrets}no colon canary\r\n\r\n"),
        format!("GET /open HTTP/1.1\r\nhost: a\r\nx: {long}\r\n\r\n"),
        format!("GET /open HTTP/1.1\r\nhost: a\r\nhost: canary\r\n{secrets}\r\n"),
        format!("GET /open HTTP/1.1\r\nhost: user:canary@a\r\n{secrets}\r\n"),
        format!("GET http://user:canary@a/open HTTP/1.1\r\nhost: a\r\n{secrets}\r\n"),
        format!("TRACE /open/x HTTP/1.1\r\nhost: a\r\n{secrets}\r\n"),
        format!("CONNECT b:443 HTTP/1.1\r\nhost: b:443\r\n{secrets}\r\n"),
        format!("POST /open/x HTTP/1.1\r\nhost: a\r\n{secrets}content-length: 9\r\n\r\ncanary"),
        format!("POST /open/x HTTP/1.1\r\nhost: a\r\n{secrets}{coding} chunked\r\n\r\ncanary\r\n"),
        format!("POST /open/x HTTP/1.1\r\nhost: a\r\n{secrets}{coding} canary\r\n\r\n"),
        format!("GET /open/x HTTP/1.1\r\n{socket}{secrets}\r\n"),
        format!("GET /sockets/odd HTTP/1.1\r\n{socket}{secrets}\r\ncanary-message"),
        format!("GET /sockets/ok HTTP/1.1\r\n{socket}{secrets}\r\ncanary-message"),
        "canary canary canary\r\n\r\n".to_owned(),
    ] {
        let mut client = gateway.client("main");
        client.send(&request);
        if request.contains("content-length") {
            // No more of the body will come.
            client.finish();
        }
        if let Some(reply) = client.read(false).filter(|reply| !is_proxied(reply)) {
            search.answered("something bad", &reply);
        }
    }
    let mut tunnel = gateway.client("main");
    tunnel.send(format!("GET /sockets/tunnel HTTP/1.1\r\n{socket}{secrets}\r\n"));
    assert_eq!(tunnel.read(false).unwrap().status, 101);
    tunnel.send("canary-message");
}

/// More passwords at once than can be looked at: some requests fault.
fn ask_too_much(search: &mut Search, gateway: &Gateway) {
    let basic = format!("Basic {}", BASIC[1]);
    let mut clients: Vec<Client> = (0..200).map(|_| gateway.client("main")).collect();
    for client in &mut clients {
        client.begin("GET", "/plain/many", &[("authorization", &basic)]);
    }
    for client in &mut clients {
        search.answered("/plain/many", &client.read(false).unwrap());
    }
}

#[test]
fn no_secret_of_a_request_or_of_the_configuration_is_told_to_anybody() {
    let (origin, unknown) = (origin(), ApiKey::generate("live").unwrap());
    let late = Origin::conversing(|talk| {
        // The second one never comes: the gateway gives up.
        let _ = (talk.request(), talk.request());
    });
    let authority = Authority::new();
    let builder = gateway(EXE).env("CANARY_PEPPER", ENV_PEPPER);
    authority.issue(builder.folder(), "api", &["api.example"]);
    let _ = authority.write(builder.folder());
    let text = document(&origin, &late);
    let key = fs::read_to_string(builder.folder().join("api.key")).unwrap();
    let mut search = Search::new(stored(&text, &key));
    search.plant_key(unknown.reveal());
    let builder = builder.config(&text);
    let (good, checked) = builder.check();
    assert!(good, "{checked}");
    search.heard("check", checked);
    let mut gateway = builder.start();
    ask_everywhere(&mut search, &|| gateway.client("main"), unknown.reveal());
    let secure = gateway.address("secure");
    let connect = || Client::connect_tls(secure, "api.example", &authority).0;
    ask_everywhere(&mut search, &connect, unknown.reveal());
    ask_badly(&mut search, &gateway);
    ask_too_much(&mut search, &gateway);
    search.operator(&gateway);
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0), "{}", gateway.printed());
    let codes = gateway.lines(|line| line["kind"] == "event");
    for code in CODES.split_whitespace() {
        assert!(codes.iter().any(|event| event["type"] == code), "nothing was {code}");
    }
    search.heard("the log", gateway.printed());
    search.finds_nothing();
}

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
