//! What tidy reads: the Rust sources of the workspace, the paths of its files, cargo's metadata.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::source::Source;
use crate::process;

/// The folders that hold files of ours.
const FOLDERS: &[&str] = &["bench", "crates", "examples", "fuzz", "xtask"];

/// The workspace as the checks see it.
pub(super) struct Tree {
    /// Every file of [`FOLDERS`], from the root, with `/`, sorted.
    pub(super) paths: Vec<String>,
    /// The Rust files among them.
    pub(super) sources: Vec<Source>,
    /// `cargo metadata --no-deps`.
    pub(super) metadata: Value,
}

/// Reads the workspace at `root`.
pub(super) fn read(root: &Path) -> Result<Tree> {
    let mut paths = Vec::new();
    for folder in FOLDERS {
        list(root, folder, &mut paths)?;
    }
    paths.sort();
    let mut sources = Vec::new();
    for path in paths.iter().filter(|path| path.ends_with(".rs")) {
        let text = std::fs::read_to_string(root.join(path)).with_context(|| path.clone())?;
        sources.push(Source::new(path, &text));
    }
    Ok(Tree { paths, sources, metadata: metadata(root)? })
}

fn list(root: &Path, folder: &str, paths: &mut Vec<String>) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(root.join(folder)) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{folder}/{name}");
        let skipped =
            name.starts_with('.') || matches!(name.as_str(), "target" | "corpus" | "artifacts");
        if entry.file_type()?.is_dir() {
            if !skipped {
                list(root, &path, paths)?;
            }
        } else if !name.starts_with('.') {
            paths.push(path);
        }
    }
    Ok(())
}

fn metadata(root: &Path) -> Result<Value> {
    let mut command = Command::new(process::cargo());
    command.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let text = process::output(command.current_dir(root))?;
    serde_json::from_str(&text).context("cargo metadata prints no JSON")
}
