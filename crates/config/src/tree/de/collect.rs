//! Finding all mistakes in a subtree, though a type stops at the first.
//!
//! serde's derived code returns at the first value it cannot read. So what was refused is recorded
//! and its node set aside; then the whole type is read again, and the accessors pass over what was
//! set aside, until the type can be read or the root itself is refused. What a type says about a
//! node from which something was left out (a missing key, a list too short) may be the fault of the
//! omission, and is not reported.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use serde::de::DeserializeOwned;

use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::tree::{Entry, Mapping, Node, looks_secret, nearest};

use super::error::{Error, Kind, Message, Words, cut};
use super::{De, Step, Trail};

/// How often a type is read anew: the most refused values that are found in one subtree. Unknown
/// keys do not count.
const MAX_PASSES: usize = 32;

/// What is remembered from one pass to the next.
#[derive(Default)]
pub(super) struct State {
    diagnostics: RefCell<Diagnostics>,
    /// Nodes that were refused, and values of unknown keys, by address.
    aside: RefCell<HashSet<*const Node>>,
    /// How often something set aside was passed over.
    skipped: Cell<usize>,
}

impl State {
    pub(super) fn push(&self, diagnostic: Diagnostic) {
        self.diagnostics.borrow_mut().push(diagnostic);
    }

    /// Sets the node aside; whether it was not yet.
    pub(super) fn set_aside(&self, node: &Node) -> bool {
        self.aside.borrow_mut().insert(std::ptr::from_ref(node))
    }

    /// Whether the node is set aside, and so must be passed over.
    pub(super) fn skips(&self, node: &Node) -> bool {
        let skips = self.is_aside(node);
        self.skipped.set(self.skipped.get() + usize::from(skips));
        skips
    }

    fn is_aside(&self, node: &Node) -> bool {
        self.aside.borrow().contains(&std::ptr::from_ref(node))
    }

    fn is_full(&self) -> bool {
        self.diagnostics.borrow().is_full()
    }
}

/// Reads a type from a node.
///
/// `path` is where the node stands in the document: `routes.orders`. All that is wrong is added to
/// `diagnostics`, with codes `config.unknown_key`, `config.missing_key` and `config.invalid_value`;
/// the answer is `None` if anything was.
pub fn from_node<T: DeserializeOwned>(
    node: &Node,
    path: &str,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    read(node, None, path, diagnostics)
}

/// As [`from_node`], for a value under a key: a missing key is reported where that key stands.
pub fn from_entry<T: DeserializeOwned>(
    entry: &Entry,
    path: &str,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    read(&entry.value, Some(entry.key_span), path, diagnostics)
}

fn read<T: DeserializeOwned>(
    node: &Node,
    owner: Option<Span>,
    path: &str,
    diagnostics: &mut Diagnostics,
) -> Option<T> {
    let state = State::default();
    let trail = Trail { above: None, step: Step::Root(path) };
    let de = De { node, owner, trail, conceal: looks_secret(path), state: &state };
    let mut value = None;
    for _ in 0..MAX_PASSES {
        value = de.drive(|de| T::deserialize(de)).ok();
        if value.is_some() || state.is_aside(node) {
            break;
        }
    }
    let found = state.diagnostics.into_inner();
    let value = value.filter(|_| found.is_empty());
    diagnostics.append(found);
    value
}

impl<'de, 'p> De<'de, 'p> {
    /// Runs what reads this node; if that fails, records the diagnostic and sets the node aside.
    pub(super) fn drive<T>(self, run: impl FnOnce(Self) -> Result<T, Error>) -> Result<T, Error> {
        let before = self.state.skipped.get();
        run(self).map_err(|error| {
            if matches!(*error.0, Kind::Recorded) {
                return error;
            }
            let whole = self.state.skipped.get() == before;
            if self.state.set_aside(self.node) && whole {
                self.diagnose(*error.0).into_iter().for_each(|found| self.state.push(found));
            }
            Error::new(Kind::Recorded)
        })
    }

    fn diagnose(&self, kind: Kind) -> Option<Diagnostic> {
        match kind {
            Kind::Here(message) => Some(self.invalid(message, self.node.span, self.trail.path())),
            Kind::Missing(key) => {
                let reason = format!("the key `{key}` is missing");
                let at = self.owner.unwrap_or(self.node.span);
                let missing = Diagnostic::error("config.missing_key", reason).at(at);
                Some(missing.path(self.trail.path()).conceal(self.conceal))
            }
            Kind::Placed(diagnostic) => Some(diagnostic),
            Kind::Spoiled | Kind::Recorded => None,
        }
    }

    /// The diagnostic of a value, or of a key, that was refused.
    pub(super) fn invalid(&self, message: Message, at: Span, path: String) -> Diagnostic {
        let conceal = self.conceal || self.node.as_str().is_some_and(has_user);
        let reason = if conceal { message.concealed } else { message.reason };
        let mut diagnostic = Diagnostic::error("config.invalid_value", reason).at(at).path(path);
        diagnostic.help = message.help;
        diagnostic.conceal(conceal)
    }

    /// The value under a key.
    pub(super) fn under<'c>(&'c self, entry: &'de Entry) -> De<'de, 'c> {
        De {
            node: &entry.value,
            owner: Some(entry.key_span),
            trail: Trail { above: Some(&self.trail), step: Step::Key(&entry.key) },
            conceal: self.conceal || looks_secret(&entry.key),
            state: self.state,
        }
    }

    /// An item of a list.
    pub(super) fn item<'c>(&'c self, index: usize, node: &'de Node) -> De<'de, 'c> {
        De {
            node,
            owner: None,
            trail: Trail { above: Some(&self.trail), step: Step::Index(index) },
            conceal: self.conceal,
            state: self.state,
        }
    }

    /// Reports every key that is no field; gives the fields that were likely meant.
    pub(super) fn check_keys(
        &self,
        mapping: &'de Mapping,
        fields: &'static [&'static str],
    ) -> Vec<&'static str> {
        let mut meant = Vec::new();
        // A value under a mistyped `password` is a password, and so may be one under a key that is
        // nearest to nothing.
        let secret = fields.iter().any(|field| looks_secret(field));
        for entry in mapping.entries() {
            if fields.contains(&entry.key.as_str()) {
                continue;
            }
            let new = self.state.set_aside(&entry.value);
            if self.state.is_full() {
                continue;
            }
            let free = fields.iter().copied().filter(|field| mapping.entry(field).is_none());
            let nearest = nearest(&entry.key, free);
            meant.extend(nearest);
            if new {
                let unknown = self.unknown(entry, nearest, fields);
                self.state.push(unknown.conceal(secret && nearest.is_none()));
            }
        }
        meant
    }

    /// The diagnostic of a key that is not among those accepted.
    pub(super) fn unknown(
        &self,
        entry: &'de Entry,
        nearest: Option<&str>,
        accepted: &[&str],
    ) -> Diagnostic {
        let below = self.under(entry);
        let reason = format!("unknown key `{}`", cut(&entry.key));
        let help = match nearest {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None if accepted.is_empty() => "no key is accepted here".into(),
            None => format!("accepted here: {}", Words(accepted)),
        };
        Diagnostic::error("config.unknown_key", reason)
            .at(entry.key_span)
            .path(below.trail.path())
            .help(help)
            .conceal(below.conceal || nearest.is_some_and(looks_secret))
    }
}

/// A URL with a user before its host may carry a password too (RFC 3986, section 3.2.1).
fn has_user(text: &str) -> bool {
    text.split_once("://").is_some_and(|(_, rest)| {
        rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
    })
}
