//! Demilune: a secure API gateway, closed until somebody opens it. This crate is the command line
//! and the wiring.

mod cli;
mod command;
mod demo;
mod document;
mod exit;
mod open_files;
mod output;
mod run;

use std::process::ExitCode;

use clap::Parser as _;

/// Most of what a request costs beside system calls is allocation; this one costs less than half
/// of the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come as errors too, and nobody may be there to read them.
            let _ = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let command = cli.command.unwrap_or_else(|| cli::Command::Demo(cli::DemoArgs::default()));
    let runs = matches!(command, cli::Command::Run(_) | cli::Command::Demo(_));
    match command::run(&command) {
        Ok(code) => code,
        Err(error) => {
            exit::complain(&format!("error: {error:#}"));
            match error.downcast_ref::<exit::Usage>() {
                Some(_) => exit::misused(),
                None if runs => exit::failed(),
                None => exit::rejected(),
            }
        }
    }
}
