//! Which endpoint is asked, by weight, key and latency.

use demilune_testkit::{ALICE_KEY, BOB_KEY, Document, Gateway, Origin};
use serde_json::Value;

use crate::start;

fn origins(count: usize) -> Vec<Origin> {
    (0..count).map(|_| Origin::start()).collect()
}

fn before(origins: &[Origin], settings: &str) -> Document {
    let all = origins.iter().fold(Document::default(), |all, one| all.endpoint(&one.url()));
    all.upstream(settings)
}

/// The endpoint that was asked for each of these.
fn asked(gateway: &Gateway, prefix: &str, requests: &[&[(&str, &str)]]) -> Vec<Value> {
    let mut endpoints = Vec::new();
    for (number, headers) in requests.iter().enumerate() {
        let path = format!("/{prefix}/{number}");
        assert_eq!(gateway.client("main").get(&path, headers).status, 200);
        endpoints.push(gateway.access(&path)["upstream"]["endpoint"].clone());
    }
    endpoints
}

#[test]
fn an_endpoint_gets_as_much_as_its_weight_says() {
    let (one, three) = (Origin::start(), Origin::start());
    let text = String::from(Document::before(&one).endpoint("http://127.0.0.1:1"));
    let weighted = format!("{{ url: \"{}\", weight: 3 }}", three.url());
    let text = text.replace("\"http://127.0.0.1:1\"", &weighted);
    let text = text.replace("weight: 3 }]", "weight: 3 }], balance: round_robin");
    let gateway = demilune_testkit::gateway(env!("CARGO_BIN_EXE_demilune")).config(text).start();
    for _ in 0..12 {
        assert_eq!(gateway.client("main").get("/", &[]).status, 200);
    }
    assert_eq!((one.seen().len(), three.seen().len()), (3, 9));
}

#[test]
fn requests_with_one_header_or_cookie_go_to_one_endpoint_whichever_worker_serves_them() {
    let origins = origins(4);
    for (on, name, values) in [
        ("{ header: x-tenant }", "x-tenant", ["a", "b", "c", "d", "e", "f", "g", "h"]),
        (
            "{ cookie: id }",
            "cookie",
            ["id=a", "id=b", "id=c", "id=d", "id=e", "id=f", "id=g", "id=h"],
        ),
    ] {
        let settings = format!("balance: {{ consistent_hash: {{ on: {on} }} }}");
        let gateway = start(before(&origins, &settings));
        let fields: Vec<_> = values.iter().map(|value| [(name, *value)]).collect();
        let requests: Vec<&[(&str, &str)]> = fields.iter().map(|field| &field[..]).collect();
        let first = asked(&gateway, "first", &requests);
        assert_eq!(first, asked(&gateway, "again", &requests));
        let same = first.iter().all(|endpoint| *endpoint == first[0]);
        assert!(!same, "keys are spread: {first:?}");
    }
}

#[test]
fn requests_of_one_consumer_or_address_go_to_one_endpoint() {
    let origins = origins(3);
    let by_consumer = "balance: { consistent_hash: { on: consumer } }";
    let gateway = start(before(&origins, by_consumer).route("authenticate: keys"));
    let fields = [[("x-api-key", ALICE_KEY)], [("x-api-key", BOB_KEY)]];
    let requests: Vec<&[(&str, &str)]> = fields.iter().cycle().take(8).map(|f| &f[..]).collect();
    let endpoints = asked(&gateway, "consumer", &requests);
    assert!(endpoints.iter().step_by(2).all(|endpoint| *endpoint == endpoints[0]));
    assert!(endpoints.iter().skip(1).step_by(2).all(|endpoint| *endpoint == endpoints[1]));
    let by_address = "balance: { consistent_hash: { on: address } }";
    let gateway = start(before(&origins, by_address));
    let endpoints = asked(&gateway, "address", &[&[] as &[(&str, &str)]; 6]);
    assert!(endpoints.iter().all(|endpoint| *endpoint == endpoints[0]), "{endpoints:?}");
}

#[test]
fn without_the_key_the_endpoint_with_the_least_to_do_is_asked() {
    let origins = origins(3);
    let settings = "balance: { consistent_hash: { on: { header: x-tenant } } }";
    let gateway = start(before(&origins, settings));
    asked(&gateway, "none", &[&[] as &[(&str, &str)]; 6]);
    assert_eq!(origins.iter().map(|origin| origin.seen().len()).collect::<Vec<_>>(), [2, 2, 2]);
}

#[test]
fn an_endpoint_that_fails_at_once_is_not_taken_for_a_quick_one() {
    let no = b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n";
    let (ill, well) = (Origin::answering(|_| no.to_vec()), Origin::start());
    let both = Document::before(&ill).endpoint(&well.url()).upstream("balance: peak_ewma");
    let gateway = start(both);
    let statuses: Vec<u16> = (0..40).map(|_| gateway.client("main").get("/", &[]).status).collect();
    // It was asked once, or never where the other was always the better of the two.
    assert!(statuses.iter().filter(|status| **status == 503).count() <= 1, "{statuses:?}");
    assert!(well.seen().len() >= 39);
}
