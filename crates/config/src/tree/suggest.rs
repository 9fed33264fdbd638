//! "Did you mean": the accepted word nearest to one that is not. And words that stand beside
//! secrets.

use std::ops::Range;

/// Longer words are not compared: nobody mistypes a sentence, and comparing costs their product.
const MAX_WORD: usize = 64;

/// How alike two words must be, by Jaro and Winkler's measure.
const ALIKE: f64 = 0.8;

/// How many letters may be wrong, left out, added or swapped.
const MAX_SLIPS: usize = 2;

/// The candidate nearest to `word`, if one is near enough to be meant.
///
/// Near enough is a Jaro-Winkler similarity of 0.8, or two slips of the pen in a word of more than
/// four letters.
#[must_use]
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if word.len() > MAX_WORD {
        return None;
    }
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        if candidate.len() > MAX_WORD {
            continue;
        }
        let alike = likeness(word, candidate);
        if alike > best.map_or(0.0, |(alike, _)| alike) {
            best = Some((alike, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Above 0 only if near enough.
fn likeness(word: &str, candidate: &str) -> f64 {
    let (word, candidate) = (plain(word), plain(candidate));
    let alike = strsim::jaro_winkler(&word, &candidate);
    let long = word.chars().count().min(candidate.chars().count()) > 2 * MAX_SLIPS;
    let slip = long && strsim::damerau_levenshtein(&word, &candidate) <= MAX_SLIPS;
    // A slip ranks above mere resemblance: `hosts` is nearer to `host` than to `hostname`.
    match (slip, alike >= ALIKE) {
        (true, _) => 1.0 + alike,
        (false, true) => alike,
        (false, false) => 0.0,
    }
}

/// `rateLimit`, `rate-limit` and `RATE_LIMIT` all mean `rate_limit`.
fn plain(word: &str) -> String {
    word.chars().filter(|char| !matches!(char, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// Words in the names of keys whose values are secrets, or are easily mistaken for a place to
/// write one.
const SECRET_WORDS: &[&str] = &[
    "secret",
    "passw",
    "passphrase",
    "pwd",
    "token",
    "pepper",
    "credential",
    "private",
    "apikey",
    "signingkey",
    "bearer",
    "authorization",
    "cookie",
];

/// Whether a key or path names something that may be a secret, so that its line must not be
/// quoted and its value not repeated.
///
/// Secrets are written as references, yet an operator's first attempt may be the secret itself,
/// and the message about it must not carry it into a build log.
#[must_use]
pub fn looks_secret(name: &str) -> bool {
    let name = plain(name);
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// Whether a line of a document may hold a secret, so that it must not be quoted: by the shape of
/// what stands on it (a key of ours, a private key, a password in front of a host), or by a name
/// with a value. The name or value at `told`, a range of bytes, is what the message is about:
/// whether that may be quoted is known there.
#[must_use]
pub fn may_hold_secret(line: &str, told: &Range<usize>) -> bool {
    line.contains("dml_")
        || line.contains("-----BEGIN")
        || line.split("://").skip(1).any(|rest| first_word(rest).contains('@'))
        || pairs(line).any(|(name, at)| {
            let about = at.start < told.end && told.start < at.end;
            !about && looks_secret(name)
        })
}

/// Up to what ends a plain value in a list or a mapping.
fn first_word(text: &str) -> &str {
    let ends = |c: char| c.is_whitespace() || matches!(c, '/' | '"' | '\'' | ',' | ']' | '}');
    text.split(ends).next().unwrap_or_default()
}

/// The names on a line that have a plain value behind them, each with where both stand.
fn pairs(line: &str) -> impl Iterator<Item = (&str, Range<usize>)> {
    line.match_indices([':', '=']).filter_map(|(at, _)| {
        let (before, after) = (line.get(..at)?, line.get(at + 1..)?);
        let value = after.trim_start().trim_start_matches(['"', '\'']);
        let word = first_word(value);
        let plain = !word.is_empty() && !word.starts_with(['{', '[', '#']);
        let start = before.rfind(['{', '[', ',', '?', '&']).map_or(0, |start| start + 1);
        let end = line.len() - value.len() + word.len();
        plain.then_some((before.get(start..)?, start..end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_may_hold_secrets_are_recognised() {
        for line in [
            "keys: { key_auth: { pepper: x }, heder: y }",
            "set: { X-Api-Key: x }, removee: []",
            "- { Authorization: \"Basic x\" }",
            "alice: dml_live_x",
            "key: \"-----BEGIN PRIVATE KEY-----\"",
            "endpoints: [http://a, \"http://user:password@b\"]",
            "endpoints: [\"http://a/?b=1&token=x\"]",
        ] {
            assert!(may_hold_secret(line, &(0..0)), "{line}");
        }
        for line in [
            "endpoints: [\"http://a/\"] # by ops@example.com",
            "key: api.key",
            "secrets:",
            "authenticate: { any_of: [keys, tokens] }",
            "secrets: { key_pepper: { file: pepper } }",
            "password: # none",
            "",
        ] {
            assert!(!may_hold_secret(line, &(0..0)), "{line}");
        }
        assert!(!may_hold_secret("{ pepper: x }", &(2..8)));
        assert!(may_hold_secret("{ a: 1, pepper: x }", &(2..3)));
    }

    #[test]
    fn a_slip_finds_the_word_meant() {
        let fields = ["match", "upstream", "authenticate", "public", "policies", "locked", "host"];
        for (word, meant) in [
            ("polices", Some("policies")),
            ("upsteam", Some("upstream")),
            ("Authenticate", Some("authenticate")),
            ("autenticate", Some("authenticate")),
            ("mach", Some("match")),
            ("hosts", Some("host")),
            ("timeout", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, fields), meant, "{word}");
        }
        assert_eq!(nearest("rateLimit", ["rate_limit"]), Some("rate_limit"));
        assert_eq!(nearest("rate-limit", ["rate_limit"]), Some("rate_limit"));
    }

    #[test]
    fn two_short_words_are_not_alike_for_being_short() {
        assert_eq!(nearest("to", ["by", "if", "per"]), None);
    }

    #[test]
    fn an_endless_word_is_not_compared() {
        assert_eq!(nearest(&"a".repeat(1_000_000), ["aaaaaaaa"]), None);
    }

    #[test]
    fn names_of_secrets_are_recognised() {
        for name in ["password", "db_passwd", "secrets.key_pepper", "api-key", "client_secret"] {
            assert!(looks_secret(name), "{name}");
        }
        for name in ["routes.orders.upstream", "key_auth", "path", "hosts"] {
            assert!(!looks_secret(name), "{name}");
        }
    }
}
