//! Upstreams that fail, stall, lie, come and go.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod balance;
#[cfg(test)]
mod circuit;
#[cfg(test)]
mod connections;
#[cfg(test)]
mod ejection;
#[cfg(test)]
mod endpoints;
#[cfg(test)]
mod failures;
#[cfg(test)]
mod kept;
#[cfg(test)]
mod misanswers;
#[cfg(test)]
mod names;
#[cfg(test)]
mod pieces;
#[cfg(test)]
mod retries;
#[cfg(test)]
mod tls;

use demilune_testkit::{Document, Gateway, gateway};

/// The real binary, running on this document.
fn start(document: Document) -> Gateway {
    gateway(env!("CARGO_BIN_EXE_demilune")).config(document).start()
}
