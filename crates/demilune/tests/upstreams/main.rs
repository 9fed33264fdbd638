//! Upstreams that fail, stall, lie, come and go.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod endpoints;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod kept;
#[cfg(test)]
mod misanswers;
#[cfg(test)]
mod pieces;

use demilune_testkit::{Document, Gateway, gateway};
use serde_json::{Value, json};

/// The real binary, running on this document.
fn start(document: Document) -> Gateway {
    gateway(env!("CARGO_BIN_EXE_demilune")).config(document).start()
}

/// A request that gets no answer: its status, its code and how many endpoints were tried, in the
/// access line; an event; and a body that says no more than `detail`.
fn fails(gateway: &Gateway, path: &str, expected: &Value, detail: &str) {
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
