//! From a path to a document that is ready to be asked about.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use demilune_backends::{MemoryCounters, Pool, SystemClock};
use demilune_config::diagnostic::{Diagnostic, Diagnostics};
use demilune_config::{Compiled, Document, Rejected, Services, compile, load};
use demilune_core::{Clock as _, Snapshot};

/// Subjects that a command can count: it asks one question.
const COUNTERS: usize = 1_000;

/// A document that the gateway would take.
pub(crate) struct Usable {
    pub(crate) document: Document,
    pub(crate) snapshot: Arc<Snapshot>,
    /// What may not be meant as it is written.
    pub(crate) warnings: Diagnostics,
}

/// Everything that the gateway would look at before it took the document, sockets apart.
///
/// # Errors
/// The outer one where the machine has no thread left, the inner one for all that is wrong.
pub(crate) fn usable(path: &Path) -> anyhow::Result<Result<Usable, Box<Rejected>>> {
    let services = Services {
        counters: Arc::new(MemoryCounters::new(COUNTERS)),
        compute: Arc::new(Pool::new(1, 1).context("starting a thread for hashes")?),
    };
    Ok(load(path).and_then(|document| ready(document, &services)))
}

fn ready(document: Document, services: &Services) -> Result<Usable, Box<Rejected>> {
    let now = SystemClock.now();
    let checked =
        compile(&document, services).and_then(|mut compiled| {
            match demilune_proxy::check(&compiled.snapshot, now) {
                Ok(warnings) => {
                    compiled.warnings.extend(placed(&document, warnings, |code, reason| {
                        Diagnostic::warning(code, reason)
                    }));
                    Ok(compiled)
                }
                Err(problems) => {
                    let mut diagnostics = Diagnostics::new();
                    diagnostics.extend(placed(&document, problems, |code, reason| {
                        Diagnostic::error(code, reason)
                    }));
                    Err(diagnostics)
                }
            }
        });
    match checked {
        Ok(Compiled { snapshot, warnings }) => Ok(Usable { document, snapshot, warnings }),
        Err(diagnostics) => Err(Box::new(Rejected { sources: document.sources, diagnostics })),
    }
}

/// What the data plane says, at its place in the text.
fn placed(
    document: &Document,
    problems: Vec<demilune_proxy::Problem>,
    make: fn(&'static str, String) -> Diagnostic,
) -> impl Iterator<Item = Diagnostic> {
    problems.into_iter().map(move |problem| {
        make(problem.code, problem.reason).at(document.span(&problem.place)).path(problem.place)
    })
}
