//! Several endpoints: which one is asked, and which are not while they are ill.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use demilune_testkit::{Document, Gateway, Nobody, Origin, eventually};
use serde_json::json;

use crate::start;

const PATIENCE: Duration = Duration::from_secs(20);
const HEALTH: &str = "health: { path: /healthz, interval: 20ms, timeout: 5s, \
                      unhealthy_after: 2, healthy_after: 2 }";

/// An origin whose health a test decides.
fn patient() -> (Origin, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&well);
    let origin = Origin::answering(move |seen| {
        let ill = seen.line.contains("/healthz") && !asked.load(Ordering::SeqCst);
        let status = if ill { "500 Ill\r\ncontent-length: 0" } else { "204 No Content" };
        format!("HTTP/1.1 {status}\r\n\r\n").into_bytes()
    });
    (origin, well)
}

/// Waits until the gateway counts the endpoint as healthy, or as ill.
fn wait_health(gateway: &Gateway, url: &str, healthy: f64) {
    let labels = format!("upstream=\"origin\",endpoint=\"{url}\"");
    let series = format!("demilune_upstream_endpoint_healthy{{{labels}}}");
    eventually(&series, || gateway.metric(&series).filter(|value| *value == healthy));
}

/// How many requests an origin has seen beside checks of its health.
fn requests(origin: &Origin) -> usize {
    origin.seen().iter().filter(|seen| !seen.line.contains("/healthz")).count()
}

#[test]
fn an_ill_endpoint_gets_no_requests_until_it_is_well_again() {
    let ((ill, health), (well, _)) = (patient(), patient());
    let both = Document::before(&ill).endpoint(&well.url());
    let gateway = start(both.upstream("balance: round_robin").upstream(HEALTH));
    let mut client = gateway.client("main");
    wait_health(&gateway, &ill.url(), 1.0);
    health.store(false, Ordering::SeqCst);
    wait_health(&gateway, &ill.url(), 0.0);
    wait_health(&gateway, &well.url(), 1.0);
    let down = gateway.log("upstream.endpoint_down");
    let told =
        json!([down["fields"]["upstream"], down["fields"]["endpoint"], down["fields"]["reason"]]);
    assert_eq!(told, json!(["origin", ill.url(), "status 500"]), "{down}");
    for _ in 0..6 {
        assert_eq!(client.get("/", &[]).status, 204);
    }
    assert_eq!((requests(&ill), requests(&well)), (0, 6));
    health.store(true, Ordering::SeqCst);
    wait_health(&gateway, &ill.url(), 1.0);
    assert_eq!(gateway.log("upstream.endpoint_up")["fields"]["endpoint"], ill.url());
    for _ in 0..6 {
        assert_eq!(client.get("/", &[]).status, 204);
    }
    assert_eq!((requests(&ill), requests(&well)), (3, 9));
    let check = ill.seen().into_iter().find(|seen| seen.line.contains("/healthz")).unwrap();
    assert_eq!(check.line, "GET /healthz HTTP/1.1");
    assert_eq!(check.header("user-agent"), Some("demilune-health"));
    assert_eq!(check.header("host"), Some(&*ill.address.to_string()));
}

#[test]
fn where_no_endpoint_is_well_the_client_is_told_to_come_back() {
    let (origin, health) = patient();
    let gateway = start(Document::before(&origin).upstream(HEALTH));
    wait_health(&gateway, &origin.url(), 1.0);
    assert_eq!(gateway.client("main").get("/before", &[]).status, 204);
    health.store(false, Ordering::SeqCst);
    wait_health(&gateway, &origin.url(), 0.0);
    let reply = gateway.client("main").get("/", &[]);
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")));
    assert_eq!(reply.json()["retry_after"], 5);
    assert_eq!(reply.json()["detail"], "no endpoint of the upstream is available");
    let line = gateway.access("/");
    assert_eq!((&line["code"], &line["status"]), (&"upstream.unavailable".into(), &503.into()));
    gateway.wait(|line| line["kind"] == "event" && line["type"] == "upstream.unavailable");
    assert_eq!(requests(&origin), 1);
}

#[test]
fn an_endpoint_that_cannot_be_reached_is_ill() {
    let (nobody, (well, _)) = (Nobody::listening(), patient());
    let gateway = start(Document::before(&well).endpoint(&nobody.url()).upstream(HEALTH));
    wait_health(&gateway, &nobody.url(), 0.0);
    let mut client = gateway.client("main");
    for number in 0..4 {
        let path = format!("/{number}");
        assert_eq!(client.get(&path, &[]).status, 204);
        assert_eq!(gateway.access(&path)["upstream"]["attempts"], 1);
    }
}

#[test]
fn an_endpoint_that_does_not_answer_its_check_in_time_is_ill() {
    let origin = Origin::conversing(|talk| {
        talk.request();
        talk.ends();
    });
    let health = HEALTH.replace("timeout: 5s", "timeout: 100ms");
    let gateway = start(Document::before(&origin).upstream(&health));
    wait_health(&gateway, &origin.url(), 0.0);
    let down = gateway.log("upstream.endpoint_down");
    assert_eq!(down["fields"]["reason"], "the check's deadline passed");
}

#[test]
fn round_robin_asks_each_in_turn_whichever_worker_serves_the_client() {
    let origins = [(); 3].map(|()| Origin::start());
    let all = origins.iter().fold(Document::default(), |all, one| all.endpoint(&one.url()));
    let gateway = start(all.upstream("balance: round_robin"));
    for _ in 0..12 {
        assert_eq!(gateway.client("main").get("/", &[]).status, 200);
    }
    assert_eq!(origins.each_ref().map(|origin| origin.seen().len()), [4, 4, 4]);
}

#[test]
fn least_request_asks_the_one_that_has_the_least_to_do_whichever_worker_serves_the_client() {
    let (release, released) = channel::<()>();
    let released = Arc::new(Mutex::new(released));
    let origins = [(); 2].map(|()| {
        let released = Arc::clone(&released);
        Origin::answering(move |seen| {
            if seen.line.contains("/hold") {
                let _ = released.lock().unwrap().recv_timeout(PATIENCE);
            }
            b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()
        })
    });
    let all = origins.iter().fold(Document::default(), |all, one| all.endpoint(&one.url()));
    let gateway = start(all);
    let mut holding = gateway.client("main");
    holding.begin("GET", "/hold", &[]);
    let held = eventually("one of them holds", || {
        origins.iter().position(|origin| !origin.seen().is_empty())
    });
    for _ in 0..6 {
        assert_eq!(gateway.client("main").get("/", &[]).status, 204);
    }
    assert_eq!((origins[held].seen().len(), origins[1 - held].seen().len()), (1, 6));
    release.send(()).unwrap();
    assert_eq!(holding.read(false).unwrap().status, 204);
    // The exchange is closed before its line is written.
    gateway.access("/hold");
    for _ in 0..6 {
        assert_eq!(gateway.client("main").get("/", &[]).status, 204);
    }
    assert_eq!((origins[held].seen().len(), origins[1 - held].seen().len()), (4, 9));
}

#[test]
fn an_endpoint_that_is_full_gets_no_more_and_the_client_is_told_to_come_back() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let origin = Origin::answering(move |_| {
        let _ = released.lock().unwrap().recv_timeout(PATIENCE);
        b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()
    });
    let gateway = start(Document::before(&origin).upstream("requests: 1"));
    let mut first = gateway.client("main");
    first.begin("GET", "/", &[]);
    origin.wait_seen(1);
    let mut second = gateway.client("main");
    let reply = second.get("/", &[]);
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")));
    let line = gateway.wait(|line| line["kind"] == "access");
    assert_eq!(line["code"], "upstream.saturated", "{line}");
    release.send(()).unwrap();
    assert_eq!(first.read(false).unwrap().status, 204);
    release.send(()).unwrap();
    assert_eq!(second.get("/", &[]).status, 204);
}
