//! `demilune key new`: a fresh API key, shown once, and what the document stores of it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use demilune_config::load;
use demilune_core::Secret;
use demilune_identity::{ApiKey, KeyCreation, Pepper};
use serde_json::json;

use crate::cli::{Format, KeyNewArgs};
use crate::exit::{self, Usage};
use crate::output::Output;

/// The version that digests under today's peppers carry.
const PEPPER_VERSION: u32 = 1;

/// More than the longest pepper.
const PEPPER_FILE_LIMIT: u64 = 64 * 1024;

pub(crate) fn run(args: &KeyNewArgs, out: &mut Output) -> anyhow::Result<ExitCode> {
    let secret = match (&args.config, &args.pepper, &args.pepper_file, &args.pepper_env) {
        (Some(config), Some(name), _, _) => match load(config) {
            Ok(document) => declared(&document, name)?,
            Err(rejected) => return Ok(exit::reject(&rejected)),
        },
        (_, _, Some(path), _) => from_file(path)?,
        (_, _, _, Some(variable)) => from_environment(variable)?,
        _ => bail!(Usage("say where the pepper is".to_owned())),
    };
    let pepper = Pepper::new(PEPPER_VERSION, secret.reveal()).context("the pepper")?;
    let key = ApiKey::generate(&args.env).map_err(|error| match error {
        KeyCreation::Environment => anyhow!(Usage(format!("--env: {error}"))),
        error => anyhow!(error),
    })?;
    let hash = key.digest(&pepper).to_string();
    match args.output {
        Format::Text => {
            out.line(&format!("key   {}", key.reveal()))?;
            out.line(&format!("hash  {hash}"))?;
            out.line("\nThe key is shown this once and stored nowhere: hand it to its consumer.")?;
            out.line("Its hash goes into the document:\n")?;
            out.line("consumers:")?;
            out.line("  NAME:")?;
            out.line("    credentials:")?;
            out.line(&format!("      - api_key: {{ hash: \"{hash}\" }}"))?;
        }
        Format::Json => {
            let credential = json!({ "api_key": { "hash": hash } });
            out.json(&json!({ "key": key.reveal(), "hash": hash, "credential": credential }))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The secret as the gateway would read it.
fn declared(document: &demilune_config::Document, name: &str) -> anyhow::Result<Secret> {
    demilune_config::compile::secret(document, name).map_err(|invalid| match invalid.help {
        Some(help) => anyhow!("the pepper: {} ({help})", invalid.reason),
        None => anyhow!("the pepper: {}", invalid.reason),
    })
}

fn from_file(path: &Path) -> anyhow::Result<Secret> {
    let mut bytes = Vec::new();
    let read = File::open(path)
        .and_then(|file| file.take(PEPPER_FILE_LIMIT).read_to_end(&mut bytes))
        .with_context(|| format!("reading the pepper from `{}`", path.display()));
    let secret = Secret::new(bytes);
    read.map(|_| secret)
}

fn from_environment(variable: &str) -> anyhow::Result<Secret> {
    let value = std::env::var(variable).map_err(|error| match error {
        // `VarError` itself would show what it found.
        std::env::VarError::NotPresent => anyhow!("environment variable `{variable}` is not set"),
        std::env::VarError::NotUnicode(_) => {
            anyhow!("environment variable `{variable}` is not text")
        }
    })?;
    Ok(Secret::new(value.into_bytes()))
}
