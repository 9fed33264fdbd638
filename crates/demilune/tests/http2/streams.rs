//! Connections and streams: prior knowledge, real clients, windows, deadlines, the end.

use std::sync::mpsc::channel;
use std::sync::{Barrier, Mutex};
use std::time::Duration;

use demilune_testkit::{Document, Http2, Origin, Outcome, eventually, peer};

use crate::{PROTOCOL_ERROR, before, client, start, told};

const PATIENCE: Duration = Duration::from_secs(20);

fn hello() -> Outcome {
    Outcome::Answered(200, b"hello".to_vec())
}

/// What `curl` prints for `/`: body, version and status.
fn curl(gateway: &demilune_testkit::Gateway, args: &[&str]) -> String {
    let output = peer("curl")
        .args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*"])
        .args(["--write-out", " %{http_version} %{http_code}"])
        .args(args)
        .arg(format!("http://{}/curl", gateway.address("main")))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_plain_listener_speaks_what_its_client_begins_with() {
    let origin = Origin::start();
    let gateway = before(&origin);
    assert_eq!(client(&gateway).get("/two"), hello());
    assert_eq!(gateway.client("main").get("/one", &[]).text(), "hello");
    assert_eq!(gateway.access("/two")["version"], "HTTP/2");
    assert_eq!(gateway.access("/one")["version"], "HTTP/1.1");
    assert_eq!(curl(&gateway, &["--http2-prior-knowledge"]), "hello 2 200");
    assert_eq!(curl(&gateway, &["--http1.1"]), "hello 1.1 200");
    // An upgrade is not offered, and refused: what follows it would be read in two ways.
    assert!(curl(&gateway, &["--http2"]).ends_with(" 1.1 400"));
    // In drops, too.
    let mut slow = Http2::silent(gateway.address("main"));
    for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".chunks(1) {
        slow.send(byte);
    }
    assert_eq!(slow.get("/slowly"), hello());
}

#[test]
fn without_prior_knowledge_in_the_document_a_plain_listener_speaks_http_1_only() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    let mut client = client(&gateway);
    assert!(!client.rest().starts_with(b"\0"), "a frame was answered");
    assert!(origin.seen().is_empty());
}

#[test]
fn a_client_that_begins_with_something_else_over_http_2_is_sent_away() {
    let origin = Origin::start();
    let gateway = before(&origin);
    // The preface, and then no SETTINGS.
    let mut client = Http2::silent(gateway.address("main"));
    client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(matches!(client.goodbye(), Outcome::GoneAway(_)));
    gateway.wait(|line| line["kind"] == "event" && line["type"] == "http2.protocol");
}

#[test]
fn a_client_that_says_no_settings_is_not_waited_for_without_end() {
    let origin = Origin::start();
    let limits = "http2: prior_knowledge, limits: { head: 300ms, idle: 400ms }";
    let gateway = start(Document::before(&origin).listener(limits));
    let mut begun = Http2::silent(gateway.address("main"));
    begun.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    begun.rest();
    told(&gateway, "http.head_incomplete");
    let mut silent = Http2::silent(gateway.address("main"));
    assert!(silent.ends());
    let mut idle = client(&gateway);
    assert_eq!(idle.get("/"), hello());
    let goodbye = Http2::frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]);
    assert!(idle.rest().ends_with(&goodbye));
    let open = "demilune_connections{listener=\"main\"}";
    eventually("they are gone", || gateway.metric(open).filter(|open| *open == 0.0));
}

#[test]
fn real_clients_share_a_connection_for_many_streams() {
    const STREAMS: usize = 64;
    let barrier = Barrier::new(STREAMS);
    let origin = Origin::answering(move |_| {
        barrier.wait();
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_vec()
    });
    let gateway = before(&origin);
    let count = STREAMS.to_string();
    let output = peer("h2load")
        .args(["-n", &count, "-c", "1", "-m", &count, "-N", "20"])
        .arg(format!("http://{}/", gateway.address("main")))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains(&format!("status codes: {STREAMS} 2xx")), "{told}");
}

#[test]
fn more_requests_than_may_begin_at_once_are_all_answered() {
    let origin = Origin::start();
    let gateway = before(&origin);
    let output = peer("h2load")
        .args(["-n", "3000", "-c", "2", "-m", "128", "-N", "60"])
        .arg(format!("http://{}/", gateway.address("main")))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("status codes: 3000 2xx"), "{told}");
}

/// An origin whose answer is this long.
fn long(length: usize) -> Origin {
    Origin::answering(move |_| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        [head.as_bytes(), &vec![b'x'; length]].concat()
    })
}

#[test]
fn an_answer_waits_for_the_clients_window_and_goes_on_when_it_opens() {
    let origin = long(300);
    let gateway = before(&origin);
    // SETTINGS_INITIAL_WINDOW_SIZE: 100 bytes.
    let mut client = Http2::connect(gateway.address("main"), &[(4, 100)]);
    let stream = client.begin("/");
    let mut body = 0;
    while body < 300 {
        let frame = client.read().unwrap();
        if frame.kind == 0 {
            body += frame.payload.len();
            assert!(frame.payload.len() <= 100);
            let update = Http2::frame(8, 0, stream, &100_u32.to_be_bytes());
            client.send(update);
        }
    }
    assert_eq!(body, 300);
}

#[test]
fn a_stream_whose_window_stays_shut_is_reset_and_its_origin_told() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let origin = Origin::conversing(move |talk| {
        talk.request();
        talk.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        while talk.sends(format!("10000\r\n{}\r\n", "x".repeat(0x10000))) {}
        let _ = tell.lock().unwrap().send(());
    });
    let limits = "http2: prior_knowledge, limits: { write_idle: 300ms }";
    let gateway = start(Document::before(&origin).listener(limits));
    let mut client = client(&gateway);
    let Outcome::Reset(8, 200, body) = client.get("/stuck") else { unreachable!() };
    // What the client's window let through, and not a byte more.
    assert_eq!(body.len(), 65_535);
    told.recv_timeout(PATIENCE).unwrap();
    let line = gateway.access("/stuck");
    assert_eq!(line["end"], "client_left");
    assert!(line["sent"].as_u64().unwrap() < 1 << 20, "{line}");
}

#[test]
fn a_client_that_opens_its_window_in_drips_is_given_up_though_each_drip_is_in_time() {
    let origin = long(1 << 20);
    let gateway = before(&origin);
    let mut client = Http2::connect(gateway.address("main"), &[(4, 100)]);
    let stream = client.begin("/drips");
    let code = loop {
        let frame = client.read().unwrap();
        match frame.kind {
            0 => {
                std::thread::sleep(Duration::from_millis(200));
                client.send(Http2::frame(8, 0, stream, &1_u32.to_be_bytes()));
            }
            3 => break frame.payload,
            _ => {}
        }
    };
    assert_eq!(code, [0, 0, 0, 8]);
    let line = gateway.access("/drips");
    assert_eq!(line["end"], "client_left");
    assert!(line["sent"].as_u64().unwrap() < 1 << 20, "{line}");
}

#[test]
fn an_upload_is_taken_as_fast_as_the_origin_takes_it() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let origin = Origin::conversing(move |talk| {
        talk.head();
        let _ = released.lock().unwrap().recv_timeout(PATIENCE);
        let mut length = 0;
        while let Some(chunk) = talk.chunk() {
            length += chunk.len();
            if chunk.is_empty() {
                let body = length.to_string();
                talk.send(format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                ));
                return;
            }
        }
    });
    let gateway = before(&origin);
    let mut client = client(&gateway);
    // The gateway's windows are known, and it knows that they are.
    client.settle();
    let stream = client.open(&Http2::request("POST", "/up", &[]), false);
    origin.wait_seen(1);
    // As much as the gateway's windows let through: 128 KiB of the stream's, and again when that
    // was passed on; the origin takes none, so that it ends where sockets are full.
    let (mut window, mut sent) = (128 << 10, 0);
    let piece = vec![b'x'; 16 << 10];
    while sent < 64 << 20 && window >= piece.len() {
        client.data(stream, &piece, false);
        (window, sent) = (window - piece.len(), sent + piece.len());
        if window < piece.len() {
            client.settle();
            window += client.granted(stream);
        }
    }
    assert!(sent < 64 << 20, "an upload that nobody takes is kept");
    release.send(()).unwrap();
    client.data(stream, &[], true);
    assert_eq!(client.outcome(stream), Outcome::Answered(200, sent.to_string().into_bytes()));
}

#[test]
fn an_origin_that_breaks_off_resets_its_stream_and_no_other() {
    let origin = Origin::answering(|seen| {
        if seen.line.contains("/cut") {
            return b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\nhalf"
                .to_vec();
        }
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_vec()
    });
    let gateway = before(&origin);
    let mut client = client(&gateway);
    assert_eq!(client.get("/cut"), Outcome::Reset(2, 200, b"half".to_vec()));
    assert_eq!(client.get("/whole"), hello());
    assert_eq!(gateway.access("/cut")["end"], "upstream_cut");
}

#[test]
fn a_drain_says_goodbye_and_finishes_what_is_under_way() {
    let (origin, gate) = Origin::held();
    let mut gateway = before(&origin);
    let mut client = client(&gateway);
    let slow = client.begin("/slow");
    origin.wait_seen(1);
    gateway.signal("TERM");
    // The first GOAWAY lets requests come that were on their way.
    let first = loop {
        let frame = client.read().unwrap();
        if frame.kind == 7 {
            break frame;
        }
    };
    assert_eq!(first.payload, [0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
    drop(gate);
    assert_eq!(client.outcome(slow), hello());
    // A client that says nothing more is not waited for.
    assert_eq!(gateway.ended(), Some(0));
}

#[test]
fn a_body_that_is_awaited_is_asked_for() {
    let origin = Origin::echo();
    let gateway = before(&origin);
    let mut client = client(&gateway);
    let expects = [("expect", "100-continue"), ("content-length", "4")];
    let stream = client.open(&Http2::request("POST", "/", &expects), false);
    loop {
        let frame = client.read().unwrap();
        if frame.kind == 1 && frame.stream == stream {
            // 100, and no end of the stream.
            assert_eq!(frame.flags & 1, 0);
            break;
        }
    }
    client.data(stream, b"body", true);
    assert_eq!(client.outcome(stream), Outcome::Answered(200, b"body".to_vec()));
    assert_eq!(origin.last().header("expect"), None);
}

#[test]
fn a_wrong_length_of_a_frame_ends_the_connection() {
    let origin = Origin::start();
    let gateway = before(&origin);
    let mut client = client(&gateway);
    client.send(Http2::frame(6, 0, 0, b"short"));
    assert_eq!(client.goodbye(), Outcome::GoneAway(PROTOCOL_ERROR));
    told(&gateway, "http2.protocol");
}
