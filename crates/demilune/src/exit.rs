//! How a command ends: its exit code, and what it says on standard error.

use std::fmt;
use std::io::Write as _;
use std::process::ExitCode;

use demilune_config::Rejected;

/// 1: the document, or the comparison of two, is not acceptable.
pub(crate) fn rejected() -> ExitCode {
    ExitCode::from(1)
}

/// 2: the command was used wrongly.
pub(crate) fn misused() -> ExitCode {
    ExitCode::from(2)
}

/// 3: the gateway could not start, or ended badly.
pub(crate) fn failed() -> ExitCode {
    ExitCode::from(3)
}

/// What is wrong with the command line, where only the command itself can tell.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Says something on standard error. If nobody can read it there, nothing more can be done.
pub(crate) fn complain(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{}", text.trim_end());
}

/// Says what is wrong with a document that a command cannot work with.
pub(crate) fn reject(rejected_document: &Rejected) -> ExitCode {
    let problems = crate::output::count(rejected_document.diagnostics.len(), "problem");
    complain(&format!("{rejected_document}\nerror: the document cannot be used: {problems}"));
    rejected()
}
