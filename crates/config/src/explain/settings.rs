//! The values in force on a route, each with the line it comes from.

use demilune_core::Route;
use serde_json::Value;

use crate::compile::effective;
use crate::document::Document;
use crate::tree::{join_key, looks_secret};

/// Stands for a value that may be a secret.
const CONCEALED: &str = "<not shown>";

/// One value in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// What it is, such as `rate_limit.limit`.
    pub key: String,
    /// Its value as JSON; `<not shown>` where it may be a secret.
    pub value: String,
    /// `gateway.yaml:14`, or `default` where the document leaves it out.
    pub source: String,
}

/// All values of the policies of a route, in the order of its policies.
pub(super) fn of(document: &Document, route: &Route) -> Vec<Setting> {
    let mut all = Vec::new();
    let Some(config) = document.model.routes.get(&*route.name) else { return all };
    for effective in effective(document, config, &route.name) {
        let name = effective.policy.meta().name;
        let Ok(value) = serde_json::to_value(effective.policy) else { continue };
        if let Some(value) = value.get(name) {
            let above = effective.path.as_str();
            flatten(document, value, name, above, &mut all);
        }
    }
    all
}

fn flatten(document: &Document, value: &Value, key: &str, path: &str, all: &mut Vec<Setting>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (field, value) in fields {
                let (key, path) = (join_key(key, field), join_key(path, field));
                flatten(document, value, &key, &path, all);
            }
        }
        value => {
            let place = document.tree.at_path(path);
            let source = if place.exact {
                document.sources.location(place.span())
            } else {
                "default".to_owned()
            };
            // A header that a policy sets may be something that only the upstream should see.
            let last = key.rsplit(['.', '[']).next().unwrap_or_default();
            let value = match value {
                Value::String(_) if looks_secret(last) => CONCEALED.to_owned(),
                value => value.to_string(),
            };
            all.push(Setting { key: key.to_owned(), value, source });
        }
    }
}
