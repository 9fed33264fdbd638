//! One file a command.

mod check;
mod completions;
mod diff;
mod explain;
mod key;
mod password;
mod schema;

use std::io::Write as _;
use std::process::ExitCode;

use crate::cli::{Command, KeyCommand, PasswordCommand};
use crate::output::Output;

/// Runs a command to its end.
pub(crate) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    // These two write to standard output by themselves, from other threads too.
    match command {
        Command::Run(args) => return crate::run::run(args),
        Command::Demo(args) => return crate::demo::demo(args),
        _ => {}
    }
    let mut out = Output::new();
    let code = match command {
        Command::Check(args) => check::run(args, &mut out),
        Command::Explain(args) => explain::run(args, &mut out),
        Command::Diff(args) => diff::run(args, &mut out),
        Command::Schema => schema::run(&mut out),
        Command::Key { command: KeyCommand::New(args) } => key::run(args, &mut out),
        Command::Password { command: PasswordCommand::Hash(args) } => password::run(args, &mut out),
        Command::Completions(args) => completions::run(args, &mut out),
        Command::Run(_) | Command::Demo(_) => Ok(ExitCode::SUCCESS),
    }?;
    out.flush()?;
    Ok(code)
}
