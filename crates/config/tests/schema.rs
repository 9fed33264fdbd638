//! The committed schema is the one that the types give.

use std::fs;

const PATH: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/demilune.schema.json");

#[test]
fn the_committed_schema_is_that_of_the_model() {
    let schema = demilune_config::schema();
    if std::env::var_os("DEMILUNE_REFRESH").is_some() {
        fs::write(PATH, &schema).unwrap();
    }
    let committed = fs::read_to_string(PATH).unwrap_or_default();
    assert!(
        committed == schema,
        "docs/reference/demilune.schema.json is stale: DEMILUNE_REFRESH=1 cargo test -p \
         demilune-config --test schema"
    );
}
