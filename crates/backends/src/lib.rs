//! What policies may ask of the outside, behind core's traits: the clock, the counters of limits,
//! and the pool for heavy work.
//!
//! Everything here lives in memory and belongs to one process.

#![warn(missing_docs)]

mod clock;
mod compute;
mod counters;

pub use clock::{SystemClock, TestClock};
pub use compute::Pool;
pub use counters::{CAPACITY, MemoryCounters};
