//! `demilune completions`: what a shell needs to complete the command line.

use std::io::Write as _;
use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::cli::{Cli, CompletionsArgs};
use crate::output::Output;

pub(crate) fn run(args: &CompletionsArgs, out: &mut Output) -> anyhow::Result<ExitCode> {
    // Into memory first: the generator panics where its writer fails.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "demilune", &mut script);
    out.write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
