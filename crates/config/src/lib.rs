//! The document: typed model, load, diagnose, defaults, schema, compile to a snapshot.
//!
//! Two levels: a [`Document`] is what was written, with positions; a snapshot is what it means.
//! There is one model: the file, the schema, `explain`, `diff` and later the admin API carry the
//! same one.

#![warn(missing_docs)]

pub mod compile;
pub mod diagnostic;
pub mod diff;
mod document;
pub mod explain;
pub mod model;
mod schema;
pub mod tree;

pub use compile::{Compiled, Services, compile};
pub use document::{Document, Rejected, load, load_text};
pub use schema::schema;
