//! How peers are installed: Debian packages all in one go, Python packages under `target/peers`.

use std::io::IsTerminal;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::table::{PEERS, Peer, Source};
use crate::process;

/// Environment for apt: no questions, and no service started (invoke-rc.d sees runlevel 1).
const QUIET: &[&str] = &["DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1"];

/// Installs the Debian packages among `peers`; does nothing where there is none.
pub(crate) fn debian(peers: &[&Peer]) -> Result<()> {
    let packages: Vec<&str> = peers.iter().filter_map(|peer| package(peer)).collect();
    if packages.is_empty() {
        return Ok(());
    }
    apt(&packages)
}

/// Installs the Python packages among `peers`; does nothing where there is none.
pub(crate) fn python(peers: &[&Peer]) -> Result<()> {
    if peers.iter().all(|peer| requirement(peer).is_none()) {
        return Ok(());
    }
    // With those that are there already: pip replaces the folder of programs as a whole.
    let bin = super::folder()?.join("bin");
    let there = |peer: &&Peer| bin.join(peer.program).exists();
    let kept =
        PEERS.iter().filter(there).filter(|peer| !peers.iter().any(|p| p.program == peer.program));
    let pinned: Vec<String> = peers.iter().copied().chain(kept).filter_map(requirement).collect();
    if !has_pip() {
        apt(&["python3", "python3-pip"]).context("Python's pip is missing")?;
    }
    // Under a folder of its own: neither a venv nor the system's packages are touched.
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--upgrade", "--target"]);
    pip.arg(super::folder()?).args(pinned);
    pip.env("PIP_ROOT_USER_ACTION", "ignore").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    announce(&pip);
    process::must(&mut pip)
}

fn package(peer: &Peer) -> Option<&'static str> {
    match peer.source {
        Source::Debian(package) => Some(package),
        Source::Python { .. } => None,
    }
}

fn requirement(peer: &Peer) -> Option<String> {
    match peer.source {
        Source::Python { package, version } => Some(format!("{package}=={version}")),
        Source::Debian(_) => None,
    }
}

fn has_pip() -> bool {
    process::output(Command::new("python3").args(["-m", "pip", "--version"])).is_ok()
}

fn apt(packages: &[&str]) -> Result<()> {
    if process::find("apt-get").is_none() {
        bail!("this system has no apt-get: install {} by its own means", packages.join(", "));
    }
    let prefix = privilege(is_root()?, process::find("sudo").is_some(), has_terminal())?;
    let mut update = apt_get(&prefix, &["-qq", "update"]);
    announce(&update);
    process::must(&mut update)?;
    let mut install = apt_get(&prefix, &["-qq", "install", "-y", "--no-install-recommends"]);
    install.args(packages);
    announce(&install);
    process::must(&mut install)
}

/// `apt-get`, which waits for another one that holds the lock rather than failing at once.
fn apt_get(prefix: &[&str], args: &[&str]) -> Command {
    let mut command = Command::new("env");
    if let Some((first, rest)) = prefix.split_first() {
        command = Command::new(first);
        command.args(rest).arg("env");
    }
    command.args(QUIET).arg("apt-get");
    command.args(["-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"]).args(args);
    command
}

/// What goes before a command that only root may run; `sudo` asks only where somebody can answer.
fn privilege(root: bool, sudo: bool, terminal: bool) -> Result<Vec<&'static str>> {
    match (root, sudo, terminal) {
        (true, _, _) => Ok(Vec::new()),
        (false, true, true) => Ok(vec!["sudo"]),
        (false, true, false) => Ok(vec!["sudo", "-n"]),
        (false, false, _) => bail!("installing packages takes root, and there is no sudo"),
    }
}

fn is_root() -> Result<bool> {
    Ok(process::output(Command::new("id").arg("-u"))?.trim() == "0")
}

fn has_terminal() -> bool {
    std::io::stdin().is_terminal()
}

fn announce(command: &Command) {
    println!("$ {}", process::written(command));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudo_stands_before_apt_only_where_we_are_not_root() {
        let written = |root, terminal| {
            let prefix = privilege(root, true, terminal).unwrap();
            process::written(&apt_get(&prefix, &["update"]))
        };
        let apt = "env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
                   apt-get -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 update";
        assert_eq!(written(true, true), apt);
        assert_eq!(written(false, true), format!("sudo {apt}"));
        assert_eq!(written(false, false), format!("sudo -n {apt}"));
    }

    #[test]
    fn without_root_and_sudo_nothing_is_tried() {
        assert!(privilege(false, false, true).is_err());
    }
}
