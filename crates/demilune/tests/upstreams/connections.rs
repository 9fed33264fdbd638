//! Who waits for a place at an endpoint, and how long connections are kept.

use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use demilune_testkit::{Document, Origin};

use crate::start;

/// An origin that answers each request when it is told to.
fn held() -> (Origin, Sender<()>) {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let origin = Origin::answering(move |_| {
        let _ = released.lock().unwrap().recv_timeout(Duration::from_secs(20));
        b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()
    });
    (origin, release)
}

#[test]
fn requests_wait_for_a_place_and_get_it_when_it_is_free() {
    let (origin, release) = held();
    let settings = "requests: 1, pending: { requests: 5, time: 20s }";
    let gateway = start(Document::before(&origin).upstream(settings));
    let mut clients: Vec<_> = (0..4).map(|_| gateway.client("main")).collect();
    clients.iter_mut().for_each(|client| client.begin("GET", "/", &[]));
    for seen in 1..=4 {
        origin.wait_seen(seen);
        assert_eq!(origin.seen().len(), seen, "one at a time");
        release.send(()).unwrap();
    }
    for mut client in clients {
        assert_eq!(client.read(false).unwrap().status, 204);
    }
}

#[test]
fn no_more_wait_than_may_and_none_for_longer_than_the_time() {
    let (origin, release) = held();
    let settings = "requests: 1, pending: { requests: 1, time: 500ms }";
    let gateway = start(Document::before(&origin).upstream(settings));
    let mut first = gateway.client("main");
    first.begin("GET", "/first", &[]);
    origin.wait_seen(1);
    // Two come: whichever is second is refused at once, the other when its time has passed.
    let mut others = [gateway.client("main"), gateway.client("main")];
    others[0].begin("GET", "/one", &[]);
    others[1].begin("GET", "/other", &[]);
    for other in &mut others {
        let reply = other.read(false).unwrap();
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    }
    for path in ["/one", "/other"] {
        assert_eq!(gateway.access(path)["code"], "upstream.saturated");
    }
    release.send(()).unwrap();
    assert_eq!(first.read(false).unwrap().status, 204);
    assert_eq!(origin.seen().len(), 1);
}

#[test]
fn a_client_that_leaves_while_it_waits_takes_no_place() {
    let (origin, release) = held();
    let settings = "requests: 1, pending: { requests: 1, time: 20s }";
    let gateway = start(Document::before(&origin).upstream(settings));
    let mut first = gateway.client("main");
    first.begin("GET", "/first", &[]);
    origin.wait_seen(1);
    let mut leaving = gateway.client("main");
    leaving.begin("GET", "/leaving", &[]);
    drop(leaving);
    assert_eq!(gateway.access("/leaving")["end"], "client_left");
    let mut waiting = gateway.client("main");
    waiting.begin("GET", "/waiting", &[]);
    release.send(()).unwrap();
    assert_eq!(first.read(false).unwrap().status, 204);
    release.send(()).unwrap();
    assert_eq!(waiting.read(false).unwrap().status, 204);
    assert_eq!(origin.seen().len(), 2);
}

#[test]
fn a_connection_serves_so_many_requests() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin).upstream("keep_alive: { requests: 2 }"));
    let mut client = gateway.client("main");
    for _ in 0..6 {
        assert_eq!(client.get("/", &[]).status, 200);
    }
    assert_eq!(origin.connections(), 3);
}

#[test]
fn a_connection_is_closed_when_it_was_idle_for_long_or_is_old() {
    for settings in ["idle: 50ms", "age: 50ms"] {
        let origin = Origin::start();
        let settings = format!("keep_alive: {{ {settings} }}");
        let gateway = start(Document::before(&origin).upstream(&settings));
        assert_eq!(gateway.client("main").get("/", &[]).status, 200);
        // By the gateway, without another request.
        origin.wait_ended(1);
        assert_eq!(gateway.client("main").get("/", &[]).status, 200);
        assert_eq!(origin.connections(), 2);
    }
}
