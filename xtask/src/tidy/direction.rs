//! Which way dependencies point between our crates. Dev-dependencies do not count: tests may see
//! everything.

use anyhow::{Context, Result};
use serde_json::Value;

use super::finding::Finding;

/// What each crate may depend on among ours, without the prefix `demilune-`.
const ALLOWED: &[(&str, &[&str])] = &[
    (
        "demilune",
        &["control", "proxy", "backends", "config", "policies", "telemetry", "identity", "core"],
    ),
    ("control", &["config", "backends", "identity", "telemetry", "core"]),
    ("config", &["policies", "core"]),
    ("policies", &["waf", "identity", "core"]),
    ("proxy", &["wire", "telemetry", "core"]),
    ("backends", &["core"]),
    ("telemetry", &["core"]),
    ("waf", &[]),
    ("identity", &[]),
    ("wire", &[]),
    ("core", &[]),
];

/// Crates that no product depends on, and that may see everything.
const FREE: &[&str] = &["testkit", "fuzz", "xtask"];

/// A dependency of one of our packages, as `cargo metadata` tells it.
#[derive(Debug)]
pub(super) struct Dependency {
    /// The package that depends, and its manifest.
    pub(super) from: String,
    pub(super) manifest: String,
    /// The package depended on.
    pub(super) to: String,
    /// Whether only tests, examples and benches see it.
    pub(super) dev: bool,
}

/// Findings for each dependency, and each crate, that the table does not name.
pub(super) fn check(metadata: &Value) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (name, manifest) in packages(metadata)? {
        if allowed(short(&name)).is_none() {
            let text = format!("crate `{name}` is not in the table of directions: add it there");
            findings.push(Finding::new("direction", &manifest, 0, text).about(name));
        }
    }
    for dependency in dependencies(metadata)?.iter().filter(|it| !it.dev && is_ours(&it.to)) {
        findings.extend(judge(dependency));
    }
    Ok(findings)
}

fn judge(dependency: &Dependency) -> Option<Finding> {
    let (from, to) = (short(&dependency.from), short(&dependency.to));
    let allowed = allowed(from)??;
    if allowed.contains(&to) {
        return None;
    }
    let list = if allowed.is_empty() { "nothing of ours".to_owned() } else { allowed.join(", ") };
    let text = format!("`{from}` may depend on {list}, not on `{to}`: turn the dependency around");
    Some(Finding::new("direction", &dependency.manifest, 0, text).about(to))
}

/// `None` for an unknown crate, `Some(None)` for a free one.
fn allowed(name: &str) -> Option<Option<&'static [&'static str]>> {
    if FREE.contains(&name) {
        return Some(None);
    }
    ALLOWED.iter().find(|(from, _)| *from == name).map(|(_, to)| Some(*to))
}

fn is_ours(name: &str) -> bool {
    name == "xtask" || name == "demilune" || name.starts_with("demilune-")
}

fn short(name: &str) -> &str {
    name.strip_prefix("demilune-").unwrap_or(name)
}

/// Every package of the workspace: its name and its manifest from the root.
fn packages(metadata: &Value) -> Result<Vec<(String, String)>> {
    let root = metadata["workspace_root"].as_str().context("metadata names no root")?;
    let packages = metadata["packages"].as_array().context("metadata lists no packages")?;
    let named = packages.iter().map(|package| {
        let name = package["name"].as_str().context("a package has no name")?;
        let manifest = package["manifest_path"].as_str().context("a package has no manifest")?;
        let manifest = manifest.strip_prefix(root).unwrap_or(manifest);
        Ok((name.to_owned(), manifest.trim_start_matches('/').to_owned()))
    });
    named.collect()
}

/// Every dependency of every package of the workspace.
pub(super) fn dependencies(metadata: &Value) -> Result<Vec<Dependency>> {
    let mut all = Vec::new();
    let packages_json = metadata["packages"].as_array().context("metadata lists no packages")?;
    for ((from, manifest), package) in packages(metadata)?.into_iter().zip(packages_json) {
        let list = package["dependencies"].as_array().context("a package has no dependencies")?;
        for dependency in list {
            let to = dependency["name"].as_str().context("a dependency has no name")?.to_owned();
            let dev = dependency["kind"].as_str() == Some("dev");
            all.push(Dependency { from: from.clone(), manifest: manifest.clone(), to, dev });
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(from: &str, to: &str, kind: Option<&str>) -> Vec<String> {
        let package = json!({
            "name": from,
            "manifest_path": "/root/crates/x/Cargo.toml",
            "dependencies": [{ "name": to, "kind": kind }],
        });
        let metadata = json!({ "workspace_root": "/root", "packages": [package] });
        check(&metadata).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn proxy_never_depends_on_policies() {
        let [finding] = found("demilune-proxy", "demilune-policies", None).try_into().unwrap();
        assert_eq!(
            finding,
            "crates/x/Cargo.toml: `proxy` may depend on wire, telemetry, core, not on `policies`: \
             turn the dependency around [direction]"
        );
    }

    #[test]
    fn build_dependencies_count_and_dev_dependencies_do_not() {
        assert_eq!(found("demilune-core", "demilune-waf", Some("build")).len(), 1);
        assert_eq!(found("demilune-core", "demilune-testkit", Some("dev")).len(), 0);
    }

    #[test]
    fn testkit_is_only_ever_a_dev_dependency_of_a_crate() {
        assert_eq!(found("demilune", "demilune-testkit", None).len(), 1);
        assert_eq!(found("demilune-fuzz", "demilune-testkit", None).len(), 0);
    }

    #[test]
    fn what_the_design_allows_passes() {
        assert_eq!(found("demilune", "demilune-identity", None).len(), 0);
        assert_eq!(found("demilune-control", "demilune-backends", None).len(), 0);
        assert_eq!(found("demilune-core", "bytes", None).len(), 0);
    }

    #[test]
    fn a_new_crate_must_enter_the_table() {
        assert_eq!(found("demilune-helpers", "bytes", None).len(), 1);
    }
}
