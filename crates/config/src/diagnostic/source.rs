//! The texts that diagnostics quote.

use super::{FileId, Span};

/// The names and texts of all files of a document.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    files: Vec<File>,
}

#[derive(Debug, Clone)]
struct File {
    name: String,
    text: String,
    lines: Lines,
}

impl Sources {
    /// No files yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file under the name that diagnostics print, and numbers it.
    ///
    /// A byte order mark at its start is dropped, as parsing drops it: positions do not count it.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> FileId {
        let mut text = text.into();
        if text.starts_with('\u{feff}') {
            text.remove(0);
        }
        let id = FileId(u32::try_from(self.files.len()).unwrap_or(u32::MAX));
        self.files.push(File { name: name.into(), lines: Lines::new(&text), text });
        id
    }

    /// How many files there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are no files.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The file's name; `<unknown>` for one that was never added.
    #[must_use]
    pub fn name(&self, file: FileId) -> &str {
        self.file(file).map_or("<unknown>", |file| &file.name)
    }

    /// The file's text; what was not UTF-8 in it is replaced.
    #[must_use]
    pub fn text(&self, file: FileId) -> Option<&str> {
        self.file(file).map(|file| file.text.as_str())
    }

    /// A line, counted from 1, without its line break.
    #[must_use]
    pub fn line(&self, file: FileId, line: u32) -> Option<&str> {
        self.file(file).and_then(|file| file.lines.line(&file.text, line))
    }

    /// `gateway.yaml:14`, as `explain` prints where a value comes from.
    #[must_use]
    pub fn location(&self, span: Span) -> String {
        format!("{}:{}", self.name(span.file), span.line)
    }

    fn file(&self, file: FileId) -> Option<&File> {
        self.files.get(usize::try_from(file.0).ok()?)
    }
}

/// Where the lines of a text begin.
///
/// A line ends with LF, CR LF or CR, as in YAML 1.2.2, section 5.4.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    pub(crate) fn new(text: &str) -> Self {
        let mut starts = vec![0];
        let mut end = 0;
        for line in text.split_inclusive('\n') {
            let inner = line.strip_suffix("\r\n").or_else(|| line.strip_suffix('\n'));
            let inner = inner.unwrap_or(line);
            starts.extend(inner.match_indices('\r').map(|(at, _)| end + at + 1));
            end += line.len();
            if inner.len() < line.len() {
                starts.push(end);
            }
        }
        Self { starts }
    }

    /// How many lines there are; text that ends with a line break has an empty last one.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.starts.len()).unwrap_or(u32::MAX)
    }

    /// The line, counted from 1, without its line break.
    pub(crate) fn line<'t>(&self, text: &'t str, line: u32) -> Option<&'t str> {
        let index = usize::try_from(line.checked_sub(1)?).ok()?;
        let start = *self.starts.get(index)?;
        let end = self.starts.get(index + 1).copied().unwrap_or(text.len());
        let whole = text.get(start..end)?;
        let whole = whole.strip_suffix('\n').unwrap_or(whole);
        Some(whole.strip_suffix('\r').unwrap_or(whole))
    }

    /// The line and column, both counted from 1, of a byte of the text.
    pub(crate) fn position(&self, text: &str, byte: usize) -> (u32, u32) {
        let line = self.starts.partition_point(|start| *start <= byte);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let before = text.get(start..byte).unwrap_or_default();
        let column = before.chars().count() + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_any_of_the_three_breaks() {
        let mut sources = Sources::new();
        let file = sources.add("x.yaml", "a\r\nb\rc\n\nd");
        let lines: Vec<_> = (1..=6).map(|line| sources.line(file, line)).collect();
        assert_eq!(lines, [Some("a"), Some("b"), Some("c"), Some(""), Some("d"), None]);
        assert_eq!(sources.line(file, 0), None);
        let file = sources.add("y.yaml", "a\r\r\n\r");
        let lines: Vec<_> = (1..=5).map(|line| sources.line(file, line)).collect();
        assert_eq!(lines, [Some("a"), Some(""), Some(""), Some(""), None]);
    }

    #[test]
    fn a_byte_has_a_line_and_a_column_in_characters() {
        let text = "ab\r\nécd\n";
        let lines = Lines::new(text);
        assert_eq!(lines.position(text, 0), (1, 1));
        assert_eq!(lines.position(text, 7), (2, 3));
        assert_eq!(lines.position(text, text.len()), (3, 1));
        assert_eq!(lines.count(), 3);
    }

    #[test]
    fn a_location_names_file_and_line() {
        let mut sources = Sources::new();
        let file = sources.add("gateway.yaml", "");
        assert_eq!(
            sources.location(Span { file, line: 14, column: 2, length: 1 }),
            "gateway.yaml:14"
        );
        assert_eq!(
            sources.location(Span { file: FileId(9), line: 1, ..Span::default() }),
            "<unknown>:1"
        );
    }
}
