//! From what was written to what it means: names resolved, files read, policies built, routes
//! indexed.

mod beside;
mod connections;
mod consumers;
mod failing;
mod files;
mod listeners;
mod policies;
mod routes;
mod strangers;
mod tls;
mod upstream_tls;
mod upstreams;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use demilune_core::snapshot::Overload;
use demilune_core::{Compute, Counters, Directory, Invalid, Snapshot, policy};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::Document;
use crate::model::OverloadConfig;
use crate::tree::nearest;

pub use files::secret;
pub use policies::{Effective, effective};
pub(crate) use policies::{locked, opened_by};

/// What compiled policies ask of the outside, shared by all snapshots of a process.
#[derive(Clone)]
pub struct Services {
    /// Counters of limits.
    pub counters: Arc<dyn Counters>,
    /// The pool for heavy work.
    pub compute: Arc<dyn Compute>,
}

/// A compiled document.
#[derive(Debug)]
pub struct Compiled {
    /// What it means.
    pub snapshot: Arc<Snapshot>,
    /// What may not be meant as it is written.
    pub warnings: Diagnostics,
}

/// Compiles a document.
///
/// # Errors
/// Everything that cannot be meant, each with its place.
pub fn compile(document: &Document, services: &Services) -> Result<Compiled, Diagnostics> {
    let mut compiler = Compiler {
        document,
        services,
        diagnostics: Diagnostics::new(),
        files: files::Files::new(document),
        directory: Directory::default(),
    };
    compiler.check_secrets();
    compiler.fill_directory();
    let upstreams = compiler.upstreams();
    let (routes, unmatched) = compiler.routes();
    let listeners = compiler.listeners(&routes);
    let admin = compiler.admin();
    let overload = compiler.overload();
    let Compiler { diagnostics, files, .. } = compiler;
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    let snapshot = Snapshot {
        version: version(document, &files).into(),
        listeners,
        routes,
        unmatched,
        upstreams,
        admin,
        drain: document.model.shutdown.drain.0,
        overload,
    };
    Ok(Compiled { snapshot: Arc::new(snapshot), warnings: diagnostics })
}

/// The least memory, in bytes, over which new requests may be refused: the program alone takes
/// about as much.
const MEMORY_LEAST: u64 = 16 << 20;
/// The least delay for which they may be: deadlines are looked at every 25 ms.
const DELAY_LEAST: Duration = Duration::from_millis(50);

/// Sixteen digits that name the document and all files it is made of, secrets apart.
fn version(document: &Document, files: &files::Files<'_>) -> String {
    let mut hasher = DefaultHasher::new();
    for file in 0..document.sources.len() {
        let file = crate::diagnostic::FileId(u32::try_from(file).unwrap_or(u32::MAX));
        document.sources.text(file).hash(&mut hasher);
    }
    files.hash_public(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// What is gathered while compiling.
pub(crate) struct Compiler<'d> {
    pub(crate) document: &'d Document,
    pub(crate) services: &'d Services,
    pub(crate) diagnostics: Diagnostics,
    pub(crate) files: files::Files<'d>,
    pub(crate) directory: Directory,
}

impl Compiler<'_> {
    /// Notes an error at a path of the document.
    pub(crate) fn error(&mut self, code: &'static str, path: &str, reason: impl Into<String>) {
        let diagnostic = self.diagnostic(code, path, reason);
        self.diagnostics.push(diagnostic);
    }

    /// An error at a path of the document, to be added to.
    pub(crate) fn diagnostic(
        &self,
        code: &'static str,
        path: &str,
        reason: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::error(code, reason).at(self.document.span(path)).path(path)
    }

    /// Notes a name that nothing in the document has.
    pub(crate) fn unresolved<'n>(
        &mut self,
        path: &str,
        kind: &str,
        name: &str,
        known: impl IntoIterator<Item = &'n str>,
    ) {
        let reason = format!("there is no {kind} named `{name}`");
        let mut diagnostic = self.diagnostic("config.unresolved", path, reason);
        if let Some(meant) = nearest(name, known) {
            diagnostic = diagnostic.help(format!("did you mean `{meant}`?"));
        }
        self.diagnostics.push(diagnostic);
    }

    /// Notes what a policy or the data plane said of its values.
    pub(crate) fn invalid(&mut self, path: &str, invalid: Invalid) {
        let path = match invalid.field.as_str() {
            "" => path.to_owned(),
            field => format!("{path}.{field}"),
        };
        let mut diagnostic =
            self.diagnostic("config.invalid_value", &path, invalid.reason).conceal(invalid.conceal);
        if let Some(help) = invalid.help {
            diagnostic = diagnostic.help(help);
        }
        self.diagnostics.push(diagnostic);
    }

    /// Whether what opens something says why.
    pub(crate) fn check_reason(&mut self, path: &str, reason: Option<&String>) {
        if let Some(Err(found)) = reason.map(|reason| policy::check_reason(reason)) {
            let diagnostic =
                self.diagnostic("config.empty_reason", path, found).help(policy::REASON_HELP);
            self.diagnostics.push(diagnostic);
        }
    }

    fn overload(&mut self) -> Overload {
        let OverloadConfig { requests, memory, delay } = self.document.model.overload.clone();
        for (field, useless) in [
            ("requests", requests == 0),
            ("memory", memory.is_some_and(|memory| memory.0 < MEMORY_LEAST)),
            ("delay", delay.0 < DELAY_LEAST),
        ] {
            if useless {
                let reason = "so little that every request would be refused; expected at least \
                              1 request, `16MiB`, `50ms`";
                self.error("config.invalid_value", &format!("overload.{field}"), reason);
            }
        }
        Overload {
            requests: usize::try_from(requests).unwrap_or(usize::MAX),
            memory: memory.map(|memory| memory.0),
            delay: delay.0,
        }
    }

    fn admin(&mut self) -> Option<std::net::SocketAddr> {
        let address = self.document.model.admin.as_ref()?.address;
        if !address.ip().is_loopback() {
            let reason = format!("expected a loopback address, found `{}`", address.ip());
            let diagnostic = self
                .diagnostic("config.admin_address", "admin.address", reason)
                .help("write `127.0.0.1:9443`: these endpoints ask nobody who they are");
            self.diagnostics.push(diagnostic);
        }
        Some(address)
    }
}
