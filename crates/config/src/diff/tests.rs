use std::path::Path;

use super::*;
use crate::document::load_text;

const BASE: &str = r#"version: 1
secrets:
  key_pepper: { env: KEY_PEPPER }
listeners:
  public:
    address: 127.0.0.1:8443
    tls: { certificates: [{ chain: api.pem, key: api.key }] }
    limits: { head: 10s }
  internal: { address: 127.0.0.1:8080 }
upstreams:
  shop:
    endpoints: ["https://10.0.0.11:8443", "https://10.0.0.12:8443"]
    tls: { authorities: ca.pem }
consumers:
  acme:
    groups: [partners]
    credentials:
      - api_key:
          hash: "hmac-sha256:1:1111111111111111111111111111111111111111111111111111111111111111"
authenticators:
  keys: { key_auth: { pepper: key_pepper } }
  more: { key_auth: { pepper: key_pepper, header: x-other-key } }
defaults:
  policies:
    - request_size: { body: 1MiB }
    - rate_limit: { per: address, limit: 60/min }
  locked: [rate_limit]
routes:
  orders:
    match: { hosts: [api.example.com], path: "/v1/orders/**", methods: [GET] }
    listener: public
    upstream: shop
    authenticate: keys
  both:
    match: { path: /both, headers: { x-tenant: a } }
    upstream: shop
    authenticate: { all_of: [keys, more] }
admin: { address: "127.0.0.1:9443" }
"#;

fn document(name: &str, text: &str) -> Document {
    load_text(name, text, Path::new("")).unwrap_or_else(|rejected| panic!("{rejected}"))
}

/// The differences between two texts, a line each.
fn lines(before: &str, after: &str) -> Vec<String> {
    let (before, after) = (document("a", before), document("b", after));
    diff(&before, &after).iter().map(ToString::to_string).collect()
}

/// The differences once `from` is replaced by `to`.
fn replaced(from: &str, to: &str) -> Vec<String> {
    assert!(BASE.contains(from), "{from}");
    lines(BASE, &BASE.replacen(from, to, 1))
}

/// Replaces each `from` by its `to` and expects exactly this line.
fn expect(cases: &[(&str, &str, &str)]) {
    for (from, to, line) in cases {
        assert_eq!(replaced(from, to), [*line], "{from} → {to}");
    }
}

#[test]
fn weaker_tls_loosens_and_stronger_does_not() {
    let tls = "certificates: [{ chain: api.pem, key: api.key }]";
    let with = |more: &str| BASE.replacen(tls, &format!("{tls}, {more}"), 1);
    let suites = "cipher_suites: [TLS_AES_256_GCM_SHA384, TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]";
    let asks = "client_certificates: { authorities: a.pem, revocation: [a.crl] }";
    for (strong, weak, path) in [
        ("minimum_version: \"1.3\"", "minimum_version: \"1.2\"", "minimum_version"),
        (suites, "minimum_version: \"1.2\"", "cipher_suites"),
        (asks, "minimum_version: \"1.2\"", "client_certificates"),
        (asks, "client_certificates: { authorities: a.pem }", "client_certificates.revocation"),
        (
            asks,
            "client_certificates: { authorities: b.pem, revocation: [a.crl] }",
            "client_certificates.authorities",
        ),
        (
            asks,
            "client_certificates: { authorities: a.pem, mode: optional, revocation: [a.crl] }",
            "client_certificates.mode",
        ),
    ] {
        let start = format!("loosens  listeners.public.tls.{path}");
        let found = lines(&with(strong), &with(weak)).join("\n");
        assert!(found.starts_with(&start), "{found}");
        let found = lines(&with(weak), &with(strong)).join("\n");
        assert_eq!(found.contains("loosens"), path.ends_with("authorities"), "{found}");
    }
    let sent_on = "internal: { address: 127.0.0.1:8080, redirect: https }";
    let before = BASE.replacen("internal: { address: 127.0.0.1:8080 }", sent_on, 1);
    let found = lines(&before, BASE).join("\n");
    assert!(found.starts_with("loosens  listeners.internal.redirect"), "{found}");
}

#[test]
fn whoever_is_believed_about_clients_loosens() {
    let from = "internal: { address: 127.0.0.1:8080 }";
    let to = |more: &str| from.replace(" }", &format!(", {more} }}"));
    let balancer = "proxy_protocol: { from: [10.0.0.0/8] }";
    let proxy = "trusted_proxies: { networks: [10.0.0.0/8], header: forwarded }";
    for (more, path) in [(balancer, "proxy_protocol"), (proxy, "trusted_proxies")] {
        let added = replaced(from, &to(more)).join("\n");
        let start = format!("loosens  listeners.internal.{path}");
        assert!(added.starts_with(&start), "{added}");
        let old = BASE.replacen(from, &to(more), 1);
        let removed = lines(&old, BASE).join("\n");
        assert!(removed.starts_with(&start), "{removed}");
        let moved = lines(&old, &old.replacen("10.0.0.0/8]", "10.0.0.0/9]", 1)).join("\n");
        assert!(moved.starts_with(&start), "{moved}");
    }
}

#[test]
fn documents_that_mean_the_same_have_no_difference() {
    assert_eq!(lines(BASE, BASE), [""; 0]);
    for (from, to) in [
        ("limits: { head: 10s }", "limits: { head: 10000ms, idle: 60s }"),
        (
            r#"["https://10.0.0.11:8443", "https://10.0.0.12:8443"]"#,
            r#"["https://10.0.0.12:8443/", "https://10.0.0.11:8443"]"#,
        ),
        ("all_of: [keys, more]", "all_of: [more, keys]"),
        ("authenticate: keys", "authenticate: { any_of: [keys] }"),
        ("request_size: { body: 1MiB }", "request_size: { target: 4KiB, body: 1024KiB }"),
        ("groups: [partners]", "groups: [partners, partners]"),
    ] {
        assert_eq!(replaced(from, to), [""; 0], "{to}");
    }
    let (head, routes) = BASE.split_once("routes:\n").unwrap();
    assert_eq!(lines(BASE, &format!("routes:\n{routes}{head}")), [""; 0]);
}

#[test]
fn other_changes_are_told_with_their_places() {
    expect(&[
        ("head: 10s", "head: 5s", "changes  listeners.public.limits.head: 10s → 5s (a:8 → b:8)"),
        (
            "api.pem",
            "new.pem",
            "changes  listeners.public.tls.certificates[0].chain: api.pem → new.pem (a:7 → b:7)",
        ),
        (
            "    tls: { authorities: ca.pem }",
            "    retry: { attempts: 3 }\n    tls: { authorities: ca.pem }",
            "changes  upstreams.shop.retry.attempts: 1 → 3 (default → b:13)",
        ),
        (
            "    endpoints: [",
            "    endpoints: [\"https://10.0.0.13:8443\", ",
            "changes  upstreams.shop.endpoints: added https://10.0.0.13:8443 (a:12 → b:12)",
        ),
        (
            "env: KEY_PEPPER",
            "env: OTHER",
            "changes  secrets.key_pepper.env: KEY_PEPPER → OTHER (a:3 → b:3)",
        ),
        (
            "path: /both",
            "path: /both, query: { a: \"1\" }",
            "changes  routes.both.match.query.a: added 1 (b:35)",
        ),
        (
            "60/min",
            "30/min",
            "changes  defaults.policies[rate_limit.address].limit: 60/min → 30/min (a:26 → b:26)",
        ),
        (
            "    - rate_limit",
            "    - ip_restriction: { deny: [192.0.2.0/24] }\n    - rate_limit",
            "changes  defaults.policies[ip_restriction]: added (b:26)",
        ),
    ]);
}

#[test]
fn a_wider_identity_decision_loosens() {
    expect(&[
        (
            "authenticate: keys",
            "authenticate: { any_of: [keys], anonymous: \"a reason\" }",
            "loosens  routes.orders.authenticate.anonymous: added \"a reason\": \
             requests without any credential pass (b:33)",
        ),
        (
            "authenticate: keys",
            "authenticate: { any_of: [keys, more] }",
            "loosens  routes.orders.authenticate.any_of: added more: \
             `more` is enough (default → b:33)",
        ),
        (
            "all_of: [keys, more]",
            "all_of: [more]",
            "loosens  routes.both.authenticate.all_of: removed keys: \
             callers need not prove `keys` (a:37 → b:37)",
        ),
    ]);
    assert_eq!(
        replaced("authenticate: keys", "public: open"),
        [
            "loosens  routes.orders.public: added open: anybody may call it (b:33)",
            "changes  routes.orders.authenticate: removed (was a:33)",
        ]
    );
    assert_eq!(
        replaced("all_of: [keys, more]", "any_of: [keys, more]"),
        [
            "loosens  routes.both.authenticate.any_of: added keys, more: \
             `keys` alone is enough (b:37)",
            "changes  routes.both.authenticate.all_of: removed keys, more (was a:37)",
        ]
    );
}

#[test]
fn a_narrower_identity_decision_does_not() {
    for (from, to) in [
        ("authenticate: keys", "authenticate: { all_of: [more, keys] }"),
        ("all_of: [keys, more]", "all_of: [keys, more, third]"),
    ] {
        let found = replaced(from, to);
        assert!(!found.is_empty() && found.iter().all(|line| line.starts_with("changes")), "{to}");
    }
    let reasons = ["open to all", "still open"]
        .map(|reason| BASE.replace("authenticate: keys", &format!("public: \"{reason}\"")));
    assert_eq!(
        lines(&reasons[0], &reasons[1]),
        ["changes  routes.orders.public: \"open to all\" → \"still open\" (a:33 → b:33)"]
    );
}

#[test]
fn a_wider_match_loosens() {
    let places = "(a:30 → b:30)";
    for (from, to, start) in [
        (
            "[api.example.com]",
            "[\"*.example.com\"]",
            "hosts: removed api.example.com, added *.example.com: *.example.com is served too",
        ),
        (
            "hosts: [api.example.com], ",
            "",
            "hosts: removed api.example.com: any host is served too",
        ),
        ("/v1/orders/**", "/v1/**", "path: /v1/orders/** → /v1/**: other paths are served"),
        ("/v1/orders/**", "/v1/orders", "path: /v1/orders/** → /v1/orders"),
        ("methods: [GET]", "methods: [GET, DELETE]", "methods: added DELETE: DELETE is served too"),
        ("methods: [GET]", "methods: [GET, HEAD]", "methods: added HEAD"),
        (", methods: [GET]", "", "methods: removed GET: any method is served too"),
    ] {
        let places = if to.is_empty() { "(a:30 → default)" } else { places };
        let mark = if start.matches(": ").count() > 1 { "loosens" } else { "changes" };
        assert_eq!(replaced(from, to), [format!("{mark}  routes.orders.match.{start} {places}")]);
    }
    expect(&[
        (
            ", headers: { x-tenant: a }",
            "",
            "loosens  routes.both.match.headers.x-tenant: removed a: \
             requests with other values are served (was a:35)",
        ),
        (
            "x-tenant: a",
            "x-tenant: \"*\"",
            "loosens  routes.both.match.headers.x-tenant: a → *: \
             requests with other values are served (a:35 → b:35)",
        ),
        (
            "    listener: public\n",
            "",
            "loosens  routes.orders.listener: removed public: other clients reach it (was a:31)",
        ),
    ]);
}

#[test]
fn what_is_let_through_unseen_loosens() {
    expect(&[
        (
            "    authenticate: keys",
            "    authenticate: keys\n    keep_credential: legacy",
            "loosens  routes.orders.keep_credential: added legacy: \
             the upstream gets to see the callers' credentials (b:34)",
        ),
        (
            "    authenticate: keys",
            "    authenticate: keys\n    websocket: chat",
            "loosens  routes.orders.websocket: added chat: \
             what goes through WebSockets is not looked at (b:34)",
        ),
        (
            "    authenticate: keys",
            "    authenticate: keys\n    path_exceptions: { semicolon: matrix parameters }",
            "loosens  routes.orders.path_exceptions.semicolon: added \"matrix parameters\": \
             two servers may understand such paths differently (b:34)",
        ),
    ]);
}

#[test]
fn a_policy_that_is_gone_or_weaker_loosens_once_for_all_its_routes() {
    assert_eq!(
        replaced("    - request_size: { body: 1MiB }\n", ""),
        ["loosens  defaults.policies[request_size]: removed: \
          `request_size` is no longer in force, \
          on both, orders (was a:25)"]
    );
    let found = replaced("body: 1MiB", "body: 2MiB");
    assert_eq!(
        found,
        [
            "loosens  defaults.policies[request_size]: weaker than before: \
             `body` is raised from 1MiB to 2MiB, on both, orders (a:25 → b:25)",
            "changes  defaults.policies[request_size].body: 1MiB → 2MiB (a:25 → b:25)",
        ]
    );
    let own = "    authenticate: keys\n    policies: [{ request_size: { body: 9MiB } }]";
    assert_eq!(
        replaced("    authenticate: keys", own),
        ["loosens  routes.orders.policies[request_size]: added: weaker than before: \
          `body` is raised from 1MiB to 9MiB (b:34)"]
    );
    let stricter = BASE.replace("    authenticate: keys", &own.replace("9MiB", "1KiB"));
    assert_eq!(
        lines(&stricter, BASE),
        ["loosens  routes.orders.policies[request_size]: removed: weaker than before: \
          `body` is raised from 1KiB to 1MiB (was a:34)"]
    );
}

#[test]
fn faults_that_pass_and_floors_that_go_loosen() {
    let open = "  on_fault: { request_size: open }\n  reasons: { request_size: why }\nroutes:";
    assert_eq!(
        replaced("routes:", open),
        [
            "loosens  defaults.on_fault.request_size: added open: `request_size` lets pass what it \
             cannot decide about, on both, orders (b:28)",
            "changes  defaults.reasons.request_size: added why (b:29)",
        ]
    );
    expect(&[(
        "  locked: [rate_limit]\n",
        "",
        "loosens  defaults.locked: removed rate_limit: routes can replace `rate_limit.address` \
         (a:27 → default)",
    )]);
    assert_eq!(
        replaced("locked: [rate_limit]", "locked: [rate_limit.address]"),
        ["changes  defaults.locked: removed rate_limit, added rate_limit.address (a:27 → b:27)"]
    );
}

#[test]
fn listeners_that_open_up_loosen() {
    expect(&[
        (
            "    tls: { certificates: [{ chain: api.pem, key: api.key }] }\n",
            "",
            "loosens  listeners.public.tls: removed: clients talk to it in the clear (was a:7)",
        ),
        (
            "127.0.0.1:8443",
            "192.0.2.1:8443",
            "loosens  listeners.public.address: 127.0.0.1:8443 → 192.0.2.1:8443: \
             other machines can connect (a:6 → b:6)",
        ),
        (
            "127.0.0.1:8443",
            "127.0.0.1:9443",
            "changes  listeners.public.address: 127.0.0.1:8443 → 127.0.0.1:9443 (a:6 → b:6)",
        ),
        (
            "head: 10s",
            "head: 20s",
            "loosens  listeners.public.limits.head: 10s → 20s: \
             a limit on clients is raised (a:8 → b:8)",
        ),
        (
            "  internal:",
            "  third: { address: 127.0.0.1:81 }\n  internal:",
            "loosens  listeners.third: added: another way in, at 127.0.0.1:81 (b:9)",
        ),
        (
            "  internal: { address: 127.0.0.1:8080 }\n",
            "",
            "changes  listeners.internal: removed (was a:9)",
        ),
    ]);
}

#[test]
fn upstreams_that_are_trusted_more_loosen() {
    expect(&[
        (
            "https://10.0.0.11:8443",
            "http://10.0.0.11:8443",
            "loosens  upstreams.shop.endpoints: removed https://10.0.0.11:8443, \
             added http://10.0.0.11:8443: `http://10.0.0.11:8443` is talked to in the clear \
             (a:12 → b:12)",
        ),
        (
            "    tls: { authorities: ca.pem }\n",
            "",
            "loosens  upstreams.shop.tls: removed: \
             endpoints are trusted on another authority's word (was a:13)",
        ),
        (
            "authorities: ca.pem",
            "authorities: ca.pem, server_name: shop",
            "loosens  upstreams.shop.tls.server_name: added shop: \
             endpoints prove another name (b:13)",
        ),
        (
            "authorities: ca.pem",
            "authorities: ca.pem, subject_alternative_names: [shop]",
            "loosens  upstreams.shop.tls.subject_alternative_names: added shop: \
             endpoints prove another name (default → b:13)",
        ),
        (
            "    tls: { authorities: ca.pem }",
            "    tls: { authorities: ca.pem }\n    host: client",
            "loosens  upstreams.shop.host: endpoint → client: \
             clients choose the `Host` that it reads (default → b:14)",
        ),
    ]);
}

#[test]
fn fewer_demands_on_an_upstreams_certificate_loosen() {
    let digest = |digit: &str| format!("\"sha256:{}\"", digit.repeat(64));
    let (one, other) = (digest("1"), digest("2"));
    let tls = |tls: &str| {
        let text = format!("    tls: {{ authorities: ca.pem, {tls} }}");
        BASE.replace("    tls: { authorities: ca.pem }", &text)
    };
    let strict = tls(&format!("public_keys: [{one}], minimum_version: tls_1_3"));
    for (after, place) in [
        (tls("minimum_version: tls_1_3"), "tls.public_keys"),
        (tls(&format!("public_keys: [{one}, {other}], minimum_version: tls_1_3")), "public_keys"),
        (tls(&format!("public_keys: [{one}]")), "tls.minimum_version"),
        (BASE.replace("    tls: { authorities: ca.pem }\n", ""), "upstreams.shop.tls"),
    ] {
        let changes = lines(&strict, &after);
        let loosens = |line: &String| line.starts_with("loosens") && line.contains(place);
        assert!(changes.iter().any(loosens), "{changes:#?}");
        // The other way nothing of the kind loosens.
        let back = lines(&after, &strict);
        let demands = |line: &String| {
            line.starts_with("loosens")
                && (line.contains("public_keys") || line.contains("minimum_version"))
        };
        assert!(!back.iter().any(demands), "{back:#?}");
    }
}

#[test]
fn a_route_that_moves_to_an_upstream_in_the_clear_loosens() {
    let plain = "upstreams:\n  plain: { endpoints: [\"http://10.0.0.13:80\"] }\n";
    let before = BASE.replace("upstreams:\n", plain);
    let moved = before.replacen("    upstream: shop", "    upstream: plain", 1);
    assert_eq!(
        lines(&before, &moved),
        ["loosens  routes.orders.upstream: shop → plain: \
          `http://10.0.0.13:80` is talked to in the clear (a:33 → b:33)"]
    );
    assert_eq!(
        lines(&moved, &before),
        ["changes  routes.orders.upstream: plain → shop (a:33 → b:33)"]
    );
}

#[test]
fn callers_that_are_added_loosen_and_their_credentials_are_not_shown() {
    let [old, new] = ["1", "2"].map(|digit| digit.repeat(64));
    assert_eq!(
        replaced(&old, &new),
        [
            "loosens  consumers.acme.credentials: added api_key, \
             another way to be this caller (b:18)",
            "changes  consumers.acme.credentials: removed api_key (was a:18)",
        ]
    );
    expect(&[
        ("  acme:", "  zoo: {}\n  acme:", "loosens  consumers.zoo: added: another caller (b:15)"),
        (
            "[partners]",
            "[partners, gold]",
            "loosens  consumers.acme.groups: added gold: it may do what they may (a:16 → b:16)",
        ),
        (
            "keys: { key_auth: { pepper: key_pepper } }",
            "keys: { key_auth: { pepper: key_pepper, header: x-key } }",
            "loosens  authenticators.keys.key_auth.header: x-api-key → x-key: \
             callers are proved in another way (default → b:21)",
        ),
        (
            "127.0.0.1:9443",
            "127.0.0.1:9444",
            "loosens  admin.address: 127.0.0.1:9443 → 127.0.0.1:9444: \
             the operator's endpoints move (a:38 → b:38)",
        ),
    ]);
    assert_eq!(
        lines(&BASE.replace("admin: { address: \"127.0.0.1:9443\" }\n", ""), BASE),
        ["loosens  admin: added: the operator's endpoints can be reached (b:38)"]
    );
}

#[test]
fn a_route_that_is_added_loosens() {
    let route = "routes:\n  new:\n    match: { path: /new, methods: [GET] }\n    upstream: shop\n";
    for (identity, who) in [
        ("public: yes", "anybody"),
        ("authenticate: keys", "callers proved by any of: keys"),
        ("authenticate: { all_of: [keys, more] }", "callers proved by all of: keys, more"),
    ] {
        let to = format!("{route}    {identity}\n");
        let line = format!("loosens  routes.new: added: GET /new is served to {who} (b:29)");
        assert_eq!(replaced("routes:\n", &to), [line]);
    }
}

#[test]
fn a_laxer_route_that_takes_over_loosens() {
    let all =
        "routes:\n  all:\n    match: { path: \"/**\" }\n    upstream: shop\n    public: open\n";
    let before = BASE.replace("routes:\n", all);
    let (start, rest) = before.split_once("  orders:\n").unwrap();
    let (orders, rest) = rest.split_once("  both:\n").unwrap();
    assert_eq!(
        lines(&before, &format!("{start}  both:\n{rest}")),
        ["loosens  routes.orders: removed: `GET api.example.com/v1/orders/example` is served by \
          `all` now: open to anybody (was a:33)"]
    );
    let after = format!("{start}  orders:\n{}  both:\n{rest}", orders.replace("/**", "/mine"));
    assert_eq!(
        lines(&before, &after),
        [
            "loosens  routes.orders.match: `GET api.example.com/v1/orders/example` is served by \
             `all` now: open to anybody (a:34 → b:34)",
            "changes  routes.orders.match.path: /v1/orders/** → /v1/orders/mine (a:34 → b:34)",
        ]
    );
    let closed = before.replace("public: open", "authenticate: keys");
    let after = format!("{start}  both:\n{rest}").replace("public: open", "authenticate: keys");
    assert_eq!(lines(&closed, &after), ["changes  routes.orders: removed (was a:33)"]);
}

#[test]
fn a_removed_route_whose_requests_went_elsewhere_before_does_not_loosen() {
    let more = "routes:\n  mine:\n    \
                match: { hosts: [api.example.com], path: /v1/orders/mine }\n    \
                upstream: shop\n    public: open\n";
    let before = BASE.replace("routes:\n", more);
    let (start, rest) = before.split_once("  orders:\n").unwrap();
    let (_, rest) = rest.split_once("  both:\n").unwrap();
    let after = format!("{start}  both:\n{rest}");
    assert_eq!(lines(&before, &after), ["changes  routes.orders: removed (was a:33)"]);
}

#[test]
fn a_header_that_looks_secret_is_not_shown() {
    let with = |value: &str| {
        let policy = format!("    - rewrite: {{ request: {{ set: {{ x-token: {value} }} }} }}\n");
        BASE.replace("  locked:", &format!("{policy}  locked:"))
    };
    assert_eq!(
        lines(&with("canary-one"), &with("canary-two")),
        ["changes  defaults.policies[rewrite].request.set.x-token: changed (a:27 → b:27)"]
    );
}

#[test]
fn what_could_steer_a_terminal_is_escaped() {
    let found = replaced("authenticate: keys", "public: \"a\\e[2Jb\\u202Ec\"");
    assert!(found.iter().all(|line| !line.contains(['\u{1b}', '\u{202e}'])), "{found:?}");
}
