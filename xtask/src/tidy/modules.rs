//! Modules are declared by plain `mod` lines: `cargo fmt` does not see those that a macro declares,
//! and a file that nobody declares is never compiled.

use std::collections::BTreeSet;

use syn::visit::Visit;

use super::finding::Finding;
use super::source::{Kind, Source};

/// Findings for `mod` within macros and for files that no `mod` line reaches.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut reached = BTreeSet::new();
    let mut findings = Vec::new();
    for source in sources {
        let mut modules = Modules::default();
        if let Ok(file) = &source.syntax {
            modules.visit_file(file);
        }
        reached.extend(modules.declared.iter().flat_map(|name| files(&source.path, name)));
        findings.extend(modules.in_macros.into_iter().map(|line| {
            let text = "a macro declares a module: write a plain `mod` line, cargo fmt needs it";
            Finding::new("modules", &source.path, line, text)
        }));
    }
    for source in sources.iter().filter(|it| needs_parent(it) && !reached.contains(&it.path)) {
        let text = "no `mod` line reaches this file: declare it in its parent, or remove it";
        findings.push(Finding::new("modules", &source.path, 0, text));
    }
    findings
}

/// Where `mod name;` in the file at `path` may find its file.
fn files(path: &str, name: &str) -> [String; 2] {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let below = match file {
        "lib.rs" | "main.rs" | "mod.rs" => folder.to_owned(),
        _ => path.trim_end_matches(".rs").to_owned(),
    };
    // The root of a target in `src/bin` or `tests` looks beside itself.
    let roots = ["/src/bin", "/tests", "/fuzz_targets"];
    let below = if roots.iter().any(|it| folder.ends_with(it)) { folder.to_owned() } else { below };
    [format!("{below}/{name}.rs"), format!("{below}/{name}/mod.rs")]
}

/// Files under `src` that are no root of a target.
fn needs_parent(source: &Source) -> bool {
    let Some((_, below)) = source.path.split_once("/src/") else { return false };
    let root = matches!(below, "lib.rs" | "main.rs")
        || below
            .strip_prefix("bin/")
            .is_some_and(|it| !it.contains('/') || it.ends_with("/main.rs"));
    !root
}

#[derive(Default)]
struct Modules {
    /// Names of `mod name;`.
    declared: Vec<String>,
    /// Lines of `mod` within macros.
    in_macros: Vec<usize>,
}

impl<'ast> Visit<'ast> for Modules {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.content.is_none() {
            self.declared.push(item.ident.to_string());
        }
        syn::visit::visit_item_mod(self, item);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let tokens = Source::tokens_of(call.tokens.clone());
        let word = |token: &&super::source::Token| token.kind == Kind::Ident("mod".to_owned());
        self.in_macros.extend(tokens.iter().filter(word).map(|token| token.line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<(String, usize)> {
        let sources: Vec<_> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        check(&sources).into_iter().map(|finding| (finding.path, finding.line)).collect()
    }

    #[test]
    fn files_reached_by_plain_mod_lines_pass() {
        let files = [
            ("crates/a/src/lib.rs", "mod b;\npub(crate) mod c;"),
            ("crates/a/src/b.rs", "mod d;"),
            ("crates/a/src/b/d.rs", ""),
            ("crates/a/src/c/mod.rs", "#[cfg(test)]\nmod tests;"),
            ("crates/a/src/c/tests.rs", ""),
            ("crates/a/src/bin/tool.rs", ""),
            ("crates/a/tests/behaviour.rs", ""),
        ];
        assert_eq!(found(&files), []);
    }

    #[test]
    fn a_file_that_nobody_declares_is_found() {
        let files = [("crates/a/src/lib.rs", "mod b {}"), ("crates/a/src/b.rs", "")];
        assert_eq!(found(&files), [("crates/a/src/b.rs".to_owned(), 0)]);
    }

    #[test]
    fn a_module_of_another_folder_does_not_reach() {
        let files = [("crates/a/src/lib.rs", "mod b;"), ("crates/c/src/b.rs", "")];
        assert_eq!(found(&files).len(), 1);
    }

    #[test]
    fn a_macro_that_declares_a_module_is_found() {
        let text = "macro_rules! list {\n    ($m:ident) => {\n        mod $m;\n    };\n}";
        assert_eq!(
            found(&[("crates/a/src/lib.rs", text)]),
            [("crates/a/src/lib.rs".to_owned(), 3)]
        );
    }
}
