//! The other end of a measurement: an origin, and the clients that no ready-made load generator
//! has. `cargo xtask bench` builds and starts it; everything stays on 127.0.0.1, bounded in count
//! and time.
//!
//! What a subcommand finds is printed as lines of `name value`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints its figures")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

mod client;
mod handshakes;
mod idle;
mod kept;
mod origin;
mod uploads;

use std::error::Error;
use std::io::Read;
use std::process::ExitCode;
use std::str::FromStr;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const USAGE: &str = "load origin | kept | handshakes | idle | uploads, with --NAME VALUE …";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let options = Options(words.collect());
    let result = match command.as_str() {
        "origin" => origin::run(),
        "kept" => kept::run(&options),
        "handshakes" => handshakes::run(&options),
        "idle" => idle::run(&options),
        "uploads" => uploads::run(&options),
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load {command}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `--name value` pairs.
struct Options(Vec<String>);

impl Options {
    fn find(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.chunks(2);
        pairs.find_map(|pair| match pair {
            [key, value] if key.strip_prefix("--") == Some(name) => Some(value.as_str()),
            _ => None,
        })
    }

    fn number<N: FromStr>(&self, name: &str) -> Result<N> {
        let value = self.find(name).ok_or_else(|| format!("--{name} is missing"))?;
        value.parse().map_err(|_| format!("--{name} takes a number, not `{value}`").into())
    }
}

/// Waits until whoever started this process closes its standard input, or ends.
fn wait_for_parent() -> Result<()> {
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// The value below which `percent` of all lie.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}
