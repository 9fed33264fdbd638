//! The table of exceptions: the only place where a rule is relaxed, one line each with its reason.

use super::finding::Finding;

/// One exception. An entry that matches no finding is reported, so that none outlives its cause.
#[derive(Debug)]
pub(super) struct Exception {
    /// The rule, as findings name it in brackets.
    pub(super) rule: &'static str,
    /// The file, or a folder with its closing `/`.
    pub(super) path: &'static str,
    /// What it is about within the rule, or empty for all of that path.
    pub(super) subject: &'static str,
    /// Why, for whoever reads this table.
    pub(super) reason: &'static str,
}

/// All exceptions: `e(rule, path, subject, reason)`.
pub(super) const TABLE: &[Exception] = &[
    e("codec", "crates/testkit/", "", "an origin and a client of HTTP/2 for tests"),
    e("modules", "fuzz/libfuzzer/", "", "a binary of a workspace of its own"),
    e(
        "columns",
        "crates/config/src/tree/de/tests.rs",
        "",
        "a document and what is said of it, a line",
    ),
    e(
        "columns",
        "crates/config/src/tree/parse/tests.rs",
        "",
        "a document and what is said of it, a line",
    ),
];

const THIS: &str = "xtask/src/tidy/exceptions.rs";

const fn e(
    rule: &'static str,
    path: &'static str,
    subject: &'static str,
    reason: &'static str,
) -> Exception {
    Exception { rule, path, subject, reason }
}

/// Takes out of `findings` what `table` excepts, and adds a finding for each entry that is unused
/// or gives no reason.
pub(super) fn apply(table: &[Exception], findings: Vec<Finding>) -> Vec<Finding> {
    let mut kept = Vec::new();
    let mut unused: Vec<&Exception> = table.iter().collect();
    for finding in findings {
        match table.iter().find(|entry| entry.covers(&finding)) {
            Some(entry) => unused.retain(|other| !std::ptr::eq(*other, entry)),
            None => kept.push(finding),
        }
    }
    for entry in table.iter().filter(|entry| entry.reason.is_empty()) {
        kept.push(entry.complaint("gives no reason: write one"));
    }
    kept.extend(unused.into_iter().map(|entry| entry.complaint("matches nothing: take it out")));
    kept
}

impl Exception {
    fn covers(&self, finding: &Finding) -> bool {
        let folder = self.path.ends_with('/') && finding.path.starts_with(self.path);
        self.rule == finding.rule
            && (folder || self.path == finding.path)
            && (self.subject.is_empty() || self.subject == finding.subject)
    }

    fn complaint(&self, text: &str) -> Finding {
        let entry = format!("the exception ({}, {}, {})", self.rule, self.path, self.subject);
        Finding::new("exceptions", THIS, 0, format!("{entry} {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: Exception =
        Exception { rule: "columns", path: "crates/core/", subject: "", reason: "a table" };

    fn finding(rule: &'static str, path: &str) -> Finding {
        Finding::new(rule, path, 1, "too long").about("x")
    }

    #[test]
    fn an_exception_takes_out_its_rule_under_its_path_only() {
        let within = finding("columns", "crates/core/src/lib.rs");
        let without =
            [finding("columns", "crates/waf/src/lib.rs"), finding("function", "crates/core/a")];
        let all = [&[within], &without[..]].concat();
        assert_eq!(apply(&[ENTRY], all), without);
    }

    #[test]
    fn an_exception_can_name_its_subject() {
        let here = finding("columns", "crates/core/a");
        let x = [Exception { subject: "x", ..ENTRY }];
        let y = [Exception { subject: "y", ..ENTRY }];
        assert_eq!(apply(&x, vec![here.clone()]), []);
        assert_eq!(apply(&y, vec![here.clone()]).len(), 2, "kept, and the entry is unused");
    }

    #[test]
    fn an_exception_that_matches_nothing_is_a_finding() {
        let [only] = apply(&[ENTRY], Vec::new()).try_into().unwrap();
        let Finding { text, .. } = only;
        assert_eq!(text, "the exception (columns, crates/core/, ) matches nothing: take it out");
    }

    #[test]
    fn an_exception_without_a_reason_is_a_finding() {
        let entry = [Exception { reason: "", ..ENTRY }];
        assert_eq!(apply(&entry, vec![finding("columns", "crates/core/a")]).len(), 1);
    }
}
