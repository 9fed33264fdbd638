//! Endpoints with names: looked up beside the requests, never for one.

use demilune_testkit::{Document, Origin, eventually};
use serde_json::json;

use crate::start;

fn named(origin: &Origin) -> Document {
    Document::default().endpoint(&format!("http://localhost:{}", origin.address.port()))
}

#[test]
fn a_name_is_looked_up_once_however_many_connections_are_opened() {
    let origin = Origin::start();
    // On every connection one request: each of them needs an address.
    let settings = "idle_connections: 0, dns: { interval: 1h }";
    let gateway = start(named(&origin).upstream(settings));
    for _ in 0..20 {
        assert_eq!(gateway.client("main").get("/", &[]).status, 200);
    }
    assert_eq!(origin.connections(), 20);
    assert!(
        origin
            .seen()
            .iter()
            .all(|seen| { seen.header("host").is_some_and(|host| host.starts_with("localhost:")) })
    );
    let look_ups = "demilune_upstream_name_look_ups_total{name=\"localhost\",result=\"success\"}";
    assert_eq!(gateway.metric(look_ups), Some(1.0));
    let addresses = gateway.metric("demilune_upstream_name_addresses{name=\"localhost\"}");
    assert!(addresses.is_some_and(|count| count >= 1.0));
}

#[test]
fn a_name_is_looked_up_again_and_again() {
    let origin = Origin::start();
    let gateway = start(named(&origin).upstream("dns: { interval: 1s }"));
    let look_ups = "demilune_upstream_name_look_ups_total{name=\"localhost\",result=\"success\"}";
    eventually("a third look-up", || gateway.metric(look_ups).filter(|count| *count >= 3.0));
    assert_eq!(gateway.client("main").get("/", &[]).status, 200);
}

#[test]
fn a_name_without_an_address_is_told_as_unreachable_and_to_the_operator() {
    // RFC 6761 section 6.4: no such name exists.
    let gateway = start(Document::default().endpoint("http://shop.invalid:80"));
    let reply = gateway.client("main").get("/", &[]);
    let line = gateway.access("/");
    let told = json!([reply.status, line["code"], line["upstream"]["attempts"]]);
    assert_eq!(told, json!([502, "upstream.unreachable", 1]), "{line}");
    let log = gateway.log("upstream.name_unresolved");
    let told = json!([log["fields"]["name"], log["fields"]["addresses_kept"]]);
    assert_eq!(told, json!(["shop.invalid", "0"]), "{log}");
}

#[test]
fn a_name_that_comes_with_a_reload_is_looked_up() {
    let origin = Origin::start();
    let gateway = start(Document::before(&origin));
    assert_eq!(gateway.client("main").get("/", &[]).status, 200);
    gateway.reload(&String::from(named(&origin)));
    assert_eq!(gateway.client("main").get("/", &[]).status, 200);
    assert!(origin.last().header("host").is_some_and(|host| host.starts_with("localhost:")));
}
