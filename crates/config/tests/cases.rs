//! Documents, each with what the gateway says of it beneath a line `# ---`.
//!
//! `DEMILUNE_REFRESH=1 cargo test -p demilune-config --test cases` writes what it says now; review
//! the difference before it is committed.

#![expect(
    clippy::unwrap_used,
    reason = "what goes wrong in a test must stop it, in its functions too"
)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use demilune_backends::{MemoryCounters, Pool};
use demilune_config::{Services, compile, load_text};
use demilune_core::{Requirement, Snapshot};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
const SEPARATOR: &str = "# ---\n";
/// Begins every secret that stands in a case; none may be repeated.
const CANARY: &str = "canary";

fn cases() -> Vec<PathBuf> {
    let entries = fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|e| e == "yaml")).collect();
    cases.sort();
    cases
}

#[test]
fn every_document_means_what_stands_beneath_it() {
    let refresh = std::env::var_os("DEMILUNE_REFRESH").is_some();
    let mut wrong = String::new();
    for path in cases() {
        let text = fs::read_to_string(&path).unwrap();
        let (document, expected) = text.split_once(SEPARATOR).unwrap_or((&text, ""));
        let name = path.file_name().unwrap().to_string_lossy();
        let found = comment(&outcome(&name, document));
        if refresh {
            fs::write(&path, format!("{document}{SEPARATOR}{found}")).unwrap();
        } else if found != expected {
            let _ = writeln!(wrong, "== {name}\nexpected:\n{expected}found:\n{found}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn no_secret_that_stands_in_a_document_is_repeated() {
    let mut hiding = 0;
    for path in cases() {
        let text = fs::read_to_string(&path).unwrap();
        let document = text.split(SEPARATOR).next().unwrap();
        let outcome = outcome("case.yaml", document);
        assert!(!outcome.contains(CANARY), "{}: {outcome}", path.display());
        hiding += usize::from(document.contains(CANARY));
    }
    assert!(hiding >= 5, "{hiding}");
}

/// What the gateway says of a document.
fn outcome(name: &str, text: &str) -> String {
    let services = Services {
        counters: Arc::new(MemoryCounters::new(10)),
        compute: Arc::new(Pool::new(1, 1).unwrap()),
    };
    let document = match load_text(name, text, Path::new(FOLDER)) {
        Ok(document) => document,
        Err(rejected) => return rejected.to_string(),
    };
    match compile(&document, &services) {
        Ok(compiled) => {
            let warnings = compiled.warnings.render(&document.sources);
            format!("{warnings}{}", meaning(&compiled.snapshot))
        }
        Err(diagnostics) => diagnostics.render(&document.sources).replace(FOLDER, "…"),
    }
}

/// A good document in few words: who is served by what, after which policies.
fn meaning(snapshot: &Snapshot) -> String {
    let mut text = String::from("ok\n");
    for route in &snapshot.routes {
        let names = |requirement: &Requirement| {
            let names = requirement.authenticators().iter().map(|named| named.name.to_string());
            names.collect::<Vec<_>>().join(", ")
        };
        let requirement = route.chain.requirement();
        let identity = match requirement {
            Requirement::Public => "public".to_owned(),
            Requirement::AnyOf { anonymous: false, .. } => format!("any of {}", names(requirement)),
            Requirement::AnyOf { .. } => format!("any of {}, or nobody", names(requirement)),
            Requirement::AllOf(_) => format!("all of {}", names(requirement)),
        };
        let _ = writeln!(text, "{}: {identity} → {}", route.name, route.upstream);
        for entry in route.chain.entries() {
            let _ = writeln!(text, "  {} {}, {:?}", entry.stage, entry.policy, entry.on_fault);
        }
    }
    text
}

fn comment(text: &str) -> String {
    let line = |line: &str| if line.is_empty() { "#\n".to_owned() } else { format!("# {line}\n") };
    text.lines().map(line).collect()
}
