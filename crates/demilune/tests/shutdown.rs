//! The end: nothing new begins, what is under way may end, and nothing that happened is left
//! untold.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "what goes wrong in a test must stop it, in its functions too"
)]

use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::{Mutex, mpsc};

use demilune_testkit::{
    Authority, Client, Document, Gateway, GatewayBuilder, Origin, eventually, gateway, peer,
};

/// A gateway before `origin` that waits so long for what is under way.
fn draining(origin: &Origin, drain: &str) -> GatewayBuilder {
    let document = String::from(Document::before(origin));
    let builder = gateway(env!("CARGO_BIN_EXE_demilune"));
    builder.config(format!("{document}shutdown: {{ drain: {drain} }}\n"))
}

fn refuses(address: SocketAddr) {
    let refused = || TcpStream::connect(address).is_err().then_some(());
    eventually("connections are refused", refused);
}

/// What the access log says of exchanges with this path, once the gateway has ended.
fn accesses(gateway: &Gateway, path: &str) -> usize {
    gateway.lines(|line| line["kind"] == "access" && line["path"] == path).len()
}

fn ends_well(signal: &str) {
    let (origin, gate) = Origin::held();
    let mut gateway = draining(&origin, "1h").start();
    let (mut idle, mut busy) = (gateway.client("main"), gateway.client("main"));
    let mut fresh = gateway.client("main");
    assert_eq!(idle.get("/idle", &[]).status, 200);
    assert_eq!(fresh.get("/fresh", &[]).status, 200);
    busy.begin("GET", "/slow", &[]);
    origin.wait_seen(3);
    assert_eq!(gateway.operator("/readyz").status, 200);
    gateway.signal(signal);
    assert_eq!(gateway.log("gateway.draining")["fields"]["deadline"], "3600s");
    let ready = gateway.operator("/readyz");
    assert_eq!(ready.status, 503);
    let told = ready.json();
    assert_eq!((&told["ready"], &told["draining"]), (&false.into(), &true.into()));
    assert_eq!(gateway.operator("/livez").status, 200);
    refuses(gateway.address("main"));
    assert!(idle.ends() && fresh.ends(), "an idle connection goes on");
    drop((idle, fresh));
    let open = || gateway.metric("demilune_connections{listener=\"main\"}");
    eventually("one connection is open", || open().filter(|open| *open == 1.0));
    drop(gate);
    let reply = busy.read(false).unwrap();
    assert_eq!((reply.status, &*reply.text()), (200, "hello"));
    assert_eq!(reply.header("connection"), Some("close"));
    assert!(busy.ends());
    assert_eq!(gateway.ended(), Some(0), "{}", gateway.printed());
    let last = gateway.lines(|_| true).pop().unwrap();
    assert_eq!(last["code"], "gateway.ended", "{}", gateway.printed());
    let all = ["/idle", "/fresh", "/slow"].map(|path| accesses(&gateway, path));
    assert_eq!(all, [1, 1, 1], "{}", gateway.printed());
}

#[test]
fn a_termination_lets_what_is_under_way_end_and_nothing_new_begin() {
    ends_well("TERM");
}

#[test]
fn an_interruption_does_the_same() {
    ends_well("INT");
}

#[test]
fn an_answer_that_is_half_sent_is_sent_whole() {
    let (gate, opened) = mpsc::channel::<()>();
    let opened = Mutex::new(opened);
    let origin = Origin::conversing(move |talk| {
        while talk.request().is_some() {
            talk.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            talk.send_chunk("one");
            // An error: the gate was opened for good.
            let _ = opened.lock().unwrap().recv();
            talk.send_chunk("two");
            talk.send_chunk("");
        }
    });
    let mut gateway = draining(&origin, "1h").start();
    let mut client = gateway.client("main");
    client.begin("GET", "/", &[]);
    let head = client.head().unwrap();
    assert_eq!((head.status, head.header("transfer-encoding")), (200, Some("chunked")));
    assert_eq!(client.chunk().unwrap(), b"one");
    gateway.signal("TERM");
    refuses(gateway.address("main"));
    drop(gate);
    assert_eq!(client.chunk().unwrap(), b"two");
    assert_eq!(client.chunk().unwrap(), b"");
    assert!(client.ends());
    assert_eq!(gateway.ended(), Some(0), "{}", gateway.printed());
    let line = gateway.access("/");
    assert_eq!((&line["end"], &line["sent"]), (&"complete".into(), &6.into()));
}

#[test]
fn a_body_that_is_half_received_is_received_whole() {
    let origin = Origin::start();
    let mut gateway = draining(&origin, "1h").start();
    let mut client = gateway.client("main");
    client.begin("POST", "/", &[("content-length", "6"), ("expect", "100-continue")]);
    // The gateway asks for the body: the exchange is under way.
    assert_eq!(client.head().unwrap().status, 100);
    client.send("one");
    gateway.signal("TERM");
    refuses(gateway.address("main"));
    client.send("two");
    let reply = client.read(false).unwrap();
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    assert_eq!(origin.last().body, b"onetwo");
    assert_eq!(gateway.ended(), Some(0), "{}", gateway.printed());
}

#[test]
fn streams_of_http_2_that_are_under_way_end_too() {
    let (origin, gate) = Origin::held();
    let authority = Authority::new();
    let builder = gateway(env!("CARGO_BIN_EXE_demilune"));
    authority.issue(builder.folder(), "api", &["127.0.0.1"]);
    let tls = "tls: { certificates: [ { chain: api.pem, key: api.key } ] }";
    let mut gateway = builder.config(Document::before(&origin).listener(tls)).start();
    let cafile = authority.write(gateway.folder());
    let child = peer("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*", "--http2"])
        .args(["--write-out", " %{http_version} %{http_code}", "--cacert"])
        .arg(cafile)
        .arg(format!("https://{}/slow", gateway.address("main")))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    origin.wait_seen(1);
    gateway.signal("TERM");
    refuses(gateway.address("main"));
    drop(gate);
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello 2 200", "{output:?}");
    assert_eq!(gateway.ended(), Some(0), "{}", gateway.printed());
    assert_eq!(accesses(&gateway, "/slow"), 1);
}

#[test]
fn what_never_ends_is_cut_off_at_the_deadline_and_told_of() {
    let (origin, _gate) = Origin::held();
    let mut gateway = draining(&origin, "100ms").start();
    let mut client = gateway.client("main");
    client.begin("GET", "/slow", &[]);
    origin.wait_seen(1);
    gateway.signal("TERM");
    assert!(client.read(false).is_none(), "an answer came");
    assert_eq!(gateway.ended(), Some(0), "{}", gateway.printed());
    gateway.log("gateway.ended");
    assert_eq!(accesses(&gateway, "/slow"), 1, "{}", gateway.printed());
    assert_eq!(gateway.access("/slow")["status"], 0);
}

#[test]
fn a_second_signal_waits_for_nobody() {
    for second in ["TERM", "INT"] {
        let (origin, _gate) = Origin::held();
        let mut gateway = draining(&origin, "1h").start();
        let mut client = gateway.client("main");
        assert_eq!(client.get("/before", &[]).status, 200);
        client.begin("GET", "/slow", &[]);
        origin.wait_seen(2);
        gateway.signal("TERM");
        gateway.log("gateway.draining");
        gateway.signal(second);
        assert_eq!(gateway.ended(), Some(0), "{}", gateway.printed());
        assert!(client.read(false).is_none(), "an answer came");
        gateway.log("gateway.ended");
        assert_eq!(accesses(&gateway, "/before"), 1, "{}", gateway.printed());
    }
}

#[test]
fn a_gateway_with_nothing_to_do_ends_at_once_and_in_order() {
    let origin = Origin::start();
    let mut gateway = draining(&origin, "1h").start();
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
    let codes = gateway.lines(|line| line["kind"] == "log");
    let codes: Vec<&str> = codes.iter().map(|line| line["code"].as_str().unwrap()).collect();
    assert!(codes.ends_with(&["gateway.ready", "gateway.draining", "gateway.ended"]), "{codes:?}");
}

#[test]
fn a_connection_on_which_nothing_was_asked_does_not_hold_up_the_end() {
    let origin = Origin::start();
    let authority = Authority::new();
    let builder = draining(&origin, "1h");
    authority.issue(builder.folder(), "api", &["api.example"]);
    let tls = "tls: { certificates: [ { chain: api.pem, key: api.key } ] }";
    let document = String::from(Document::before(&origin)).replace(
        "listeners:\n",
        &format!("listeners:\n  secure: {{ address: 127.0.0.1:0, {tls} }}\n"),
    );
    let mut gateway = builder.config(format!("{document}shutdown: {{ drain: 1h }}\n")).start();
    let mut plain = gateway.client("main");
    let (mut secure, _) = Client::connect_tls(gateway.address("secure"), "api.example", &authority);
    for listener in ["main", "secure"] {
        let open = format!("demilune_connections{{listener=\"{listener}\"}}");
        eventually("it is accepted", || gateway.metric(&open).filter(|open| *open == 1.0));
    }
    gateway.signal("TERM");
    assert!(plain.ends() && secure.ends(), "a silent connection goes on");
    drop((plain, secure));
    assert_eq!(gateway.ended(), Some(0), "{}", gateway.printed());
}

#[test]
fn every_line_that_was_owed_is_written_before_the_end() {
    let origin = Origin::start();
    let mut gateway = draining(&origin, "1h").start();
    let mut clients = [0; 4].map(|_| gateway.client("main"));
    for _ in 0..100 {
        for client in &mut clients {
            assert_eq!(client.get("/counted", &[]).status, 200);
        }
    }
    // The answers are there, and the lines are buffered still.
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
    assert_eq!(accesses(&gateway, "/counted"), 400);
}

#[test]
fn a_changed_document_is_not_loaded_any_more_once_the_end_has_begun() {
    let (origin, gate) = Origin::held();
    let mut gateway = draining(&origin, "1h").start();
    let mut client = gateway.client("main");
    client.begin("GET", "/slow", &[]);
    origin.wait_seen(1);
    gateway.signal("TERM");
    gateway.log("gateway.draining");
    gateway.rewrite("version: [");
    gateway.signal("HUP");
    drop(gate);
    assert_eq!(client.read(false).unwrap().status, 200);
    assert_eq!(gateway.ended(), Some(0), "{}", gateway.printed());
    let reloads =
        gateway.lines(|line| line["code"].as_str().is_some_and(|code| code.starts_with("config.")));
    assert!(reloads.is_empty(), "{reloads:?}");
}
