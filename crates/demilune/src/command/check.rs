//! `demilune check`: whether the gateway would take a document.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use demilune_config::Rejected;
use serde_json::json;

use crate::cli::{CheckArgs, Format};
use crate::document::{Usable, usable};
use crate::exit;
use crate::output::{Output, count};

pub(crate) fn run(args: &CheckArgs, out: &mut Output) -> anyhow::Result<ExitCode> {
    let path: &Path =
        args.path.as_deref().or(args.config.as_deref()).context("no document is named")?;
    let checked = usable(path)?;
    match args.output {
        Format::Text => match &checked {
            Ok(usable) => {
                if !usable.warnings.is_empty() {
                    out.line(&usable.warnings.render(&usable.document.sources))?;
                }
                out.line(&summary(usable))?;
            }
            Err(rejected) => {
                out.line(rejected.to_string().trim_end())?;
                out.line(&format!("\n{}", count(rejected.diagnostics.len(), "problem")))?;
            }
        },
        Format::Json => out.json(&as_json(&checked))?,
    }
    Ok(if checked.is_ok() { ExitCode::SUCCESS } else { exit::rejected() })
}

fn summary(usable: &Usable) -> String {
    let model = &usable.document.model;
    let parts = [
        count(model.routes.len(), "route"),
        count(model.upstreams.len(), "upstream"),
        count(model.listeners.len(), "listener"),
        count(model.consumers.len(), "consumer"),
    ];
    format!("ok: {}; version {}", parts.join(", "), usable.snapshot.version)
}

fn as_json(checked: &Result<Usable, Box<Rejected>>) -> serde_json::Value {
    match checked {
        Ok(usable) => {
            json!({
                "ok": true,
                "version": &*usable.snapshot.version,
                "diagnostics": usable.warnings.rows(&usable.document.sources),
            })
        }
        Err(rejected) => json!({
            "ok": false,
            "version": null,
            "diagnostics": rejected.diagnostics.rows(&rejected.sources),
        }),
    }
}
