//! Real software that tests talk to.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The command of a peer such as `curl`. Panics, with the command that installs it, where it is
/// missing: no test passes because its peer is not there.
#[must_use]
pub fn peer(name: &str) -> Command {
    let own = own();
    let folders = [own.join("bin"), "/usr/bin".into(), "/usr/sbin".into()];
    for folder in
        folders.iter().map(PathBuf::as_path).chain(["/usr/local/bin", "/bin"].map(Path::new))
    {
        let path = folder.join(name);
        if path.is_file() {
            let mut command = Command::new(path);
            if folder.starts_with(&own) {
                command.env("PYTHONPATH", &own);
            }
            return command;
        }
    }
    panic!("`{name}` is missing: `cargo xtask peers` installs it");
}

/// Where `cargo xtask peers` installs what no system package brings: `target/peers`, and the tests
/// run from `target/PROFILE/deps`.
fn own() -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    exe.ancestors().nth(3).unwrap().join("peers")
}
