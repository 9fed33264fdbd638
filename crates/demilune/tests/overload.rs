//! Too much to do, and too little done by a client: new work is refused, and drips are not waited
//! for.

use std::time::Duration;

use demilune_testkit::{Client, Document, Gateway, Origin, eventually, gateway};
use serde_json::{Value, json};

const OVERLOADED: &str = "gateway.overloaded";
/// Debug builds alone use more memory than this.
const ANY_IS_TOO_MUCH: &str = "overload: { memory: 16MiB }\n";

fn start(origin: &Origin, limits: &str, overload: &str) -> Gateway {
    let limits = if limits.is_empty() { "limits: {}" } else { limits };
    let document = String::from(Document::before(origin).listener(limits)) + overload;
    gateway(env!("CARGO_BIN_EXE_demilune")).config(document).start()
}

fn overloaded(gateway: &Gateway, reason: &str) -> f64 {
    let series = format!("demilune_overloaded{{reason=\"{reason}\"}}");
    gateway.metric(&series).unwrap_or_default()
}

#[test]
fn where_enough_requests_are_under_way_no_more_are_taken_on_until_some_end() {
    let (origin, release) = Origin::held();
    // One for each worker.
    let gateway = start(&origin, "", "overload: { requests: 1 }\n");
    let mut clients: Vec<Client> = (0..16).map(|_| gateway.client("main")).collect();
    for client in &mut clients {
        client.begin("GET", "/slow", &[]);
    }
    let access = eventually("all but those under way are refused", || {
        let refused = |line: &Value| line["kind"] == "access" && line["code"] == OVERLOADED;
        let refused = gateway.lines(refused);
        (refused.len() + origin.seen().len() == clients.len()).then_some(refused)
    });
    assert!(access.iter().all(|line| line["status"] == 503), "{access:#?}");
    assert!(overloaded(&gateway, "requests") >= 1.0);
    drop(release);
    let statuses: Vec<u16> = clients.iter_mut().map(|c| c.read(false).unwrap().status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), origin.seen().len());
    for client in &mut clients {
        let reply = client.get("/", &[]);
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    gateway.log("overload.ended");
}

#[test]
fn where_memory_runs_short_new_requests_are_refused_and_told_when_to_come_again() {
    let origin = Origin::start();
    let gateway = start(&origin, "", ANY_IS_TOO_MUCH);
    let mut client = gateway.client("main");
    let reply = eventually("memory is looked at", || {
        let reply = client.get("/", &[]);
        (reply.status != 200).then_some(reply)
    });
    let told = (reply.status, reply.header("retry-after"));
    assert_eq!(told, (503, Some("2")), "{}", reply.text());
    let line = gateway.wait(|line| line["code"] == OVERLOADED && line["kind"] == "access");
    assert_eq!((&line["status"], &line["route"]), (&json!(503), &json!(null)), "{line}");
    assert_eq!(gateway.log("overload.began")["fields"]["reason"], "memory");
    assert!(overloaded(&gateway, "memory") >= 1.0);
}

#[test]
fn a_request_has_a_deadline_as_a_whole_where_one_is_set() {
    let (origin, _release) = Origin::held();
    let gateway = start(&origin, "limits: { request: 300ms }", "");
    let mut client = gateway.client("main");
    let reply = client.get("/slow/1", &[]);
    assert_eq!(reply.status, 504);
    assert_eq!(gateway.access("/slow/1")["code"], "gateway.request_timeout");
    // The connection is one for requests still.
    assert_eq!(client.get("/slow/2", &[]).status, 504);
}

#[test]
fn an_answer_that_goes_on_beyond_the_requests_deadline_is_cut() {
    let origin = Origin::conversing(|talk| {
        if talk.request().is_some() {
            talk.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n");
            while talk.sends("1\r\nx\r\n") {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    });
    let gateway = start(&origin, "limits: { request: 300ms }", "");
    let reply = gateway.client("main").get("/endless", &[]);
    assert_eq!((reply.status, reply.whole), (200, false));
    assert_eq!(gateway.access("/endless")["end"], "upstream_cut");
}

#[test]
fn a_body_that_comes_in_drips_is_given_up_though_each_drip_is_in_time() {
    let origin = Origin::start();
    let gateway = start(&origin, "limits: { least_rate: 1KiB }", "");
    let mut client = gateway.client("main");
    client.send("POST /drips HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n");
    eventually("it is given up", || {
        std::thread::sleep(Duration::from_millis(250));
        client.sends("x");
        gateway.lines(|line| line["code"] == "http.body_too_slow").into_iter().next()
    });
    assert_eq!(client.read(false).unwrap().status, 408);
}
