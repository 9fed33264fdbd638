//! What changes between two documents, and what of it loosens security.
//!
//! Compared is what the documents mean: the order of keys, files and lists without an order does
//! not count, and a value written out equals the default it repeats. What loosens is judged by what
//! a client could do afterwards that it could not do before; where that cannot be told, it counts
//! as loosening. Values of credentials are never part of a change.

mod leaves;
mod objects;
mod routes;
mod takeover;

use std::collections::BTreeMap;
use std::fmt;

use crate::diagnostic::clean;
use crate::document::Document;

/// One difference between two documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it is about: a path of the document, in which a policy stands under its key, such as
    /// `routes.orders.policies[rate_limit.address].limit`.
    pub path: String,
    /// What is different; where it loosens security also how.
    pub what: String,
    /// Whether a client could do something afterwards that it could not do before.
    pub loosens: bool,
    /// `gateway.yaml:14` in the document before, or `default`; `None` where it was not there.
    pub before: Option<String>,
    /// The same in the document after.
    pub after: Option<String>,
}

/// One line: `loosens  routes.orders.public: … (a.yaml:12 → b.yaml:12)`.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.loosens { "loosens" } else { "changes" };
        write!(f, "{mark}  {}: {}", clean(&self.path), clean(&self.what))?;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, " ({} → {})", clean(before), clean(after)),
            (None, Some(place)) => write!(f, " ({})", clean(place)),
            (Some(place), None) => write!(f, " (was {})", clean(place)),
            (None, None) => Ok(()),
        }
    }
}

/// All differences, those that loosen security first; none where both documents mean the same.
///
/// Neither document needs to compile, and no file that one refers to is read: a certificate that
/// was replaced under its old name is no difference.
#[must_use]
pub fn diff(before: &Document, after: &Document) -> Vec<Change> {
    let pair = Pair { before, after };
    let mut judgements = Judgements::default();
    objects::judge(pair, &mut judgements);
    routes::judge(pair, &mut judgements);
    takeover::judge(pair, &mut judgements);
    let mut changes = judgements.mark(leaves::all(pair), pair);
    changes.sort_by(|a, b| {
        let rank = |change: &Change| (!change.loosens, section(&change.path));
        rank(a).cmp(&rank(b)).then_with(|| a.path.cmp(&b.path))
    });
    changes
}

/// Both documents.
#[derive(Clone, Copy)]
struct Pair<'d> {
    before: &'d Document,
    after: &'d Document,
}

/// Where something stands: its name for the reader, and its path in each document.
#[derive(Debug, Clone)]
struct At {
    label: String,
    before: String,
    after: String,
}

impl At {
    /// A path that is the same for the reader and in both documents.
    fn path(path: impl Into<String>) -> Self {
        let label = path.into();
        Self { before: label.clone(), after: label.clone(), label }
    }

    fn each(&self, grow: impl Fn(&str) -> String) -> Self {
        Self { label: grow(&self.label), before: grow(&self.before), after: grow(&self.after) }
    }

    fn field(&self, key: &str) -> Self {
        self.each(|path| crate::tree::join_key(path, key))
    }

    fn item(&self, index: usize) -> Self {
        self.each(|path| format!("{path}[{index}]"))
    }

    /// A change here; `sides` tells in which of the documents there is something.
    fn change(&self, pair: Pair<'_>, what: String, sides: (bool, bool)) -> Change {
        let place = |document: &Document, path: &str| {
            let place = document.tree.at_path(path);
            if place.exact { document.sources.location(place.span()) } else { "default".to_owned() }
        };
        Change {
            path: self.label.clone(),
            what,
            loosens: false,
            before: sides.0.then(|| place(pair.before, &self.before)),
            after: sides.1.then(|| place(pair.after, &self.after)),
        }
    }
}

/// The order of a document's sections.
fn section(path: &str) -> usize {
    let name = path.split(['.', '[']).next().unwrap_or_default();
    crate::document::KEYS.iter().position(|key| *key == name).unwrap_or(usize::MAX)
}

/// What loosens, as it is found: to be joined with the plain changes that it explains.
#[derive(Default)]
struct Judgements {
    /// By the reader's path and the words.
    found: BTreeMap<(String, String), Judgement>,
}

struct Judgement {
    at: At,
    /// The routes it is true of, where it is about a default.
    routes: Vec<String>,
    /// Whether it is about every change below its place.
    below: bool,
    /// In which of the documents its place is.
    sides: (bool, bool),
    told: bool,
}

impl Judgements {
    /// A change at `path` loosens: `why`.
    fn at(&mut self, path: impl Into<String>, why: impl Into<String>) {
        self.push(At::path(path), why.into(), None, (true, true));
    }

    /// Any change at `path` or below it loosens: `why`. Without one, nothing is said.
    fn below(&mut self, path: impl Into<String>, why: impl Into<String>) {
        self.push(At::path(path), why.into(), None, (true, true)).below = true;
    }

    /// As [`Judgements::at`]; said of several routes it becomes one that names them all.
    fn push(
        &mut self,
        at: At,
        why: String,
        route: Option<&str>,
        sides: (bool, bool),
    ) -> &mut Judgement {
        let new = |at| Judgement { at, routes: Vec::new(), below: false, sides, told: false };
        let key = (at.label.clone(), why);
        let judgement = self.found.entry(key).or_insert_with(|| new(at));
        judgement.routes.extend(route.map(str::to_owned));
        judgement
    }

    /// Marks the changes that were judged, and adds those judgements that explain no plain change.
    fn mark(mut self, mut changes: Vec<Change>, pair: Pair<'_>) -> Vec<Change> {
        for change in &mut changes {
            let path = change.path.clone();
            let above = path.match_indices(['.', '[']).filter_map(|(at, _)| path.get(..at));
            for place in above.chain([path.as_str()]) {
                let from = (place.to_owned(), String::new());
                let here = self.found.range_mut(from..).take_while(|((at, _), _)| at == place);
                for ((_, why), judgement) in here {
                    if judgement.below || place == path {
                        judgement.told = true;
                        change.loosens = true;
                        change.what = format!("{}: {}", change.what, judgement.words(why));
                    }
                }
            }
        }
        for ((_, why), judgement) in self.found.iter().filter(|(_, it)| !it.told && !it.below) {
            let change = judgement.at.change(pair, judgement.words(why), judgement.sides);
            changes.push(Change { loosens: true, ..change });
        }
        changes
    }
}

impl Judgement {
    fn words(&self, why: &str) -> String {
        if self.routes.is_empty() {
            return why.to_owned();
        }
        format!("{why}, on {}", shortened(&self.routes))
    }
}

/// The most names that a line lists.
const NAMES_SHOWN: usize = 8;

/// `a, b, c`, or the first few `and 12 more`.
fn shortened(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMES_SHOWN).map(String::as_str).collect();
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests;
