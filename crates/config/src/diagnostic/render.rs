//! Diagnostics as text, in the manner of rustc.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

use super::{Diagnostic, Diagnostics, MAX_SHOWN, Sources, Span};
use crate::tree::may_hold_secret;

/// The widest excerpt, in columns.
const MAX_WIDTH: usize = 120;

/// How many columns before the caret are kept when a line is too wide.
const BEFORE_CARET: usize = 40;

/// Help no longer than this stands beside the caret, longer help below.
const BESIDE_CARET: usize = 60;

/// The longest reason, help or path printed, in characters.
const MAX_WORDS: usize = 600;

/// Stands for a line that may hold a secret.
const CONCEALED: &str = "<not shown>";

pub(super) fn render(diagnostics: &Diagnostics, sources: &Sources) -> String {
    let mut out = String::new();
    // What one diagnostic conceals, another about the same line must not quote.
    let line = |diagnostic: &Diagnostic| diagnostic.at.map(|span| (span.file, span.line));
    let concealed: BTreeSet<_> =
        diagnostics.iter().filter(|diagnostic| diagnostic.conceal).filter_map(line).collect();
    for diagnostic in diagnostics.sorted().into_iter().take(MAX_SHOWN) {
        if !out.is_empty() {
            out.push('\n');
        }
        let conceal = line(diagnostic).is_some_and(|line| concealed.contains(&line));
        one(&mut out, diagnostic, conceal, sources);
    }
    let more = diagnostics.len().saturating_sub(MAX_SHOWN);
    if more > 0 {
        let _ = writeln!(out, "\nand {more} more");
    }
    out
}

// Writing to a string cannot fail, so the results of `write!` are dropped throughout.
fn one(out: &mut String, diagnostic: &Diagnostic, conceal: bool, sources: &Sources) {
    let Diagnostic { code, severity, reason, .. } = diagnostic;
    let _ = writeln!(out, "{}[{code}]: {}", severity.word(), clean(reason));
    let gutter = diagnostic.at.map_or(1, |span| span.line.to_string().len());
    let mut help = diagnostic.help.as_deref().map(clean);
    if let Some(span) = diagnostic.at {
        let _ = writeln!(out, "{:gutter$}--> {}", "", place(span, sources));
        excerpt(out, span, conceal, gutter, sources, &mut help);
    } else if !diagnostic.path.is_empty() {
        let _ = writeln!(out, "{:gutter$} = at: {}", "", clean(&diagnostic.path));
    }
    for (span, text) in &diagnostic.related {
        let _ = writeln!(out, "{:gutter$} = {}: {}", "", clean(text), place(*span, sources));
    }
    if let Some(help) = help {
        let _ = writeln!(out, "{:gutter$} = help: {help}", "");
    }
}

fn place(span: Span, sources: &Sources) -> String {
    format!("{}:{}:{}", clean(sources.name(span.file)), span.line, span.column)
}

/// Writes the line and the caret; takes `help` when it fits beside the caret.
fn excerpt(
    out: &mut String,
    span: Span,
    conceal: bool,
    gutter: usize,
    sources: &Sources,
    help: &mut Option<String>,
) {
    let line = sources.line(span.file, span.line).filter(|_| span.length > 0);
    let Some(line) = line else { return };
    let _ = writeln!(out, "{:gutter$} |", "");
    if conceal || may_hold_secret(line, &bytes(line, span)) {
        let _ = writeln!(out, "{} | {CONCEALED}", span.line);
        return;
    }
    let shown = Excerpt::new(line, span);
    let _ = writeln!(out, "{} | {}", span.line, shown.text);
    let carets = "^".repeat(shown.width);
    let beside = help.take_if(|help| help.chars().count() <= BESIDE_CARET);
    let beside = beside.map(|help| format!(" {help}")).unwrap_or_default();
    let _ = writeln!(out, "{:gutter$} | {:offset$}{carets}{beside}", "", "", offset = shown.offset);
}

/// Where the caret points, in bytes of the line.
fn bytes(line: &str, span: Span) -> Range<usize> {
    let at = |column: u32| {
        let column = usize::try_from(column).unwrap_or(usize::MAX);
        line.char_indices().nth(column).map_or(line.len(), |(at, _)| at)
    };
    let start = span.column.saturating_sub(1);
    at(start)..at(start.saturating_add(span.length))
}

/// A line as a terminal can show it.
struct Excerpt {
    text: String,
    /// Columns before the caret.
    offset: usize,
    /// Columns under the caret, at least one.
    width: usize,
}

impl Excerpt {
    fn new(line: &str, span: Span) -> Self {
        let line = line.trim_end();
        let column = usize::try_from(span.column.saturating_sub(1)).unwrap_or(usize::MAX);
        let split = line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
        let (before, after) = line.split_at_checked(split).unwrap_or((line, ""));
        let (before, offset) = Self::head(before, after);
        let (after, width) = Self::tail(after, offset, span.length);
        Self { text: before + &after, offset, width }
    }

    /// What stands before the caret, cut from the left if the whole line is too wide.
    fn head(before: &str, after: &str) -> (String, usize) {
        let wide = before.chars().chain(after.chars()).map(columns).try_fold(0, |sum, width| {
            let sum = sum + width;
            (sum <= MAX_WIDTH).then_some(sum)
        });
        let limit = if wide.is_some() { MAX_WIDTH } else { BEFORE_CARET };
        let mut total = 0;
        let mut kept: Vec<char> = Vec::new();
        let mut cut = false;
        for char in before.chars().rev() {
            if total + columns(char) > limit {
                cut = true;
                break;
            }
            total += columns(char);
            kept.push(char);
        }
        let mut text = String::new();
        if cut {
            text.push('…');
            total += 1;
        }
        kept.into_iter().rev().for_each(|char| show(&mut text, char));
        (text, total)
    }

    /// What stands from the caret on, cut from the right, and the caret's width.
    fn tail(after: &str, offset: usize, length: u32) -> (String, usize) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let mut text = String::new();
        let (mut total, mut width) = (offset, 0);
        for (index, char) in after.chars().enumerate() {
            if total + columns(char) > MAX_WIDTH {
                text.push('…');
                break;
            }
            total += columns(char);
            if index < length {
                width += columns(char);
            }
            show(&mut text, char);
        }
        (text, width.max(1))
    }
}

/// Text from a document, on one line, without what could steer a terminal, and not too long.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut out = String::new();
    for (index, char) in text.chars().enumerate() {
        if index == MAX_WORDS {
            out.push('…');
            break;
        }
        show(&mut out, char);
    }
    out
}

fn show(out: &mut String, char: char) {
    if char == '\t' {
        out.push_str("    ");
    } else if hidden(char) {
        out.extend(char.escape_unicode());
    } else {
        out.push(char);
    }
}

/// Control characters, and those that reorder or hide text (CVE-2021-42574).
fn hidden(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(char, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}')
        || matches!(char, '\u{e0000}'..='\u{e007f}')
}

/// How many columns [`show`] takes for a character; wide ones after Unicode's UAX 11, roughly.
fn columns(char: char) -> usize {
    match char {
        '\t' => 4,
        _ if hidden(char) => char.escape_unicode().count(),
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FileId, Severity};
    use super::*;

    fn shown(text: &str, diagnostic: Diagnostic) -> String {
        let mut sources = Sources::new();
        sources.add("gateway.yaml", text);
        Diagnostics::from(diagnostic).render(&sources)
    }

    fn at(line: u32, column: u32, length: u32) -> Diagnostic {
        let span = Span { file: FileId(0), line, column, length };
        Diagnostic::error("config.unknown_key", "unknown key `polices`").at(span)
    }

    #[test]
    fn what_one_diagnostic_conceals_another_does_not_quote() {
        let mut sources = Sources::new();
        sources.add("gateway.yaml", "a: {hash: hunter2, b: c}\nd: e\n");
        let mut diagnostics = Diagnostics::new();
        diagnostics.extend([at(1, 20, 1), at(1, 11, 7).conceal(true), at(2, 1, 1)]);
        let text = diagnostics.render(&sources);
        assert!(!text.contains("hunter2") && text.contains("2 | d: e"), "{text}");
    }

    #[test]
    fn a_diagnostic_shows_its_line_and_a_caret() {
        let text = format!("{}    polices:\n", "#\n".repeat(13));
        let expected = "\
error[config.unknown_key]: unknown key `polices`
  --> gateway.yaml:14:5
   |
14 |     polices:
   |     ^^^^^^^ did you mean `policies`?
";
        assert_eq!(shown(&text, at(14, 5, 7).help("did you mean `policies`?")), expected);
    }

    #[test]
    fn long_help_and_other_places_stand_below() {
        let help = "x".repeat(61);
        let other = Span { file: FileId(0), line: 1, column: 1, length: 1 };
        let text = shown("a: 1\na: 2\n", at(2, 1, 1).help(&help).related(other, "first here"));
        let expected = format!(
            "error[config.unknown_key]: unknown key `polices`\n --> gateway.yaml:2:1\n  |\n2 | \
             a: 2\n  \
             | ^\n  = first here: gateway.yaml:1:1\n  = help: {help}\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_line_that_may_hold_a_secret_is_not_shown() {
        let text = shown("pasword: hunter2\n", at(1, 1, 7).conceal(true).help("remove it"));
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("1 | <not shown>\n  = help: remove it\n"), "{text}");
    }

    #[test]
    fn a_wide_line_is_cut_around_the_caret() {
        let line = format!("{}KEY{}", "a".repeat(5_000), "b".repeat(5_000));
        let text = shown(&line, at(1, 5_001, 3));
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[3].chars().count() <= MAX_WIDTH + 6, "{text}");
        let caret = lines[4].find("^^^").unwrap();
        let key = lines[3].chars().collect::<Vec<_>>();
        assert_eq!(key[caret..caret + 3].iter().collect::<String>(), "KEY");
        assert!(lines[3].contains("| …a") && lines[3].ends_with("b…"), "{text}");
    }

    #[test]
    fn a_line_of_exactly_the_width_is_whole() {
        let line = format!("{}K", "a".repeat(MAX_WIDTH - 1));
        let text = shown(&line, at(1, 120, 1));
        assert!(text.contains(&line), "{text}");
    }

    #[test]
    fn tabs_and_wide_characters_keep_the_caret_in_place() {
        let text = shown("\t日本: x", at(1, 6, 1));
        assert!(text.contains("1 |     日本: x\n  |           ^"), "{text}");
    }

    #[test]
    fn nothing_in_the_text_can_steer_the_terminal() {
        let mut diagnostic = at(1, 1, 1);
        diagnostic.reason = "key `\u{1b}[2J\n`".into();
        let text = shown("\u{1b}[31m\u{202e}x", diagnostic);
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
        assert!(text.contains("\\u{1b}[2J\\u{a}"), "{text}");
        assert!(text.contains("\\u{1b}[31m\\u{202e}x"), "{text}");
    }

    #[test]
    fn a_position_outside_the_text_is_harmless() {
        for (line, column, length) in
            [(0, 0, 0), (1, 900, 900), (77, 1, 1), (u32::MAX, u32::MAX, u32::MAX)]
        {
            assert!(shown("a: 1", at(line, column, length)).starts_with("error["));
        }
    }

    #[test]
    fn what_has_no_place_names_its_path() {
        let mut diagnostic = Diagnostic::warning("config.weak", "weak").path("routes.orders");
        diagnostic.severity = Severity::Note;
        assert_eq!(shown("", diagnostic), "note[config.weak]: weak\n  = at: routes.orders\n");
    }

    #[test]
    fn the_rest_is_counted() {
        let mut all = Diagnostics::new();
        (0..MAX_SHOWN + 3).for_each(|_| all.push(Diagnostic::error("c", "r")));
        let text = all.render(&Sources::new());
        assert!(text.ends_with("\nand 3 more\n"), "{text}");
        assert_eq!(text.matches("error[").count(), MAX_SHOWN);
    }
}
