//! Lines for the operator: startup, reloads, the health of upstreams.

use serde::{Serialize, Serializer};

use crate::redact::redact;

/// How urgent a line of the operator's log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Info,
    /// Works, but somebody should look.
    Warn,
    /// Does not work.
    Error,
}

/// The line.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    kind: &'static str,
    time: &'a str,
    level: Level,
    code: &'static str,
    message: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "Fields::is_empty")]
    fields: Fields<'a>,
}

impl<'a> Line<'a> {
    pub(crate) fn new(
        time: &'a str,
        level: Level,
        code: &'static str,
        message: &'a str,
        fields: &'a [(&'a str, &'a str)],
    ) -> Self {
        Self { kind: "log", time, level, code, message: redact(message), fields: Fields(fields) }
    }
}

struct Fields<'a>(&'a [(&'a str, &'a str)]);

impl Fields<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, redact(value))))
    }
}
