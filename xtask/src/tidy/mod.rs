//! `cargo xtask tidy`: the rules of this repository that no compiler knows.
//!
//! Each check is a pure function from sources to findings, in a file of its own. All findings are
//! printed, not only the first; what [`exceptions`] lists is left out, and an entry there that no
//! longer matches anything is itself a finding.

mod banned;
mod direction;
mod examples;
mod exceptions;
mod finding;
mod length;
mod modules;
mod policy;
mod policy_list;
mod scatter;
mod source;
mod tree;

use std::process::ExitCode;

use anyhow::{Result, bail};
use finding::{Finding, Level};
use tree::Tree;

/// The line in `cargo xtask help`.
pub(crate) const HELP: &str = "check dependency directions, names, lengths, policies and files";

/// Reads the workspace, runs every check, prints every finding; fails where one is more than a
/// warning.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    if !args.is_empty() {
        bail!("`cargo xtask tidy` takes no arguments");
    }
    let tree = tree::read(&crate::process::root()?)?;
    let findings = exceptions::apply(exceptions::TABLE, check(&tree)?);
    for finding in &findings {
        println!("{finding}");
    }
    let failures = findings.iter().filter(|finding| finding.level == Level::Failure).count();
    if failures > 0 {
        println!("tidy: {failures} to mend");
        return Ok(ExitCode::FAILURE);
    }
    println!("{}", summary(&tree, findings.len()));
    Ok(ExitCode::SUCCESS)
}

fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let (policies, mut findings) = policy_list::check(&tree.sources);
    findings.extend(tree.sources.iter().filter_map(source::unparsed));
    findings.extend(direction::check(&tree.metadata)?);
    findings.extend(scatter::check(&tree.sources, &policies));
    findings.extend(length::check(&tree.sources));
    findings.extend(policy::check(&tree.sources, &policies));
    findings.extend(examples::check(&tree.paths, &policies));
    findings.extend(banned::check(&tree.sources));
    findings.extend(banned::manifests(&tree.metadata)?);
    findings.extend(modules::check(&tree.sources));
    findings.sort_by(|a, b| (&a.path, a.line, &a.text).cmp(&(&b.path, b.line, &b.text)));
    Ok(findings)
}

fn summary(tree: &Tree, warnings: usize) -> String {
    let (policies, _) = policy_list::check(&tree.sources);
    format!(
        "tidy: {} Rust files and {} policies checked for direction, scatter, length, policies, \
         examples, banned words and modules; {warnings} warnings, {} exceptions",
        tree.sources.len(),
        policies.len(),
        exceptions::TABLE.len(),
    )
}
