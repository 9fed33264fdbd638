//! The data plane: listeners, TLS, HTTP, routing, bodies, upstreams. It drives core's pipeline
//! and does not know the name of any policy.
//!
//! Each worker is one thread with its own runtime, its own sockets (`SO_REUSEPORT`) and its own
//! pool of upstream connections: an exchange never leaves the core it began on.

#![warn(missing_docs)]

mod curfew;
mod exchange;
mod generation;
mod http;
mod hygiene;
mod listener;
mod plane;
mod timer;
mod tls;
mod upstream;
mod worker;

pub use generation::Problem;
pub use http::{SimpleRequest, SimpleResponse, serve_simple};
pub use plane::{Applied, Plane, PlaneSettings};
pub use upstream::watch_upstreams;

use demilune_core::Snapshot;

/// Parsers of outside bytes, for the fuzz targets only.
#[doc(hidden)]
pub mod fuzz {
    /// The length of `body` after the codings that `field` names were undone; `None` where it is
    /// refused.
    #[must_use]
    pub fn decode(body: &[u8], field: &[u8], limit: u64) -> Option<usize> {
        let body = bytes::Bytes::copy_from_slice(body);
        crate::exchange::decode(&body, std::iter::once(field), limit).ok().map(|b| b.len())
    }
}

/// Checks what only the data plane can: that certificates, keys and authorities are usable.
///
/// # Errors
/// All problems, each with the place in the document.
pub fn check(snapshot: &std::sync::Arc<Snapshot>) -> Result<(), Vec<Problem>> {
    generation::Generation::prepare(std::sync::Arc::clone(snapshot), None).map(|_| ())
}
