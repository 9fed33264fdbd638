//! Where an event stands in the text.

use saphyr_parser::{Marker, ScalarStyle};

use crate::diagnostic::{FileId, Lines, Span};

/// The columns of [`super::DOCUMENT_START`].
const SHIFT: u32 = 4;

/// From the parser's positions to ours.
pub(super) struct Positions<'t> {
    pub(super) file: FileId,
    pub(super) text: &'t str,
    pub(super) lines: Lines,
    /// Where the text given to the parser began, if [`super::DOCUMENT_START`] was put before it.
    shift: Option<(u32, u32)>,
    /// The last place looked up by [`Positions::rest`].
    seen: (Span, &'t str),
}

impl<'t> Positions<'t> {
    pub(super) fn new(
        file: FileId,
        text: &'t str,
        lines: Lines,
        shift: Option<(u32, u32)>,
    ) -> Self {
        Self { file, text, lines, shift, seen: (Span::default(), "") }
    }

    pub(super) fn point(&self, mark: Marker) -> Span {
        let line = u32::try_from(mark.line()).unwrap_or(u32::MAX);
        let column = u32::try_from(mark.col()).unwrap_or(u32::MAX).saturating_add(1);
        let (line, column) = match self.shift {
            None => (line, column),
            Some((first, lead)) if line <= 1 => {
                (first, column.saturating_sub(SHIFT).saturating_add(lead - 1))
            }
            Some((first, _)) => ((line - 1).saturating_add(first), column),
        };
        let line = line.clamp(1, self.lines.count());
        Span { file: self.file, line, column: column.max(1), length: 1 }
    }

    /// The stretch of a scalar on its first line. The parser's own end includes what follows a
    /// closing quote, up to the end of the line.
    pub(super) fn scalar(&mut self, style: ScalarStyle, from: Marker, to: Marker) -> Span {
        let span = self.point(from);
        let length = match style {
            ScalarStyle::Plain if from.line() == to.line() => to.col().saturating_sub(from.col()),
            ScalarStyle::DoubleQuoted | ScalarStyle::SingleQuoted => quoted_length(self.rest(span)),
            _ => self.rest(span).trim_end().chars().count(),
        };
        Span { length: u32::try_from(length).unwrap_or(u32::MAX).max(1), ..span }
    }

    /// Where the last text before this place ends, on its line or one above.
    pub(super) fn last_before(&self, span: Span) -> Span {
        let mut column = usize::try_from(span.column.saturating_sub(1)).unwrap_or(usize::MAX);
        for line in (1..=span.line).rev() {
            let text = self.lines.line(self.text, line).unwrap_or_default();
            let before = text.chars().take(column).collect::<String>();
            let before = before.trim_end();
            if !before.trim_start().is_empty() && !before.trim_start().starts_with('#') {
                let column = u32::try_from(before.chars().count()).unwrap_or(u32::MAX);
                return Span { line, column, ..span };
            }
            column = usize::MAX;
        }
        span
    }

    /// Whether a plain scalar over these lines has swallowed an item of a list.
    pub(super) fn swallows_item(&self, from: Marker, to: Marker) -> Option<Span> {
        let (from, to) = (self.point(from), self.point(to));
        let mut lines = (from.line + 1)..=to.line;
        let line = lines.find(|line| {
            let text = self.lines.line(self.text, *line).unwrap_or_default().trim_start();
            text == "-" || text.starts_with("- ")
        })?;
        let text = self.lines.line(self.text, line).unwrap_or_default();
        let indent = text.chars().take_while(|char| char.is_whitespace()).count();
        let column = u32::try_from(indent).unwrap_or(u32::MAX).saturating_add(1);
        Some(Span { line, column, ..from })
    }

    /// The line from this place on. Places come in the order of the text, so each line is walked
    /// once, however long it is.
    pub(super) fn rest(&mut self, span: Span) -> &'t str {
        let (seen, rest) = self.seen;
        let (from, rest) = if seen.line == span.line && seen.column <= span.column {
            (seen.column, rest)
        } else {
            (1, self.lines.line(self.text, span.line).unwrap_or_default())
        };
        let mut chars = rest.chars();
        for _ in from..span.column {
            if chars.next().is_none() {
                break;
            }
        }
        self.seen = (span, chars.as_str());
        chars.as_str()
    }
}

/// The length of quoted text, with its quotes; to the end of the line if it is not closed there.
fn quoted_length(text: &str) -> usize {
    let mut chars = text.chars().peekable();
    let Some(quote) = chars.next() else { return 1 };
    let mut length = 1;
    while let Some(char) = chars.next() {
        length += 1;
        if quote == '"' && char == '\\' {
            length += usize::from(chars.next().is_some());
        } else if char == quote {
            if quote == '\'' && chars.next_if_eq(&'\'').is_some() {
                length += 1;
            } else {
                break;
            }
        }
    }
    length
}
