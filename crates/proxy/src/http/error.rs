//! What can go wrong on a wire.

use std::fmt;

/// A failure while bytes were read or written.
#[derive(Debug, Clone)]
pub(crate) struct WireError {
    /// Whether we broke it off ourselves.
    pub(crate) ours: bool,
    /// The refusal's code, where there is one of its own.
    pub(crate) code: Option<&'static str>,
    /// For the log; made of the codec's words, never of the peer's.
    pub(crate) reason: String,
}

impl WireError {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self { ours: false, code: None, reason: reason.into() }
    }

    /// What was not as HTTP has it.
    pub(crate) fn refused(code: &'static str, reason: &str) -> Self {
        Self { ours: false, code: Some(code), reason: reason.to_owned() }
    }

    /// A cut of our own.
    pub(crate) fn cut(code: &'static str) -> Self {
        Self { ours: true, code: Some(code), reason: code.to_owned() }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for WireError {}
