//! Every policy has an example configuration; a test of the configuration crate loads them all.

use super::finding::Finding;
use super::policy_list::{LIST, Policy};

/// Findings for each policy without `examples/policies/<name>.yaml`.
pub(super) fn check(paths: &[String], policies: &[Policy]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for policy in policies {
        let example = format!("examples/policies/{}.yaml", policy.name);
        if !paths.contains(&example) {
            let text = format!("`{}` has no example: write {example}", policy.name);
            findings.push(Finding::new("example", LIST, policy.line, text).about(&*policy.name));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_without_an_example_is_found() {
        let policy =
            |name: &str| Policy { name: name.to_owned(), type_name: String::new(), line: 3 };
        let paths = ["examples/policies/cors.yaml".to_owned()];
        let [finding] = check(&paths, &[policy("cors"), policy("waf")]).try_into().unwrap();
        assert_eq!((finding.line, finding.subject.as_str()), (3, "waf"));
        assert!(finding.text.contains("write examples/policies/waf.yaml"));
    }
}
