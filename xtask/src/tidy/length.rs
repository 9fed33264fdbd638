//! Lengths: 70 lines of code a function, 500 (warning) and 800 lines a file, 100 columns.
//!
//! Tests count for columns only. A function's lines are those of its body that hold code; a file's
//! are all but those of its tests.

use std::collections::BTreeSet;

use proc_macro2::extra::DelimSpan;
use syn::visit::Visit;

use super::finding::Finding;
use super::source::{self, Source};

const FUNCTION: usize = 70;
const FILE_WARNING: usize = 500;
const FILE: usize = 800;
const COLUMNS: usize = 100;

/// Findings for what is too long.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        findings.extend(columns(source));
        if !source::is_test_path(&source.path) {
            let tests = source.test_lines();
            findings.extend(file(source, &tests));
            findings.extend(functions(source, &tests));
        }
    }
    findings
}

fn columns(source: &Source) -> impl Iterator<Item = Finding> {
    source.text.lines().enumerate().filter_map(|(at, line)| {
        let columns = line.chars().count();
        // An address cannot be broken.
        (columns > COLUMNS && !line.contains("://")).then(|| {
            let text = format!("{columns} columns, {COLUMNS} allowed: break the line");
            Finding::new("columns", &source.path, at + 1, text)
        })
    })
}

fn file(source: &Source, tests: &[(usize, usize)]) -> Option<Finding> {
    let tested: usize = tests.iter().map(|(from, to)| to + 1 - from).sum();
    let lines = source.text.lines().count().saturating_sub(tested);
    let text = |limit| format!("{lines} lines without tests, {limit} allowed: split it by purpose");
    if lines > FILE {
        Some(Finding::new("file", &source.path, 0, text(FILE)))
    } else if lines > FILE_WARNING {
        Some(Finding::new("file", &source.path, 0, text(FILE_WARNING)).warning())
    } else {
        None
    }
}

fn functions(source: &Source, tests: &[(usize, usize)]) -> Vec<Finding> {
    let mut functions = Functions::default();
    if let Ok(file) = &source.syntax {
        functions.visit_file(file);
    }
    functions.found.retain(|it| !tests.iter().any(|(from, to)| (*from..=*to).contains(&it.open)));
    let code = lines_of_code(source);
    let too_long = functions.found.into_iter().filter_map(|function| {
        let lines = code.range(function.open + 1..function.close.max(function.open + 1)).count();
        (lines > FUNCTION).then(|| {
            let name = function.name;
            let text = format!("`{name}` has {lines} lines of code, {FUNCTION} allowed: split it");
            Finding::new("function", &source.path, function.open, text).about(name)
        })
    });
    too_long.collect()
}

fn lines_of_code(source: &Source) -> BTreeSet<usize> {
    source.tokens.iter().flat_map(|token| token.line..=token.end).collect()
}

struct Function {
    name: String,
    /// The lines of its braces.
    open: usize,
    close: usize,
}

#[derive(Default)]
struct Functions {
    found: Vec<Function>,
}

impl Functions {
    fn add(&mut self, signature: &syn::Signature, braces: DelimSpan) {
        self.found.push(Function {
            name: signature.ident.to_string(),
            open: braces.open().start().line,
            close: braces.close().start().line,
        });
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig, item.block.brace_token.span);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig, item.block.brace_token.span);
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.add(&item.sig, block.brace_token.span);
        }
        syn::visit::visit_trait_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Level;
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(&'static str, Level)> {
        let findings = check(&[Source::new(path, text)]);
        findings.iter().map(|finding| (finding.rule, finding.level)).collect()
    }

    fn function(lines: usize) -> String {
        format!("fn f() {{\n{}}}\n", "    g();\n    // why\n\n".repeat(lines))
    }

    #[test]
    fn a_function_may_have_seventy_lines_of_code_beside_comments() {
        assert_eq!(found("a.rs", &function(70)), []);
        assert_eq!(found("a.rs", &function(71)), [("function", Level::Failure)]);
    }

    #[test]
    fn methods_count_and_tests_do_not() {
        let methods = format!("impl A {{ {} }} trait B {{ {} }}", function(71), function(71));
        assert_eq!(found("a.rs", &methods).len(), 2);
        assert_eq!(found("a.rs", &format!("#[cfg(test)] mod tests {{ {} }}", function(71))), []);
        assert_eq!(found("crates/a/tests/a.rs", &function(300)), []);
    }

    #[test]
    fn a_file_warns_at_five_hundred_lines_and_fails_at_eight_hundred() {
        let file = |lines: usize| "use a;\n".repeat(lines);
        assert_eq!(found("a.rs", &file(500)), []);
        assert_eq!(found("a.rs", &file(501)), [("file", Level::Warning)]);
        assert_eq!(found("a.rs", &file(801)), [("file", Level::Failure)]);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}\n}}", file(900));
        assert_eq!(found("a.rs", &tests), []);
    }

    #[test]
    fn a_line_has_a_hundred_columns_unless_it_holds_an_address() {
        let line = |tail: &str| format!("// {}{tail}", "ä".repeat(97));
        assert_eq!(found("a.rs", &line("")), []);
        assert_eq!(found("a.rs", &line("b")), [("columns", Level::Failure)]);
        assert_eq!(found("a.rs", &line(" https://example.com")), []);
    }
}
