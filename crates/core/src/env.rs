//! What a policy may ask of the outside when it is built. It can open nothing by itself.

use std::sync::Arc;
use std::time::Duration;

use crate::consumer::Directory;
use crate::hook::Outcome;
use crate::policy::Invalid;
use crate::secret::Secret;
use crate::time::Moment;
use crate::unit::Rate;
use crate::verdict::Fault;

/// What is handed to `build`.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// The consumers and their credentials.
    pub directory: &'a Directory,
    /// Shared counters for limits.
    pub counters: &'a Arc<dyn Counters>,
    /// The bounded pool for heavy work.
    pub compute: &'a Arc<dyn Compute>,
    /// The document's secrets, by name.
    pub secrets: &'a dyn Secrets,
    /// Where in the document this policy stands.
    pub place: &'a Place,
}

impl Env<'_> {
    /// The secret that the document declares under `name`.
    ///
    /// # Errors
    /// Where it is not declared or could not be read; the message never echoes what might be a
    /// secret.
    pub fn secret(&self, name: &str) -> Result<Secret, Invalid> {
        self.secrets.secret(name)
    }
}

/// Where a policy is written: which decides what it shares with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// A stable name of the place, such as `defaults` or `routes.orders`: two routes that inherit
    /// one policy have the same place, so they share its counters.
    pub path: String,
    /// `gateway.yaml:14`, for `explain`.
    pub source: Arc<str>,
}

/// Source of secrets, for [`Env`].
pub trait Secrets {
    /// The secret declared under `name`.
    ///
    /// # Errors
    /// As [`Env::secret`].
    fn secret(&self, name: &str) -> Result<Secret, Invalid>;
}

/// Counters that several workers (later: several machines) share.
pub trait Counters: Send + Sync {
    /// Spends one unit of `rate` with room for `burst` under `key`, by the generic cell rate
    /// algorithm (ATM Forum TM 4.1, section 4.4.2), or says how long until there is room.
    fn spend<'a>(
        &'a self,
        key: CounterKey<'a>,
        rate: Rate,
        burst: u32,
        now: Moment,
    ) -> Outcome<'a, Result<Spent, Fault>>;
}

/// What one counter counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CounterKey<'a> {
    /// The limit: where it is written, and which.
    pub limit: &'a str,
    /// Whom or what it counts within the limit.
    pub subject: &'a str,
}

/// The result of spending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Whether there was room.
    pub admitted: bool,
    /// Units left at once after this one.
    pub remaining: u32,
    /// Until one unit is free again; zero where there is room now.
    pub retry_after: Duration,
    /// Until the limit is as if untouched.
    pub reset_after: Duration,
}

/// A bounded pool of threads for what would hold a worker up: password hashes, large bodies.
pub trait Compute: Send + Sync {
    /// Queues `job`.
    ///
    /// # Errors
    /// [`Saturated`] where the queue is full: the caller faults, it does not wait.
    fn run(&self, job: Box<dyn FnOnce() + Send>) -> Result<(), Saturated>;
}

/// The pool's queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pool for heavy work is full")]
pub struct Saturated;
