//! `demilune schema`: the document's JSON Schema.

use std::io::Write as _;
use std::process::ExitCode;

use crate::output::Output;

pub(crate) fn run(out: &mut Output) -> anyhow::Result<ExitCode> {
    out.write_all(demilune_config::schema().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
