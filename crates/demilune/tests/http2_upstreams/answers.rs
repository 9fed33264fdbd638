//! Answers over HTTP/2 that are not what they should be.

use demilune_testkit::{Document, Http2, Http2Origin, Origin, Outcome, Step, hello};
use serde_json::json;

use crate::start;

/// What comes of an answer before whose end nothing may be believed: status, code, end.
fn told(steps: Vec<Step>) -> serde_json::Value {
    let origin = Http2Origin::answering(move |_| steps.clone());
    let gateway = start(Document::before_http2(&origin));
    let reply = gateway.client("main").get("/told", &[]);
    let line = gateway.access("/told");
    assert_eq!(line["status"], reply.status);
    assert_eq!(reply.whole, line["end"] == "complete", "{line}");
    json!([reply.status, line["code"], line["end"]])
}

fn half() -> Step {
    Step::Data(b"half".to_vec())
}

#[test]
fn an_answer_that_is_reset_in_the_middle_is_cut_and_never_complete() {
    for code in [0, 2, 8] {
        let origin = Http2Origin::answering(move |seen| match seen.path() {
            "/cut" => vec![Step::Head(200, &[]), half(), Step::Hold, Step::Reset(code)],
            _ => hello(),
        });
        let gateway = start(Document::before_http2(&origin));
        let mut client = Http2::connect(gateway.address("main"), &[]);
        let cut = client.begin("/cut");
        origin.wait_seen(1);
        assert_eq!(client.get("/"), Outcome::Answered(200, b"hello".to_vec()));
        origin.release();
        assert_eq!(client.outcome(cut), Outcome::Reset(2, 200, b"half".to_vec()), "{code}");
        assert_eq!(gateway.access("/cut")["end"], "upstream_cut");
        assert_eq!(origin.connections(), 1);
    }
}

#[test]
fn a_length_that_is_not_the_bodys_cuts_the_answer() {
    let cut = json!([200, null, "upstream_cut"]);
    let long = &[("content-length", "9")];
    assert_eq!(told(vec![Step::Head(200, long), half(), Step::End]), cut);
    let short = &[("content-length", "3")];
    let longer = told(vec![Step::Head(200, short), Step::Data(b"more".to_vec()), Step::End]);
    // h2 may have refused it before the head was looked at.
    assert!(longer == cut || longer == json!([502, "upstream.http2", "complete"]), "{longer}");
}

#[test]
fn heads_that_could_be_read_in_two_ways_are_refused() {
    for (fields, code) in [
        (&[("content-length", "5"), ("content-length", "5")][..], "upstream.ambiguous_length"),
        (&[("content-length", "5"), ("content-length", "6")], "upstream.http2"),
        (&[("content-length", "+5")], "upstream.http2"),
        (&[("content_length", "5")], "upstream.look_alike_field"),
    ] {
        let fields: &'static [(&str, &str)] = fields;
        let steps = vec![Step::Head(200, fields), Step::Data(b"hello".to_vec()), Step::End];
        assert_eq!(told(steps), json!([502, code, "complete"]), "{fields:?}");
    }
}

#[test]
fn interim_answers_are_few_and_never_switch() {
    let interim = |count: usize| vec![Step::Head(103, &[]); count];
    let then_hello = |count| interim(count).into_iter().chain(hello()).collect::<Vec<_>>();
    assert_eq!(told(then_hello(8)), json!([200, null, "complete"]));
    assert_eq!(told(then_hello(9)), json!([502, "upstream.unexpected", "complete"]));
}

/// An origin that answers the first stream with this block of fields, and nothing else.
fn saying(fields: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::conversing(move |talk| {
        let _ = talk.bytes(24);
        talk.send(Http2::frame(4, 0, 0, &[]));
        while let Some(head) = talk.bytes(9) {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let _ = talk.bytes(usize::try_from(length).unwrap());
            match head[3] {
                1 => talk.send(Http2::frame(1, 5, 1, &Http2::fields(fields))),
                4 if head[4] == 0 => talk.send(Http2::frame(4, 1, 0, &[])),
                _ => {}
            }
        }
    })
}

#[test]
fn heads_that_break_the_rules_are_refused_with_their_code() {
    for (fields, code) in [
        (&[(":status", "200")][..], None),
        (&[(":status", "101")], Some("upstream.unexpected")),
        (&[("x", "1")], Some("upstream.http2")),
        (&[(":status", "200"), (":status", "200")], Some("upstream.http2")),
        // What belongs to requests is read over: nothing of it goes on.
        (&[(":status", "200"), (":path", "/")], None),
        (&[(":status", "2000")], Some("upstream.http2")),
        (&[(":status", "200"), ("Upper", "1")], Some("upstream.http2")),
        (&[(":status", "200"), ("connection", "close")], Some("upstream.http2")),
        (&[(":status", "200"), ("transfer-encoding", "chunked")], Some("upstream.http2")),
        (&[(":status", "200"), ("x", "a\r\nb: c")], Some("upstream.http2")),
        (&[(":status", "200"), ("content-length", "5")], Some("upstream.http2")),
    ] {
        let origin = saying(fields);
        let gateway = start(Document::before(&origin).upstream("http2: prior_knowledge"));
        let status = gateway.client("main").get("/said", &[]).status;
        assert_eq!(status, if code.is_none() { 200 } else { 502 }, "{fields:?}");
        assert_eq!(gateway.access("/said")["code"], json!(code), "{fields:?}");
    }
}

#[test]
fn answers_without_a_body_are_whole_whatever_length_they_tell() {
    let origin = Http2Origin::answering(|seen| match seen.path() {
        "/304" => vec![Step::Only(304, &[("content-length", "9")])],
        "/204" => vec![Step::Head(204, &[]), Step::End],
        _ => vec![Step::Only(200, &[("content-length", "9")])],
    });
    let gateway = start(Document::before_http2(&origin));
    let mut client = gateway.client("main");
    client.begin("HEAD", "/head", &[]);
    let reply = client.read(true).unwrap();
    assert_eq!((reply.status, reply.header("content-length")), (200, Some("9")));
    assert_eq!(client.get("/204", &[]).status, 204);
    assert_eq!(client.get("/304", &[]).status, 304);
    assert_eq!(origin.connections(), 1);
}
