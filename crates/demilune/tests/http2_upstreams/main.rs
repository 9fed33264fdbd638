//! HTTP/2 to upstreams: connections that requests share, answers that are not believed, trailers.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod grpc;
#[cfg(test)]
mod sharing;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod trailers;

use demilune_testkit::{Gateway, gateway};

/// The real binary, running on this document.
fn start(document: impl Into<String>) -> Gateway {
    gateway(env!("CARGO_BIN_EXE_demilune")).config(document).start()
}
