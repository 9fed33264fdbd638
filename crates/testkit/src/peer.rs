//! Real software that tests talk to.

use std::process::Command;

/// The command of a peer such as `curl`. Panics, with the command that installs it, where it is
/// missing: no test passes because its peer is not there.
#[must_use]
pub fn peer(name: &str) -> Command {
    for folder in ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/bin"] {
        let path = std::path::Path::new(folder).join(name);
        if path.is_file() {
            return Command::new(path);
        }
    }
    panic!("`{name}` is missing: `cargo xtask peers` installs it");
}
