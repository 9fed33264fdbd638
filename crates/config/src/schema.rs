//! The document's JSON Schema, for editors and for `check` in other tools.

use crate::model::Model;

/// The schema as JSON text, with a line break at its end.
#[must_use]
pub fn schema() -> String {
    let mut schema = schemars::schema_for!(Model);
    schema.insert("title".to_owned(), "Demilune's configuration".into());
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
