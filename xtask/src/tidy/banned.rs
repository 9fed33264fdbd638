//! What may stand in one place only, or nowhere: hyper and h2 outside `http/`, clocks outside the
//! `Clock`, ignored tests, work left without an issue, `unsafe`.

use anyhow::Result;
use serde_json::Value;

use super::direction;
use super::finding::Finding;
use super::source::{Source, Token};

/// The only folder that names hyper and h2, so that they stay replaceable.
const HTTP: &str = "crates/proxy/src/http/";
/// The only crate that depends on them.
const HTTP_CRATE: &str = "demilune-proxy";
/// The only file that reads a clock.
const CLOCK: &str = "crates/backends/src/clock.rs";
/// Tools for developers, which may read clocks: they measure and they wait for real sockets.
const TOOLS: &[&str] = &["bench/", "crates/testkit/", "xtask/"];

/// Findings in the sources.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        for at in 0..source.tokens.len() {
            let rest = source.tokens.get(at..).unwrap_or_default();
            findings.extend(codec(source, rest));
            findings.extend(clock(source, rest));
            findings.extend(ignored(source, rest));
            findings.extend(not_safe(source, rest));
        }
        findings.extend(unnumbered(source));
    }
    findings
}

/// Findings in the manifests: hyper and h2 as dependencies.
pub(super) fn manifests(metadata: &Value) -> Result<Vec<Finding>> {
    let all = direction::dependencies(metadata)?;
    let wrong = all.iter().filter(|it| is_codec(&it.to) && it.from != HTTP_CRATE);
    let finding = |it: &direction::Dependency| {
        let text = format!("depends on `{}`: only {HTTP} speaks HTTP with it", it.to);
        Finding::new("codec", &it.manifest, 0, text)
    };
    Ok(wrong.map(finding).collect())
}

fn is_codec(name: &str) -> bool {
    matches!(name, "hyper" | "hyper-util" | "hyper_util" | "h2")
}

fn codec(source: &Source, rest: &[Token]) -> Option<Finding> {
    let [token, next, after @ ..] = rest else { return None };
    // A variable may be called `h2` too, and have a type behind its colon.
    let colons = next.is(':') && after.first().is_some_and(|after| after.is(':'));
    let path = colons || next.is(';') || next.ident() == Some("as");
    let name = token.ident().filter(|name| is_codec(name) && path)?;
    let text = format!("names {name}: only {HTTP} may; use its types");
    (!source.path.starts_with(HTTP)).then(|| Finding::new("codec", &source.path, token.line, text))
}

fn clock(source: &Source, rest: &[Token]) -> Option<Finding> {
    let [owner, first, second, method, ..] = rest else { return None };
    let owned = matches!(owner.ident()?, "SystemTime" | "Instant" | "Timestamp" | "Zoned");
    let read = first.is(':') && second.is(':') && method.ident() == Some("now");
    let tool = TOOLS.iter().any(|folder| source.path.starts_with(folder));
    if !owned || !read || tool || owner.test || source.path == CLOCK {
        return None;
    }
    let text = "reads a clock: take the time as an argument or from core's `Clock`";
    Some(Finding::new("clock", &source.path, owner.line, text))
}

/// `#[ignore]`, `#[ignore = "…"]`, `#[cfg_attr(…, ignore)]`.
fn ignored(source: &Source, rest: &[Token]) -> Option<Finding> {
    let [hash, open, name, attribute @ ..] = rest else { return None };
    if !hash.is('#') || !open.is('[') {
        return None;
    }
    let mut words = attribute.iter().take_while(|token| !token.is(']')).filter_map(Token::ident);
    let wrong = match name.ident()? {
        "ignore" => true,
        "cfg_attr" => words.any(|word| word == "ignore"),
        _ => false,
    };
    let text = "an ignored test tests nothing: make it run, or remove it";
    wrong.then(|| Finding::new("ignore", &source.path, name.line, text))
}

fn not_safe(source: &Source, rest: &[Token]) -> Option<Finding> {
    let token = rest.first().filter(|token| token.ident() == Some("unsafe"))?;
    let text = "`unsafe` has no place in our crates: find a safe way, or a crate that has it";
    Some(Finding::new("unsafe", &source.path, token.line, text))
}

/// Work left, in a comment, without an issue's number. Between backticks the word is a mention.
fn unnumbered(source: &Source) -> impl Iterator<Item = Finding> {
    source.text.lines().enumerate().filter_map(|(at, line)| {
        let comment = line.split_once("//")?.1;
        let wrong = ["TODO", "FIXME", "XXX"].iter().any(|word| leaves_work(comment, word));
        let text = "leaves work without an issue: write its number, `TODO #12`, or do it";
        wrong.then(|| Finding::new("todo", &source.path, at + 1, text))
    })
}

fn leaves_work(comment: &str, word: &str) -> bool {
    comment.split_once(word).is_some_and(|(before, after)| {
        let apart = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '`');
        let number = |after: &str| {
            let after = after.trim_start_matches([':', ' ', '(']);
            after.strip_prefix('#').is_some_and(|it| it.starts_with(|c: char| c.is_ascii_digit()))
        };
        apart(before.chars().last()) && apart(after.chars().next()) && !number(after)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(path: &str, text: &str) -> Vec<(&'static str, usize)> {
        let findings = check(&[Source::new(path, text)]);
        findings.iter().map(|finding| (finding.rule, finding.line)).collect()
    }

    #[test]
    fn codecs_are_named_in_one_folder_only() {
        let text = "//! As hyper does.\nuse hyper::body;\nuse hyper_util as u;\n\
                    fn hyper() {}\nfn f(h2: u8) -> ::h2::Reason {}";
        let expected = [("codec", 2), ("codec", 3), ("codec", 5)];
        assert_eq!(found("crates/proxy/src/route.rs", text), expected);
        assert_eq!(found("crates/proxy/src/http/h1.rs", text), []);
    }

    #[test]
    fn one_crate_depends_on_codecs() {
        let package = |name: &str| {
            let manifest = format!("/root/{name}/Cargo.toml");
            let on = [json!({ "name": "hyper" })];
            json!({ "name": name, "manifest_path": manifest, "dependencies": on })
        };
        let packages = [package("demilune-proxy"), package("demilune-control")];
        let metadata = json!({ "workspace_root": "/root", "packages": packages });
        let [finding] = manifests(&metadata).unwrap().try_into().unwrap();
        assert_eq!(finding.path, "demilune-control/Cargo.toml");
    }

    #[test]
    fn clocks_are_read_in_one_file_only() {
        let text = "fn f() {\n    let _ = std::time::Instant::now();\n    SystemTime::now();\n}";
        assert_eq!(found("crates/proxy/src/a.rs", text), [("clock", 2), ("clock", 3)]);
        assert_eq!(found(CLOCK, text), []);
        assert_eq!(found("crates/testkit/src/a.rs", text), []);
        assert_eq!(found("crates/demilune/tests/a.rs", text), []);
        assert_eq!(found("crates/core/src/a.rs", "fn f(c: &dyn Clock) { c.now(); }"), []);
    }

    #[test]
    fn no_test_is_ignored() {
        let text = "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n#[cfg_attr(miri, ignore)]\nfn b() {}";
        assert_eq!(found("a.rs", text), [("ignore", 2), ("ignore", 4)]);
        assert_eq!(found("a.rs", "#[derive(A)]\nfn ignore() {}"), []);
    }

    #[test]
    fn nothing_is_unsafe() {
        assert_eq!(found("a.rs", "fn f() {\n    unsafe { g() }\n}"), [("unsafe", 2)]);
        assert_eq!(found("a.rs", "// unsafe\n#![forbid(unsafe_code)]"), []);
    }

    #[test]
    fn work_left_has_an_issue() {
        let word = "TODO";
        let left = |rest: &str| format!("fn f() {{}} // {word}{rest}");
        assert_eq!(found("a.rs", &left(": mend this")), [("todo", 1)]);
        assert_eq!(found("a.rs", &left(" #12: mend this")), []);
        assert_eq!(found("a.rs", &left("(#12)")), []);
        assert_eq!(found("a.rs", "// the word `TODO` in a mention\nfn f() {}"), []);
    }
}
