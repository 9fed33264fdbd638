//! `cargo xtask test`: everything the tests talk to, then the tests.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{peers, process};

/// The line in `cargo xtask help`.
pub(crate) const HELP: &str =
    "install missing peers, then run all tests; arguments go to the runner";

/// Runs the tests of the whole workspace with cargo-nextest, or `cargo test` where it is missing.
///
/// Nothing is printed after the runner's own summary, and its exit code is ours.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    peers::install(peers::For::Tests)?;
    let mut command = command(process::find("cargo-nextest").is_some(), args);
    command.current_dir(process::root()?);
    println!("$ {}", process::written(&command));
    Ok(process::exit_code(process::status(&mut command)?))
}

fn command(nextest: bool, args: &[String]) -> Command {
    // By its plain name: the command printed is one to copy, and rustup picks the same toolchain.
    let mut command = Command::new("cargo");
    command.args(if nextest { &["nextest", "run"][..] } else { &["test"][..] });
    command.arg("--workspace").args(args);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_go_to_the_runner_that_is_there() {
        let args = ["-p".to_owned(), "xtask".to_owned()];
        let written = |nextest| process::written(&command(nextest, &args));
        assert_eq!(written(true), "cargo nextest run --workspace -p xtask");
        assert_eq!(written(false), "cargo test --workspace -p xtask");
    }
}
