//! A policy's name stands in its own file and in the list, and nowhere else in the crates that must
//! not know any policy.
//!
//! A name of several words (`ip_restriction`) counts wherever it stands as a whole word in code or
//! in a string. A name of one word (`cors`) may mean something else: it counts in a path
//! (`cors::`), as a string of its own, and in front of a denial code (`cors.origin`). A policy's
//! type counts always.

use super::finding::Finding;
use super::policy_list::{FOLDER, LIST, Policy};
use super::source::{Source, Token};

/// Where no policy may be named, beside the policies' own crate.
const IGNORANT: &[&str] = &["crates/core/src/", "crates/proxy/src/", "crates/telemetry/src/"];

/// Findings for each place that names a policy which is not its own.
pub(super) fn check(sources: &[Source], policies: &[Policy]) -> Vec<Finding> {
    let watched = |source: &&Source| {
        let path = source.path.as_str();
        path != LIST && (path.starts_with(FOLDER) || IGNORANT.iter().any(|it| path.starts_with(it)))
    };
    let mut findings = Vec::new();
    for source in sources.iter().filter(watched) {
        let others: Vec<&Policy> = policies.iter().filter(|it| !it.owns(&source.path)).collect();
        findings.extend(in_source(source, &others));
    }
    findings
}

fn in_source(source: &Source, policies: &[&Policy]) -> Vec<Finding> {
    let tokens: Vec<&Token> = source.production().collect();
    let mut findings = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let in_path = is_path(&tokens, at);
        let named = |policy: &&&Policy| names(token, in_path, policy);
        for policy in policies.iter().filter(named) {
            let text = format!(
                "names the policy `{}`: only its own file and the list may; let the fact pass \
                 through a trait or a value of core",
                policy.name
            );
            findings.push(
                Finding::new("scatter", &source.path, token.line, text).about(policy.name.clone()),
            );
        }
    }
    findings
}

fn names(token: &Token, in_path: bool, policy: &Policy) -> bool {
    let several_words = policy.name.contains('_');
    if let Some(ident) = token.ident() {
        return ident == policy.type_name || (ident == policy.name && (several_words || in_path));
    }
    let Some(value) = token.string() else { return false };
    let code = value.strip_prefix(policy.name.as_str()).is_some_and(|it| it.starts_with('.'));
    value == policy.name || code || (several_words && has_word(value, &policy.name))
}

/// Whether the token at `at` stands beside `::`.
fn is_path(tokens: &[&Token], at: usize) -> bool {
    let colon = |at: Option<usize>| at.and_then(|at| tokens.get(at)).is_some_and(|it| it.is(':'));
    (colon(at.checked_add(1)) && colon(at.checked_add(2)))
        || (colon(at.checked_sub(1)) && colon(at.checked_sub(2)))
}

fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|it| it == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<usize> {
        let policy = |name: &str, type_name: &str| Policy {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            line: 1,
        };
        let policies = [policy("ip_restriction", "IpRestriction"), policy("cors", "Cors")];
        let findings = check(&[Source::new(path, text)], &policies);
        findings.iter().map(|finding| finding.line).collect()
    }

    const PROXY: &str = "crates/proxy/src/a.rs";

    #[test]
    fn a_name_in_code_or_in_a_string_is_found() {
        let text =
            "use x::ip_restriction;\nfn f(_: IpRestriction) {\n    g(\"an ip_restriction: x\")\n}";
        assert_eq!(found(PROXY, text), [1, 2, 3]);
    }

    #[test]
    fn comments_and_tests_may_name_policies() {
        let text = "//! As `ip_restriction` does.\n/// cors.\nfn f() {} // ip_restriction\n\
                    #[cfg(test)]\nmod tests {\n    const A: &str = \"ip_restriction\";\n}";
        assert_eq!(found(PROXY, text), [0; 0]);
        assert_eq!(found("crates/proxy/tests/a.rs", "fn ip_restriction() {}"), [0; 0]);
    }

    #[test]
    fn a_name_is_a_whole_word() {
        let text = "fn ip_restrictions() {}\nconst A: &str = \"my_ip_restriction cors, too\";";
        assert_eq!(found(PROXY, text), [0; 0]);
    }

    #[test]
    fn a_name_of_one_word_counts_in_paths_strings_of_its_own_and_codes() {
        let text = "use crate::cors;\nfn f(cors: bool) {}\nconst A: &str = \"cors\";\n\
                    const B: &str = \"cors.origin\";\nconst C: &str = \"no cors here\";";
        assert_eq!(found(PROXY, text), [1, 3, 4]);
    }

    #[test]
    fn a_policy_names_itself_and_nobody_else() {
        let text = "pub struct IpRestriction;\nconst NAME: &str = \"ip_restriction\";";
        assert_eq!(found("crates/policies/src/ip_restriction.rs", text), [0; 0]);
        assert_eq!(found("crates/policies/src/ip_restriction/parse.rs", text), [0; 0]);
        assert_eq!(found("crates/policies/src/cors.rs", text), [1, 2]);
        assert_eq!(found(LIST, text), [0; 0]);
        assert_eq!(found("crates/config/src/a.rs", text), [0; 0]);
    }
}
