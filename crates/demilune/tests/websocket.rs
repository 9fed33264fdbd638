//! WebSockets: opened where the route says so, and then nobody's business until they end.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test must stop it")]

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use demilune_testkit::{ALICE_KEY, Client, Conversation, Document, Gateway, Origin, gateway};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);
const OPEN: &str = "websocket: for the test";
const HEADERS: [(&str, &str); 4] = [
    ("Connection", "keep-alive, Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
                      connection: upgrade\r\n\
                      sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn start(document: Document) -> Gateway {
    gateway(env!("CARGO_BIN_EXE_demilune")).config(document).start()
}

/// An origin that opens a WebSocket and hands it to `talk`; it tells when that has returned.
fn opening(talk: impl Fn(&mut Conversation) + Send + Sync + 'static) -> (Origin, Receiver<()>) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let origin = Origin::conversing(move |wire| {
        wire.head();
        wire.send(SWITCH);
        talk(wire);
        let _ = tell.lock().unwrap().send(());
    });
    (origin, told)
}

/// Sends everything back until the other side ends.
fn echo(wire: &mut Conversation) {
    loop {
        let bytes = wire.some();
        if bytes.is_empty() {
            return;
        }
        wire.send(bytes);
    }
}

/// A client with an open WebSocket at `path`.
fn open(gateway: &Gateway, path: &str) -> Client {
    let mut client = gateway.client("main");
    client.begin("GET", path, &HEADERS);
    let reply = client.head().unwrap();
    assert_eq!(reply.status, 101, "{reply:?}");
    assert_eq!(reply.all("upgrade"), ["websocket"]);
    assert_eq!(reply.all("connection"), ["upgrade"]);
    assert_eq!(reply.all("sec-websocket-accept"), ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]);
    client
}

#[test]
fn frames_pass_both_ways_and_the_line_is_written_at_the_end_with_what_passed() {
    let (origin, ended) = opening(echo);
    let gateway = start(Document::before(&origin).route(OPEN));
    let mut client = open(&gateway, "/chat?room=1");
    let seen = origin.last();
    assert_eq!(seen.line, "GET /chat?room=1 HTTP/1.1");
    assert_eq!((seen.all("upgrade"), seen.all("connection")), (vec!["websocket"], vec!["upgrade"]));
    assert_eq!(seen.header("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_eq!(seen.header("x-forwarded-for"), Some("127.0.0.1"));
    let frame = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    for _ in 0..3 {
        client.send(frame);
        assert_eq!(client.bytes(frame.len()).unwrap(), frame);
    }
    for size in [1, 1000, 100_000] {
        let large = vec![7; size];
        client.send(&large);
        assert!(client.bytes(size).unwrap() == large);
    }
    assert!(gateway.lines(|line| line["kind"] == "access").is_empty(), "it is still open");
    drop(client);
    ended.recv_timeout(PATIENCE).unwrap();
    let line = gateway.access("/chat");
    let passed = 3 * frame.len() + 101_001;
    let told =
        json!([line["status"], line["received"], line["sent"], line["upstream"]["attempts"]]);
    assert_eq!(told, json!([101, passed, passed, 1]), "{line}");
    assert_eq!(line["code"], Value::Null);
}

#[test]
fn where_the_route_does_not_say_so_none_is_opened_and_the_origin_is_not_asked() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    let reply = gateway.client("main").get("/chat", &HEADERS);
    assert_eq!((reply.status, reply.header("upgrade")), (403, None));
    assert_eq!(reply.json()["detail"], "this resource does not open WebSockets");
    let line = gateway.access("/chat");
    assert_eq!((&line["code"], &line["status"]), (&"route.websocket".into(), &403.into()));
    gateway.wait(|line| line["kind"] == "event" && line["type"] == "route.websocket");
    assert_eq!(origin.connections(), 0);
}

#[test]
fn whoever_opens_one_must_be_admitted_like_everybody_else() {
    let (origin, _ended) = opening(echo);
    let gateway = start(Document::before(&origin).route(OPEN).route("authenticate: keys"));
    let mut client = gateway.client("main");
    let reply = client.get("/", &HEADERS);
    assert_eq!((reply.status, origin.connections()), (401, 0));
    let mut headers = HEADERS.to_vec();
    headers.push(("x-api-key", ALICE_KEY));
    client.begin("GET", "/", &headers);
    assert_eq!(client.head().unwrap().status, 101);
    client.send("ping");
    assert_eq!(client.bytes(4).unwrap(), b"ping");
    assert_eq!(origin.last().header("x-consumer-name"), Some("alice"));
    assert_eq!(origin.last().header("x-api-key"), None);
}

#[test]
fn an_origin_that_does_not_open_one_has_its_answer_relayed() {
    let origin = Origin::answering(|seen| {
        let status = seen.line.split(['/', ' ']).nth(2).unwrap();
        format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nno").into_bytes()
    });
    let gateway = start(Document::before(&origin).route(OPEN));
    let mut client = gateway.client("main");
    for status in [200, 400, 403, 426, 503] {
        let reply = client.get(&format!("/{status}"), &HEADERS);
        assert_eq!((reply.status, reply.text().as_str()), (status, "no"));
        assert_eq!(gateway.access(&format!("/{status}"))["code"], Value::Null);
    }
    // The connection is one for requests still.
    assert_eq!(client.get("/204", &[]).status, 204);
}

#[test]
fn a_request_that_does_not_really_ask_for_one_is_like_any_other() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    for (method, headers) in [
        ("GET", &HEADERS[..1]),
        ("GET", &HEADERS[1..]),
        ("POST", &HEADERS[..]),
        ("GET", &[("connection", "upgrade"), ("upgrade", "websockets")]),
        ("GET", &[("connection", "upgrade"), ("upgrade", "TLS/1.2")]),
    ] {
        let reply = client.request(method, "/", headers, None);
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"), "{headers:?}");
        assert_eq!(
            (origin.last().header("upgrade"), origin.last().header("connection")),
            (None, None)
        );
    }
    client.send("GET / HTTP/1.0\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    assert_eq!(client.read(false).unwrap().status, 200);
    assert_eq!(origin.last().header("upgrade"), None);
}

#[test]
fn an_upgrade_to_http_2_is_refused_beside_one_to_a_websocket_too() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin).route(OPEN));
    for upgrade in ["h2c", "websocket, h2c", "h2c, websocket", "websocket\r\nupgrade: h2c"] {
        let mut headers = HEADERS.to_vec();
        headers[1] = ("Upgrade", upgrade);
        let reply = gateway.client("main").get("/", &headers);
        assert_eq!((reply.status, reply.header("upgrade")), (400, None), "{upgrade}");
        let id = &reply.json()["request_id"];
        let line = gateway.wait(|line| line["kind"] == "access" && line["request_id"] == *id);
        assert_eq!(line["code"], "http.h2c", "{upgrade}");
    }
    assert_eq!(origin.connections(), 0);
}

#[test]
fn what_either_side_says_without_waiting_for_the_other_is_not_lost() {
    let origin = Origin::conversing(|wire| {
        wire.head();
        wire.send(format!("{SWITCH}welcome"));
        echo(wire);
    });
    let gateway = start(Document::before(&origin).route(OPEN));
    let mut client = gateway.client("main");
    let headers: String =
        HEADERS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{headers}\r\nhurry"));
    assert_eq!(client.head().unwrap().status, 101);
    assert_eq!(client.bytes(12).unwrap(), b"welcomehurry");
}

#[test]
fn where_the_origin_ends_the_client_is_told_and_the_exchange_is_over() {
    let (origin, ended) = opening(|wire| wire.send("bye"));
    let gateway = start(Document::before(&origin).route(OPEN));
    let mut client = open(&gateway, "/chat");
    ended.recv_timeout(PATIENCE).unwrap();
    assert_eq!(client.bytes(3).unwrap(), b"bye");
    assert!(client.ends());
    // The client keeps its side open: nobody waits for it.
    let line = gateway.access("/chat");
    let told = json!([line["status"], line["received"], line["sent"], line["end"]]);
    assert_eq!(told, json!([101, 0, 3, "complete"]), "{line}");
    drop(client);
}

#[test]
fn where_the_client_ends_the_origin_is_told_and_its_last_words_still_pass() {
    let (origin, ended) = opening(|wire| {
        wire.rest();
        wire.send("bye");
    });
    let gateway = start(Document::before(&origin).route(OPEN));
    let mut client = open(&gateway, "/chat");
    client.send("good");
    client.finish();
    assert_eq!(client.rest(), b"bye");
    ended.recv_timeout(PATIENCE).unwrap();
    let line = gateway.access("/chat");
    let told = json!([line["received"], line["sent"], line["end"]]);
    assert_eq!(told, json!([4, 3, "complete"]), "{line}");
}

#[test]
fn an_origin_that_stays_silent_when_the_client_has_ended_is_not_waited_for() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let (origin, _ended) = opening(move |wire| {
        wire.rest();
        let _ = released.lock().unwrap().recv_timeout(PATIENCE);
    });
    let gateway = start(Document::before(&origin).route(OPEN));
    drop(open(&gateway, "/chat"));
    assert_eq!(gateway.access("/chat")["status"], 101);
    release.send(()).unwrap();
}

#[test]
fn a_client_that_vanishes_takes_the_origins_side_along() {
    let (origin, ended) = opening(|wire| while wire.sends([b'x'; 4096]) {});
    let gateway = start(Document::before(&origin).route(OPEN));
    let mut client = open(&gateway, "/chat");
    client.bytes(100_000).unwrap();
    // With bytes unread: the connection is reset.
    drop(client);
    ended.recv_timeout(PATIENCE).unwrap();
    let line = gateway.access("/chat");
    assert_eq!(line["end"], "client_left", "{line}");
    assert!(line["sent"].as_u64().unwrap() >= 100_000);
}

#[test]
fn one_on_which_nothing_is_said_is_ended() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let origin = Origin::conversing(move |wire| {
        wire.head();
        wire.send(format!("{SWITCH}hello"));
        let _ = tell.lock().unwrap().send(wire.ends());
    });
    let idle = "timeouts: { idle: 300ms }";
    let gateway = start(Document::before(&origin).route(OPEN).upstream(idle));
    let mut client = open(&gateway, "/chat");
    assert_eq!(client.bytes(5).unwrap(), b"hello");
    assert!(client.ends());
    assert!(told.recv_timeout(PATIENCE).unwrap(), "the origin is told");
    let line = gateway.access("/chat");
    assert_eq!((&line["received"], &line["sent"]), (&0.into(), &5.into()));
}

#[test]
fn it_outlives_the_deadlines_that_are_for_requests() {
    let (origin, _ended) = opening(echo);
    let limits = "limits: { head: 200ms, idle: 200ms, body_idle: 200ms, write_idle: 200ms }";
    let gateway = start(Document::before(&origin).route(OPEN).listener(limits));
    let mut client = open(&gateway, "/chat");
    client.send("ping");
    assert_eq!(client.bytes(4).unwrap(), b"ping");
    // Others who connect later have been sent away for each of these deadlines.
    let mut silent = gateway.client("main");
    let mut slow = gateway.client("main");
    slow.send("GET / HTTP/1.1\r\n");
    assert_eq!(slow.read(false).unwrap().status, 408);
    assert!(silent.ends() && slow.ends());
    client.send("pong");
    assert_eq!(client.bytes(4).unwrap(), b"pong");
}

#[test]
fn an_open_websocket_counts_as_a_connection() {
    let (origin, _) = opening(echo);
    let document = Document::before(&origin).route(OPEN).listener("limits: { connections: 2 }");
    let gateway = start(document);
    let tunnels = [(); 2].map(|()| open(&gateway, "/"));
    assert!(gateway.client("main").ends());
    drop(tunnels);
}
