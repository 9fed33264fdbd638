//! Real software that tests talk to.

use std::path::PathBuf;
use std::process::Command;

/// The command of a peer such as `curl`. Panics, with the command that installs it, where it is
/// missing: no test passes because its peer is not there.
#[must_use]
pub fn peer(name: &str) -> Command {
    // What `cargo xtask peers` installs itself is Python, with its modules beside it.
    if let Some(own) = own().filter(|own| own.join("bin").join(name).is_file()) {
        let mut command = Command::new(own.join("bin").join(name));
        command.env("PYTHONPATH", own);
        return command;
    }
    for folder in ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/bin"] {
        let path = std::path::Path::new(folder).join(name);
        if path.is_file() {
            return Command::new(path);
        }
    }
    panic!("`{name}` is missing: `cargo xtask peers` installs it");
}

/// Where `cargo xtask peers` installs what no system package brings: `peers` in the folder that
/// cargo builds in.
fn own() -> Option<PathBuf> {
    let exe = std::env::current_exe().ok()?;
    exe.ancestors().map(|folder| folder.join("peers")).find(|folder| folder.is_dir())
}
