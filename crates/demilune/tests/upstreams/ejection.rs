//! Endpoints that fail requests, and what becomes of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use demilune_testkit::{Document, Gateway, Nobody, Origin, eventually};
use serde_json::json;

use crate::start;

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

fn ejected(gateway: &Gateway, url: &str) -> Option<f64> {
    let labels = format!("upstream=\"origin\",endpoint=\"{url}\"");
    gateway.metric(&format!("demilune_upstream_endpoint_ejected{{{labels}}}"))
}

fn both(one: &str, other: &str, ejection: &str) -> Gateway {
    let both = Document::default().endpoint(one).endpoint(other);
    let settings = format!("balance: round_robin, ejection: {{ {ejection} }}");
    start(both.upstream(&settings))
}

#[test]
fn an_endpoint_that_fails_requests_gets_none_for_a_while() {
    let ((ill, state), well) = (failing(), Origin::start());
    let gateway = both(&ill.url(), &well.url(), "after: 2, time: 2s, longest: 2s");
    // Each client may have another worker: what they see is counted together.
    let statuses = |count: usize| {
        let each = (0..count).map(|_| gateway.client("main").get("/", &[]).status);
        each.collect::<Vec<_>>()
    };
    let before = statuses(4);
    assert_eq!(before.iter().filter(|status| **status == 503).count(), 2, "{before:?}");
    let log = gateway.log("upstream.endpoint_ejected");
    let fields = &log["fields"];
    let told = json!([fields["upstream"], fields["endpoint"], fields["reason"], fields["for"]]);
    assert_eq!(told, json!(["origin", ill.url(), "status 503", "2s"]), "{log}");
    state.store(false, Ordering::SeqCst);
    let returned = gateway.log("upstream.endpoint_returned");
    assert_eq!(returned["fields"]["endpoint"], ill.url());
    assert_eq!(ejected(&gateway, &ill.url()), Some(0.0));
    let labels = format!("upstream=\"origin\",endpoint=\"{}\"", ill.url());
    let series = format!("demilune_upstream_ejections_total{{{labels}}}");
    assert_eq!(gateway.metric(&series), Some(1.0));
    assert_eq!(statuses(4), [200; 4]);
    assert!(ill.seen().len() > 2);
}

#[test]
fn while_it_is_out_all_requests_go_to_the_others() {
    let ((ill, _), well) = (failing(), Origin::start());
    let gateway = both(&ill.url(), &well.url(), "after: 1, time: 1h, longest: 1h");
    let mut client = gateway.client("main");
    let statuses: Vec<u16> = (0..10).map(|_| client.get("/", &[]).status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 1, "{statuses:?}");
    assert_eq!((ill.seen().len(), well.seen().len()), (1, 9));
    assert_eq!(ejected(&gateway, &ill.url()), Some(1.0));
}

#[test]
fn an_endpoint_that_refuses_stalls_or_breaks_off_is_taken_out_too() {
    let silent = Origin::conversing(|talk| {
        talk.request();
        talk.ends();
    });
    let broken = Origin::answering(|_| Vec::new());
    let nobody = Nobody::listening();
    for (url, reason) in [
        (nobody.url(), "no connection"),
        (silent.url(), "no answer in time"),
        (broken.url(), "it broke the exchange off"),
    ] {
        let well = Origin::start();
        let both = Document::before(&well).endpoint(&url);
        let settings = "balance: round_robin, timeouts: { response: 300ms }, \
                        retry: { attempts: 0 }, \
                        ejection: { after: 1, statuses: [], time: 1h, longest: 1h }";
        let gateway = start(both.upstream(settings));
        let mut client = gateway.client("main");
        let statuses: Vec<u16> = (0..6).map(|_| client.get("/", &[]).status).collect();
        assert_eq!(statuses.iter().filter(|status| **status != 200).count(), 1, "{statuses:?}");
        assert_eq!(gateway.log("upstream.endpoint_ejected")["fields"]["reason"], reason);
    }
}

#[test]
fn where_all_fail_one_goes_on_to_be_asked() {
    let ((one, _), (other, state)) = (failing(), failing());
    let gateway = both(&one.url(), &other.url(), "after: 1, time: 1h, longest: 1h, share: 100%");
    let mut client = gateway.client("main");
    for _ in 0..6 {
        assert_eq!(client.get("/", &[]).status, 503);
    }
    assert_eq!(one.seen().len() + other.seen().len(), 6);
    state.store(false, Ordering::SeqCst);
    let out = eventually("one of them is out", || {
        [&one, &other].into_iter().find(|o| ejected(&gateway, &o.url()) == Some(1.0))
    });
    assert_eq!(out.seen().len(), 1);
}

#[test]
fn a_client_that_leaves_takes_nobody_out() {
    let (silent, well) = (
        Origin::conversing(|talk| {
            talk.request();
            talk.ends();
        }),
        Origin::start(),
    );
    let gateway = both(&silent.url(), &well.url(), "after: 1, time: 1h, longest: 1h");
    for number in 0..4 {
        let mut client = gateway.client("main");
        client.begin("GET", &format!("/{number}"), &[]);
        eventually("it is asked", || {
            (silent.seen().len() + well.seen().len() > number).then_some(())
        });
        drop(client);
        gateway.access(&format!("/{number}"));
    }
    assert_eq!(silent.seen().len(), 2);
    assert_eq!(ejected(&gateway, &silent.url()), None);
}

#[test]
fn a_reload_that_changes_something_else_brings_nobody_back() {
    let ((ill, _), well) = (failing(), Origin::start());
    let document = |more: &str| {
        let both = Document::before(&ill).endpoint(&well.url());
        let settings = "balance: round_robin, ejection: { after: 1, time: 1h, longest: 1h }";
        String::from(both.upstream(settings).upstream(more))
    };
    let gateway = demilune_testkit::gateway(env!("CARGO_BIN_EXE_demilune"))
        .config(document("retry: { attempts: 0 }"))
        .start();
    let mut client = gateway.client("main");
    let statuses = [client.get("/", &[]).status, client.get("/", &[]).status];
    assert!(statuses.contains(&503));
    assert_eq!(gateway.reload(&document("retry: { attempts: 2 }"))["code"], "config.loaded");
    for _ in 0..4 {
        assert_eq!(gateway.client("main").get("/", &[]).status, 200);
    }
    assert_eq!(ill.seen().len(), 1);
}
