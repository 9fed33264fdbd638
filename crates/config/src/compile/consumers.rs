//! Consumers and their credentials.

use std::collections::HashMap;
use std::sync::Arc;

use demilune_core::Consumer;
use http::HeaderValue;

use super::Compiler;

impl Compiler<'_> {
    /// Fills the directory. Two consumers can never hold the same credential.
    pub(crate) fn fill_directory(&mut self) {
        let mut held: HashMap<String, String> = HashMap::new();
        for (name, config) in &self.document.model.consumers {
            for (i, group) in config.groups.iter().enumerate() {
                let plain = !group.is_empty()
                    && group.len() <= 64
                    && !group.contains(',')
                    && HeaderValue::from_str(group).is_ok();
                if !plain {
                    let reason = "a group's name is of at most 64 visible characters but `,`";
                    let path = format!("consumers.{name}.groups[{i}]");
                    self.error("config.invalid_value", &path, reason);
                }
            }
            let consumer = Arc::new(Consumer {
                name: name.as_str().into(),
                groups: config.groups.iter().map(|group| group.as_str().into()).collect(),
                attributes: config.attributes.clone(),
            });
            for (i, credential) in config.credentials.iter().enumerate() {
                let path = format!("consumers.{name}.credentials[{i}]");
                if let Some(other) = held.insert(credential.unique(), path.clone()) {
                    let reason = "this credential is held twice";
                    let diagnostic = self
                        .diagnostic("config.duplicate_credential", &path, reason)
                        .related(self.document.span(&other), "first here")
                        .conceal(true);
                    self.diagnostics.push(diagnostic);
                    continue;
                }
                self.directory.insert(Arc::clone(&consumer), credential.clone().into_record());
            }
        }
    }
}
