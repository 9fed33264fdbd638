//! Secrets planted wherever one can come in, and looked for in everything that the gateway says.

#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong in a test must stop it, in its functions too"
)]

mod documents;
mod origin;
mod requests;

use std::fs;

use demilune_identity::ApiKey;
use demilune_testkit::{
    ALICE_KEY, ALICE_PASSWORD, Authority, Client, Document, Gateway, Origin, Reply, gateway,
};

use origin::origin;
use requests::{ask_badly, ask_everywhere, ask_for_misanswers, ask_too_much};

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
            &format!(
                "listeners:
  secure: {{ address: 127.0.0.1:0, {tls} }}
  hasty: {{ address: 127.0.0.1:0, limits: {{ head: 100ms }} }}
"
            ),
        )
        .replace("secrets:\n", "secrets:\n  env_pepper: { env: CANARY_PEPPER }\n")
        .replace(
            "authenticators:\n",
            "authenticators:\n  env_keys: { key_auth: { pepper: env_pepper } }\n",
        )
}

/// What is refused and told of below, beside what is malformed.
const CODES: &str = "
    auth.succeeded authentication.required basic_auth.malformed cors.origin
    basic_auth.plain_text basic_auth.rejected http.path ip_restriction.address route.websocket
    key_auth.malformed key_auth.unknown policy.fault rate_limit.exceeded request_size.body
    request_size.headers request_size.target route.none upstream.broken
    upstream.response_timeout upstream.tls upstream.unreachable
";

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
    let mut told: Vec<&str> = CODES.split_whitespace().collect();
    told.extend(ask_badly(&mut search, &gateway));
    told.extend(ask_for_misanswers(&mut search, &gateway));
    ask_too_much(&mut search, &gateway);
    search.operator(&gateway);
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0), "{}", gateway.printed());
    let codes = gateway.lines(|line| line["kind"] == "event");
    for code in told {
        assert!(codes.iter().any(|event| event["type"] == code), "nothing was {code}");
    }
    search.heard("the log", gateway.printed());
    search.finds_nothing();
}
