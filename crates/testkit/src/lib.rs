//! For tests: the policy harness, origins, clients and the running binary.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "this crate is for tests only: what goes wrong in it must stop the test"
)]

mod certificate;
mod client;
mod document;
mod gateway;
mod harness;
mod http2;
mod http2_origin;
mod nginx;
mod nobody;
mod origin;
mod patience;
mod peer;
mod wire;

pub use certificate::Authority;
pub use client::{Client, Reply};
pub use document::Document;
pub use gateway::{Gateway, GatewayBuilder, gateway};
pub use harness::{ALICE_KEY, ALICE_PASSWORD, BOB_KEY, Harness, check};
pub use http2::{Http2, Outcome};
pub use http2_origin::{Called, Fields, Http2Origin, Http2Seen, Step, call, hello};
pub use nginx::Nginx;
pub use nobody::Nobody;
pub use origin::{Conversation, Origin, Seen};
pub use patience::eventually;
pub use peer::peer;
pub use wire::Wire;
