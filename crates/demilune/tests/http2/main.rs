//! HTTP/2 from clients: what it carries, what it refuses, and what floods of it cost.

#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong in a test must stop it, in its functions too"
)]

mod floods;
mod requests;
mod resets;
mod streams;

use demilune_testkit::{Document, Gateway, Http2, Origin, gateway};

/// The code of RFC 9113 section 7 with which a flood is sent away.
const CALM: u32 = 11;
const PROTOCOL_ERROR: u32 = 1;

fn start(document: Document) -> Gateway {
    gateway(env!("CARGO_BIN_EXE_demilune")).config(document).start()
}

/// A gateway that takes HTTP/2 without TLS.
fn before(origin: &Origin) -> Gateway {
    start(Document::before(origin).listener("http2: prior_knowledge"))
}

fn client(gateway: &Gateway) -> Http2 {
    Http2::connect(gateway.address("main"), &[])
}

/// Waits for the line of a request that was not understood, with this code.
fn told(gateway: &Gateway, code: &str) {
    gateway.wait(|line| line["kind"] == "access" && line["code"] == code);
    gateway.wait(|line| line["kind"] == "event" && line["type"] == code);
    let series =
        format!("demilune_decisions_total{{policy=\"http\",verdict=\"deny\",code=\"{code}\"}}");
    assert!(gateway.metric(&series).is_some_and(|count| count >= 1.0), "{series}");
}
