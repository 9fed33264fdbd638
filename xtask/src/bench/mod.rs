//! `cargo xtask bench`: CPU time a request of Demilune against nginx, in one run, under one load.
//!
//! What counts is the time that all threads of the proxy spent in user and system mode, divided
//! by the requests it answered: machines are noisy, and requests a second say more about the load
//! generator. Rounds alternate between the two, so that what disturbs one disturbs the other.

mod servers;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::{peers, process};
use servers::{Ports, Server};

pub(crate) const HELP: &str = "measure CPU time a request against nginx (--rounds N, --seconds N)";

/// Kept-alive connections of the load.
const CONNECTIONS: u32 = 32;

/// One proxy under one kind of load.
struct Subject<'s> {
    server: &'s Server,
    name: &'static str,
    url: String,
    /// Microseconds of CPU time a request, a value a round.
    cost: Vec<f64>,
    requests: u64,
}

pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let rounds = option(args, "--rounds", 5)?;
    let seconds = option(args, "--seconds", 4)?;
    peers::install(peers::For::Tests)?;
    let root = process::root()?;
    let binary = build(&root)?;
    let folder = process::target(&root).join("bench");
    fs::create_dir_all(&folder)?;
    let ports = Ports::choose()?;
    servers::prepare(&root.join("bench"), &folder, &ports)?;
    let nginx = process::find("nginx").context("nginx is missing: `cargo xtask peers`")?;
    let origin = Server::nginx(&nginx, &folder, "origin.conf", ports.origin)?;
    let peer = Server::nginx(&nginx, &folder, "nginx.conf", ports.nginx_plain)?;
    let ours = Server::demilune(&binary, &folder, ports.demilune_plain)?;
    let subject = |server, name, scheme: &str, port| {
        let url = format!("{scheme}://127.0.0.1:{port}/v1/items/42");
        Subject { server, name, url, cost: Vec::new(), requests: 0 }
    };
    let mut pairs = [
        (
            "small GET, kept alive, plain HTTP",
            subject(&peer, "nginx", "http", ports.nginx_plain),
            subject(&ours, "Demilune", "http", ports.demilune_plain),
        ),
        (
            "small GET, kept alive, TLS 1.3",
            subject(&peer, "nginx", "https", ports.nginx_tls),
            subject(&ours, "Demilune", "https", ports.demilune_tls),
        ),
    ];
    for round in 1..=rounds {
        println!("round {round} of {rounds}");
        for (_, theirs, ours) in &mut pairs {
            theirs.measure(seconds)?;
            ours.measure(seconds)?;
        }
    }
    println!("\n| load | nginx, no policy | Demilune, five policies | ratio |");
    println!("| --- | --- | --- | --- |");
    for (load, theirs, ours) in &pairs {
        let (a, b) = (theirs.median(), ours.median());
        println!("| {load} | {a:.1} µs | {b:.1} µs | {:.2} |", b / a);
    }
    println!(
        "\nMedians of {rounds} rounds of {seconds} s, {CONNECTIONS} connections, 2 workers each."
    );
    drop((origin, peer, ours));
    look_ups(&root)
}

/// What finding a route costs.
fn look_ups(root: &Path) -> Result<ExitCode> {
    let mut command = Command::new(process::cargo());
    let words = "run --quiet --release --package demilune-core --example route_lookup";
    command.current_dir(root).args(words.split(' '));
    println!("\n{}", process::written(&command));
    ensure!(command.status()?.success(), "the look-ups failed");
    Ok(ExitCode::SUCCESS)
}

fn option(args: &[String], name: &str, default: u32) -> Result<u32> {
    let Some(at) = args.iter().position(|arg| arg == name) else { return Ok(default) };
    let value = args.get(at + 1).with_context(|| format!("{name} takes a number"))?;
    let value = value.parse().with_context(|| format!("{name} takes a number"))?;
    ensure!((1..=60).contains(&value), "{name} takes 1 to 60");
    Ok(value)
}

/// The binary as packages ship it.
fn build(root: &Path) -> Result<std::path::PathBuf> {
    let mut command = Command::new(process::cargo());
    command.current_dir(root).args(["build", "--profile", "dist", "--package", "demilune"]);
    println!("{}", process::written(&command));
    ensure!(command.status()?.success(), "the build failed");
    Ok(process::target(root).join("dist/demilune"))
}

impl Subject<'_> {
    fn measure(&mut self, seconds: u32) -> Result<()> {
        let before = self.server.cpu_microseconds()?;
        let wrk = process::find("wrk").context("wrk is missing: `cargo xtask peers`")?;
        let output = Command::new(wrk)
            .args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}s"), &self.url])
            .output()?;
        let after = self.server.cpu_microseconds()?;
        let text = String::from_utf8_lossy(&output.stdout);
        for bad in ["Non-2xx", "Socket errors"] {
            if let Some(line) = text.lines().find(|line| line.contains(bad)) {
                bail!("{} at {}: {}", self.name, self.url, line.trim());
            }
        }
        let line = text.lines().find(|line| line.contains("requests in"));
        let requests = line.and_then(|line| line.split_whitespace().next()?.parse::<u32>().ok());
        let requests = requests.with_context(|| format!("wrk said\n{text}"))?;
        let cost = (after - before) / f64::from(requests.max(1));
        println!("  {:<9} {} {requests} requests, {cost:.1} µs each", self.name, self.url);
        self.cost.push(cost);
        self.requests += u64::from(requests);
        Ok(())
    }

    fn median(&self) -> f64 {
        let mut all = self.cost.clone();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    }
}
