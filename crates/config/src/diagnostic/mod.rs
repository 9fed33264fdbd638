//! Diagnostics: what is wrong with a document, where, why, and what to write instead.
//!
//! A [`Diagnostic`] carries a stable code, a position and plain words; [`Diagnostics`] collects as
//! many as can be found in one pass; [`Sources`] holds the texts, so that rendering can quote the
//! line. Two renderings exist: text with a caret for people ([`Diagnostics::render`]) and rows for
//! machines ([`Diagnostics::rows`]).
//!
//! Invariant: an excerpt never shows a line marked with [`Diagnostic::conceal`], and nothing that
//! comes out of a document reaches the terminal with its control characters.

mod render;
mod source;

use std::cmp::Ordering;

use serde::Serialize;

pub use render::clean;
pub(crate) use source::Lines;
pub use source::Sources;

/// How many diagnostics [`Diagnostics::render`] prints before it says "and N more".
pub const MAX_SHOWN: usize = 200;

/// How many diagnostics are kept; further ones are only counted, so that a hostile document cannot
/// turn one byte of input into a hundred bytes of complaint without end.
pub const MAX_KEPT: usize = 1_000;

/// A source file, as [`Sources::add`] numbered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileId(pub u32);

/// A stretch of one line of one file.
///
/// What spans several lines is named by the part on its first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span {
    /// The file.
    pub file: FileId,
    /// The line, counted from 1.
    pub line: u32,
    /// The column of the first character, counted in characters from 1.
    pub column: u32,
    /// The number of characters; 0 for a whole file, of which no line is quoted.
    pub length: u32,
}

/// How much a diagnostic weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The document is refused.
    Error,
    /// The document loads, and somebody should look at this.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The word printed before the code: `error`, `warning` or `note`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One finding about a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The stable name of this kind of finding, such as `config.unknown_key`.
    pub code: &'static str,
    /// How much it weighs.
    pub severity: Severity,
    /// Where in the tree: `routes.orders.policies[2].rate_limit.limit`; empty for a whole file.
    pub path: String,
    /// Where in the text, if it has a place there.
    pub at: Option<Span>,
    /// What is wrong: what was expected and what was found; lower-case, no full stop.
    pub reason: String,
    /// What to write instead, where that is known.
    pub help: Option<String>,
    /// Other places that matter, each with what stands there.
    pub related: Vec<(Span, String)>,
    /// The line may hold a secret: it is not quoted.
    pub conceal: bool,
}

impl Diagnostic {
    /// A diagnostic of the given severity, without a place yet.
    #[must_use]
    pub fn new(severity: Severity, code: &'static str, reason: impl Into<String>) -> Self {
        Self {
            code,
            severity,
            path: String::new(),
            at: None,
            reason: reason.into(),
            help: None,
            related: Vec::new(),
            conceal: false,
        }
    }

    /// An error, which keeps the document from loading.
    #[must_use]
    pub fn error(code: &'static str, reason: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, reason)
    }

    /// A warning: the document loads.
    #[must_use]
    pub fn warning(code: &'static str, reason: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, reason)
    }

    /// A note.
    #[must_use]
    pub fn note(code: &'static str, reason: impl Into<String>) -> Self {
        Self::new(Severity::Note, code, reason)
    }

    /// Names the place in the text.
    #[must_use]
    pub fn at(mut self, span: Span) -> Self {
        self.at = Some(span);
        self
    }

    /// Names the place in the tree.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Says what to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds another place that matters, with what stands there: `first written here`.
    #[must_use]
    pub fn related(mut self, span: Span, text: impl Into<String>) -> Self {
        self.related.push((span, text.into()));
        self
    }

    /// Whether the line must not be quoted, because it may hold a secret. Once concealed, always
    /// concealed.
    #[must_use]
    pub fn conceal(mut self, conceal: bool) -> Self {
        self.conceal |= conceal;
        self
    }
}

/// A collection of diagnostics, at most [`MAX_KEPT`]; the rest is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    kept: Vec<Diagnostic>,
    dropped: usize,
    errors: usize,
}

impl Diagnostics {
    /// An empty collection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one. Past [`MAX_KEPT`] it is counted and dropped.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.errors += usize::from(diagnostic.severity == Severity::Error);
        if self.kept.len() < MAX_KEPT {
            self.kept.push(diagnostic);
        } else {
            self.dropped += 1;
        }
    }

    /// Moves everything out of `other` into this collection.
    pub fn append(&mut self, other: Self) {
        // What `other` dropped is counted with its errors; what it kept is counted by `push`.
        let kept_errors = other.iter().filter(|d| d.severity == Severity::Error).count();
        self.errors += other.errors.saturating_sub(kept_errors);
        self.dropped += other.dropped;
        for diagnostic in other.kept {
            self.push(diagnostic);
        }
    }

    /// Whether nothing was found at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many were found, kept or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len() + self.dropped
    }

    /// How many were found but not kept.
    #[must_use]
    pub fn dropped(&self) -> usize {
        self.dropped
    }

    /// Whether one of them is an error, so that the document must not be used.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Whether the collection is full: looking for more is wasted work.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.kept.len() >= MAX_KEPT
    }

    /// The kept ones, in the order they were found.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.kept.iter()
    }

    /// The kept ones by file, line and column; those without a place come first.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Diagnostic> {
        let mut sorted: Vec<_> = self.kept.iter().collect();
        sorted.sort_by(|a, b| by_place(a, b));
        sorted
    }

    /// `value` if no error was found, else the diagnostics.
    ///
    /// # Errors
    /// The collection itself, when it holds an error. Warnings alone are dropped: a caller that
    /// wants them looks before it asks.
    pub fn or_value<T>(self, value: T) -> Result<T, Self> {
        if self.has_errors() { Err(self) } else { Ok(value) }
    }

    /// The rows of machine-readable output, by place.
    #[must_use]
    pub fn rows<'a>(&'a self, sources: &'a Sources) -> Vec<Row<'a>> {
        self.sorted().into_iter().map(|diagnostic| Row::new(diagnostic, sources)).collect()
    }

    /// The text for people: each with its line and a caret, [`MAX_SHOWN`] at most.
    #[must_use]
    pub fn render(&self, sources: &Sources) -> String {
        render::render(self, sources)
    }
}

fn by_place(a: &Diagnostic, b: &Diagnostic) -> Ordering {
    let place = |d: &Diagnostic| d.at.map(|span| (span.file, span.line, span.column));
    place(a).cmp(&place(b)).then_with(|| a.severity.cmp(&b.severity))
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        let mut diagnostics = Self::new();
        diagnostics.push(diagnostic);
        diagnostics
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, diagnostics: I) {
        for diagnostic in diagnostics {
            self.push(diagnostic);
        }
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.kept.into_iter()
    }
}

/// One diagnostic as machine-readable output carries it (`check --output json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row<'a> {
    /// The stable name of this kind of finding.
    pub code: &'a str,
    /// `error`, `warning` or `note`.
    pub severity: Severity,
    /// Where in the tree.
    pub path: &'a str,
    /// The file's name.
    pub file: Option<&'a str>,
    /// The line, counted from 1.
    pub line: Option<u32>,
    /// The column, counted in characters from 1.
    pub column: Option<u32>,
    /// What is wrong.
    pub reason: &'a str,
    /// What to write instead.
    pub help: Option<&'a str>,
    /// Other places that matter.
    pub related: Vec<RelatedRow<'a>>,
}

/// Another place that matters, in a [`Row`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RelatedRow<'a> {
    /// The file's name.
    pub file: &'a str,
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted in characters from 1.
    pub column: u32,
    /// What stands there.
    pub text: &'a str,
}

impl<'a> Row<'a> {
    fn new(diagnostic: &'a Diagnostic, sources: &'a Sources) -> Self {
        let related = diagnostic.related.iter().map(|(span, text)| RelatedRow {
            file: sources.name(span.file),
            line: span.line,
            column: span.column,
            text,
        });
        Self {
            code: diagnostic.code,
            severity: diagnostic.severity,
            path: &diagnostic.path,
            file: diagnostic.at.map(|span| sources.name(span.file)),
            line: diagnostic.at.map(|span| span.line),
            column: diagnostic.at.map(|span| span.column),
            reason: &diagnostic.reason,
            help: diagnostic.help.as_deref(),
            related: related.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(line: u32, column: u32) -> Span {
        Span { file: FileId(0), line, column, length: 1 }
    }

    #[test]
    fn what_is_past_the_cap_is_counted_and_still_an_error() {
        let mut all = Diagnostics::new();
        for _ in 0..MAX_KEPT {
            all.push(Diagnostic::note("config.note", "seen"));
        }
        assert!(!all.has_errors());
        all.push(Diagnostic::error("config.syntax", "bad"));
        assert!(all.has_errors() && all.is_full());
        assert_eq!((all.len(), all.dropped()), (MAX_KEPT + 1, 1));
        let mut other = Diagnostics::new();
        other.append(all);
        assert!(other.has_errors());
        assert_eq!((other.len(), other.dropped()), (MAX_KEPT + 1, 1));
    }

    #[test]
    fn they_come_out_in_the_order_of_the_text() {
        let mut all = Diagnostics::new();
        all.push(Diagnostic::error("b", "second").at(span(9, 1)));
        all.push(Diagnostic::error("a", "first").at(span(2, 7)));
        all.push(Diagnostic::error("c", "no place"));
        let codes: Vec<_> = all.sorted().iter().map(|d| d.code).collect();
        assert_eq!(codes, ["c", "a", "b"]);
    }

    #[test]
    fn a_row_carries_every_field() {
        let mut sources = Sources::new();
        sources.add("gateway.yaml", "a: 1\nb: 2\n");
        let all = Diagnostics::from(
            Diagnostic::error("config.unknown_key", "unknown key `b`")
                .at(span(2, 1))
                .path("b")
                .help("remove it")
                .related(span(1, 1), "the other"),
        );
        let json = serde_json::to_value(all.rows(&sources)).unwrap();
        assert_eq!(
            json,
            serde_json::json!([{
                "code": "config.unknown_key", "severity": "error", "path": "b",
                "file": "gateway.yaml", "line": 2, "column": 1,
                "reason": "unknown key `b`", "help": "remove it",
                "related": [{"file": "gateway.yaml", "line": 1, "column": 1, "text": "the other"}],
            }])
        );
    }
}
