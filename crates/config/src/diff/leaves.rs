//! Everything that is different, value by value, whatever it means.

use std::collections::BTreeSet;

use demilune_policies::PolicyConfig;
use serde_json::Value;

use super::{At, Change, Pair};
use crate::document::Document;
use crate::model::Model;
use crate::tree::looks_secret;

/// The longest value shown, in characters.
const VALUE_SHOWN: usize = 200;

/// All plain changes.
pub(super) fn all(pair: Pair<'_>) -> Vec<Change> {
    let mut leaves = Leaves { pair, changes: Vec::new() };
    let (before, after) = (&pair.before.model, &pair.after.model);
    match (json(before), json(after)) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                leaves.compare(&At::path(key), old.get(key), new.get(key));
            }
        }
        _ => leaves.changes.push(Change {
            path: String::new(),
            what: "the documents cannot be compared".to_owned(),
            loosens: true,
            before: None,
            after: None,
        }),
    }
    let defaults = At::path("defaults.policies");
    leaves.policies(&defaults, &before.defaults.policies, &after.defaults.policies);
    for (name, new) in &after.routes {
        if let Some(old) = before.routes.get(name) {
            let at = At::path(format!("routes.{name}.policies"));
            leaves.policies(&at, &old.policies, &new.policies);
        }
    }
    for name in after.consumers.keys().filter(|name| before.consumers.contains_key(*name)) {
        leaves.credentials(name);
    }
    leaves.changes
}

/// The model without what is compared in its own way: policies by key, credentials unseen.
fn json(model: &Model) -> Option<Value> {
    let mut value = serde_json::to_value(model).ok()?;
    let mut take = |section: &str, field: &str| {
        for object in value.get_mut(section)?.as_object_mut()?.values_mut() {
            object.as_object_mut()?.remove(field);
        }
        Some(())
    };
    take("routes", "policies")?;
    take("consumers", "credentials")?;
    value.get_mut("defaults")?.as_object_mut()?.remove("policies");
    Some(value)
}

struct Leaves<'d> {
    pair: Pair<'d>,
    changes: Vec<Change>,
}

impl Leaves<'_> {
    fn push(&mut self, at: &At, what: String, sides: (bool, bool)) {
        self.changes.push(at.change(self.pair, what, sides));
    }

    fn compare(&mut self, at: &At, before: Option<&Value>, after: Option<&Value>) {
        let written = |value: Option<&Value>| value.is_some_and(|value| !value.is_null());
        let sides = (written(before), written(after));
        let (before, after) = (before.filter(|_| sides.0), after.filter(|_| sides.1));
        match (before, after) {
            (Some(Value::Object(old)), Some(Value::Object(new))) => {
                for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                    self.compare(&at.field(key), old.get(key), new.get(key));
                }
            }
            (Some(Value::Array(old)), Some(Value::Array(new))) => self.lists(at, old, new, sides),
            (Some(Value::Array(old)), None) => self.lists(at, old, &[], sides),
            (None, Some(Value::Array(new))) => self.lists(at, &[], new, sides),
            (Some(old), Some(new)) if old != new => {
                let what = if self.conceals(at, old) || self.conceals(at, new) {
                    "changed".to_owned()
                } else {
                    format!("{} → {}", show(old), show(new))
                };
                self.push(at, what, sides);
            }
            (None, Some(value)) => self.push(at, format!("added{}", self.shown(at, value)), sides),
            (Some(value), None) => {
                self.push(at, format!("removed{}", self.shown(at, value)), sides)
            }
            _ => {}
        }
    }

    /// Lists of plain values are compared as sets: no setting so far gives their order a meaning,
    /// except where authenticators are asked one after the other.
    fn lists(&mut self, at: &At, old: &[Value], new: &[Value], sides: (bool, bool)) {
        if old.iter().chain(new).any(|value| value.is_object() || value.is_array()) {
            for index in 0..old.len().max(new.len()) {
                self.compare(&at.item(index), old.get(index), new.get(index));
            }
            return;
        }
        let texts = |list: &[Value]| list.iter().map(show).collect::<Vec<_>>();
        let (old, new) = (texts(old), texts(new));
        let only = |list: &[String], other: &[String]| {
            let other: BTreeSet<&String> = other.iter().collect();
            list.iter().filter(|item| !other.contains(item)).cloned().collect::<Vec<_>>()
        };
        let mut parts = Vec::new();
        for (word, items) in [("removed", only(&old, &new)), ("added", only(&new, &old))] {
            if !items.is_empty() {
                parts.push(format!("{word} {}", super::shortened(&items)));
            }
        }
        if parts.is_empty() && old != new && at.label.ends_with(".any_of") {
            parts.push(format!("another order: {} → {}", old.join(", "), new.join(", ")));
        }
        if !parts.is_empty() {
            self.push(at, parts.join(", "), sides);
        }
    }

    /// Policies of one level, by key.
    fn policies(&mut self, at: &At, old: &[PolicyConfig], new: &[PolicyConfig]) {
        let find = |list: &[PolicyConfig], policy: &PolicyConfig| {
            list.iter().position(|other| other.key() == policy.key())
        };
        for (index, policy) in new.iter().enumerate() {
            let was = find(old, policy);
            let at = policy_at(at, policy, was, Some(index));
            match was.and_then(|was| old.get(was)) {
                Some(other) => {
                    let (other, policy) = (settings(other), settings(policy));
                    self.compare(&at, other.as_ref(), policy.as_ref());
                }
                None => self.push(&at, "added".to_owned(), (false, true)),
            }
        }
        for (index, policy) in old.iter().enumerate() {
            if find(new, policy).is_none() {
                let at = policy_at(at, policy, Some(index), None);
                self.push(&at, "removed".to_owned(), (true, false));
            }
        }
        let kept = |list: &[PolicyConfig], other: &[PolicyConfig]| {
            let kept = list.iter().filter(|policy| find(other, policy).is_some());
            kept.map(|policy| policy.key().into_owned()).collect::<Vec<_>>()
        };
        let (was, is) = (kept(old, new), kept(new, old));
        if was != is {
            let what = format!("another order: {} → {}", was.join(", "), is.join(", "));
            self.push(at, what, (true, true));
        }
    }

    /// A header that a policy sets may be something that only the upstream should see; and what
    /// stands in place of a secret's name may be the secret.
    fn conceals(&self, at: &At, value: &Value) -> bool {
        let Some(text) = value.as_str() else { return false };
        let last = at.label.rsplit(['.', '[']).next().unwrap_or_default();
        let named = |document: &Document| document.model.secrets.contains_key(text);
        let place = at.label.contains(".policies[") || at.label.starts_with("authenticators.");
        place && looks_secret(last) && !named(self.pair.before) && !named(self.pair.after)
    }

    fn shown(&self, at: &At, value: &Value) -> String {
        if value.is_object() || self.conceals(at, value) {
            return String::new();
        }
        format!(" {}", show(value))
    }

    /// Credentials of a consumer that both documents have: only their kind is told.
    fn credentials(&mut self, consumer: &str) {
        let Pair { before, after } = self.pair;
        for (at, kind) in credentials_only_in(before, after, consumer) {
            self.push(&at, format!("removed {kind}"), (true, false));
        }
        for (at, kind) in credentials_only_in(after, before, consumer) {
            let what = format!("added {kind}, another way to be this caller");
            let change = at.change(self.pair, what, (false, true));
            self.changes.push(Change { loosens: true, ..change });
        }
    }
}

/// Credentials of a consumer that the other document does not have, with their kind.
fn credentials_only_in(document: &Document, other: &Document, name: &str) -> Vec<(At, String)> {
    let of = |document: &Document| {
        let consumer = document.model.consumers.get(name);
        let all = consumer.map(|consumer| consumer.credentials.iter().map(serde_json::to_value));
        all.into_iter().flatten().map(|value| value.unwrap_or_default()).collect::<Vec<Value>>()
    };
    let others = of(other);
    let mut only = Vec::new();
    for (index, credential) in of(document).iter().enumerate() {
        if credential.is_null() || !others.contains(credential) {
            let label = format!("consumers.{name}.credentials");
            let place = format!("{label}[{index}]");
            let kind = credential.as_object().and_then(|object| object.keys().next().cloned());
            let kind = kind.unwrap_or_else(|| "a credential".to_owned());
            only.push((At { label, before: place.clone(), after: place }, kind));
        }
    }
    only
}

/// Where a policy stands: for the reader under its key, in the documents under its number and name.
pub(super) fn policy_at(
    list: &At,
    policy: &PolicyConfig,
    before: Option<usize>,
    after: Option<usize>,
) -> At {
    let name = policy.meta().name;
    let path = |list: &str, index: Option<usize>| match index {
        Some(index) => format!("{list}[{index}].{name}"),
        None => list.to_owned(),
    };
    At {
        label: format!("{}[{}]", list.label, policy.key()),
        before: path(&list.before, before),
        after: path(&list.after, after),
    }
}

fn settings(policy: &PolicyConfig) -> Option<Value> {
    let value = serde_json::to_value(policy).ok()?;
    value.get(policy.meta().name).cloned()
}

/// A value as the document writes it; text with spaces in quotes.
fn show(value: &Value) -> String {
    let text = match value {
        Value::String(text) if !text.is_empty() && !text.contains(char::is_whitespace) => {
            text.clone()
        }
        value => value.to_string(),
    };
    match text.char_indices().nth(VALUE_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}
