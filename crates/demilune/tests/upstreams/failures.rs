//! Upstreams that give no answer, or one that nobody understands: what the client is told instead.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use demilune_testkit::{Document, Gateway, Nobody, Origin};
use serde_json::{Value, json};

use crate::start;

const PATIENCE: Duration = Duration::from_secs(20);

/// A request that gets no answer: its status, its code and how many endpoints were tried, in the
/// access line; an event; and a body that says no more than `detail`.
pub(crate) fn fails(gateway: &Gateway, path: &str, expected: &Value, detail: &str) {
    let reply = gateway.client("main").get(path, &[]);
    let line = gateway.access(path);
    let told = json!([reply.status, line["code"], line["upstream"]["attempts"]]);
    assert_eq!(told, *expected, "{path} {line}");
    assert_eq!((&line["status"], &line["end"]), (&reply.status.into(), &"complete".into()));
    assert_eq!(reply.json()["detail"], detail);
    assert_eq!(reply.json()["request_id"], line["request_id"]);
    gateway.wait(|event| {
        event["kind"] == "event"
            && event["request_id"] == line["request_id"]
            && event["type"] == line["code"]
            && event["stage"] == "upstream"
    });
}

const UNREACHABLE: &str = "the upstream could not be reached";
const BROKEN: &str = "the upstream broke the exchange off";

#[test]
fn an_endpoint_that_refuses_connections_is_unreachable() {
    let nobody = Nobody::listening();
    let gateway = start(Document::default().endpoint(&nobody.url()));
    fails(&gateway, "/", &json!([502, "upstream.unreachable", 1]), UNREACHABLE);
    let line = gateway.access("/");
    assert_eq!(line["upstream"]["endpoint"], nobody.url());
    let events = gateway.stop().into_iter().filter(|line| line["kind"] == "event").count();
    assert_eq!(events, 1);
}

#[test]
fn another_endpoint_is_tried_where_one_cannot_be_reached_with_the_body_still_whole() {
    let (nobody, origin) = (Nobody::listening(), Origin::echo());
    let both = Document::default().endpoint(&nobody.url()).endpoint(&origin.url());
    let gateway = start(both.upstream("balance: round_robin"));
    let mut client = gateway.client("main");
    let mut attempts = Vec::new();
    for number in 0..4 {
        let path = format!("/{number}");
        let reply = client.request("POST", &path, &[], Some(b"body"));
        assert_eq!((reply.status, reply.text().as_str()), (200, "body"));
        let line = gateway.access(&path);
        assert_eq!(line["upstream"]["endpoint"], origin.url());
        assert_eq!(line["code"], Value::Null);
        attempts.push(line["upstream"]["attempts"].as_u64().unwrap());
    }
    attempts.sort_unstable();
    assert!(attempts.contains(&2) && attempts.iter().all(|n| *n <= 2), "{attempts:?}");
    assert_eq!(origin.seen().len(), 4);
}

#[test]
fn no_more_endpoints_are_tried_than_the_operator_wants() {
    let nobodies = [(); 4].map(|()| Nobody::listening());
    let all = |retries: u32| {
        let all = Document::default().upstream(&format!("retry: {{ attempts: {retries} }}"));
        nobodies.iter().fold(all, |all, nobody| all.endpoint(&nobody.url()))
    };
    for (retries, attempts) in [(0, 1), (2, 3), (10, 4)] {
        let gateway = start(all(retries));
        fails(&gateway, "/", &json!([502, "upstream.unreachable", attempts]), UNREACHABLE);
    }
}

/// An origin that says `answer` and nothing more, and tells when its connection has ended.
fn stalling(answer: &'static str) -> (Origin, Receiver<bool>) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let origin = Origin::conversing(move |talk| {
        talk.request();
        talk.send(answer);
        let ended = talk.ends();
        let _ = tell.lock().unwrap().send(ended);
    });
    (origin, told)
}

#[test]
fn an_answer_that_does_not_come_is_waited_for_so_long_and_the_connection_is_given_up() {
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-", "HTTP/1.1 100 Continue\r\n\r\n"] {
        let (origin, ended) = stalling(answer);
        let gateway = start(Document::before(&origin).upstream("timeouts: { response: 300ms }"));
        let late = "the upstream did not answer in time";
        fails(&gateway, "/", &json!([504, "upstream.response_timeout", 1]), late);
        assert!(ended.recv_timeout(PATIENCE).unwrap(), "the connection was given up");
        assert_eq!(origin.seen().len(), 1);
    }
}

#[test]
fn an_answer_that_breaks_off_within_its_head_is_told_as_502_and_nothing_of_it_reaches_the_client() {
    let answers = [
        "",
        "H",
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nx: canary",
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nx: canary\r\n\r",
        "HTTP/1.1 100 Continue\r\nx: canary\r\n\r\n",
    ];
    for reset in [false, true] {
        let origin = Origin::conversing(move |talk| {
            let Some(seen) = talk.request() else { return };
            let number = seen.line.split(['/', ' ']).nth(2).unwrap();
            talk.send(answers[number.parse::<usize>().unwrap()]);
            if reset {
                talk.reset_when_dropped();
            }
        });
        let gateway = start(Document::before(&origin));
        for number in 0..answers.len() {
            let path = format!("/{number}");
            fails(&gateway, &path, &json!([502, "upstream.broken", 1]), BROKEN);
        }
        assert!(!gateway.printed().contains("canary"), "{}", gateway.printed());
        assert_eq!(origin.seen().len(), answers.len(), "nothing was asked again");
    }
}

#[test]
fn a_client_that_leaves_before_the_answer_takes_the_upstreams_connection_along() {
    let (origin, ended) = stalling("");
    let gateway = start(Document::before(&origin));
    let mut client = gateway.client("main");
    client.begin("GET", "/left", &[]);
    origin.wait_seen(1);
    drop(client);
    let line = gateway.access("/left");
    let told = json!([line["status"], line["end"], line["code"]]);
    assert_eq!(told, json!([0, "client_left", null]), "{line}");
    assert!(ended.recv_timeout(PATIENCE).unwrap());
}
