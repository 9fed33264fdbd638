//! What the gateway refuses, what the client may read of it, and what the log says.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod case;
#[cfg(test)]
mod chunks;
#[cfg(test)]
mod framing;
#[cfg(test)]
mod heads;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod lines;
#[cfg(test)]
mod paths;

use demilune_testkit::{Document, Gateway, gateway};

/// The real binary, running on this document.
fn start(document: Document) -> Gateway {
    gateway(env!("CARGO_BIN_EXE_demilune")).config(document).start()
}
