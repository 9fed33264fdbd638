//! The list of policies: `policies! { ip_restriction::IpRestriction, … }` in policies/src/lib.rs.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::visit::Visit;

use super::finding::Finding;
use super::source::Source;

/// The folder of the policies' sources.
pub(super) const FOLDER: &str = "crates/policies/src/";
/// The file with the list.
pub(super) const LIST: &str = "crates/policies/src/lib.rs";

/// A policy, as listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Policy {
    /// Its name in the configuration, which is its file's or folder's: `ip_restriction`.
    pub(super) name: String,
    /// Its configuration's type: `IpRestriction`.
    pub(super) type_name: String,
    /// Its line in the list.
    pub(super) line: usize,
}

impl Policy {
    /// Whether the file at `path` belongs to this policy: its file, or one of its folder.
    pub(super) fn owns(&self, path: &str) -> bool {
        let own = path.strip_prefix(FOLDER).and_then(|rest| rest.strip_prefix(self.name.as_str()));
        own.is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }
}

/// The policies listed, and a finding where there is no list.
pub(super) fn check(sources: &[Source]) -> (Vec<Policy>, Vec<Finding>) {
    let Some(list) = sources.iter().find(|source| source.path == LIST) else {
        let text = "there is no list of policies: write `policies! { module::Type, … }`";
        return (Vec::new(), vec![Finding::new("policies", LIST, 0, text)]);
    };
    let mut lists = Lists::default();
    if let Ok(file) = &list.syntax {
        lists.visit_file(file);
    }
    let mut findings = Vec::new();
    if lists.policies.is_empty() {
        let text = "lists no policy: write `policies! { module::Type, … }` with plain `mod` lines";
        findings.push(Finding::new("policies", LIST, 0, text));
    }
    (lists.policies, findings)
}

#[derive(Default)]
struct Lists {
    policies: Vec<Policy>,
}

impl<'ast> Visit<'ast> for Lists {
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let name = call.path.segments.last().map(|segment| &segment.ident);
        if name.is_some_and(|name| name == "policies" || name == "authenticators") {
            self.entries(call.tokens.clone());
        }
    }
}

impl Lists {
    /// Every path `module::Type` in the list, whatever else an entry carries.
    fn entries(&mut self, tokens: TokenStream) {
        let mut path = Vec::new();
        let mut colons = 0;
        for tree in tokens {
            match tree {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.entry(&std::mem::take(&mut path));
                    }
                    path.push(ident);
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                TokenTree::Group(group) => self.entries(group.stream()),
                _ => self.entry(&std::mem::take(&mut path)),
            }
        }
        self.entry(&path);
    }

    fn entry(&mut self, path: &[Ident]) {
        let [.., module, type_name] = path else { return };
        let line = module.span().start().line;
        let (name, type_name) = (module.to_string(), type_name.to_string());
        self.policies.push(Policy { name, type_name, line });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_from_the_macro() {
        let text = "mod cors;\nmacro_rules! policies { ($($m:ident::$t:ident),*) => {} }\n\
                    policies! {\n    /// Doc.\n    cors::Cors,\n    crate::key_auth::KeyAuth,\n}";
        let (policies, findings) = check(&[Source::new(LIST, text)]);
        let listed: Vec<_> =
            policies.iter().map(|it| (it.name.as_str(), it.type_name.as_str(), it.line)).collect();
        assert_eq!(listed, [("cors", "Cors", 5), ("key_auth", "KeyAuth", 6)]);
        assert_eq!(findings, []);
    }

    #[test]
    fn the_list_may_have_parts_and_entries_may_carry_more() {
        let text = "policies! { guards: [cors::Cors => \"x\"] }\n\
                    authenticators! { key_auth::KeyAuth, basic_auth::BasicAuth }";
        let (policies, _) = check(&[Source::new(LIST, text)]);
        let names: Vec<_> = policies.iter().map(|policy| policy.name.as_str()).collect();
        assert_eq!(names, ["cors", "key_auth", "basic_auth"]);
    }

    #[test]
    fn no_list_is_a_finding() {
        assert_eq!(check(&[]).1.len(), 1);
        assert_eq!(check(&[Source::new(LIST, "mod cors;")]).1.len(), 1);
    }

    #[test]
    fn a_policy_owns_its_file_or_its_folder() {
        let policy = Policy { name: "cors".into(), type_name: "Cors".into(), line: 1 };
        assert!(policy.owns("crates/policies/src/cors.rs"));
        assert!(policy.owns("crates/policies/src/cors/mod.rs"));
        assert!(!policy.owns("crates/policies/src/cors_extra.rs"));
        assert!(!policy.owns("crates/core/src/cors.rs"));
    }
}
