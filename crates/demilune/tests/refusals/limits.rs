//! Limits on how often, how much and from where.

use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use demilune_testkit::{ALICE_KEY, BOB_KEY, Document, Origin};
use serde_json::json;

use crate::start;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn over_the_limit_a_client_is_told_when_to_come_back() {
    let origin = Origin::start();
    let limit = "policies: [{ rate_limit: { per: address, limit: 2/h } }]";
    let gateway = start(Document::before(&origin).route(limit));
    let mut client = gateway.client("main");
    for left in ["r=1", "r=0"] {
        let reply = client.get("/", &[]);
        assert_eq!((reply.status, reply.header("retry-after")), (200, None));
        assert_eq!(reply.all("ratelimit-policy"), ["\"address-2/h\";q=2;w=3600"]);
        assert!(reply.header("ratelimit").unwrap().contains(left), "{reply:?}");
    }
    let reply = client.get("/refused", &[]);
    assert_eq!(reply.status, 429);
    let after: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=1800).contains(&after), "{after}");
    assert_eq!(reply.json()["retry_after"], after);
    let public = "too many requests: the limit is 2 a hour per address";
    assert_eq!(
        (&reply.json()["title"], &reply.json()["detail"]),
        (&"Too Many Requests".into(), &public.into())
    );
    assert_eq!(reply.all("ratelimit-policy"), ["\"address-2/h\";q=2;w=3600"]);
    assert_eq!(reply.all("ratelimit"), [format!("\"address-2/h\";r=0;t={after}")]);
    assert_eq!(gateway.access("/refused")["code"], "rate_limit.exceeded");
    assert_eq!(origin.seen().len(), 2);
}

#[test]
fn a_limit_by_address_comes_before_credentials_and_one_by_consumer_behind_them() {
    let origin = Origin::start();
    let limits = "authenticate: keys, policies: [{ rate_limit: { per: consumer, limit: 1/h } }, \
                  { rate_limit: { per: address, limit: 6/h } }]";
    let gateway = start(Document::before(&origin).route(limits));
    let mut client = gateway.client("main");
    let mut ask = |key: &str| client.get("/", &[("x-api-key", key)]).status;
    assert_eq!([ALICE_KEY, ALICE_KEY, BOB_KEY, BOB_KEY].map(&mut ask), [200, 429, 200, 429]);
    // Whoever guesses is held up as well, and then not even asked.
    assert_eq!(["wrong", "wrong", "wrong", ALICE_KEY].map(&mut ask), [401, 401, 429, 429]);
}

#[test]
fn a_body_that_is_declared_too_large_is_refused_before_any_of_it_is_sent() {
    let origin = Origin::start();
    let size = "policies: [{ request_size: { body: 10B } }]";
    let gateway = start(Document::before(&origin).route(size));
    let mut client = gateway.client("main");
    client.begin("POST", "/large", &[("content-length", "11")]);
    let reply = client.read(false).unwrap();
    assert_eq!((reply.status, reply.json()["status"].as_u64()), (413, Some(413)));
    assert!(client.ends(), "what is sent behind it is no request");
    let line = gateway.access("/large");
    assert_eq!(json!([line["code"], line["received"]]), json!(["request_size.body", 0]));
    assert_eq!(origin.connections(), 0);
    let mut client = gateway.client("main");
    assert_eq!(client.request("POST", "/", &[], Some(b"ten bytes.")).status, 200);
}

#[test]
fn a_client_that_sends_without_waiting_still_reads_its_refusal() {
    let origin = Origin::start();
    let size = "policies: [{ request_size: { body: 10B } }]";
    let gateway = start(Document::before(&origin).route(size));
    let large = vec![b'x'; 200 << 10];
    for _ in 0..5 {
        let reply = gateway.client("main").request("POST", "/", &[], Some(&large));
        assert_eq!((reply.status, reply.whole), (413, true));
        let mut client = gateway.client("main");
        client.begin("POST", "/", &[("transfer-encoding", "chunked")]);
        client.send_chunk(&large);
        client.send_chunk("");
        let reply = client.read(false).unwrap();
        assert_eq!((reply.status, reply.whole), (413, true));
    }
    assert!(origin.seen().is_empty());
}

#[test]
fn a_body_that_turns_out_too_large_is_refused_and_the_origin_never_gets_its_end() {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let origin = Origin::conversing(move |talk| {
        talk.head();
        let tell = tell.lock().unwrap().clone();
        loop {
            let chunk = talk.chunk();
            let over = chunk.as_ref().is_none_or(Vec::is_empty);
            let _ = tell.send(chunk);
            if over {
                return;
            }
        }
    });
    let size = "policies: [{ request_size: { body: 10B } }]";
    let gateway = start(Document::before(&origin).route(size));
    let mut client = gateway.client("main");
    client.begin("POST", "/large", &[("transfer-encoding", "chunked")]);
    client.send_chunk("first.");
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().unwrap(), b"first.");
    client.send_chunk("second");
    let reply = client.read(false).unwrap();
    assert_eq!((reply.status, reply.json()["status"].as_u64()), (413, Some(413)));
    assert_eq!(told.recv_timeout(PATIENCE).unwrap(), None, "the request was cut");
    assert!(client.ends());
    let line = gateway.access("/large");
    assert_eq!(json!([line["code"], line["received"]]), json!(["request_size.body", 12]));
    let event = gateway.wait(|line| line["kind"] == "event");
    assert_eq!(
        (&event["type"], &event["policy"]),
        (&"request_size.body".into(), &"request_size".into())
    );
    assert_eq!((origin.connections(), origin.seen().len()), (1, 1));
}

#[test]
fn a_denied_address_is_refused_before_its_credential_is_looked_at() {
    let origin = Origin::start();
    let deny = "authenticate: keys, policies: [{ ip_restriction: { deny: [127.0.0.0/8] } }]";
    let gateway = start(Document::before(&origin).route(deny));
    let mut client = gateway.client("main");
    assert_eq!(client.get("/", &[("x-api-key", "wrong")]).status, 403);
    assert_eq!(client.get("/", &[("x-api-key", ALICE_KEY)]).status, 403);
    let line = gateway.access("/");
    assert_eq!(line["code"], "ip_restriction.address");
    assert_eq!(line["trail"].as_array().unwrap().len(), 1, "{line}");
    // What the client says of its address is nobody's word.
    let forwarded = [("x-forwarded-for", "192.0.2.1"), ("x-real-ip", "192.0.2.1")];
    assert_eq!(client.get("/", &forwarded).status, 403);
    let gateway = start(
        Document::before(&origin).route("policies: [{ ip_restriction: { allow: [127.0.0.1] } }]"),
    );
    assert_eq!(gateway.client("main").get("/", &[]).status, 200);
}
