//! The data plane: listeners, TLS, HTTP, routing, bodies, upstreams. It drives core's pipeline and does
//! not know the name of any policy.
//!
//! Each worker is one thread with its own runtime, its own sockets (`SO_REUSEPORT`) and its own pool of
//! upstream connections: an exchange never leaves the core it began on.

#![warn(missing_docs)]

mod exchange;
mod generation;
mod http;
mod hygiene;
mod listener;
mod plane;
mod tls;
mod upstream;
mod worker;

pub use generation::Problem;
pub use http::{SimpleRequest, SimpleResponse, serve_simple};
pub use plane::{Applied, Plane, PlaneSettings};
pub use upstream::check_health;

use demilune_core::Snapshot;

/// Checks what only the data plane can: that certificates, keys and authorities are usable.
///
/// # Errors
/// All problems, each with the place in the document.
pub fn check(snapshot: &std::sync::Arc<Snapshot>) -> Result<(), Vec<Problem>> {
    generation::Generation::prepare(std::sync::Arc::clone(snapshot), None).map(|_| ())
}
