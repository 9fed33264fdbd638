//! Programs: where they are, how they are started, and how their exit is passed on.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use anyhow::{Context, Result, bail};

/// Where servers live on systems that keep them out of a user's `PATH`.
const SERVER_FOLDERS: &[&str] = &["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The root of the workspace, which is the folder above xtask's.
pub(crate) fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().context("xtask stands in no workspace")?.to_path_buf())
}

/// Where build products go: `CARGO_TARGET_DIR`, or `target` under `root`.
pub(crate) fn target(root: &Path) -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR").filter(|value| !value.is_empty());
    root.join(named.unwrap_or_else(|| OsString::from("target")))
}

/// The cargo that runs us, so that a toolchain chosen outside stays chosen inside.
pub(crate) fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"))
}

/// The program called `name`, from `PATH` or from where servers live.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(SERVER_FOLDERS.iter().map(PathBuf::from));
    find_in(folders, name)
}

/// The first of `folders` that holds an executable file called `name`.
pub(crate) fn find_in(folders: impl Iterator<Item = PathBuf>, name: &str) -> Option<PathBuf> {
    folders.map(|folder| folder.join(name)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

/// A command as somebody would type it.
pub(crate) fn written(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(quoted).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:+,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Runs `command` on our own stdin, stdout and stderr.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("cannot run `{}`", written(command)))
}

/// Runs `command` as [`status`] does; an exit code other than 0 is an error.
pub(crate) fn must(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("`{}` ended with {status}", written(command));
    }
    Ok(())
}

/// What `command` writes to stdout; an exit code other than 0 is an error with its stderr.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot run `{}`", written(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` ended with {}: {}", written(command), output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Our exit code for a program that ended with `status`: its own, or 1 where a signal ended it.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_written_as_one_would_type_it() {
        let mut command = Command::new("cargo");
        command.args(["test", "-E", "test(a b)", ""]);
        assert_eq!(written(&command), "cargo test -E 'test(a b)' ''");
    }

    #[test]
    fn a_program_is_found_only_in_the_folders_named() {
        let bin = || ["/nowhere", "/bin", "/usr/bin"].into_iter().map(PathBuf::from);
        assert!(find_in(bin(), "sh").is_some_and(|path| path.ends_with("sh")));
        assert_eq!(find_in(bin(), "no-such-program"), None);
    }

    #[test]
    fn a_file_that_cannot_be_executed_is_not_a_program() {
        assert_eq!(find_in(std::iter::once(PathBuf::from("/etc")), "passwd"), None);
    }
}
