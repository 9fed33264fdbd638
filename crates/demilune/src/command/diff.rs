//! `demilune diff`: what changes between two documents, and what of it loosens security.

use std::process::ExitCode;

use demilune_config::diff::{Change, diff};
use demilune_config::load;
use serde_json::json;

use crate::cli::{DiffArgs, Format};
use crate::exit;
use crate::output::{Output, count};

pub(crate) fn run(args: &DiffArgs, out: &mut Output) -> anyhow::Result<ExitCode> {
    let (before, after) = match (load(&args.before), load(&args.after)) {
        (Ok(before), Ok(after)) => (before, after),
        (before, after) => {
            let rejected = [before.err(), after.err()];
            rejected.into_iter().flatten().for_each(|rejected| {
                exit::reject(&rejected);
            });
            return Ok(exit::rejected());
        }
    };
    let changes = diff(&before, &after);
    let loosening = changes.iter().filter(|change| change.loosens).count();
    match args.output {
        Format::Text => {
            for change in &changes {
                out.line(&change.to_string())?;
            }
            out.line(&summary(changes.len(), loosening))?;
        }
        Format::Json => {
            let rows: Vec<_> = changes.iter().map(row).collect();
            out.json(&json!({ "loosens": loosening > 0, "changes": rows }))?;
        }
    }
    Ok(if loosening == 0 { ExitCode::SUCCESS } else { exit::rejected() })
}

fn summary(all: usize, loosening: usize) -> String {
    match (all, loosening) {
        (0, _) => "both documents mean the same".to_owned(),
        (all, 0) => format!("{}, none of which loosens security", count(all, "change")),
        (all, some) => format!("{}, {some} of which loosen security", count(all, "change")),
    }
}

fn row(change: &Change) -> serde_json::Value {
    let Change { path, what, loosens, before, after } = change;
    json!({ "path": path, "what": what, "loosens": loosens, "before": before, "after": after })
}
