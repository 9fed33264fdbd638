//! From bytes to text that may be parsed: encoding, forbidden characters, the first mark.

use crate::diagnostic::{Diagnostic, FileId, Lines, Span};

use super::limits::MAX_FILE_BYTES;
use super::suggest::looks_secret;

/// The text of a file, without a byte order mark.
///
/// YAML 1.2.2, section 5.1, forbids control characters. Those that reorder text (CVE-2021-42574),
/// and the line breaks of YAML 1.1 that are none in YAML 1.2, are refused too: a reviewer would not
/// see what the gateway reads.
pub(super) fn decode(file: FileId, bytes: &[u8]) -> Result<&str, Box<Diagnostic>> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(Box::new(too_large()));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Err(Box::new(not_utf8(file, bytes, error.valid_up_to()))),
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Some((at, char)) = text.char_indices().find(|(_, char)| forbidden(*char)) else {
        return Ok(text);
    };
    let lines = Lines::new(text);
    let reason = format!("the character U+{:04X} is not accepted", u32::from(char));
    let help = format!("in double quotes it can be written \"\\u{:04x}\"", u32::from(char));
    let diagnostic = Diagnostic::error("config.encoding", reason).at(point(file, text, &lines, at));
    let line = diagnostic.at.and_then(|at| lines.line(text, at.line));
    let conceal = line.is_some_and(looks_secret);
    Err(Box::new(diagnostic.help(help).conceal(conceal)))
}

fn too_large() -> Diagnostic {
    let reason = format!("the file is larger than {} MiB", MAX_FILE_BYTES / (1024 * 1024));
    Diagnostic::error("config.too_large", reason)
}

fn not_utf8(file: FileId, bytes: &[u8], valid: usize) -> Diagnostic {
    let text = bytes.get(..valid).and_then(|bytes| std::str::from_utf8(bytes).ok());
    let text = text.unwrap_or_default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let diagnostic = if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        Diagnostic::error("config.encoding", "the file is UTF-16, not UTF-8")
    } else {
        Diagnostic::error("config.encoding", "the file is not UTF-8 from here on")
    };
    // The line cannot be quoted faithfully.
    diagnostic
        .at(point(file, text, &Lines::new(text), text.len()))
        .help("save it as UTF-8")
        .conceal(true)
}

fn point(file: FileId, text: &str, lines: &Lines, byte: usize) -> Span {
    let (line, column) = lines.position(text, byte);
    Span { file, line, column, length: 1 }
}

fn forbidden(char: char) -> bool {
    match char {
        '\t' | '\n' | '\r' => false,
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        '\u{feff}' | '\u{fffe}' | '\u{ffff}' => true,
        _ => char.is_control(),
    }
}

/// The first byte that is neither blank nor comment.
pub(super) fn first_mark(text: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive(['\n', '\r']) {
        let trimmed = line.trim_start_matches([' ', '\t']);
        if !trimmed.starts_with(['#', '\n', '\r']) && !trimmed.is_empty() {
            return Some(at + (line.len() - trimmed.len()));
        }
        at += line.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> (String, u32, u32) {
        let diagnostic = decode(FileId(0), bytes).unwrap_err();
        assert_eq!(diagnostic.code, "config.encoding");
        let at = diagnostic.at.unwrap();
        (diagnostic.reason, at.line, at.column)
    }

    #[test]
    fn a_byte_order_mark_at_the_start_is_dropped() {
        assert_eq!(decode(FileId(0), b"\xef\xbb\xbfa: 1"), Ok("a: 1"));
    }

    #[test]
    fn what_is_not_utf8_is_refused_where_it_stands() {
        assert_eq!(refused(b"a: 1\nb: \xff"), ("the file is not UTF-8 from here on".into(), 2, 4));
        assert_eq!(refused(b"\xff\xfea\0:\0"), ("the file is UTF-16, not UTF-8".into(), 1, 1));
    }

    #[test]
    fn hidden_and_control_characters_are_refused_where_they_stand() {
        assert_eq!(
            refused(b"a: 1\r\nb: \0"),
            ("the character U+0000 is not accepted".into(), 2, 4)
        );
        assert_eq!(refused("é: \u{202e}".as_bytes()).1, 1);
        assert_eq!(refused("é: \u{202e}".as_bytes()).2, 4);
        assert_eq!(refused("a: x\u{feff}".as_bytes()).2, 5);
        assert_eq!(refused(b"a: \x1b[2J").2, 4);
        assert_eq!(refused("# a\u{2028}b: 1".as_bytes()).2, 4);
        assert_eq!(refused("# a\u{85}b: 1".as_bytes()).2, 4);
        assert!(decode(FileId(0), "a: \u{a0}👩\u{200d}💻é\t".as_bytes()).is_ok());
    }

    #[test]
    fn a_file_past_the_limit_is_refused_before_anything_else() {
        let bytes = vec![0xff; MAX_FILE_BYTES + 1];
        let diagnostic = decode(FileId(0), &bytes).unwrap_err();
        assert_eq!(diagnostic.reason, "the file is larger than 4 MiB");
    }

    #[test]
    fn the_first_mark_is_past_blanks_and_comments() {
        assert_eq!(first_mark("# a: {\r\n\r\n  \t{x"), Some(13));
        assert_eq!(first_mark("a"), Some(0));
        assert_eq!(first_mark("  # x\n\n"), None);
    }
}
