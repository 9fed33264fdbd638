//! Requests that are sent again: which, after what, and never too many of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use demilune_testkit::{Document, Gateway, Nobody, Origin};
use serde_json::json;

use crate::start;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const EVERYTHING: &str =
    "retry: { attempts: 10, on: [connect, reset, timeout], statuses: [502, 503, 504] }";

/// An origin that answers every second request for `/again` as `bad` says; empty breaks off.
fn every_second(bad: &'static str) -> Origin {
    let count = AtomicUsize::new(0);
    Origin::answering(move |seen| {
        let again = seen.line.contains("/again");
        let good = !again || count.fetch_add(1, Ordering::SeqCst) % 2 == 1;
        let answer = if good { OK } else { bad };
        // No connection is kept: what fails is not a kept one that ended.
        answer.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n").into_bytes()
    })
}

/// Requests that are answered at once, so that the budget has something in it.
fn pay(gateway: &Gateway, origin: &Origin) {
    let before = origin.seen().len();
    let mut client = gateway.client("main");
    for _ in 0..20 {
        client.get("/paying", &[]);
    }
    assert!(origin.seen().len() >= before + 20);
}

fn counter(gateway: &Gateway, result: &str) -> f64 {
    let labels = format!("upstream=\"origin\",result=\"{result}\"");
    gateway.metric(&format!("demilune_upstream_retries_total{{{labels}}}")).unwrap_or(0.0)
}

/// Under total failure, by clients of both workers at once.
fn total_failure(origin: &Origin, settings: &str, expected: u16) {
    let gateway = start(Document::before(origin).upstream(settings));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..25 {
                    assert_eq!(gateway.client("main").get("/", &[]).status, expected);
                }
            });
        }
    });
    let seen = origin.seen().len();
    assert!((201..=240).contains(&seen), "200 requests, of which the origin saw {seen}");
    assert!(counter(&gateway, "sent") <= 40.0 && counter(&gateway, "over_budget") > 0.0);
}

#[test]
fn an_upstream_that_answers_503_to_everything_is_never_asked_more_than_a_fifth_more() {
    let origin = Origin::answering(|_| b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_vec());
    total_failure(&origin, EVERYTHING, 503);
}

#[test]
fn an_upstream_that_breaks_everything_off_is_never_asked_more_than_a_fifth_more() {
    let origin = Origin::answering(|_| Vec::new());
    total_failure(&origin, EVERYTHING, 502);
}

#[test]
fn an_upstream_that_never_answers_is_never_asked_more_than_a_fifth_more() {
    let origin = Origin::conversing(|talk| {
        talk.request();
        talk.ends();
    });
    let settings = format!("timeouts: {{ response: 50ms }}, {EVERYTHING}");
    total_failure(&origin, &settings, 504);
}

#[test]
fn what_the_document_says_is_repeated_and_the_client_sees_nothing_of_it() {
    let no = "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";
    for (bad, settings) in [(no, "retry: { statuses: [503] }"), ("", "retry: { on: [reset] }")] {
        let origin = every_second(bad);
        let gateway = start(Document::before(&origin).upstream(settings));
        pay(&gateway, &origin);
        let reply = gateway.client("main").get("/again", &[]);
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"), "{bad}");
        assert_eq!(gateway.access("/again")["upstream"]["attempts"], 2);
        assert_eq!(counter(&gateway, "sent"), 1.0);
    }
}

#[test]
fn nothing_but_connecting_is_repeated_by_default() {
    let origin = Origin::answering(|_| b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_vec());
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    for _ in 0..20 {
        assert_eq!(client.get("/", &[]).status, 503);
    }
    assert_eq!(origin.seen().len(), 20);
    let broken = Origin::answering(|_| Vec::new());
    let gateway = start(Document::before(&broken));
    for _ in 0..20 {
        assert_eq!(gateway.client("main").get("/", &[]).status, 502);
    }
    assert_eq!(broken.seen().len(), 20);
}

#[test]
fn a_request_that_is_not_safe_to_repeat_is_sent_once_whatever_the_document_says() {
    for (method, body) in
        [("POST", None), ("POST", Some(&b"pay"[..])), ("PUT", Some(b"pay")), ("PATCH", None)]
    {
        for answer in ["", "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n"] {
            let origin = Origin::answering(move |seen| {
                let answer = if seen.line.contains("/paying") { OK } else { answer };
                answer.as_bytes().to_vec()
            });
            let gateway = start(Document::before(&origin).upstream(EVERYTHING));
            pay(&gateway, &origin);
            gateway.client("main").request(method, "/once", &[], body);
            let once = format!("{method} /once HTTP/1.1");
            let seen = origin.seen().into_iter().filter(|seen| seen.line == once).count();
            assert_eq!(seen, 1, "{method} {answer}");
            assert_eq!(gateway.access("/once")["upstream"]["attempts"], 1);
        }
    }
}

#[test]
fn an_upstream_that_asks_not_to_come_back_yet_is_not_asked_again() {
    let busy = "HTTP/1.1 503 No\r\nretry-after: 9\r\ncontent-length: 0\r\n\r\n";
    let origin = Origin::answering(move |seen| {
        if seen.line.contains("/paying") { OK } else { busy }.as_bytes().to_vec()
    });
    let gateway = start(Document::before(&origin).upstream(EVERYTHING));
    pay(&gateway, &origin);
    let reply = gateway.client("main").get("/busy", &[]);
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("9")));
    assert_eq!(gateway.access("/busy")["upstream"]["attempts"], 1);
}

#[test]
fn another_endpoint_is_asked_before_the_same_one_again() {
    let ill = Origin::answering(|seen| {
        let ok = seen.line.contains("/paying");
        if ok { OK } else { "HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n" }.as_bytes().to_vec()
    });
    let well = Origin::start();
    let both = Document::before(&ill).endpoint(&well.url()).upstream("balance: round_robin");
    let gateway = start(both.upstream("retry: { statuses: [503] }"));
    let mut client = gateway.client("main");
    for _ in 0..20 {
        client.get("/paying", &[]);
    }
    for number in 0..4 {
        let reply = client.get(&format!("/{number}"), &[]);
        assert_eq!((reply.status, reply.text().as_str()), (200, "hello"), "{number}");
    }
    // Half of them were answered 503 first.
    assert_eq!(counter(&gateway, "sent"), 2.0);
}

#[test]
fn the_budget_is_kept_by_a_reload() {
    let origin = Origin::answering(|_| b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n".to_vec());
    let document = |number: usize| {
        let settings = format!("{EVERYTHING}, timeouts: {{ response: {}s }}", 9 + number);
        String::from(Document::before(&origin).upstream(&settings))
    };
    let gateway = start(Document::before(&origin).upstream(EVERYTHING));
    for number in 0..10 {
        assert_eq!(gateway.reload(&document(number))["code"], "config.loaded");
        for _ in 0..4 {
            assert_eq!(gateway.client("main").get("/", &[]).status, 503);
        }
    }
    // Four requests alone pay for no retry, forty do.
    let seen = origin.seen().len();
    assert!((41..=48).contains(&seen), "{seen}");
}

#[test]
fn where_nobody_can_be_reached_the_endpoints_are_tried_within_the_budget() {
    let nobodies = [(); 4].map(|()| Nobody::listening());
    let all = Document::default().upstream("retry: { attempts: 10 }");
    let all = nobodies.iter().fold(all, |all, nobody| all.endpoint(&nobody.url()));
    let gateway = start(all);
    let mut attempts = 0;
    for number in 0..50 {
        let path = format!("/{number}");
        let reply = gateway.client("main").get(&path, &[]);
        let line = gateway.access(&path);
        let told = json!([reply.status, line["code"]]);
        assert_eq!(told, json!([502, "upstream.unreachable"]), "{line}");
        attempts += line["upstream"]["attempts"].as_u64().unwrap();
    }
    // Fifty, a fifth more, and ten ahead.
    assert_eq!(attempts, 70);
}
