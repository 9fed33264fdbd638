//! What can go wrong on a wire, and on whose side.

use std::fmt;

/// Who broke the exchange off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Upstream,
    Ours,
}

/// A failure while bytes were read or written.
#[derive(Debug, Clone)]
pub(crate) struct WireError {
    /// Whose fault it is.
    pub(crate) side: Side,
    /// For the log; made of the codec's words, never of the peer's.
    pub(crate) reason: String,
}

impl WireError {
    pub(crate) fn new(side: Side, reason: impl Into<String>) -> Self {
        Self { side, reason: reason.into() }
    }

    pub(crate) fn from_hyper(side: Side, error: &hyper::Error) -> Self {
        Self { side, reason: error.to_string() }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for WireError {}
