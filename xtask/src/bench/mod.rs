//! `cargo xtask bench`: what a request costs Demilune, beside nginx, HAProxy and Envoy.
//!
//! All have one worker on one core, and the load generator and the origin have the other cores.
//! What counts is the time that all threads of a subject spent in user and system mode, divided by
//! the requests it answered: machines are noisy, and requests a second say more about the load
//! generator. Rounds go from subject to subject, so that what disturbs one disturbs all, and each
//! round begins with another one. `docs/speed.md` says what the figures mean.

mod instructions;
mod loads;
mod measure;
mod memory;
mod options;
mod profile;
mod servers;
mod subjects;
mod tables;
mod tools;

use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};

use crate::{peers, process};
use loads::{LOADS, Load};
use measure::{Measurement, Sampled};
use options::{Mode, Options};
use servers::Origin;
use tools::Tools;

pub(crate) const HELP: &str =
    "measure against nginx: --only, --rounds, --seconds, --binary; --instructions; --memory";

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let options = Options::parse(args)?;
    peers::install(peers::For::Bench)?;
    let tools = Tools::prepare(options.binary.as_deref())?;
    println!("{}\n", tools.about());
    match options.mode {
        Mode::Time => time(&tools, &options),
        Mode::Instructions => instructions::run(&tools),
        Mode::Memory => memory::run(&tools),
    }
}

/// The loads, one after the other, then what finding a route costs.
fn time(tools: &Tools, options: &Options) -> Result<ExitCode> {
    let mut results = Vec::new();
    let wanted = |load: &&Load| options.only.is_empty() || options.only.contains(&load.name);
    for load in LOADS.iter().filter(wanted) {
        println!("## {}\n", load.title);
        let result = measured(tools, load, options)?;
        println!("{}", tables::load(&result));
        results.push((load, result));
    }
    println!("Medians of {} rounds of {} s.\n", options.rounds, options.seconds);
    println!("{}", tables::summary(&results));
    if let Some(line) = tables::routes(&results) {
        println!("{line}");
    }
    if options.only.is_empty() {
        look_ups()?;
    }
    let failed: u64 = results.iter().flat_map(|(_, all)| all).map(Sampled::failed).sum();
    if failed > 0 {
        println!("\n{failed} requests failed: these figures are worth nothing.");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// One load on fresh servers, all rounds of it.
fn measured(tools: &Tools, load: &Load, options: &Options) -> Result<Vec<Sampled>> {
    let origin = Origin::start(tools)?;
    let mut running = Vec::new();
    for subject in load.subjects.iter().filter(|subject| tools.has(subject.program)) {
        let server = tools.start(subject, origin.port)?;
        if load.possible(tools, &server) {
            running.push((server, Sampled::new(subject)));
        } else {
            println!("{} is left out: it does not speak {}.\n", subject.name, load.title);
        }
    }
    for round in 0..options.rounds {
        let count = running.len();
        for turn in 0..count {
            let Some((server, sampled)) = running.get_mut((round + turn) % count) else { continue };
            let before = server.processor_time()?;
            server.reset_peak()?;
            let outcome = load.drive(tools, server, options.seconds)?;
            let cpu = server.processor_time()?.saturating_sub(before);
            sampled.push(Measurement { outcome, cpu, peak: server.peak_memory()? });
        }
    }
    Ok(running.into_iter().map(|(_, sampled)| sampled).collect())
}

/// What finding a route costs by itself.
fn look_ups() -> Result<()> {
    let mut command = Command::new(process::cargo());
    let words = "run --quiet --release --package demilune-core --example route_lookup";
    command.current_dir(process::root()?).args(words.split(' '));
    println!("\n{}", process::written(&command));
    ensure!(command.status()?.success(), "the look-ups failed");
    Ok(())
}
