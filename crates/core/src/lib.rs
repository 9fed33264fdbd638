//! Vocabulary and pipeline of Demilune.
//!
//! Everything that the other crates talk about is named here: a request, an identity, a verdict,
//! a stage, a policy's roles, the trail, the snapshot; and the one engine that runs a route's
//! policies in order. This crate performs no I/O, owns no runtime and reads no clock: time and
//! randomness come in as arguments, so that the tests, `demilune explain` and the data plane run
//! the very same code.

#![warn(missing_docs)]

pub mod body;
pub mod chain;
pub mod consumer;
pub mod env;
pub mod head;
pub mod hook;
pub mod network;
pub mod path;
pub mod pipeline;
pub mod policy;
pub mod problem;
pub mod record;
pub mod route;
pub mod secret;
pub mod snapshot;
pub mod stage;
pub mod time;
pub mod trail;
pub mod unit;
pub mod verdict;

pub use body::Body;
pub use chain::{Chain, Entry, OnFault, Requirement};
pub use consumer::{Consumer, Directory, Identity};
pub use env::{Compute, Counters, Env, Place, Saturated, Spent};
pub use head::{Downstream, Host, Outgoing, Request, RequestHead, RequestId, ResponseHead, Scheme};
pub use hook::{
    Authenticator, Authorizer, BodyMeter, Carrier, ChunkInspection, ChunkRewriting, EndpointPath,
    Gate, Guard, Hook, Hooks, Inspector, Outcome, Passage, Proof, ResponseBodyInspector,
    ResponseBodyRewriter, ResponseChunkInspector, ResponseChunkRewriter, ResponseInspector,
    ResponseRewriter, Rewriter, Slot,
};
pub use network::{Network, Networks};
pub use path::{PathExceptions, Target};
pub use pipeline::Exchange;
pub use policy::{Authentication, Code, Invalid, Meta, Policy};
pub use record::Record;
pub use route::{Route, RouteIndex};
pub use secret::Secret;
pub use snapshot::Snapshot;
pub use stage::Stage;
pub use time::{Clock, Moment};
pub use trail::{Step, Trail};
pub use unit::{ByteSize, Percent, Period, Rate};
pub use verdict::{Answer, Denial, Ending, Fault, Verdict};
