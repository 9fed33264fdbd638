//! What goes through the gateway, both ways: bodies, headers, connections.

#[cfg(test)]
mod bodies;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod headers;
#[cfg(test)]
mod honest;

use demilune_testkit::{Document, Gateway, gateway};

/// The real binary, running on this document.
fn start(document: Document) -> Gateway {
    gateway(env!("CARGO_BIN_EXE_demilune")).config(document).start()
}
