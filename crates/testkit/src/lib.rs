//! For tests: the policy harness, origins, clients and the running binary.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "this crate is for tests only: what goes wrong in it must stop the test"
)]

mod certificate;
mod client;
mod gateway;
mod harness;
mod nginx;
mod origin;
mod patience;
mod peer;

pub use certificate::Authority;
pub use client::{Client, Reply};
pub use gateway::{Gateway, gateway};
pub use harness::{ALICE_KEY, ALICE_PASSWORD, BOB_KEY, Harness, check};
pub use nginx::Nginx;
pub use origin::{Origin, Seen};
pub use patience::eventually;
pub use peer::peer;
