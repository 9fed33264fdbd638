//! Proving ourselves to upstreams, and what we demand of them beside a good certificate.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use demilune_testkit::{Authority, Nginx, eventually, gateway, peer};
use serde_json::json;

const EXE: &str = env!("CARGO_BIN_EXE_demilune");

/// The SHA-256 of a certificate's public key, by OpenSSL.
fn public_key(certificate: &std::path::Path) -> String {
    let _ = peer("openssl");
    let line = format!(
        "openssl x509 -in {} -noout -pubkey | openssl pkey -pubin -outform der | sha256sum",
        certificate.display()
    );
    let output = Command::new("sh").args(["-c", &line]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    format!("sha256:{}", text.split_whitespace().next().unwrap())
}

/// A document with an upstream and a route of the same name for each of these.
fn document(upstreams: &[(&str, String, String)]) -> String {
    let (mut all, mut routes) = (String::new(), String::new());
    for (name, address, tls) in upstreams {
        let endpoint = format!("endpoints: [\"https://{address}\"]");
        let _ = writeln!(all, "  {name}: {{ {endpoint}, tls: {{ {tls} }} }}");
        let serves = format!("match: {{ path: /{name} }}, upstream: {name}, public: a test");
        let _ = writeln!(routes, "  {name}: {{ {serves} }}");
    }
    let plain = "version: 1\nlisteners:\n  main: { address: 127.0.0.1:0 }\n";
    format!("{plain}upstreams:\n{all}routes:\n{routes}")
}

#[test]
fn the_gateway_proves_itself_and_connections_are_never_shared_between_proofs() {
    let authority = Authority::new();
    let builder = gateway(EXE);
    let folder = builder.folder();
    let pem = authority.write(folder);
    authority.issue(folder, "server", &["127.0.0.1", "inner.example"]);
    authority.issue(folder, "one", &["one.example"]);
    authority.issue(folder, "other", &["other.example"]);
    let asking = format!("ssl_client_certificate {}; ssl_verify_client optional;", pem.display());
    // What the origin saw: the client certificate's serial number, the name asked for, and which
    // connection of its process it was on.
    let shown = format!(
        "{asking} add_header x-seen \"$ssl_client_serial $ssl_server_name\"; \
                         add_header x-connection $connection;"
    );
    let origin = Nginx::start_with(folder, "server", &shown);
    let address = origin.address.to_string();
    let tls = |more: &str| format!("authorities: authority.pem{more}");
    let proof = |name: &str| {
        tls(&format!(", client_certificate: {{ chain: {name}.pem, key: {name}.key }}"))
    };
    let text = document(&[
        ("nobody", address.clone(), tls("")),
        ("one", address.clone(), proof("one")),
        ("other", address.clone(), proof("other")),
        ("named", address.clone(), tls(", server_name: inner.example")),
    ]);
    let gateway = builder.config(text).start();
    let mut client = gateway.client("main");
    let mut seen = Vec::new();
    for _ in 0..2 {
        for name in ["nobody", "one", "other", "named"] {
            let reply = client.get(&format!("/{name}"), &[]);
            assert_eq!(reply.status, 200, "{name}");
            let header = |name| reply.header(name).unwrap_or_default().to_owned();
            seen.push((header("x-seen"), header("x-connection")));
        }
    }
    // The second round finds each upstream's own connection, and no other's.
    assert_eq!(seen[..4], seen[4..]);
    let distinct: std::collections::BTreeSet<_> = seen.iter().map(|seen| &seen.1).collect();
    assert_eq!(distinct.len(), 4, "{seen:?}");
    let serials = [&seen[1].0, &seen[2].0];
    assert!(serials[0] != serials[1] && !serials.iter().any(|serial| serial.trim().is_empty()));
    assert_eq!((seen[0].0.trim(), seen[3].0.trim()), ("", "inner.example"));
}

#[test]
fn an_upstream_that_wants_a_proof_refuses_the_gateway_without_one() {
    let authority = Authority::new();
    let builder = gateway(EXE);
    let folder = builder.folder();
    let pem = authority.write(folder);
    authority.issue(folder, "server", &["127.0.0.1"]);
    authority.issue(folder, "one", &["one.example"]);
    let asking = format!("ssl_client_certificate {}; ssl_verify_client on;", pem.display());
    let origin = Nginx::start_with(folder, "server", &asking);
    let address = origin.address.to_string();
    let proof = "authorities: authority.pem, client_certificate: { chain: one.pem, key: one.key }";
    let text = document(&[
        ("without", address.clone(), "authorities: authority.pem".to_owned()),
        ("with", address, proof.to_owned()),
    ]);
    let gateway = builder.config(text).start();
    // nginx answers 400 over HTTP where no certificate came.
    assert_eq!(gateway.client("main").get("/without", &[]).status, 400);
    assert_eq!(gateway.client("main").get("/with", &[]).status, 200);
}

#[test]
fn names_keys_and_versions_that_are_demanded_must_be_there() {
    let authority = Authority::new();
    let builder = gateway(EXE);
    let folder = builder.folder();
    let _ = authority.write(folder);
    authority.issue(folder, "server", &["127.0.0.1", "inner.example", "*.wild.example"]);
    authority.issue(folder, "elsewhere", &["elsewhere.example"]);
    let key = public_key(&folder.join("server.pem"));
    let another = public_key(&folder.join("elsewhere.pem"));
    let current = Nginx::start_with(folder, "server", "ssl_protocols TLSv1.2 TLSv1.3;");
    let old = Nginx::start_with(folder, "server", "ssl_protocols TLSv1.2;");
    let elsewhere = Nginx::start(folder, "elsewhere");
    let names = "subject_alternative_names";
    let cases = [
        ("n1", &current, format!("{names}: [inner.example]"), ""),
        ("n2", &current, format!("{names}: [other.example, \"127.0.0.1\"]"), ""),
        ("n3", &current, format!("{names}: [a.wild.example]"), ""),
        ("n4", &current, format!("{names}: [other.example, \"spiffe://example/a\"]"), names),
        ("n5", &elsewhere, format!("{names}: [elsewhere.example]"), ""),
        ("k1", &current, format!("public_keys: [\"{another}\", \"{key}\"]"), ""),
        ("k2", &current, format!("public_keys: [\"{another}\"]"), "public_keys"),
        // A pin takes nothing of the rest away.
        ("k3", &elsewhere, format!("public_keys: [\"{another}\"]"), "not valid for name"),
        ("b1", &current, format!("{names}: [inner.example], public_keys: [\"{another}\"]"), "keys"),
        ("v1", &current, "minimum_version: tls_1_3".to_owned(), ""),
        ("v2", &old, "minimum_version: tls_1_2".to_owned(), ""),
        ("v3", &old, "minimum_version: tls_1_3".to_owned(), "rotocol"),
    ];
    let upstreams: Vec<_> = cases
        .iter()
        .map(|(name, origin, tls, _)| {
            (*name, origin.address.to_string(), format!("authorities: authority.pem, {tls}"))
        })
        .collect();
    let gateway = builder.config(document(&upstreams)).start();
    let mut client = gateway.client("main");
    for (name, _, tls, reason) in &cases {
        let reply = client.get(&format!("/{name}"), &[]);
        let line = gateway.access(&format!("/{name}"));
        if reason.is_empty() {
            assert_eq!(reply.status, 200, "{name} {tls} {line}");
        } else {
            let told = json!([reply.status, line["code"]]);
            assert_eq!(told, json!([502, "upstream.tls"]), "{name} {tls} {line}");
            assert!(line["reason"].as_str().unwrap().contains(reason), "{name} {line}");
        }
    }
}

#[test]
fn a_certificate_of_ours_that_cannot_be_used_keeps_the_document_out_and_no_key_is_told() {
    let authority = Authority::new();
    let builder = gateway(EXE);
    let folder = builder.folder();
    let _ = authority.write(folder);
    authority.issue(folder, "one", &["one.example"]);
    authority.issue(folder, "other", &["other.example"]);
    let key = fs::read_to_string(folder.join("other.key")).unwrap();
    let secret = key.lines().nth(1).unwrap().to_owned();
    let proof =
        "authorities: authority.pem, client_certificate: { chain: one.pem, key: other.key }";
    let builder = builder.config(document(&[("shop", "127.0.0.1:9".to_owned(), proof.to_owned())]));
    let (good, printed) = builder.check();
    assert!(!good && printed.contains("tls.client_certificate"), "{printed}");
    assert!(printed.contains("the key does not belong to the certificate"), "{printed}");
    assert!(!printed.contains(&secret));
}

#[test]
fn a_certificate_of_ours_that_is_replaced_is_used_without_losing_a_request() {
    let authority = Authority::new();
    let builder = gateway(EXE);
    let folder = builder.folder().to_owned();
    let pem = authority.write(&folder);
    authority.issue(&folder, "server", &["127.0.0.1"]);
    authority.issue(&folder, "one", &["one.example"]);
    let asking = format!(
        "ssl_client_certificate {}; ssl_verify_client on; \
         add_header x-seen $ssl_client_serial;",
        pem.display()
    );
    let origin = Nginx::start_with(&folder, "server", &asking);
    let proof = "authorities: authority.pem, client_certificate: { chain: one.pem, key: one.key }";
    let text = document(&[("shop", origin.address.to_string(), proof.to_owned())]);
    let gateway = builder.config(text).start();
    let serial = || {
        let reply = gateway.client("main").get("/shop", &[]);
        assert_eq!(reply.status, 200);
        reply.header("x-seen").unwrap().to_owned()
    };
    let before = serial();
    let loaded = gateway.after_reload(|| {
        authority.issue(&folder, "one", &["one.example"]);
        gateway.signal("HUP");
    });
    // The file is looked at too: a half of the pair may have been refused first.
    assert!(matches!(loaded["code"].as_str(), Some("config.loaded" | "config.rejected")));
    eventually("the new one is used", || (serial() != before).then_some(()));
}
