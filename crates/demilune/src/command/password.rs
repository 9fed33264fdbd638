//! `demilune password hash`: what the document stores of a password.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::process::ExitCode;

use anyhow::Context as _;
use demilune_core::Secret;
use demilune_identity::{MAX_PASSWORD_LEN, PasswordHash};
use serde_json::json;

use crate::cli::{Format, PasswordHashArgs};
use crate::exit;
use crate::output::Output;

/// The longest password with its line break, and one byte that makes it too long.
const INPUT_LIMIT: usize = MAX_PASSWORD_LEN + 3;

pub(crate) fn run(args: &PasswordHashArgs, out: &mut Output) -> anyhow::Result<ExitCode> {
    let secret = read()?;
    let bytes = secret.reveal();
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let password = str::from_utf8(line).ok().context("expected a password of UTF-8 text")?;
    let hash = PasswordHash::create(password)?;
    match args.output {
        Format::Text => {
            out.line(&format!("hash  {hash}"))?;
            out.line("\nIt goes into the document:\n")?;
            out.line("consumers:")?;
            out.line("  NAME:")?;
            out.line("    credentials:")?;
            out.line(&format!("      - basic: {{ user: NAME, password_hash: \"{hash}\" }}"))?;
        }
        Format::Json => out.json(&json!({ "hash": hash }))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The password, from standard input: an argument could be read by every user of the machine.
fn read() -> anyhow::Result<Secret> {
    // Never grows past this capacity, so no copy of the password is left behind in freed memory.
    let mut bytes = Vec::with_capacity(INPUT_LIMIT + 64);
    let input = std::io::stdin().lock();
    let terminal = input.is_terminal();
    let mut input = input.take(u64::try_from(INPUT_LIMIT).unwrap_or(u64::MAX));
    let read = if terminal {
        exit::complain("Type the password (it is shown), then Enter:");
        input.read_until(b'\n', &mut bytes)
    } else {
        input.read_to_end(&mut bytes)
    };
    let secret = Secret::new(bytes);
    read.context("reading standard input").map(|_| secret)
}
