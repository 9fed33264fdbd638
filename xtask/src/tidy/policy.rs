//! What every policy file must have: a module doc, a doc on each field of its configuration, a test
//! that refuses and a test that admits.
//!
//! Tests are recognised by their expectation, the third string of `check(policies, request,
//! expected)`, which begins with the status: `"403 | …"` refuses, `"200 | …"` admits. A policy
//! without a role that can refuse needs no test of refusal.

use syn::visit::Visit;

use super::finding::Finding;
use super::policy_list::{LIST, Policy};
use super::source::{self, Source, Token};

/// The roles that can refuse.
const REFUSING: &[&str] = &[
    "Guard",
    "Gate",
    "Authenticator",
    "Authorizer",
    "BodyMeter",
    "Inspector",
    "StreamGuard",
    "ResponseInspector",
];

/// Findings for each policy that lacks something.
pub(super) fn check(sources: &[Source], policies: &[Policy]) -> Vec<Finding> {
    policies.iter().flat_map(|policy| one(sources, policy)).collect()
}

fn one(sources: &[Source], policy: &Policy) -> Vec<Finding> {
    let own: Vec<&Source> = sources.iter().filter(|it| policy.owns(&it.path)).collect();
    let main = own.iter().find(|it| {
        it.path.ends_with("/mod.rs") || it.path.ends_with(&format!("/{}.rs", policy.name))
    });
    let Some(main) = main else {
        let text = format!("`{0}` has no file: write {0}.rs beside the list", policy.name);
        return vec![Finding::new("policy", LIST, policy.line, text).about(&*policy.name)];
    };
    let (mut findings, mut roles) = (Vec::new(), Vec::new());
    for source in own.iter().filter(|it| !source::is_test_path(&it.path)) {
        let mut shape = Shape { source, roles: Vec::new(), findings: Vec::new() };
        if let Ok(file) = &source.syntax {
            shape.visit_file(file);
            roles.extend(shape.roles);
            findings.extend(shape.findings);
        }
    }
    let mut lacks = |text: &str| findings.push(Finding::new("policy", &main.path, 0, text));
    if !main.syntax.as_ref().is_ok_and(|file| is_documented(&file.attrs)) {
        lacks("has no module doc: begin it with `//!`, what it does and why at its stage");
    }
    let tested = |is: fn(&str) -> bool| {
        let tests = own.iter().flat_map(|it| it.tokens.iter().filter(|token| token.test));
        tests.filter_map(Token::string).any(is)
    };
    let can_refuse = roles.iter().any(|role| REFUSING.contains(&role.as_str()));
    if can_refuse && !tested(refuses) {
        lacks("has no test of refusal: expect a string that begins with the status, `\"403 | …\"`");
    }
    if !tested(admits) {
        lacks("has no test of admission: expect a string that begins with `200`");
    }
    findings.into_iter().map(|finding| finding.about(&*policy.name)).collect()
}

/// `403 | …`, or a trail with a denial.
fn refuses(expected: &str) -> bool {
    let status = status(expected).is_some_and(|status| (400..600).contains(&status));
    status || expected.contains(": deny ")
}

/// `200 | …`, or another 2xx.
fn admits(expected: &str) -> bool {
    status(expected).is_some_and(|status| (200..300).contains(&status))
}

fn status(expected: &str) -> Option<u16> {
    let (digits, rest) = expected.trim_start().split_at_checked(3)?;
    let alone = !rest.starts_with(|c: char| c.is_alphanumeric() || "._/-".contains(c));
    digits.parse().ok().filter(|_| alone)
}

fn is_documented(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident("doc"))
}

/// The roles a file plays, and its configuration's fields without a doc.
struct Shape<'a> {
    source: &'a Source,
    roles: Vec<String>,
    findings: Vec<Finding>,
}

impl Shape<'_> {
    fn field(&mut self, owner: &syn::Ident, field: &syn::Ident) {
        let line = field.span().start().line;
        let text =
            format!("`{owner}.{field}` has no doc: say what it means, its unit, its default");
        self.findings.push(Finding::new("policy", &self.source.path, line, text));
    }

    fn fields(&mut self, owner: &syn::Ident, fields: &syn::Fields, all: bool) {
        let public = |it: &&syn::Field| all || !matches!(it.vis, syn::Visibility::Inherited);
        for field in fields.iter().filter(public).filter(|it| !is_documented(&it.attrs)) {
            if let Some(name) = &field.ident {
                self.field(owner, name);
            }
        }
    }
}

impl<'ast> Visit<'ast> for Shape<'_> {
    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let role = item.trait_.as_ref().and_then(|(path, _)| path.segments.last());
        self.roles.extend(role.map(|segment| segment.ident.to_string()));
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        if is_configuration(&item.vis, &item.attrs) {
            self.fields(&item.ident, &item.fields, false);
        }
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        if !is_configuration(&item.vis, &item.attrs) {
            return;
        }
        for variant in &item.variants {
            if !is_documented(&variant.attrs) {
                self.field(&item.ident, &variant.ident);
            }
            self.fields(&variant.ident, &variant.fields, true);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !item.attrs.iter().any(|attribute| attribute.path().is_ident("cfg")) {
            syn::visit::visit_item_mod(self, item);
        }
    }
}

/// Public, and read from the document: it derives `Deserialize`.
fn is_configuration(visibility: &syn::Visibility, attributes: &[syn::Attribute]) -> bool {
    let derives = |attribute: &syn::Attribute| {
        let mut found = false;
        if attribute.path().is_ident("derive") {
            let _ = attribute.parse_nested_meta(|meta| {
                found |= meta.path.segments.last().is_some_and(|it| it.ident == "Deserialize");
                Ok(())
            });
        }
        found
    };
    !matches!(visibility, syn::Visibility::Inherited) && attributes.iter().any(derives)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        //! `cors`: x.
        /// X.
        #[derive(Debug, serde::Deserialize)]
        pub struct Cors {
            /// Y.
            pub allow: Vec<String>,
            private: u8,
        }
        impl Guard for Cors {}
        #[cfg(test)]
        mod tests {
            fn admits() { check("cors: {}", "GET /", "200 | cors: continue") }
            fn refuses() { check("cors: {}", "GET /", "403 | cors: deny 403 cors.origin") }
        }
    "#;

    fn found(text: &str) -> Vec<String> {
        let policy = Policy { name: "cors".into(), type_name: "Cors".into(), line: 1 };
        let source = Source::new("crates/policies/src/cors.rs", text);
        check(&[source], &[policy]).into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn a_complete_policy_passes() {
        assert_eq!(found(GOOD), [""; 0]);
    }

    #[test]
    fn a_missing_module_doc_is_found() {
        let [text] = found(&GOOD.replace("//!", "//")).try_into().unwrap();
        assert!(text.contains("module doc"), "{text}");
    }

    #[test]
    fn a_public_field_without_a_doc_is_found() {
        let [text] = found(&GOOD.replace("/// Y.", "// Y.")).try_into().unwrap();
        assert!(text.starts_with("`Cors.allow`"), "{text}");
    }

    #[test]
    fn variants_and_their_fields_are_fields_of_the_configuration() {
        let text =
            "#[derive(Deserialize)] pub enum Per { Address, /// X.\n Header { name: String } }";
        assert_eq!(found(&GOOD.replace("/// X.", text)).len(), 2);
    }

    #[test]
    fn a_missing_test_of_refusal_or_admission_is_found() {
        let [text] = found(&GOOD.replace("\"403 | cors: deny", "\"| cors:")).try_into().unwrap();
        assert!(text.contains("refusal"), "{text}");
        let [text] = found(&GOOD.replace("\"200 |", "\"|")).try_into().unwrap();
        assert!(text.contains("admission"), "{text}");
    }

    #[test]
    fn strings_outside_tests_are_no_tests() {
        let text = GOOD.replace("#[cfg(test)]", "").replace("fn admits", "fn other");
        assert_eq!(found(&text).len(), 2);
    }

    #[test]
    fn a_policy_that_cannot_refuse_needs_no_test_of_refusal() {
        let text = GOOD.replace("403 | cors: deny", "x").replace("impl Guard", "impl Rewriter");
        assert_eq!(found(&text), [""; 0]);
        assert_eq!(found(&text.replace("impl Rewriter", "impl core::Gate")).len(), 1);
    }

    #[test]
    fn a_listed_policy_without_a_file_is_found() {
        let policy = Policy { name: "waf".into(), type_name: "Waf".into(), line: 7 };
        let [finding] = check(&[], &[policy]).try_into().unwrap();
        assert_eq!((finding.path.as_str(), finding.line), (LIST, 7));
    }

    #[test]
    fn an_expectation_begins_with_its_status() {
        assert!(refuses("401") && refuses("503 | x") && refuses("x: deny 403 x.y"));
        assert!(!refuses("4.5.6.7") && !refuses("4031") && !refuses("404.yaml") && !refuses("200"));
        assert!(admits("204 | cors: answer") && admits("200\n") && !admits("200.1"));
    }
}
