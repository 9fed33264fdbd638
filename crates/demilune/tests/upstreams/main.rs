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

/// The real binary, running on this document.
fn start(document: Document) -> Gateway {
    gateway(env!("CARGO_BIN_EXE_demilune")).config(document).start()
}
