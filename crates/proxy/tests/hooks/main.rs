//! Hooks that no policy of this release has, on real sockets: on bodies, both ways, before anybody
//! is known, and in the upstream's place. The policies are made for the tests.

#![expect(clippy::unwrap_used, reason = "what goes wrong in a test must stop it")]

mod bodies_of_strangers;
mod endpoints;
mod fixture;
mod policies;
mod request_bodies;
mod response_bodies;
mod response_chunks;
mod response_heads;
