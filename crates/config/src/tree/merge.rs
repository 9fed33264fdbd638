//! Several files as one document.

use std::collections::HashMap;

use crate::diagnostic::{Diagnostic, Diagnostics, Span};

use super::de::found;
use super::parse::duplicate;
use super::suggest::looks_secret;
use super::{Entry, Mapping, Node, Tree, Value};

/// The key that may stand in every file, and says the same in all of them.
const VERSION: &str = "version";

impl Tree {
    /// Joins the files of one document, in the order given.
    ///
    /// Top-level mappings of the same key (`routes`, `upstreams`) are joined; what they hold must
    /// have different names. `version` may stand in each file and must agree. Anything else may
    /// stand in one file only; a key with nothing under it does not count.
    ///
    /// # Errors
    /// Every name written in two files, with both places; a file that is no mapping; no file at
    /// all.
    pub fn merge(documents: Vec<Node>) -> Result<Self, Diagnostics> {
        let mut diagnostics = Diagnostics::new();
        let Some(span) = documents.first().map(|root| root.span) else {
            return Err(Diagnostic::error("config.empty", "there is no file to load").into());
        };
        let mut sections: Vec<Vec<Entry>> = Vec::new();
        let mut by_key: HashMap<String, usize> = HashMap::new();
        for root in documents {
            let Value::Mapping(mapping) = root.value else {
                let reason = format!("expected a mapping at the top, found {}", found(&root, true));
                let help = "a document begins with `version: 1`";
                diagnostics.push(
                    Diagnostic::error("config.invalid_value", reason).at(root.span).help(help),
                );
                continue;
            };
            for entry in mapping.into_entries() {
                let next = sections.len();
                let index = *by_key.entry(entry.key.clone()).or_insert(next);
                match sections.get_mut(index) {
                    Some(section) => section.push(entry),
                    None => sections.push(vec![entry]),
                }
            }
        }
        let join = |section| join(section, &mut diagnostics);
        let entries = sections.into_iter().filter_map(join).collect();
        let root = Node { span, value: Value::Mapping(Mapping::new(entries)) };
        diagnostics.or_value(Self { root })
    }
}

/// One entry of those that several files have for a top-level key.
fn join(section: Vec<Entry>, diagnostics: &mut Diagnostics) -> Option<Entry> {
    if section.len() < 2 {
        return section.into_iter().next();
    }
    let (left_out, mut written): (Vec<_>, Vec<_>) =
        section.into_iter().partition(|entry| entry.value.is_null());
    if written.len() < 2 {
        return written.pop().or_else(|| left_out.into_iter().next());
    }
    let mappings = written.iter().all(|entry| entry.value.as_mapping().is_some());
    let mut written = written.into_iter();
    let first = written.next()?;
    if !mappings {
        for second in written {
            diagnostics.extend(disagreement(&first, &second));
        }
        return Some(first);
    }
    let Entry { key, key_span, value: Node { span, value } } = first;
    let mut joined = into_entries(value);
    joined.extend(written.flat_map(|entry| into_entries(entry.value.value)));
    let mapping = Mapping::new(joined);
    for (first, second) in mapping.duplicates() {
        let conceal = looks_secret(&key) || looks_secret(&second.key);
        let mut diagnostic = duplicate(first, second, key.clone()).conceal(conceal);
        diagnostic.reason = twice(&second.key);
        diagnostics.push(diagnostic);
    }
    Some(Entry { key, key_span, value: Node { span, value: Value::Mapping(mapping) } })
}

fn into_entries(value: Value) -> Vec<Entry> {
    match value {
        Value::Mapping(mapping) => mapping.into_entries(),
        _ => Vec::new(),
    }
}

fn disagreement(first: &Entry, second: &Entry) -> Option<Diagnostic> {
    let (reason, at): (_, fn(&Entry) -> Span) = if second.key != VERSION {
        (twice(&second.key), |entry| entry.key_span)
    } else if first.value.value == second.value.value {
        return None;
    } else {
        (format!("the files disagree on `{VERSION}`"), |entry| entry.value.span)
    };
    let diagnostic = Diagnostic::error("config.duplicate_key", reason).at(at(second));
    let diagnostic = diagnostic.path(&second.key).conceal(looks_secret(&second.key));
    Some(diagnostic.related(at(first), "first written here"))
}

fn twice(key: &str) -> String {
    format!("the key `{key}` is written in two files")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::{FileId, Sources};
    use crate::tree::parse;

    fn merge(texts: &[&str]) -> Result<Tree, String> {
        let mut sources = Sources::new();
        let parse = |(index, text): (usize, &&str)| {
            let file = sources.add(format!("{index}.yaml"), *text);
            parse(file, text.as_bytes()).unwrap()
        };
        let documents = texts.iter().enumerate().map(parse).collect();
        Tree::merge(documents).map_err(|found| found.render(&sources))
    }

    #[test]
    fn sections_of_several_files_are_joined() {
        let tree = merge(&[
            "version: 1\nroutes:\n  a: {}\n",
            "version: 1\nroutes: {b: {}}\nupstreams: {u: {}}\n",
            "routes:\n",
        ])
        .unwrap();
        let routes: Vec<_> = tree.get("routes").unwrap().entries().iter().collect();
        assert_eq!(routes.iter().map(|route| route.key.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(
            routes.iter().map(|route| route.key_span.file).collect::<Vec<_>>(),
            [FileId(0), FileId(1)]
        );
        assert_eq!(tree.entries().len(), 3);
        assert!(tree.at_path("upstreams.u").exact);
    }

    #[test]
    fn a_name_in_two_files_is_an_error_that_names_both() {
        let text = merge(&["routes:\n  a: {}\n", "routes:\n  b: {}\n  a: {}\n"]).unwrap_err();
        assert_eq!(
            text,
            "error[config.duplicate_key]: the key `a` is written in two files\n \
             --> 1.yaml:3:3\n  |\n3 |   a: {}\n  |   ^\n  = first written here: 0.yaml:2:3\n"
        );
    }

    #[test]
    fn versions_must_agree() {
        assert!(merge(&["version: 1\n", "version: 1\n"]).is_ok());
        let text = merge(&["version: 1\n", "version: 2\n"]).unwrap_err();
        assert!(text.contains("the files disagree on `version`\n --> 1.yaml:1:10"), "{text}");
    }

    #[test]
    fn what_is_no_mapping_stands_in_one_file() {
        let text = merge(&["a: [1]\nb: x\nc: {}\n", "a: [2]\nb: y\nc: z\n"]).unwrap_err();
        assert_eq!(text.matches("is written in two files").count(), 3, "{text}");
        assert!(merge(&["a:\n", "a: [2]\n"]).is_ok());
        assert!(merge(&["a: ~\n", "a: null\n"]).is_ok());
    }

    #[test]
    fn a_file_that_is_no_mapping_is_refused() {
        let text = merge(&["- a\n", "hunter2\n"]).unwrap_err();
        assert!(text.contains("expected a mapping at the top, found a list"), "{text}");
        assert!(text.contains("expected a mapping at the top, found a value"), "{text}");
        assert!(Tree::merge(Vec::new()).is_err());
    }
}
