//! The circuit breaker, on sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use demilune_testkit::{Document, Gateway, Nobody, Origin};

use crate::start;

const OPEN: &str = "demilune_upstream_circuit_open{upstream=\"origin\"}";

/// An origin that answers 503 while a test wants it to.
fn failing() -> (Origin, Arc<AtomicBool>) {
    let ill = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&ill);
    let origin = Origin::answering(move |_| {
        let status = if asked.load(Ordering::SeqCst) { "503 Ill" } else { "200 OK" };
        format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").into_bytes()
    });
    (origin, ill)
}

fn breaker(open: &str) -> String {
    format!("circuit_breaker: {{ requests: 4, probes: 2, open: {open}, longest: {open} }}")
}

/// So many requests, each by another client: each may have another worker.
fn statuses(gateway: &Gateway, count: usize) -> Vec<u16> {
    (0..count).map(|_| gateway.client("main").get("/", &[]).status).collect()
}

#[test]
fn an_upstream_that_fails_gets_no_requests_and_clients_are_told_to_come_back() {
    let (origin, _) = failing();
    let gateway = start(Document::before(&origin).upstream(&breaker("1h")));
    assert_eq!(gateway.metric(OPEN), Some(0.0));
    assert_eq!(statuses(&gateway, 4), [503; 4]);
    let reply = gateway.client("main").get("/open", &[]);
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("3600")));
    assert_eq!(reply.json()["detail"], "the upstream fails, and gets no requests for a while");
    let line = gateway.access("/open");
    assert_eq!(line["code"], "upstream.circuit_open", "{line}");
    assert_eq!(origin.seen().len(), 4);
    assert_eq!(gateway.metric(OPEN), Some(1.0));
    assert_eq!(gateway.log("upstream.circuit_opened")["fields"]["reason"], "status 503");
}

#[test]
fn it_is_tried_again_and_serves_when_it_succeeds() {
    let (origin, ill) = failing();
    let gateway = start(Document::before(&origin).upstream(&breaker("100ms")));
    assert_eq!(statuses(&gateway, 4), [503; 4]);
    ill.store(false, Ordering::SeqCst);
    // Open, half open, closed: nothing but these, in this order.
    let closed = || !gateway.lines(|line| line["code"] == "upstream.circuit_closed").is_empty();
    let mut answers = Vec::new();
    for _ in 0..10_000 {
        answers.extend(statuses(&gateway, 1));
        if closed() {
            break;
        }
    }
    assert!(answers.is_sorted_by_key(|status| std::cmp::Reverse(*status)), "{answers:?}");
    assert_eq!(statuses(&gateway, 4), [200; 4]);
    assert_eq!(gateway.metric(OPEN), Some(0.0));
}

#[test]
fn one_that_cannot_be_reached_opens_it_too() {
    let nobody = Nobody::listening();
    let gateway = start(Document::default().endpoint(&nobody.url()).upstream(&breaker("1h")));
    assert_eq!(statuses(&gateway, 5), [502, 502, 502, 502, 503]);
    assert_eq!(gateway.log("upstream.circuit_opened")["fields"]["reason"], "no connection");
}

#[test]
fn a_reload_that_changes_something_else_leaves_it_open_and_one_without_it_does_not() {
    let (origin, ill) = failing();
    let document = |more: &str| String::from(Document::before(&origin).upstream(more));
    let gateway = start(Document::before(&origin).upstream(&breaker("1h")));
    assert_eq!(statuses(&gateway, 4), [503; 4]);
    ill.store(false, Ordering::SeqCst);
    let other = format!("{}, timeouts: {{ response: 9s }}", breaker("1h"));
    assert_eq!(gateway.reload(&document(&other))["code"], "config.loaded");
    assert_eq!(statuses(&gateway, 2), [503; 2]);
    assert_eq!(gateway.reload(&document("retry: { attempts: 0 }"))["code"], "config.loaded");
    assert_eq!(statuses(&gateway, 2), [200; 2]);
    demilune_testkit::eventually("its metric is gone", || {
        gateway.metric(OPEN).is_none().then_some(())
    });
}
