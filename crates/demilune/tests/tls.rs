//! TLS on both sides, with curl, OpenSSL, h2load and nginx on the other end.

#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong in a test must stop it, in its functions too"
)]

use std::fs;
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::Barrier;
use std::time::Duration;

use demilune_testkit::{
    Authority, Client, Gateway, GatewayBuilder, Nginx, Origin, eventually, gateway, peer,
};

const FAILURES: &str = "demilune_tls_handshake_failures_total{listener=\"secure\"}";

/// A document with one TLS listener; `certificates` are names of files, `more` belongs to it too.
fn document(certificates: &[&str], more: &str, upstream: &str) -> String {
    let pairs: Vec<String> = certificates
        .iter()
        .map(|name| format!("{{ chain: {name}.pem, key: {name}.key }}"))
        .collect();
    format!(
        "version: 1
listeners:
  secure:
    address: 127.0.0.1:0
    tls: {{ certificates: [{}] }}
{more}
upstreams:
  origin: {{ endpoints: [\"{upstream}\"] }}
routes:
  all: {{ match: {{ path: /** }}, upstream: origin, public: for the test }}
admin: {{ address: 127.0.0.1:0 }}
",
        pairs.join(", ")
    )
}

/// A gateway with a certificate for `api.example` from an authority of its own.
fn secure(more: &str, upstream: &str) -> (Authority, Gateway) {
    let authority = Authority::new();
    let builder = gateway(env!("CARGO_BIN_EXE_demilune"));
    authority.issue(builder.folder(), "api", &["api.example"]);
    let _ = authority.write(builder.folder());
    (authority, builder.config(document(&["api"], more, upstream)).start())
}

/// What curl made of a request: its exit code, the body with what `--write-out` adds, and its
/// errors.
#[derive(Debug, PartialEq, Eq)]
struct Curled {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Asks `https://NAME/` of the listener `secure`, and tells `HTTP-VERSION STATUS` behind the body.
fn curl(gateway: &Gateway, name: &str, args: &[&str]) -> Curled {
    let address = gateway.address("secure");
    let output = peer("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--cacert"])
        .arg(gateway.folder().join("authority.pem"))
        .args([
            "--connect-to",
            &format!("::{address}"),
            "--write-out",
            " %{http_version} %{http_code}",
        ])
        .args(args)
        .arg(format!("https://{name}/"))
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Curled { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

/// Everything that `openssl s_client` tells of a handshake.
fn s_client(address: SocketAddr, args: &[&str]) -> String {
    let mut command = peer("openssl");
    command.args(["s_client", "-connect", &address.to_string()]).args(args);
    let output = command.stdin(Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn without_breaks(text: &str) -> String {
    text.split_whitespace().collect()
}

/// Whether the leaf served for `server_name` is the one in `NAME.pem`.
fn serves(gateway: &Gateway, server_name: Option<&str>, name: &str) -> bool {
    let told = match server_name {
        Some(server_name) => s_client(gateway.address("secure"), &["-servername", server_name]),
        None => s_client(gateway.address("secure"), &["-noservername"]),
    };
    assert!(told.contains("-----BEGIN CERTIFICATE-----"), "{told}");
    let leaf = fs::read_to_string(gateway.folder().join(format!("{name}.pem"))).unwrap();
    without_breaks(&told).contains(&without_breaks(&leaf))
}

/// Fails where a part of the private key in `path` stands in `printed`.
fn hides_key(printed: &str, path: &Path) {
    let key = fs::read_to_string(path).unwrap();
    for line in key.lines().filter(|line| line.len() > 15 && !line.starts_with("--")) {
        let beginning: String = line.chars().take(16).collect();
        assert!(!printed.contains(&beginning), "a key was printed:\n{printed}");
    }
}

#[test]
fn tls_1_3_and_1_2_are_spoken_and_1_1_is_refused() {
    let origin = Origin::start();
    let (_, gateway) = secure("", &origin.url());
    for (args, version) in [
        (["--tlsv1.3", "--tls-max", "1.3"], "TLSv1.3"),
        (["--tlsv1.2", "--tls-max", "1.2"], "TLSv1.2"),
    ] {
        let curled = curl(&gateway, "api.example", &args);
        assert_eq!((curled.code, &*curled.out), (Some(0), "hello 2 200"), "{curled:?}");
        gateway.wait(|line| line["kind"] == "access" && line["tls"] == version);
    }
    assert_eq!(gateway.metric(FAILURES), None);
    // Level 0 lets this client offer what it would not by itself: the refusal is the gateway's.
    let old = ["--tlsv1.1", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"];
    let curled = curl(&gateway, "api.example", &old);
    assert_eq!(curled.code, Some(35), "{curled:?}");
    assert!(curled.err.contains(" alert "), "{curled:?}");
    eventually("the failure is counted", || gateway.metric(FAILURES).filter(|n| *n == 1.0));
    hides_key(&gateway.printed(), &gateway.folder().join("api.key"));
}

#[test]
fn http_2_is_chosen_by_alpn_and_http_1_1_where_the_client_wants_it() {
    let origin = Origin::start();
    let (_, gateway) = secure("", &origin.url());
    for (args, version, out) in [
        (&["--http2"][..], "HTTP/2", "hello 2 200"),
        (&["--http1.1"], "HTTP/1.1", "hello 1.1 200"),
        (&["--no-alpn"], "HTTP/1.1", "hello 1.1 200"),
    ] {
        let curled = curl(&gateway, "api.example", args);
        assert_eq!((curled.code, &*curled.out), (Some(0), out), "{args:?} {curled:?}");
        gateway.wait(|line| line["kind"] == "access" && line["version"] == version);
    }
    assert_eq!(origin.last().header("x-forwarded-proto"), Some("https"));
    assert_eq!(origin.last().header("x-forwarded-host"), Some("api.example"));
}

#[test]
fn a_client_that_chooses_http_2_and_speaks_http_1_is_told_goodbye() {
    let origin = Origin::start();
    let (authority, gateway) = secure("", &origin.url());
    let address = gateway.address("secure");
    let (mut client, _) = Client::connect_alpn(address, "api.example", &authority, &["h2"]);
    client.send("GET / HTTP/1.1\r\nhost: api.example\r\n\r\n");
    // GOAWAY with PROTOCOL_ERROR.
    assert!(client.rest().ends_with(b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x01"));
    gateway.wait(|line| line["kind"] == "event" && line["type"] == "http2.preface");
    assert!(origin.seen().is_empty());
}

#[test]
fn the_certificate_is_chosen_by_the_name_asked_for() {
    let origin = Origin::start();
    let authority = Authority::new();
    let builder = gateway(env!("CARGO_BIN_EXE_demilune"));
    authority.issue(builder.folder(), "first", &["first.example"]);
    authority.issue(builder.folder(), "exact", &["exact.example", "one.wild.example"]);
    authority.issue(builder.folder(), "wild", &["*.wild.example"]);
    let _ = authority.write(builder.folder());
    let names = ["first", "exact", "wild"];
    let gateway = builder.config(document(&names, "", &origin.url())).start();
    for (server_name, certificate) in [
        ("first.example", "first"),
        ("exact.example", "exact"),
        ("EXACT.example", "exact"),
        ("one.wild.example", "exact"),
        ("two.wild.example", "wild"),
        ("wild.example", "first"),
        ("a.b.wild.example", "first"),
        ("other.example", "first"),
    ] {
        assert!(serves(&gateway, Some(server_name), certificate), "{server_name}");
    }
    assert!(serves(&gateway, None, "first"));
    for name in ["first.example", "exact.example", "two.wild.example"] {
        assert_eq!(curl(&gateway, name, &[]).out, "hello 2 200", "{name}");
    }
    // 60: the certificate is for another name.
    assert_eq!(curl(&gateway, "other.example", &[]).code, Some(60));
}

#[test]
fn plain_http_to_a_tls_port_is_refused() {
    let origin = Origin::start();
    let (_, gateway) = secure("", &origin.url());
    let mut client = gateway.client("secure");
    client.send("GET / HTTP/1.1\r\nhost: api.example\r\n\r\n");
    let answer = client.rest();
    assert!(!answer.starts_with(b"HTTP"), "{:?}", String::from_utf8_lossy(&answer));
    eventually("the failure is counted", || gateway.metric(FAILURES).filter(|n| *n == 1.0));
    assert!(origin.seen().is_empty());
}

#[test]
fn a_handshake_that_stalls_is_closed_and_counted() {
    let (_, gateway) = secure("    limits: { handshake: 200ms }", "http://127.0.0.1:9");
    let mut silent = TcpStream::connect(gateway.address("secure")).unwrap();
    // The beginning of a record that never ends.
    std::io::Write::write_all(&mut silent, &[0x16, 0x03, 0x01, 0x02, 0x00]).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut left = Vec::new();
    let end = silent.read_to_end(&mut left);
    let reset = end.as_ref().is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset);
    assert!(end.is_ok() || reset, "{end:?}");
    eventually("the failure is counted", || gateway.metric(FAILURES).filter(|n| *n == 1.0));
    let open = "demilune_connections{listener=\"secure\"}";
    eventually("no connection is open", || gateway.metric(open).filter(|n| *n == 0.0));
}

#[test]
fn a_body_goes_up_over_http_2() {
    let origin = Origin::start();
    let (_, gateway) = secure("", &origin.url());
    let body: String = (0..200_000).map(|n| format!("{n},")).collect();
    fs::write(gateway.folder().join("body"), &body).unwrap();
    let data = format!("@{}", gateway.folder().join("body").display());
    let curled = curl(&gateway, "api.example", &["--http2", "--data-binary", &data]);
    assert_eq!(curled.out, "hello 2 200", "{curled:?}");
    assert!(origin.last().line.starts_with("POST / "), "{}", origin.last().line);
    assert!(origin.last().body == body.as_bytes(), "the origin got another body");
    let line = gateway.wait(|line| line["kind"] == "access");
    assert_eq!(line["received"].as_u64(), u64::try_from(body.len()).ok());
}

#[test]
fn many_streams_share_one_http_2_connection() {
    const STREAMS: usize = 16;
    let barrier = Barrier::new(STREAMS);
    // No answer before all are under way: one after the other they would never be answered.
    let origin = Origin::answering(move |_| {
        barrier.wait();
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_vec()
    });
    let (_, gateway) = secure("", &origin.url());
    let count = STREAMS.to_string();
    let output = peer("h2load")
        .args(["-n", &count, "-c", "1", "-m", &count, "-N", "20"])
        .arg(format!("https://{}/", gateway.address("secure")))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains(&format!("status codes: {STREAMS} 2xx")), "{told}");
    let lines = gateway.wait_many(STREAMS, |line| line["kind"] == "access");
    assert!(lines.iter().all(|line| line["port"] == lines[0]["port"]), "{lines:?}");
    assert!(lines.iter().all(|line| line["version"] == "HTTP/2"), "{lines:?}");
}

#[test]
fn keys_are_exchanged_in_a_post_quantum_group_where_the_client_knows_it() {
    let origin = Origin::start();
    let (authority, gateway) = secure("", &origin.url());
    let address = gateway.address("secure");
    let (mut client, group) = Client::connect_tls(address, "api.example", &authority);
    assert_eq!(format!("{group:?}"), "X25519MLKEM768");
    assert_eq!(client.get("/", &[("host", "api.example")]).status, 200);
    let classic = s_client(address, &["-groups", "X25519"]);
    assert!(classic.contains("Server Temp Key: X25519, 253 bits"), "{classic}");
}

/// A certificate and key that cannot be used, by what is wrong with them.
fn broken_pairs(folder: &Path) -> Vec<(&'static str, String, String)> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    let (chain, key) = (read("api.pem"), read("api.key"));
    let half = key.split_at(key.len() / 2).0.to_owned();
    vec![
        ("a key of another certificate", chain.clone(), read("other.key")),
        ("a key cut in half", chain.clone(), half),
        ("a certificate in place of the key", chain.clone(), chain.clone()),
        ("a key in place of the certificate", key.clone(), key.clone()),
        ("no PEM", chain, "canary-key-of-no-form".to_owned()),
        ("an empty certificate", String::new(), key),
    ]
}

#[test]
fn a_pair_that_cannot_be_used_is_refused_with_its_place_and_without_its_key() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().unwrap();
    authority.issue(folder.path(), "api", &["api.example"]);
    authority.issue(folder.path(), "other", &["other.example"]);
    for (what, chain, key) in broken_pairs(folder.path()) {
        let builder: GatewayBuilder = gateway(env!("CARGO_BIN_EXE_demilune"))
            .file("api.pem", &chain)
            .file("api.key", &key)
            .config(document(&["api"], "", "http://127.0.0.1:9"));
        let (good, checked) = builder.check();
        let mut gateway = builder.spawn();
        let code = gateway.ended();
        for said in [checked, gateway.printed()] {
            assert!(said.contains("error[tls.certificate]"), "{what}: {said}");
            assert!(said.contains("demilune.yaml:5:"), "{what}: {said}");
            assert!(!said.contains("canary"), "{what}: {said}");
            for name in ["api.key", "other.key"] {
                hides_key(&said, &folder.path().join(name));
            }
        }
        assert_eq!((good, code), (false, Some(3)), "{what}");
    }
}

#[test]
fn a_certificate_replaced_on_disk_is_for_new_connections_while_old_ones_go_on() {
    let origin = Origin::start();
    let (authority, gateway) = secure("", &origin.url());
    let address = gateway.address("secure");
    let (mut old, _) = Client::connect_tls(address, "api.example", &authority);
    assert_eq!(old.get("/", &[("host", "api.example")]).status, 200);
    let before = fs::read(gateway.folder().join("api.pem")).unwrap();
    authority.issue(gateway.folder(), "api", &["api.example"]);
    assert_ne!(before, fs::read(gateway.folder().join("api.pem")).unwrap());
    let loaded = gateway.log("config.loaded");
    assert_eq!(loaded["fields"]["changes"], "");
    assert!(serves(&gateway, Some("api.example"), "api"));
    let (mut new, _) = Client::connect_tls(address, "api.example", &authority);
    for client in [&mut old, &mut new] {
        let reply = client.get("/", &[("host", "api.example")]);
        assert_eq!((reply.status, reply.header("connection")), (200, None));
    }
    let opened = gateway.lines(|line| line["code"] == "listener.opened");
    assert_eq!(opened.len(), 2, "the sockets are the same: {opened:?}");
    hides_key(&gateway.printed(), &gateway.folder().join("api.key"));
}

#[test]
fn a_certificate_without_its_key_is_waited_for_while_the_old_pair_is_served() {
    let origin = Origin::start();
    let (authority, gateway) = secure("", &origin.url());
    authority.issue(gateway.folder(), "next", &["api.example"]);
    let at = |name: &str| gateway.folder().join(name);
    let before = fs::read(at("api.pem")).unwrap();
    let rejected = gateway.after_reload(|| {
        fs::copy(at("next.pem"), at("api.pem")).unwrap();
    });
    assert_eq!(rejected["code"], "config.rejected", "{rejected}");
    let told = rejected["fields"]["diagnostics"].as_str().unwrap();
    assert!(told.contains("the key does not belong to the certificate"), "{told}");
    fs::write(at("before.pem"), before).unwrap();
    assert!(serves(&gateway, Some("api.example"), "before"));
    let loaded = gateway.after_reload(|| {
        fs::copy(at("next.key"), at("api.key")).unwrap();
    });
    assert_eq!(loaded["code"], "config.loaded", "{loaded}");
    assert!(serves(&gateway, Some("api.example"), "next"));
    hides_key(&gateway.printed(), &at("next.key"));
}

#[test]
fn an_upstreams_certificate_is_verified_and_never_taken_on_trust() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let builder = gateway(env!("CARGO_BIN_EXE_demilune"));
    let folder = builder.folder();
    authority.issue(folder, "address", &["127.0.0.1"]);
    authority.issue(folder, "named", &["inner.example"]);
    authority.issue_expired(folder, "expired", &["127.0.0.1"]);
    let _ = stranger.write(folder);
    fs::rename(folder.join("authority.pem"), folder.join("stranger.pem")).unwrap();
    let _ = authority.write(folder);
    let servers = ["address", "named", "expired"].map(|name| Nginx::start(folder, name));
    let [address, named, expired] = servers.each_ref().map(|nginx| nginx.address);
    let cases = [
        ("good", address, "authorities: authority.pem", 200, ""),
        ("stranger", address, "authorities: stranger.pem", 502, "UnknownIssuer"),
        ("misnamed", named, "authorities: authority.pem", 502, "not valid for name"),
        ("renamed", named, "authorities: authority.pem, server_name: inner.example", 200, ""),
        ("expired", expired, "authorities: authority.pem", 502, "expired"),
    ];
    let mut upstreams = String::new();
    let mut routes = String::new();
    for (name, address, tls, ..) in &cases {
        let endpoint = format!("endpoints: [\"https://{address}\"]");
        upstreams.push_str(&format!("  {name}: {{ {endpoint}, tls: {{ {tls} }} }}\n"));
        let serves = format!("match: {{ path: /{name} }}, upstream: {name}, public: a test");
        routes.push_str(&format!("  {name}: {{ {serves} }}\n"));
    }
    let plain = "version: 1\nlisteners:\n  plain: { address: 127.0.0.1:0 }\n";
    let gateway =
        builder.config(format!("{plain}upstreams:\n{upstreams}routes:\n{routes}")).start();
    let mut client = gateway.client("plain");
    for (name, _, _, status, reason) in cases {
        let reply = client.get(&format!("/{name}"), &[]);
        assert_eq!(reply.status, status, "{name}: {}", reply.text());
        let line = gateway.wait(|line| line["kind"] == "access" && line["route"] == name);
        if status == 502 {
            assert_eq!(line["code"], "upstream.tls", "{line}");
            let told = line["reason"].as_str().unwrap();
            assert!(told.contains(reason), "{line}");
            assert!(!reply.text().contains(told), "the client reads why: {}", reply.text());
        } else {
            assert_eq!(reply.text(), "hello");
        }
    }
}
