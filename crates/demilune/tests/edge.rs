//! Whose connection, and whose request it is: PROXY protocol, trusted proxies, caps by address.

#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong in a test must stop it, in its functions too"
)]

use std::net::TcpStream;

use demilune_testkit::{Client, Document, Gateway, Origin, eventually, gateway, peer};

const REFUSED: &str = "demilune_connections_refused_total";

fn start(origin: &Origin, listener: &str) -> Gateway {
    let document = Document::before(origin).listener(listener);
    gateway(env!("CARGO_BIN_EXE_demilune")).config(document).start()
}

fn refused(gateway: &Gateway, reason: &str, count: f64) {
    let series = format!("{REFUSED}{{listener=\"main\",reason=\"{reason}\"}}");
    eventually(reason, || gateway.metric(&series).filter(|n| *n >= count));
    assert_eq!(gateway.metric(&series), Some(count), "{reason}");
}

/// A header of version 2 for a connection from 192.0.2.7:4711, with an extension.
fn version_2() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x11".to_vec();
    header.extend([192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb, 4, 0, 2, 0, 0]);
    header
}

const VERSION_1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n";
const BELIEVED: &str = "proxy_protocol: { from: [127.0.0.0/8] }";

#[test]
fn a_load_balancer_says_whose_connection_it_is() {
    let origin = Origin::start();
    let gateway = start(&origin, BELIEVED);
    for (path, header) in [("/1", VERSION_1.to_vec()), ("/2", version_2())] {
        let mut client = gateway.client("main");
        client.send(&header);
        let port = client.port();
        for _ in 0..2 {
            assert_eq!(client.get(path, &[("x-forwarded-for", "203.0.113.1")]).status, 200);
            assert_eq!(origin.last().all("x-forwarded-for"), ["192.0.2.7"]);
        }
        let line = gateway.access(path);
        assert_eq!((&line["client"], &line["port"]), (&"192.0.2.7".into(), &4711.into()));
        assert_eq!(line["peer"], format!("127.0.0.1:{port}"));
    }
}

#[test]
fn a_header_may_come_byte_by_byte_and_with_the_request_in_one_piece() {
    let origin = Origin::start();
    let gateway = start(&origin, BELIEVED);
    let request = b"GET /whole HTTP/1.1\r\nhost: a\r\n\r\n";
    for header in [VERSION_1.to_vec(), version_2()] {
        let mut client = gateway.client("main");
        client.send([&header[..], request].concat());
        assert_eq!(client.read(false).unwrap().status, 200);
        let mut client = gateway.client("main");
        for byte in [&header[..], request].concat() {
            client.send([byte]);
        }
        assert_eq!(client.read(false).unwrap().status, 200);
    }
    let lines = gateway.wait_many(4, |line| line["path"] == "/whole");
    assert!(lines.iter().all(|line| line["client"] == "192.0.2.7"), "{lines:?}");
}

#[test]
fn a_load_balancer_that_speaks_for_itself_is_the_client() {
    let origin = Origin::start();
    let gateway = start(&origin, BELIEVED);
    let local = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00".to_vec();
    for (path, header) in [("/l", local), ("/u", b"PROXY UNKNOWN\r\n".to_vec())] {
        let mut client = gateway.client("main");
        client.send(header);
        assert_eq!(client.get(path, &[]).status, 200);
        let line = gateway.access(path);
        assert_eq!(line["client"], "127.0.0.1");
        assert_eq!((&line["port"], line.get("peer")), (&client.port().into(), None));
    }
}

#[test]
fn a_load_balancer_that_does_not_say_whose_connection_it_is_is_not_served() {
    let origin = Origin::start();
    let listener = format!("{BELIEVED}, limits: {{ handshake: 500ms }}");
    let gateway = start(&origin, &listener);
    for (code, bytes) in [
        ("proxy_protocol.missing", &b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..]),
        ("proxy_protocol.malformed", b"PROXY TCP4 192.0.2.07 198.51.100.1 4711 443\r\n"),
        ("proxy_protocol.timeout", b"PROXY TCP4 192.0.2.7 "),
    ] {
        let mut client = gateway.client("main");
        client.send(bytes);
        assert!(client.rest().is_empty());
        let line = gateway.log(code);
        assert_eq!(line["fields"]["listener"], "main");
        assert_eq!(line["fields"]["peer"], format!("127.0.0.1:{}", client.port()));
    }
    let mut client = gateway.client("main");
    client.send(b"PROXY TCP4 192.0.2.7 ");
    client.finish();
    assert!(client.rest().is_empty());
    refused(&gateway, "proxy_protocol", 4.0);
    // A look at whether the port is open is nobody's fault.
    drop(TcpStream::connect(gateway.address("main")).unwrap());
    let open = "demilune_connections{listener=\"main\"}";
    eventually("no connection is open", || gateway.metric(open).filter(|n| *n == 0.0));
    refused(&gateway, "proxy_protocol", 4.0);
    assert!(origin.seen().is_empty());
}

#[test]
fn somebody_else_who_sends_the_header_is_not_understood() {
    let origin = Origin::start();
    let gateway = start(&origin, "proxy_protocol: { from: [192.0.2.0/24] }");
    for header in [VERSION_1.to_vec(), version_2()] {
        let mut client = gateway.client("main");
        client.send([&header[..], b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"].concat());
        let status = client.read(false).map(|reply| reply.status);
        assert!(matches!(status, None | Some(400)), "{status:?}");
    }
    assert!(origin.seen().is_empty());
    assert_eq!(gateway.client("main").get("/own", &[]).status, 200);
    assert_eq!(gateway.access("/own")["client"], "127.0.0.1");
}

#[test]
fn haproxy_passes_tls_on_and_the_client_is_known() {
    let origin = Origin::start();
    let authority = demilune_testkit::Authority::new();
    let builder = gateway(env!("CARGO_BIN_EXE_demilune"));
    authority.issue(builder.folder(), "api", &["api.example"]);
    let tls = "tls: { certificates: [{ chain: api.pem, key: api.key }] }";
    let document = Document::before(&origin).listener(&format!("{BELIEVED}, {tls}"));
    let gateway = builder.config(document).start();
    for (word, path) in [("send-proxy", "/one"), ("send-proxy-v2", "/two")] {
        let front = Haproxy::start(&gateway, word);
        let (mut client, _) = Client::connect_tls(front.address, "api.example", &authority);
        assert_eq!(client.get(path, &[("host", "api.example")]).status, 200);
        let line = gateway.access(path);
        assert_eq!((&line["client"], &line["tls"]), (&"127.0.0.1".into(), &"TLSv1.3".into()));
        assert_eq!(line["port"], client.port());
        assert!(line["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    }
}

/// HAProxy, passing connections on.
struct Haproxy {
    address: std::net::SocketAddr,
    child: std::process::Child,
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Haproxy {
    fn start(gateway: &Gateway, word: &str) -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let path = gateway.folder().join(format!("{word}.cfg"));
        let server = gateway.address("main");
        let text = format!(
            "defaults\n timeout connect 20s\n timeout client 20s\n timeout server 20s\n\
             listen front\n mode tcp\n bind {address}\n server gateway {server} {word}\n"
        );
        std::fs::write(&path, text).unwrap();
        let child = peer("haproxy").arg("-f").arg(&path).arg("-db").spawn().unwrap();
        let haproxy = Self { address, child };
        eventually("haproxy listens", || TcpStream::connect(address).ok());
        haproxy
    }
}

const TRUSTED: &str =
    "trusted_proxies: { networks: [127.0.0.0/8, 10.0.0.0/8], header: x-forwarded-for }";

#[test]
fn the_client_of_a_request_is_the_first_untrusted_address_from_the_right() {
    let origin = Origin::start();
    let gateway = start(&origin, TRUSTED);
    let mut client = gateway.client("main");
    for (path, value, found, told) in [
        ("/a", "192.0.2.7", "192.0.2.7", "192.0.2.7, 127.0.0.1"),
        ("/b", "junk, 192.0.2.7, 10.0.0.2", "192.0.2.7", "192.0.2.7, 10.0.0.2, 127.0.0.1"),
        ("/c", "[2001:db8::7]:99", "2001:db8::7", "2001:db8::7, 127.0.0.1"),
        ("/d", "192.0.2.8", "192.0.2.8", "192.0.2.8, 127.0.0.1"),
    ] {
        let reply = client.get(path, &[("x-forwarded-for", value), ("forwarded", "for=1.1.1.1")]);
        assert_eq!(reply.status, 200);
        assert_eq!(origin.last().all("x-forwarded-for"), [told]);
        assert_eq!(origin.last().header("forwarded"), None);
        assert_eq!(origin.last().header("x-forwarded-proto"), Some("http"));
        let line = gateway.access(path);
        assert_eq!((&line["client"], line.get("port")), (&found.into(), None));
        assert_eq!(line["peer"], format!("127.0.0.1:{}", client.port()));
    }
    assert_eq!(client.get("/none", &[]).status, 200);
    assert_eq!(gateway.access("/none")["client"], "127.0.0.1");
    assert_eq!(origin.last().all("x-forwarded-for"), ["127.0.0.1"]);
}

#[test]
fn policies_act_on_the_client_and_not_on_the_proxy() {
    let origin = Origin::start();
    let limits = "policies: [{ ip_restriction: { deny: [192.0.2.66] } }, \
                  { rate_limit: { per: address, limit: 2/h } }]";
    let document = Document::before(&origin).listener(TRUSTED).defaults(limits);
    let gateway = gateway(env!("CARGO_BIN_EXE_demilune")).config(document).start();
    let mut client = gateway.client("main");
    let mut ask = |address: &str| client.get("/", &[("x-forwarded-for", address)]).status;
    assert_eq!(["192.0.2.1"; 3].map(&mut ask), [200, 200, 429]);
    assert_eq!(["192.0.2.2"; 3].map(&mut ask), [200, 200, 429]);
    assert_eq!(ask("192.0.2.66"), 403);
    assert_eq!(ask("192.0.2.66, 192.0.2.3"), 200);
    let event = gateway.wait(|line| line["type"] == "ip_restriction.address");
    assert_eq!(event["client"], "192.0.2.66");
}

#[test]
fn a_trusted_proxy_whose_word_is_not_understood_is_refused() {
    let origin = Origin::start();
    let gateway = start(&origin, TRUSTED);
    let mut client = gateway.client("main");
    let many = ["10.0.0.2"; 33].join(",");
    for (path, value, code) in [
        ("/a", "unknown", "forwarded.malformed"),
        ("/b", "192.0.2.7, junk", "forwarded.malformed"),
        ("/c", &*many, "forwarded.too_many"),
    ] {
        assert_eq!(client.get(path, &[("x-forwarded-for", value)]).status, 400);
        let line = gateway.access(path);
        assert_eq!((&line["code"], &line["client"]), (&code.into(), &"127.0.0.1".into()));
    }
    assert_eq!(client.get("/", &[("x-forwarded-for", "192.0.2.7")]).status, 200);
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn nobody_else_is_believed_about_the_client() {
    let origin = Origin::start();
    let other = "trusted_proxies: { networks: [10.0.0.0/8], header: x-forwarded-for }";
    let gateway = start(&origin, other);
    let mut client = gateway.client("main");
    for value in ["192.0.2.7", "10.0.0.1", "junk"] {
        assert_eq!(client.get("/", &[("x-forwarded-for", value)]).status, 200);
        assert_eq!(origin.last().all("x-forwarded-for"), ["127.0.0.1"]);
    }
    let lines = gateway.wait_many(3, |line| line["kind"] == "access");
    assert!(lines.iter().all(|line| line["client"] == "127.0.0.1"), "{lines:?}");
}

#[test]
fn forwarded_is_read_where_the_document_says_so_and_x_forwarded_for_is_not() {
    let origin = Origin::start();
    let trusted = "trusted_proxies: { networks: [127.0.0.1], header: forwarded }";
    let gateway = start(&origin, trusted);
    let mut client = gateway.client("main");
    let headers = [("forwarded", "for=\"[2001:db8::7]:1\""), ("x-forwarded-for", "192.0.2.7")];
    assert_eq!(client.get("/", &headers).status, 200);
    assert_eq!(origin.last().all("x-forwarded-for"), ["2001:db8::7, 127.0.0.1"]);
    assert_eq!(client.get("/swallowed", &[("forwarded", "for=\", for=192.0.2.7")]).status, 400);
    assert_eq!(gateway.access("/swallowed")["code"], "forwarded.malformed");
}

#[test]
fn a_proxy_behind_a_load_balancer_is_known_by_the_load_balancers_word() {
    let origin = Origin::start();
    let gateway = start(
        &origin,
        "proxy_protocol: { from: [127.0.0.1] }, \
         trusted_proxies: { networks: [192.0.2.0/24], header: x-forwarded-for }",
    );
    let mut client = gateway.client("main");
    client.send(VERSION_1);
    assert_eq!(client.get("/", &[("x-forwarded-for", "203.0.113.5")]).status, 200);
    assert_eq!(origin.last().all("x-forwarded-for"), ["203.0.113.5, 192.0.2.7"]);
    assert_eq!(gateway.access("/")["client"], "203.0.113.5");
}

#[test]
fn one_address_has_so_many_connections_and_no_more() {
    let origin = Origin::start();
    let gateway = start(&origin, "limits: { connections_per_address: 3 }");
    let mut open: Vec<Client> = (0..3).map(|_| gateway.client("main")).collect();
    for client in &mut open {
        assert_eq!(client.get("/", &[]).status, 200);
    }
    assert!(gateway.client("main").ends());
    refused(&gateway, "connections_per_address", 1.0);
    let line = gateway.log("listener.refused");
    assert_eq!(line["fields"]["reason"], "connections_per_address");
    assert_eq!(line["fields"]["client"], "127.0.0.1");
    drop(open.pop());
    eventually("a place comes free", || {
        let mut client = gateway.client("main");
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        client.read(false).filter(|reply| reply.status == 200)
    });
}

#[test]
fn clients_behind_a_load_balancer_are_counted_one_by_one() {
    let origin = Origin::start();
    let listener = format!("{BELIEVED}, limits: {{ connections_per_address: 1 }}");
    let gateway = start(&origin, &listener);
    let client = |number: u8| {
        let mut client = gateway.client("main");
        client.send(format!("PROXY TCP4 192.0.2.{number} 198.51.100.1 4711 443\r\n"));
        client.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        let status = client.read(false).map(|reply| reply.status);
        (client, status)
    };
    let (first, second) = (client(1), client(2));
    assert_eq!((first.1, second.1), (Some(200), Some(200)));
    assert_eq!(client(1).1, None);
    let line = gateway.log("listener.refused");
    assert_eq!(line["fields"]["client"], "192.0.2.1");
}

#[test]
fn connections_of_trusted_proxies_are_not_counted_as_one_client() {
    let origin = Origin::start();
    let listener = format!("{TRUSTED}, limits: {{ connections_per_address: 1 }}");
    let gateway = start(&origin, &listener);
    let mut clients: Vec<Client> = (0..3).map(|_| gateway.client("main")).collect();
    for client in &mut clients {
        assert_eq!(client.get("/", &[("x-forwarded-for", "192.0.2.7")]).status, 200);
    }
}

#[test]
fn handshakes_that_stall_do_not_grow_beyond_their_number() {
    let origin = Origin::start();
    let listener = format!("{BELIEVED}, limits: {{ handshakes: 2, handshake: 30s }}");
    let gateway = start(&origin, &listener);
    let mut ready = gateway.client("main");
    ready.send(VERSION_1);
    assert_eq!(ready.get("/", &[]).status, 200);
    let mut silent: Vec<Client> = (0..2).map(|_| gateway.client("main")).collect();
    let connections = "demilune_connections{listener=\"main\"}";
    eventually("both are counted", || gateway.metric(connections).filter(|n| *n == 3.0));
    assert!(gateway.client("main").ends());
    refused(&gateway, "handshakes", 1.0);
    // Whoever is through is served.
    assert_eq!(ready.get("/", &[]).status, 200);
    silent[0].send(VERSION_1);
    assert_eq!(silent[0].get("/", &[]).status, 200);
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_the_system_lets_it() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("limited");
    let exe = env!("CARGO_BIN_EXE_demilune");
    let text = format!("#!/bin/sh\nulimit -Sn 300\nulimit -Hn 600\nexec '{exe}' \"$@\"\n");
    std::fs::write(&script, text).unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&script, executable).unwrap();
    let start = |limits: &str| {
        let document = Document::default().endpoint("http://127.0.0.1:9").listener(limits);
        gateway(script.to_str().unwrap()).config(document).start()
    };
    let gateway = start("limits: { connections: 100 }");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    assert_eq!(files.split_whitespace().nth(3), Some("600"), "{files}");
    assert!(gateway.lines(|line| line["code"] == "gateway.files_low").is_empty());
    let gateway = start("limits: { connections: 1000 }");
    let line = gateway.log("gateway.files_low");
    assert_eq!(
        (&line["fields"]["limit"], &line["fields"]["needed"]),
        (&"600".into(), &"2256".into())
    );
}
