//! Paths into the tree, as diagnostics print them: `routes.orders.policies[2].rate_limit.limit`.

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PathSegment {
    /// To the value of a key.
    Key(String),
    /// To an item of a list, counted from 0.
    Index(usize),
}

/// The path as text. A key that is not a plain word is quoted: `hosts["api.example.com"]`.
#[must_use]
pub fn format_path(segments: &[PathSegment]) -> String {
    let mut out = String::new();
    for segment in segments {
        match segment {
            PathSegment::Key(key) => push_key(&mut out, key),
            PathSegment::Index(index) => push_index(&mut out, *index),
        }
    }
    out
}

/// The path of what stands under `key` at `path`.
#[must_use]
pub fn join_key(path: &str, key: &str) -> String {
    let mut path = path.to_owned();
    push_key(&mut path, key);
    path
}

pub(super) fn push_key(out: &mut String, key: &str) {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !key.is_empty() && key.bytes().all(word) {
        if !out.is_empty() {
            out.push('.');
        }
        out.push_str(key);
        return;
    }
    out.push_str("[\"");
    for char in key.chars() {
        if matches!(char, '"' | '\\') {
            out.push('\\');
        }
        out.push(char);
    }
    out.push_str("\"]");
}

pub(super) fn push_index(out: &mut String, index: usize) {
    out.push('[');
    out.push_str(&index.to_string());
    out.push(']');
}

/// The steps of a path as [`format_path`] writes it. Anything else is read as well as may be: text
/// that is no index or quoted key is a key.
#[must_use]
pub fn parse_path(path: &str) -> Vec<PathSegment> {
    let mut segments = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        let read = quoted(rest).or_else(|| index(rest));
        let (segment, tail) = read.unwrap_or_else(|| word(rest));
        segments.extend(segment);
        rest = tail;
    }
    segments
}

type Read<'p> = (Option<PathSegment>, &'p str);

fn quoted(text: &str) -> Option<Read<'_>> {
    let body = text.strip_prefix("[\"")?;
    let mut key = String::new();
    let mut chars = body.chars();
    loop {
        match chars.next()? {
            '\\' => key.push(chars.next()?),
            '"' => break,
            char => key.push(char),
        }
    }
    let tail = chars.as_str().strip_prefix(']')?;
    Some((Some(PathSegment::Key(key)), tail))
}

fn index(text: &str) -> Option<Read<'_>> {
    let (digits, tail) = text.strip_prefix('[')?.split_once(']')?;
    Some((Some(PathSegment::Index(digits.parse().ok()?)), tail))
}

fn word(text: &str) -> Read<'_> {
    let text = text.strip_prefix('.').unwrap_or(text);
    // A bracket that begins neither an index nor a quoted key belongs to the word.
    let skip = text.chars().next().map_or(0, char::len_utf8);
    let end =
        text.get(skip..).and_then(|tail| tail.find(['.', '['])).map_or(text.len(), |at| at + skip);
    let (key, tail) = text.split_at_checked(end).unwrap_or((text, ""));
    ((!key.is_empty()).then(|| PathSegment::Key(key.into())), tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_it_was_written() {
        let paths = [
            "",
            "routes",
            "routes.orders.policies[2].rate_limit.limit",
            "[3].a",
            "claims[\"https://a.b/c[0]\"][\"say \\\"hi\\\" \\\\\"].x",
            "a[0][1]",
            "scopes.GET[0]",
            "x[\"é\"]",
        ];
        for path in paths {
            assert_eq!(format_path(&parse_path(path)), path);
        }
        let key = |key: &str| PathSegment::Key(key.into());
        assert_eq!(parse_path("a[\"b.c\"][1]"), [key("a"), key("b.c"), PathSegment::Index(1)]);
    }

    #[test]
    fn a_malformed_path_ends_and_stays_text() {
        for path in ["[", "[[[[", "...", "a..b", "[\"x", "[\"x\"", "a[b]", "]", "[-1]", "é.[é"] {
            let _ = parse_path(path);
        }
        assert_eq!(parse_path("a[b]").len(), 2);
    }
}
