//! Connections that requests share: how many, for how long, and what ends them.

use demilune_testkit::{
    Document, Http2, Http2Origin, Http2Seen, Origin, Outcome, Step, eventually, hello, peer,
};
use serde_json::json;

use crate::start;

/// Holds requests for `/slow` until it is released.
fn held(seen: &Http2Seen) -> Vec<Step> {
    let slow = seen.path().starts_with("/slow").then_some(Step::Hold);
    slow.into_iter().chain(hello()).collect()
}

/// Where the origin is, in other words.
fn renamed(origin: &Http2Origin) -> String {
    origin.url().replace("127.0.0.1", "localhost")
}

fn answered() -> Outcome {
    Outcome::Answered(200, b"hello".to_vec())
}

fn h2load(gateway: &demilune_testkit::Gateway, args: &[&str]) -> String {
    let url = format!("http://{}/", gateway.address("main"));
    let output = peer("h2load").args(args).arg(url).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn many_requests_share_one_connection() {
    let origin = Http2Origin::start();
    let gateway = start(Document::before_http2(&origin));
    // A client's connection belongs to one worker.
    let told = h2load(&gateway, &["-n", "2000", "-c", "1", "-m", "64", "-N", "60"]);
    assert!(told.contains("status codes: 2000 2xx"), "{told}");
    assert_eq!((origin.connections(), origin.seen().len()), (1, 2000));
}

#[test]
fn a_request_is_rewritten_for_http_2() {
    let origin = Http2Origin::start();
    let gateway = start(Document::before_http2(&origin));
    let mut client = gateway.client("main");
    let fields = [("te", "trailers"), ("x-a", "1"), ("cookie", "a=1"), ("x-a", "2")];
    assert_eq!(client.get("/a/b?c=d", &fields).text(), "hello");
    let seen = origin.seen().remove(0);
    assert_eq!((seen.method.as_str(), seen.path()), ("GET", "/a/b?c=d"));
    assert_eq!(seen.uri, format!("{}/a/b?c=d", origin.url()));
    let of = |name: &str| seen.headers.iter().filter(|(n, _)| n == name).count();
    assert_eq!((of("x-a"), of("cookie")), (2, 1));
    // Nothing of the connection, and no trailers for those who have no place for them.
    for name in ["host", "connection", "te", "content-length", "transfer-encoding"] {
        assert_eq!(of(name), 0, "{name}");
    }
    assert_eq!(gateway.access("/a/b")["version"], "HTTP/1.1");
}

#[test]
fn bodies_go_both_ways_larger_than_any_window() {
    let origin = Http2Origin::answering(|seen| {
        vec![Step::Head(200, &[]), Step::Data(seen.body.clone()), Step::End]
    });
    let gateway = start(Document::before_http2(&origin));
    let body = (0..3_000_000_u32).map(|n| n.to_be_bytes()[3]).collect::<Vec<_>>();
    let called = demilune_testkit::call(gateway.address("main"), "/", &[], &body, &[]);
    assert_eq!(called.status, 200);
    assert!(called.body.as_ref() == Some(&body), "the body came back as it was sent");
    assert!(origin.seen()[0].body == body, "the body came as it was sent");
}

#[test]
fn where_an_endpoint_takes_one_stream_each_request_gets_its_own_connection() {
    let origin = Http2Origin::limited(1, held);
    let gateway = start(Document::before_http2(&origin));
    let mut client = Http2::connect(gateway.address("main"), &[]);
    let streams: Vec<u32> = (0..5).map(|n| client.begin(&format!("/slow/{n}"))).collect();
    origin.wait_seen(5);
    assert_eq!(origin.connections(), 5);
    origin.release();
    for stream in streams {
        assert_eq!(client.outcome(stream), answered());
    }
    // They are kept, and used again.
    for _ in 0..5 {
        assert_eq!(client.get("/again"), answered());
    }
    assert_eq!(origin.connections(), 5);
}

#[test]
fn after_goaway_streams_finish_and_others_begin_elsewhere() {
    let origin = Http2Origin::answering(|seen| match seen.path() {
        "/leave" => [Step::GoAway].into_iter().chain(hello()).collect(),
        _ => held(seen),
    });
    let gateway = start(Document::before_http2(&origin));
    let mut client = Http2::connect(gateway.address("main"), &[]);
    let slow = client.begin("/slow");
    origin.wait_seen(1);
    assert_eq!(client.get("/leave"), answered());
    eventually("another connection is opened", || {
        assert_eq!(client.get("/other"), answered());
        (origin.connections() == 2).then_some(())
    });
    origin.release();
    assert_eq!(client.outcome(slow), answered());
    let lines = gateway.lines(|line| line["kind"] == "access" && line["status"] != 200);
    assert!(lines.is_empty(), "{lines:?}");
}

#[test]
fn what_an_endpoint_refuses_unprocessed_is_sent_again_once() {
    const REFUSED_STREAM: u32 = 7;
    let refusals = std::sync::atomic::AtomicUsize::new(0);
    let origin = Http2Origin::answering(move |seen| {
        let refused = refusals.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 1;
        match seen.path() {
            "/always" => vec![Step::Reset(REFUSED_STREAM)],
            "/once" if refused => vec![Step::Reset(REFUSED_STREAM)],
            _ => hello(),
        }
    });
    let gateway = start(Document::before_http2(&origin));
    let mut client = Http2::connect(gateway.address("main"), &[]);
    assert_eq!(client.get("/"), answered());
    assert_eq!(client.get("/once"), answered());
    assert_eq!((origin.seen().len(), origin.connections()), (3, 2));
    let Outcome::Answered(502, _) = client.get("/always") else { unreachable!() };
    assert_eq!(gateway.access("/always")["code"], "upstream.broken");
    // What is reset for another reason may have had its effect.
    assert_eq!(origin.seen().iter().filter(|seen| seen.path() == "/always").count(), 2);
}

#[test]
fn what_came_behind_goaway_is_sent_on_another_connection() {
    let first = std::sync::atomic::AtomicBool::new(true);
    let origin = Origin::conversing(move |talk| {
        let first = first.swap(false, std::sync::atomic::Ordering::SeqCst);
        let _ = talk.bytes(24);
        talk.send(Http2::frame(4, 0, 0, &[]));
        while let Some(head) = talk.bytes(9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let _ = talk.bytes(usize::try_from(length).unwrap());
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let answer = Http2::fields(&[(":status", "204")]);
            match head[3] {
                // Stream 1 was the last one.
                1 if first && stream > 1 => {
                    talk.send(Http2::frame(7, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0]));
                }
                1 => talk.send(Http2::frame(1, 5, stream, &answer)),
                4 if head[4] == 0 => talk.send(Http2::frame(4, 1, 0, &[])),
                _ => {}
            }
        }
    });
    let gateway = start(Document::before(&origin).upstream("http2: prior_knowledge"));
    // One connection, and so one worker.
    let mut client = gateway.client("main");
    for (number, connections) in [(1, 1), (2, 2), (3, 2)] {
        // It is not safe to repeat, but was not processed.
        let reply = client.request("POST", &format!("/{number}"), &[], Some(b""));
        assert_eq!((reply.status, origin.connections()), (204, connections), "{number}");
    }
}

#[test]
fn an_upload_that_its_client_gives_up_never_comes_to_an_end() {
    let origin = Http2Origin::start();
    let gateway = start(Document::before_http2(&origin));
    let mut client = Http2::connect(gateway.address("main"), &[]);
    // The gateway's windows are known, and it knows that they are.
    client.settle();
    let stream = client.open(&Http2::request("POST", "/up", &[]), false);
    let piece = vec![b'x'; 16 << 10];
    for _ in 0..6 {
        client.data(stream, &piece, false);
    }
    // What was passed on makes room for more.
    eventually("it is passed on", || {
        client.settle();
        (client.granted(stream) > 0).then_some(())
    });
    client.reset(stream, 8);
    eventually("the origin is told", || (!origin.resets().is_empty()).then_some(()));
    assert!(origin.seen().is_empty());
}

#[test]
fn a_client_that_leaves_has_its_stream_reset_and_no_other() {
    let origin = Http2Origin::answering(held);
    let gateway = start(Document::before_http2(&origin));
    let mut client = Http2::connect(gateway.address("main"), &[]);
    let (one, other) = (client.begin("/slow/1"), client.begin("/slow/2"));
    origin.wait_seen(2);
    client.reset(one, 8);
    assert_eq!(origin.wait_reset(), 8);
    let mut http1 = gateway.client("main");
    http1.begin("GET", "/slow/3", &[]);
    origin.wait_seen(3);
    drop(http1);
    eventually("it is reset too", || (origin.resets() == [8, 8]).then_some(()));
    origin.release();
    assert_eq!(client.outcome(other), answered());
    assert_eq!(gateway.access("/slow/1")["end"], "client_left");
}

#[test]
fn a_client_that_reads_nothing_bounds_what_is_kept_and_holds_up_nobody() {
    let origin = Http2Origin::answering(|seen| match seen.path() {
        "/flood" => vec![Step::Head(200, &[]), Step::Flood],
        _ => hello(),
    });
    let gateway = start(Document::before_http2(&origin));
    let mut client = Http2::connect(gateway.address("main"), &[]);
    // The client's window for the connection is shut by the first ones.
    for _ in 0..30 {
        client.begin("/flood");
    }
    origin.wait_seen(30);
    eventually("the origin is stopped", || {
        let before = origin.sent();
        std::thread::sleep(std::time::Duration::from_millis(100));
        (origin.sent() == before).then_some(())
    });
    // Some of these are on the same worker, and share the connection.
    for _ in 0..12 {
        assert_eq!(gateway.client("main").get("/", &[]).text(), "hello");
    }
    // A window, and what the gateway holds for the client, each.
    assert!(origin.sent() < 30 * (400 << 10), "{}", origin.sent());
}

#[test]
fn an_answers_deadline_resets_its_stream() {
    let origin = Http2Origin::answering(|_| vec![Step::Hold]);
    let timeouts = "timeouts: { response: 300ms }";
    let gateway = start(Document::before_http2(&origin).upstream(timeouts));
    let reply = gateway.client("main").get("/late", &[]);
    assert_eq!(reply.status, 504);
    assert_eq!(origin.wait_reset(), 8);
    assert_eq!(gateway.access("/late")["code"], "upstream.response_timeout");
}

#[test]
fn an_answer_that_stalls_is_cut() {
    let origin = Http2Origin::answering(|_| {
        vec![Step::Head(200, &[]), Step::Data(b"half".to_vec()), Step::Hold]
    });
    let gateway = start(Document::before_http2(&origin).upstream("timeouts: { idle: 300ms }"));
    let reply = gateway.client("main").get("/stalled", &[]);
    assert_eq!((reply.status, reply.whole), (200, false));
    assert_eq!(origin.wait_reset(), 8);
    assert_eq!(gateway.access("/stalled")["end"], "upstream_cut");
}

#[test]
fn a_reload_leaves_streams_that_are_under_way() {
    let origin = Http2Origin::answering(held);
    let document = || Document::before_http2(&origin);
    let gateway = start(document());
    let mut client = Http2::connect(gateway.address("main"), &[]);
    let slow = client.begin("/slow");
    origin.wait_seen(1);
    let line = gateway.reload(&String::from(document().upstream("retry: { attempts: 2 }")));
    assert_eq!(line["code"], "config.loaded", "{line}");
    assert_eq!(client.get("/shared"), answered());
    assert_eq!(origin.connections(), 1, "the document says the same of the endpoint");
    let elsewhere = String::from(document()).replace(&origin.url(), &renamed(&origin));
    let line = gateway.reload(&elsewhere);
    assert_eq!(line["code"], "config.loaded", "{line}");
    assert_eq!(client.get("/fresh"), answered());
    assert_eq!(origin.connections(), 2);
    origin.release();
    assert_eq!(client.outcome(slow), answered());
}

#[test]
fn health_is_asked_over_http_2() {
    let origin = Http2Origin::start();
    let health = "health: { path: /healthz, interval: 20ms }";
    let gateway = start(Document::before_http2(&origin).upstream(health));
    origin.wait_seen(3);
    let seen = origin.seen().remove(0);
    assert_eq!((seen.path(), seen.header("user-agent")), ("/healthz", Some("demilune-health")));
    let series = format!(
        "demilune_upstream_endpoint_healthy{{upstream=\"origin\",endpoint=\"{}\"}}",
        origin.url()
    );
    assert_eq!(gateway.metric(&series), Some(1.0));
}

#[test]
fn what_does_not_speak_http_2_gets_no_request() {
    let origin = Origin::conversing(|talk| {
        let preface = talk.bytes(24).unwrap();
        assert!(preface.starts_with(b"PRI * HTTP/2.0"));
        talk.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        // The gateway's SETTINGS and windows, and no more.
        assert!(!String::from_utf8_lossy(&talk.rest()).contains("secret"));
    });
    let document = Document::before(&origin).upstream("http2: prior_knowledge");
    let gateway = start(document);
    let reply = gateway.client("main").get("/foreign?secret", &[]);
    let line = gateway.access("/foreign");
    let told = json!([reply.status, line["code"]]);
    assert_eq!(told, json!([502, "upstream.http2"]), "{line}");
}

#[test]
fn a_shared_connection_is_used_no_more_often_and_no_longer_than_the_document_says() {
    for (limit, pause) in [("requests: 2", 0), ("idle: 1s", 1100), ("age: 1s", 1100)] {
        let origin = Http2Origin::answering(held);
        let keep = format!("keep_alive: {{ {limit} }}");
        let gateway = start(Document::before_http2(&origin).upstream(&keep));
        let mut client = Http2::connect(gateway.address("main"), &[]);
        for _ in 0..2 {
            assert_eq!(client.get("/"), answered());
        }
        assert_eq!(origin.connections(), 1, "{limit}");
        std::thread::sleep(std::time::Duration::from_millis(pause));
        assert_eq!(client.get("/"), answered());
        assert_eq!(origin.connections(), 2, "{limit}");
    }
}
