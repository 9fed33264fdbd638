//! Bodies of requests that a policy looks at: read whole, decoded, bounded, and only after the head
//! was admitted.

use std::sync::Arc;

use demilune_core::Hooks;
use demilune_testkit::Origin;

use crate::fixture::{Gateway, gzip, part};
use crate::policies::{Looks, Notes};

/// A gateway with an inspector before an origin.
fn start() -> (Gateway, Notes) {
    let notes = Notes::default();
    let looks = Arc::new(Looks { notes: notes.clone(), limit: 1000 });
    (Gateway::start(Origin::start(), vec![part("looks", Hooks::new().inspector(&looks))]), notes)
}

#[test]
fn an_inspector_sees_the_whole_body_and_the_origin_gets_it_as_it_was_sent() {
    let (gateway, notes) = start();
    let mut client = gateway.client();
    assert_eq!(client.request("POST", "/", &[], Some(b"plain")).status, 200);
    client.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
    client.send("2\r\nin\r\n7\r\n pieces\r\n0\r\n\r\n");
    assert_eq!(client.read(false).unwrap().status, 200);
    assert_eq!(notes.all(), ["plain", "in pieces"]);
    let bodies: Vec<_> = gateway.origin.seen().into_iter().map(|seen| seen.body).collect();
    assert_eq!(bodies, [b"plain".to_vec(), b"in pieces".to_vec()]);
}

#[test]
fn compression_does_not_walk_past_an_inspector() {
    let (gateway, notes) = start();
    let mut client = gateway.client();
    let coded = [("content-encoding", "gzip")];
    assert_eq!(client.request("POST", "/", &coded, Some(&gzip("an attack"))).status, 403);
    assert_eq!(client.request("POST", "/", &coded, Some(&gzip("fine"))).status, 200);
    assert_eq!(notes.all(), ["an attack", "fine"]);
    let seen = gateway.origin.last();
    assert_eq!((seen.body, gateway.origin.seen().len()), (gzip("fine"), 1));
}

#[test]
fn what_cannot_be_inspected_is_refused() {
    for (coding, body, status) in [
        ("gzip", gzip("x".repeat(2000)), 413),
        ("identity", b"x".repeat(2000), 413),
        ("gzip", b"no gzip".to_vec(), 400),
        ("zstd", b"whatever".to_vec(), 415),
        ("gzip, gzip, gzip", b"whatever".to_vec(), 415),
    ] {
        let (gateway, notes) = start();
        let headers = [("content-encoding", coding)];
        let reply = gateway.client().request("POST", "/", &headers, Some(&body));
        assert_eq!(reply.status, status, "{coding}");
        assert!(notes.all().is_empty() && gateway.origin.seen().is_empty(), "{coding}");
    }
}
