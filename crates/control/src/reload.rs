//! Putting a changed document in force: all or nothing.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use demilune_config::diagnostic::{Diagnostic, Diagnostics};
use demilune_config::{Document, Services, compile, load};
use demilune_core::Snapshot;
use demilune_telemetry::{Level, Telemetry};

use crate::watch::Watch;

/// What the data plane cannot use, with its place in the document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misplaced {
    /// A path of the document.
    pub place: String,
    /// A stable code.
    pub code: &'static str,
    /// What is wrong.
    pub reason: String,
}

/// Puts a snapshot in force, or says why not and leaves everything as it was.
pub type Apply = Box<dyn Fn(&Arc<Snapshot>) -> Result<(), Vec<Misplaced>>>;

/// What an operator can ask about the configuration in force.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// The version in force.
    pub version: String,
    /// Why the document on disk is not in force, where it is not.
    pub rejected: Option<String>,
    /// Whether the gateway is ending.
    pub draining: bool,
}

/// Reloads the document.
pub struct Reloader {
    path: PathBuf,
    services: Services,
    telemetry: Arc<Telemetry>,
    apply: Apply,
    current: Document,
    status: Arc<Mutex<Status>>,
}

/// Problems of the data plane as diagnostics of the document.
#[must_use]
pub fn problems(document: &Document, found: Vec<Misplaced>) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    for problem in found {
        let diagnostic = Diagnostic::error(problem.code, problem.reason)
            .at(document.span(&problem.place))
            .path(problem.place);
        diagnostics.push(diagnostic);
    }
    diagnostics
}

impl Reloader {
    /// With `document` in force as `snapshot`, read from `path`.
    #[must_use]
    pub fn new(
        path: PathBuf,
        services: Services,
        telemetry: Arc<Telemetry>,
        apply: Apply,
        document: Document,
        snapshot: &Snapshot,
    ) -> Self {
        telemetry.config_loaded(&snapshot.version);
        let status = Status { version: snapshot.version.to_string(), ..Status::default() };
        let status = Arc::new(Mutex::new(status));
        Self { path, services, telemetry, apply, current: document, status }
    }

    /// What an operator can ask.
    #[must_use]
    pub fn status(&self) -> Arc<Mutex<Status>> {
        Arc::clone(&self.status)
    }

    /// Reads the document again and puts it in force; `watch` is told what the next change
    /// differs from.
    pub fn reload(&mut self, watch: &mut Watch) {
        watch.loading();
        let document = match load(&self.path) {
            Ok(document) => document,
            Err(rejected) => return self.reject(&rejected.diagnostics, &rejected.to_string()),
        };
        // What the new one refers to is watched even if it is not taken: its cure may lie there.
        watch.refers_to([document.files(), self.current.files()].concat());
        let compiled = compile(&document, &self.services).and_then(|compiled| {
            match (self.apply)(&compiled.snapshot) {
                Ok(()) => Ok(compiled),
                Err(found) => Err(problems(&document, found)),
            }
        });
        match compiled {
            Ok(compiled) => {
                warn(&self.telemetry, &document, &compiled.warnings);
                self.accept(document, &compiled.snapshot);
                watch.refers_to(self.current.files());
            }
            Err(diagnostics) => {
                let text = diagnostics.render(&document.sources);
                self.reject(&diagnostics, &text);
            }
        }
    }

    fn accept(&mut self, document: Document, snapshot: &Snapshot) {
        let before = lock(&self.status).version.clone();
        let changes = demilune_config::diff::diff(&self.current, &document);
        let texts: Vec<String> = changes.iter().map(ToString::to_string).collect();
        self.current = document;
        {
            let mut status = lock(&self.status);
            status.version = snapshot.version.to_string();
            status.rejected = None;
        }
        self.telemetry.config_loaded(&snapshot.version);
        let (changes, loosens) = (texts.join("\n"), changes.iter().any(|c| c.loosens));
        let fields = [
            ("version", &*snapshot.version),
            ("before", &before),
            ("changes", &changes),
            ("loosens", if loosens { "true" } else { "false" }),
        ];
        let message = "the changed document is in force";
        self.telemetry.log(Level::Info, "config.loaded", message, &fields);
    }

    fn reject(&self, diagnostics: &Diagnostics, text: &str) {
        lock(&self.status).rejected = Some(text.to_owned());
        self.telemetry.config_refused();
        let count = diagnostics.len().to_string();
        let fields = [("problems", count.as_str()), ("diagnostics", text)];
        let message = "the changed document is not usable; the one before stays in force";
        self.telemetry.log(Level::Error, "config.rejected", message, &fields);
    }
}

/// Tells the operator what may not be meant as it is written.
pub fn warn(telemetry: &Telemetry, document: &Document, warnings: &Diagnostics) {
    if !warnings.is_empty() {
        let text = warnings.render(&document.sources);
        let message = "the document may not mean what it seems to";
        telemetry.log(Level::Warn, "config.warning", message, &[("diagnostics", &text)]);
    }
}

pub(crate) fn lock(status: &Mutex<Status>) -> MutexGuard<'_, Status> {
    match status.lock() {
        Ok(guard) => guard,
        Err(poisoned) => poisoned.into_inner(),
    }
}
