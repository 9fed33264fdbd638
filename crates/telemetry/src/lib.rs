//! Metrics, access log and security events, written from one place.
//!
//! Each worker has a [`Recorder`]. It takes the [`Record`](demilune_core::Record) of each closed
//! exchange, and in one place counts it, writes its line of the access log and the lines of its
//! events. Lines are JSON objects, one on each line, told apart by `kind`: `access`, `event`,
//! `log`.
//!
//! The request path takes no contended lock: counters have one writer each and are added up when
//! they are scraped, lines go to a buffer of the worker's own, which a single thread empties. A
//! sink that is slow or broken costs lines, never requests; lines lost are counted and reported.
//!
//! Labels of metrics come from the document or from fixed sets, never from what a client sent. What
//! a client sent reaches the log [redacted](redact()) only.

#![warn(missing_docs)]

mod access;
mod events;
mod json;
mod lock;
mod log;
mod metrics;
mod recorder;
mod redact;
mod scan;
mod stamp;
mod telemetry;
mod verdict;
mod writer;

pub use events::{AUTH_SUCCEEDED, Event, FAULT_OPEN, events};
pub use log::Level;
pub use metrics::CONTENT_TYPE;
pub use recorder::Recorder;
pub use redact::redact;
pub use telemetry::Telemetry;
pub use verdict::{Refusal, refusal};
