//! Standard output, for all commands.

use std::io::{self, ErrorKind, StdoutLock, Write};

use demilune_config::diagnostic::clean;
use serde_json::Value;

/// Standard output. A reader that has seen enough (`demilune check … | head -1`) is no error: what
/// it does not read is dropped, and the command ends with the code it would have ended with.
pub(crate) struct Output(StdoutLock<'static>);

impl Output {
    pub(crate) fn new() -> Self {
        Self(io::stdout().lock())
    }

    /// Writes a line. What comes from a document goes through [`clean`] first.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        writeln!(self, "{text}")
    }

    /// Writes `value` as indented JSON.
    pub(crate) fn json(&mut self, value: &Value) -> io::Result<()> {
        writeln!(self, "{value:#}")
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(bytes.len()),
            result => result,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0.flush() {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

/// Lines of two columns, the first one as wide as its widest cell.
pub(crate) fn columns(rows: &[(String, String)]) -> String {
    let width = rows.iter().map(|(left, _)| left.chars().count()).max().unwrap_or_default();
    let line = |(left, right): &(String, String)| {
        let line = format!("  {:width$}  {}", clean(left), clean(right));
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}

/// `1 route`, `2 routes`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_hide_nothing_of_a_terminal() {
        let rows = [("a", "one"), ("bcd", "t\u{1b}wo")].map(|(a, b)| (a.into(), b.into()));
        assert_eq!(columns(&rows), "  a    one\n  bcd  t\\u{1b}wo\n");
        assert_eq!((count(1, "route"), count(0, "route")), ("1 route".into(), "0 routes".into()));
    }
}
