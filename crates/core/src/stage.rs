//! The order in which controls run: a closed list, not numbers.

use std::fmt;

/// Where in the life of a request a hook runs. The order of the variants is the order of execution;
/// within a stage, wider policies run before narrower ones, then in the order written. The Response
/// stage is run the other way round: the response passes back out, and the wider policies have the
/// last word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Before any credential is looked at: addresses, sizes, CORS, limits by address.
    Edge,
    /// Who is calling.
    Authenticate,
    /// What they may do.
    Authorize,
    /// How much of it: limits by consumer.
    Quota,
    /// The body, read only now, bounded by the largest need declared.
    Inspect,
    /// Changes to what the upstream will see.
    Transform,
    /// The exchange with the upstream.
    Upstream,
    /// The answer on its way out.
    Response,
}

impl Stage {
    /// The stage's name in logs, metrics and `explain`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Authenticate => "authenticate",
            Self::Authorize => "authorize",
            Self::Quota => "quota",
            Self::Inspect => "inspect",
            Self::Transform => "transform",
            Self::Upstream => "upstream",
            Self::Response => "response",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
