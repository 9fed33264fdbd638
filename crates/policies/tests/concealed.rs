//! A secret pasted where its digest belongs is refused, and no diagnostic shows it.

use std::path::Path;

use demilune_config::load_text;

#[test]
fn what_stands_in_a_digests_place_is_not_shown() {
    for credential in [
        "api_key: { hash: dml_live_hunter2hunter2 }",
        "api_key: { hash: [hunter2hunter2] }",
        "basic: { user: alice, password_hash: hunter2hunter2 }",
        "basic: { user: alice, password_hash: { plain: hunter2hunter2 } }",
    ] {
        let text =
            format!("version: 1\nconsumers:\n  alice:\n    credentials:\n      - {credential}\n");
        let shown = load_text("gateway.yaml", &text, Path::new(".")).unwrap_err().to_string();
        assert!(shown.contains("gateway.yaml:5"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}
