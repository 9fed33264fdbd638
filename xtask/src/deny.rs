//! `cargo xtask deny`: licences, sources, bans and duplicates of what we depend on (`deny.toml`).

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::{peers, process};

/// The line in `cargo xtask help`.
pub(crate) const HELP: &str = "check licences, sources and bans of the dependencies, offline";

/// Runs cargo-deny, which `cargo xtask peers --ci` installs, with what `args` adds.
///
/// Advisories are left out: they need the net, so they cannot decide whether a commit passes.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let program: PathBuf = peers::find("cargo-deny")?
        .context("cargo-deny is not here: `cargo xtask peers --ci` installs it")?;
    let mut command = Command::new(program);
    command.current_dir(process::root()?);
    command.args(["--offline", "check", "--hide-inclusion-graph"]).args(args);
    command.args(["bans", "licenses", "sources"]);
    println!("$ {}", process::written(&command));
    Ok(process::exit_code(process::status(&mut command)?))
}
