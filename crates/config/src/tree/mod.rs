//! The positioned tree: a document's text as nodes that know where they stand.
//!
//! Loading goes text → [`Node`] ([`parse()`]) → one [`Tree`] for all files ([`Tree::merge`]) →
//! types ([`from_node`]), and each step reports everything it finds instead of the first mistake.
//! Parsing types straight from text cannot do that: its first error is its last.
//!
//! What is accepted is YAML 1.2 (thus JSON) without the parts that surprise: one document, no
//! aliases, anchors, merge keys, tags or directives, plain text as keys, every key once, and
//! limits on size, depth and number ([`limits`]).

mod de;
mod input;
pub mod limits;
mod load;
mod merge;
mod parse;
mod path;
mod suggest;
mod text;

use std::cmp::Ordering;

use crate::diagnostic::Span;

pub use de::{CONCEALED, Error, from_entry, from_node};
pub use load::{load, load_sources};
pub use parse::parse;
pub use path::{PathSegment, format_path, join_key, parse_path};
pub use suggest::{looks_secret, may_hold_secret, nearest};

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// A scalar's own text; of a mapping in block style its first key; of other collections the
    /// mark they open with; of a value that was left out its key.
    pub span: Span,
    /// What was written.
    pub value: Value,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing, or plain `null`, `Null`, `NULL` or `~`.
    Null,
    /// Any other single value; what it means is decided by the type that reads it.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values.
    Mapping(Mapping),
}

/// A single value as written, escapes resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scalar {
    /// The text.
    pub text: String,
    /// Without quotes and not a block: only a plain scalar can be a number or a boolean.
    pub plain: bool,
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key; never empty.
    pub key: String,
    /// Where the key stands.
    pub key_span: Span,
    /// The value.
    pub value: Node,
}

/// Entries in the order they were written, found by key in logarithmic time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapping {
    entries: Vec<Entry>,
    /// Indices into `entries`, by key; of equal keys the one written first comes first.
    sorted: Vec<usize>,
}

impl Mapping {
    /// A mapping of these entries. Equal keys are kept; [`Mapping::duplicates`] tells them.
    #[must_use]
    pub fn new(entries: Vec<Entry>) -> Self {
        let mut sorted: Vec<_> = (0..entries.len()).collect();
        sorted.sort_by(|a, b| {
            let keys = entries.get(*a).map(|e| &e.key).cmp(&entries.get(*b).map(|e| &e.key));
            keys.then(a.cmp(b))
        });
        Self { entries, sorted }
    }

    /// The entries in the order they were written.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries themselves, in the order they were written.
    #[must_use]
    pub fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// The entry of this key; the first one, if the key was written twice.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        let before = |index: &usize| {
            self.entries
                .get(*index)
                .is_some_and(|entry| entry.key.as_str().cmp(key) == Ordering::Less)
        };
        let at = self.sorted.partition_point(before);
        self.entries.get(*self.sorted.get(at)?).filter(|entry| entry.key == key)
    }

    /// The value of this key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// Each entry whose key was written before, with the entry that wrote it first.
    #[must_use]
    pub fn duplicates(&self) -> Vec<(&Entry, &Entry)> {
        let mut duplicates = Vec::new();
        let mut first: Option<&Entry> = None;
        for entry in self.sorted.iter().filter_map(|index| self.entries.get(*index)) {
            match first {
                Some(first) if first.key == entry.key => duplicates.push((first, entry)),
                _ => first = Some(entry),
            }
        }
        duplicates
    }
}

impl Node {
    /// Whether nothing was written.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The text of a single value.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) => Some(&scalar.text),
            _ => None,
        }
    }

    /// The mapping, if it is one.
    #[must_use]
    pub fn as_mapping(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    /// The entries of a mapping in the order they were written; none for anything else.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        self.as_mapping().map(Mapping::entries).unwrap_or_default()
    }

    /// The items of a list; none for anything else.
    #[must_use]
    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The entry of this key, if this is a mapping that has it.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.as_mapping().and_then(|mapping| mapping.entry(key))
    }

    /// The value of this key, if this is a mapping that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The node at the path, or the nearest one above it.
    #[must_use]
    pub fn at(&self, path: &[PathSegment]) -> Place<'_> {
        let mut place = Place { node: self, key_span: None, matched: 0, exact: true };
        for segment in path {
            let next = match segment {
                PathSegment::Key(key) => {
                    place.node.entry(key).map(|entry| (&entry.value, Some(entry.key_span)))
                }
                PathSegment::Index(index) => {
                    place.node.items().get(*index).map(|item| (item, None))
                }
            };
            let Some((node, key_span)) = next else {
                place.exact = false;
                break;
            };
            place = Place { node, key_span, matched: place.matched + 1, exact: true };
        }
        place
    }
}

/// What stands at a path: the answer of [`Node::at`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'t> {
    /// The node, or the nearest one above it.
    pub node: &'t Node,
    /// Its key, when it is a mapping's value.
    pub key_span: Option<Span>,
    /// How many segments of the path were found.
    pub matched: usize,
    /// Whether the whole path was found.
    pub exact: bool,
}

impl Place<'_> {
    /// Where to point: the key, or for an item of a list and for the root the node itself.
    #[must_use]
    pub fn span(&self) -> Span {
        self.key_span.unwrap_or(self.node.span)
    }
}

/// A whole document, of one file or of several merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    root: Node,
}

impl Tree {
    /// The top-level mapping.
    #[must_use]
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// A top-level value, such as `routes`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.root.get(key)
    }

    /// The top-level entries in the order they were written.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        self.root.entries()
    }

    /// The node at the path, or the nearest one above it.
    #[must_use]
    pub fn at(&self, path: &[PathSegment]) -> Place<'_> {
        self.root.at(path)
    }

    /// As [`Tree::at`], for a path as diagnostics print it: `routes.orders.policies[2]`.
    #[must_use]
    pub fn at_path(&self, path: &str) -> Place<'_> {
        self.root.at(&parse_path(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::FileId;

    fn tree(text: &str) -> Tree {
        Tree::merge(vec![parse(FileId(0), text.as_bytes()).unwrap()]).unwrap()
    }

    #[test]
    fn a_path_finds_its_node_or_the_nearest_above() {
        let tree =
            tree("routes:\n  api.v1:\n    policies:\n      - waf: {}\n      - cache: {ttl: 60s}\n");
        let place = tree.at_path("routes[\"api.v1\"].policies[1].cache.ttl");
        assert_eq!((place.node.as_str(), place.exact), (Some("60s"), true));
        assert_eq!((place.span().line, place.span().column), (5, 17));
        let place = tree.at_path("routes[\"api.v1\"].policies[7].cache");
        assert_eq!((place.exact, place.matched, place.span().line), (false, 3, 3));
        let place = tree.at_path("nothing.here");
        assert_eq!((place.exact, place.matched, place.span().line), (false, 0, 1));
        let item = tree.at_path("routes[\"api.v1\"].policies[1]");
        assert_eq!((item.key_span, item.span().line, item.span().column), (None, 5, 9));
    }

    #[test]
    fn entries_keep_their_order_and_are_found_by_key() {
        let tree = tree("b: 1\na: 2\nc: [x, y]\n");
        let keys: Vec<_> = tree.entries().iter().map(|entry| entry.key.as_str()).collect();
        assert_eq!(keys, ["b", "a", "c"]);
        assert_eq!(tree.get("a").and_then(Node::as_str), Some("2"));
        assert_eq!(tree.get("c").map(|node| node.items().len()), Some(2));
        assert!(tree.get("d").is_none() && tree.get("").is_none());
    }
}
