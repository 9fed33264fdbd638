//! Tasks of the repository, as `cargo xtask <command>`: what CI runs and what a developer runs
//! before a commit. No shell tricks and nothing hidden: each command says what it starts.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "this is a command line tool")]

mod bench;
mod deny;
mod peers;
mod process;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};

/// One command: its name, its line in `help`, and what it runs.
struct Command {
    name: &'static str,
    help: &'static str,
    run: fn(&[String]) -> Result<ExitCode>,
}

const COMMANDS: &[Command] = &[
    Command { name: "tidy", help: tidy::HELP, run: tidy::run },
    Command { name: "peers", help: peers::HELP, run: peers::run },
    Command { name: "test", help: test::HELP, run: test::run },
    Command { name: "deny", help: deny::HELP, run: deny::run },
    Command { name: "bench", help: bench::HELP, run: bench::run },
    Command { name: "help", help: "print this list", run: help },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    run(&args).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(args: &[String]) -> Result<ExitCode> {
    let Some((name, rest)) = args.split_first() else { return help(&[]) };
    let name = if matches!(name.as_str(), "-h" | "--help") { "help" } else { name };
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) => (command.run)(rest),
        None => bail!("there is no command `{name}`: see `cargo xtask help`"),
    }
}

fn help(_: &[String]) -> Result<ExitCode> {
    println!("cargo xtask <command>\n");
    for command in COMMANDS {
        println!("  {:<6} {}", command.name, command.help);
    }
    Ok(ExitCode::SUCCESS)
}
