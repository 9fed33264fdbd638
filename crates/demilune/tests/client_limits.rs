//! What clients are allowed: to be slow, but not without end, and to be many, but not too many.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what goes wrong in a test must stop it, in its functions too"
)]

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use demilune_testkit::{Client, Document, Gateway, Origin, eventually, gateway};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);
const REFUSED: &str =
    "demilune_connections_refused_total{listener=\"main\",reason=\"connections\"}";

fn start(document: Document) -> Gateway {
    gateway(env!("CARGO_BIN_EXE_demilune")).config(document).start()
}

/// The access lines and the types of the events among `lines`.
fn told(lines: &[Value]) -> (Vec<&Value>, Vec<&Value>) {
    let of_kind = |kind: &'static str| lines.iter().filter(move |line| line["kind"] == kind);
    (of_kind("access").collect(), of_kind("event").map(|event| &event["type"]).collect())
}

/// Whether the client is told that its head did not come in time, and is sent away; gives the id
/// that it is told.
fn timed_out(client: &mut Client) -> Value {
    let reply = client.read(false).unwrap();
    assert_eq!((reply.status, reply.whole), (408, true));
    assert_eq!(reply.header("connection"), Some("close"));
    assert_eq!(reply.header("content-type"), Some("application/problem+json"));
    assert_eq!(reply.json()["detail"], "the request's head did not come in time");
    assert!(client.ends());
    reply.json()["request_id"].clone()
}

#[test]
fn a_head_that_does_not_end_is_not_waited_for_without_end() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin).listener("limits: { head: 300ms }"));
    for begun in ["G", "GET / HTTP/1.1", "GET / HTTP/1.1\r\nhost: a\r\n", "\r\n"] {
        let mut client = gateway.client("main");
        client.send(begun);
        let id = timed_out(&mut client);
        let line = gateway.wait(|line| line["kind"] == "access" && line["request_id"] == id);
        let said = json!([line["code"], line["status"], line["end"], line["port"]]);
        assert_eq!(said, json!(["http.head_timeout", 408, "complete", client.port()]));
    }
    let lines = gateway.stop();
    let (access, events) = told(&lines);
    assert_eq!((access.len(), events), (4, vec![&"http.head_timeout".into(); 4]));
    assert!(origin.seen().is_empty());
}

#[test]
fn a_head_that_keeps_coming_in_drops_is_not_waited_for_either() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin).listener("limits: { head: 300ms }"));
    let mut client = gateway.client("main");
    client.send("GET / HTTP/1.1\r\nx: ");
    eventually("the connection ends", || (!client.sends("x")).then_some(()));
    let line = gateway.wait(|line| line["kind"] == "access");
    assert_eq!((&line["code"], &line["status"]), (&"http.head_timeout".into(), &408.into()));
}

#[test]
fn the_time_for_a_head_counts_for_each_request_of_a_connection() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin).listener("limits: { head: 300ms }"));
    let mut client = gateway.client("main");
    assert_eq!(client.get("/whole", &[]).status, 200);
    client.send("GET /half HTTP/1.1\r\n");
    timed_out(&mut client);
    gateway.wait(|line| line["kind"] == "access" && line["code"] == "http.head_timeout");
}

#[test]
fn a_client_that_leaves_within_a_head_is_recorded() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    for begun in ["G", "GET / HTTP/1.1\r\nhost: a\r\n", "\r\n"] {
        let mut client = gateway.client("main");
        client.send(begun);
        client.finish();
        // It may read on: it is told nothing all the same.
        assert!(client.ends());
        let of_client = |line: &Value| line["kind"] == "access" && line["port"] == client.port();
        let line = gateway.wait(of_client);
        let said = json!([line["code"], line["status"], line["end"]]);
        assert_eq!(said, json!(["http.head_incomplete", 0, "client_left"]));
    }
    let lines = gateway.stop();
    let (access, events) = told(&lines);
    assert_eq!((access.len(), events), (3, vec![&"http.head_incomplete".into(); 3]));
}

#[test]
fn a_connection_that_idles_between_requests_holds_on_both_sides() {
    let origin = Origin::start();
    let document: String = Document::before(&origin).into();
    let hasty = "  hasty: { address: 127.0.0.1:0, limits: { idle: 300ms } }\n";
    let document = document.replace("listeners:\n", &format!("listeners:\n{hasty}"));
    let gateway = gateway(env!("CARGO_BIN_EXE_demilune")).config(document).start();
    let mut client = gateway.client("main");
    for round in 0..3 {
        assert_eq!(client.request("POST", "/", &[], Some(b"body")).status, 200);
        assert_eq!((origin.connections(), origin.seen().len()), (1, round + 1));
        // Others who come later, and may not idle for so long, have been sent away.
        assert!(gateway.client("hasty").ends());
    }
}

#[test]
fn a_request_that_comes_byte_by_byte_is_served() {
    let origin = Origin::echo();
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    let request = "POST /slow HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n\
                   5;x=y\r\nhello\r\n0\r\n\r\n";
    for byte in request.as_bytes().chunks(1) {
        client.send(byte);
    }
    let reply = client.read(false).unwrap();
    assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
}

#[test]
fn a_connection_on_which_nothing_is_asked_is_ended_and_is_no_request() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin).listener("limits: { idle: 300ms }"));
    let (mut silent, mut asked) = (gateway.client("main"), gateway.client("main"));
    assert_eq!(asked.get("/", &[]).status, 200);
    assert!(silent.ends() && asked.ends());
    eventually("they are not counted", || {
        gateway.metric("demilune_connections{listener=\"main\"}").filter(|open| *open == 0.0)
    });
    let lines = gateway.stop();
    let (access, events) = told(&lines);
    assert_eq!((access.len(), events.len()), (1, 0), "{lines:#?}");
}

#[test]
fn a_connection_on_which_an_answer_is_awaited_is_not_idle() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let origin = Origin::answering(move |_| {
        let _ = released.lock().unwrap().recv_timeout(PATIENCE);
        b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()
    });
    let limits = "limits: { idle: 200ms, head: 200ms, body_idle: 200ms }";
    let gateway = start(Document::before(&origin).listener(limits));
    let mut client = gateway.client("main");
    client.begin("GET", "/", &[]);
    origin.wait_seen(1);
    // Another one, which connects later and asks nothing, has been sent away.
    assert!(gateway.client("main").ends());
    release.send(()).unwrap();
    assert_eq!(client.read(false).unwrap().status, 204);
}

#[test]
fn a_body_that_stalls_is_refused_with_408_and_the_origin_never_gets_its_end() {
    let (tell, cut) = channel();
    let tell = Mutex::new(tell);
    let origin = Origin::conversing(move |talk| {
        talk.head();
        talk.rest();
        let _ = tell.lock().unwrap().send(());
    });
    let gateway = start(Document::before(&origin).listener("limits: { body_idle: 300ms }"));
    for (path, framing, sent) in [
        ("/declared", "content-length: 10", "half."),
        ("/chunked", "transfer-encoding: chunked", "5\r\nhalf."),
        ("/nothing", "content-length: 10", ""),
    ] {
        let mut client = gateway.client("main");
        client.send(format!("POST {path} HTTP/1.1\r\nhost: a\r\n{framing}\r\n\r\n{sent}"));
        let reply = client.read(false).unwrap();
        assert_eq!((reply.status, reply.json()["status"].as_u64()), (408, Some(408)));
        assert!(client.ends());
        cut.recv_timeout(PATIENCE).unwrap();
        let line = gateway.access(path);
        let received = if sent.is_empty() { 0 } else { 5 };
        let said = json!([line["code"], line["status"], line["received"], line["end"]]);
        assert_eq!(said, json!(["http.body_timeout", 408, received, "complete"]), "{path}");
    }
    assert!(origin.seen().iter().all(|seen| seen.body.is_empty()));
}

#[test]
fn a_client_that_leaves_within_its_body_is_recorded_and_the_origin_never_gets_its_end() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let origin = Origin::conversing(move |talk| {
        talk.head();
        let pieces = (talk.chunk(), talk.chunk());
        let _ = tell.lock().unwrap().send(pieces);
    });
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    client.begin("POST", "/left", &[("transfer-encoding", "chunked")]);
    client.send_chunk("first");
    origin.wait_seen(1);
    drop(client);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), (Some(b"first".to_vec()), None));
    // It may have ended its own side alone, and is told.
    let line = gateway.access("/left");
    let said = json!([line["code"], line["status"], line["received"]]);
    assert_eq!(said, json!(["http.body", 400, 5]), "{line}");
}

/// An origin whose answer has no end.
fn endless() -> Origin {
    Origin::conversing(|talk| {
        talk.request();
        talk.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while talk.sends(format!("10000\r\n{}\r\n", "x".repeat(0x10000))) {}
    })
}

#[test]
fn a_client_that_leaves_within_the_answer_is_recorded_and_the_origin_is_told() {
    let origin = endless();
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    client.begin("GET", "/left", &[]);
    assert_eq!(client.head().unwrap().status, 200);
    for _ in 0..10 {
        assert!(!client.chunk().unwrap().is_empty());
    }
    drop(client);
    origin.wait_ended(1);
    let line = gateway.access("/left");
    let said = json!([line["status"], line["end"], line["code"]]);
    assert_eq!(said, json!([200, "client_left", null]), "{line}");
    assert!(line["sent"].as_u64().unwrap() > 1000);
}

#[test]
fn a_client_that_takes_nothing_of_its_answer_is_not_waited_for_without_end() {
    let origin = endless();
    let gateway = start(Document::before(&origin).listener("limits: { write_idle: 300ms }"));
    let mut client = gateway.client("main");
    client.begin("GET", "/stuck", &[]);
    origin.wait_ended(1);
    assert_eq!(gateway.access("/stuck")["end"], "client_left");
    drop(client);
}

#[test]
fn over_the_limit_connections_are_ended_at_once_and_counted() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin).listener("limits: { connections: 2 }"));
    let mut open = [(); 2].map(|()| gateway.client("main"));
    for client in &mut open {
        assert_eq!(client.get("/", &[]).status, 200);
    }
    assert_eq!(gateway.metric(REFUSED), None);
    for refused in [1.0, 2.0] {
        assert!(gateway.client("main").ends());
        eventually("it is counted", || gateway.metric(REFUSED).filter(|n| *n == refused));
    }
    // Those who are in stay in, and where one leaves another one gets in.
    let [first, mut second] = open;
    assert_eq!(second.get("/", &[]).status, 200);
    drop(first);
    eventually("it is gone", || {
        gateway.metric("demilune_connections{listener=\"main\"}").filter(|open| *open == 1.0)
    });
    assert_eq!(gateway.client("main").get("/", &[]).status, 200);
}

#[test]
fn two_hundred_connections_are_served_at_the_same_time() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    let mut clients: Vec<_> = (0..200).map(|_| gateway.client("main")).collect();
    for round in 0..3 {
        for (number, client) in clients.iter_mut().enumerate() {
            client.begin("GET", &format!("/{round}/{number}"), &[]);
        }
        for client in &mut clients {
            let reply = client.read(false).unwrap();
            assert_eq!((reply.status, reply.text().as_str()), (200, "hello"));
        }
    }
    assert_eq!(gateway.metric("demilune_connections{listener=\"main\"}"), Some(200.0));
    assert_eq!(origin.seen().len(), 600);
    drop(clients);
    let lines = gateway.stop();
    let (access, events) = told(&lines);
    assert_eq!((access.len(), events.len()), (600, 0));
}
