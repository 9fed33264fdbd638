//! A document that was read: its texts, its tree with positions, and its typed model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::diagnostic::{Diagnostic, Diagnostics, Sources, Span};
use crate::model::{DefaultsConfig, Model, OverloadConfig, SecretSource, ShutdownConfig};
use crate::tree::{self, Tree, Value, nearest};

/// What was written, with positions.
#[derive(Debug)]
pub struct Document {
    /// The texts.
    pub sources: Sources,
    /// The positioned tree.
    pub tree: Tree,
    /// What it says.
    pub model: Model,
    /// The folder that relative paths start from.
    pub base: PathBuf,
}

/// Why a document cannot be used: everything that is wrong with it, and the texts to quote from.
#[derive(Debug)]
pub struct Rejected {
    /// The texts.
    pub sources: Sources,
    /// All problems.
    pub diagnostics: Diagnostics,
}

impl std::fmt::Display for Rejected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.diagnostics.render(&self.sources))
    }
}

/// The top-level keys, in the order a document usually has them.
pub(crate) const KEYS: &[&str] = &[
    "version",
    "secrets",
    "listeners",
    "upstreams",
    "consumers",
    "authenticators",
    "defaults",
    "routes",
    "admin",
    "shutdown",
    "overload",
];

/// Reads a document from a file or a folder (all `*.yaml`, `*.yml` and `*.json` directly in it).
///
/// # Errors
/// All that is wrong with its text and its shape. What it means is checked by `compile`.
pub fn load(path: &Path) -> Result<Document, Box<Rejected>> {
    let mut sources = Sources::new();
    let base = if path.is_dir() { Some(path) } else { path.parent() };
    let base = base.map(Path::to_owned).unwrap_or_default();
    match tree::load(path, &mut sources) {
        Ok(tree) => read(tree, sources, base),
        Err(diagnostics) => Err(Box::new(Rejected { sources, diagnostics })),
    }
}

/// As [`load`], from a text that stands nowhere on disk; relative paths start from `base`.
///
/// # Errors
/// As [`load`].
pub fn load_text(name: &str, text: &str, base: &Path) -> Result<Document, Box<Rejected>> {
    let mut sources = Sources::new();
    let file = sources.add(name, text);
    let tree = tree::parse(file, text.as_bytes()).and_then(|root| Tree::merge(vec![root]));
    match tree {
        Ok(tree) => read(tree, sources, base.to_owned()),
        Err(diagnostics) => Err(Box::new(Rejected { sources, diagnostics })),
    }
}

fn read(tree: Tree, sources: Sources, base: PathBuf) -> Result<Document, Box<Rejected>> {
    let mut diagnostics = Diagnostics::new();
    let model = read_model(&tree, &mut diagnostics);
    match model.filter(|_| !diagnostics.has_errors()) {
        Some(model) => Ok(Document { sources, tree, model, base }),
        None => Err(Box::new(Rejected { sources, diagnostics })),
    }
}

/// Each named object is read from its own subtree, so that all broken ones are found.
fn read_model(tree: &Tree, diagnostics: &mut Diagnostics) -> Option<Model> {
    for entry in tree.entries().iter().filter(|entry| !KEYS.contains(&entry.key.as_str())) {
        let reason = format!("unknown key `{}`", entry.key);
        let mut diagnostic =
            Diagnostic::error("config.unknown_key", reason).at(entry.key_span).conceal(true);
        if let Some(meant) = nearest(&entry.key, KEYS.iter().copied()) {
            diagnostic = diagnostic.help(format!("did you mean `{meant}`?"));
        }
        diagnostics.push(diagnostic);
    }
    let version: Option<u32> = one(tree, "version", diagnostics);
    match version {
        Some(1) => {}
        Some(other) => diagnostics.push(
            Diagnostic::error("config.version", format!("version {other} is not known"))
                .at(tree.at_path("version").span())
                .path("version")
                .help("this release reads version 1"),
        ),
        None if tree.get("version").is_none() => diagnostics.push(
            Diagnostic::error("config.missing_key", "missing key `version`")
                .at(tree.root().span)
                .help("write `version: 1` at the top"),
        ),
        None => {}
    }
    let model = Model {
        version: version.unwrap_or(1),
        secrets: named(tree, "secrets", diagnostics),
        listeners: named(tree, "listeners", diagnostics),
        upstreams: named(tree, "upstreams", diagnostics),
        consumers: named(tree, "consumers", diagnostics),
        authenticators: named(tree, "authenticators", diagnostics),
        defaults: one(tree, "defaults", diagnostics).unwrap_or_else(DefaultsConfig::default),
        routes: named(tree, "routes", diagnostics),
        admin: one(tree, "admin", diagnostics),
        shutdown: one(tree, "shutdown", diagnostics).unwrap_or_else(ShutdownConfig::default),
        overload: one(tree, "overload", diagnostics).unwrap_or_else(OverloadConfig::default),
    };
    (!diagnostics.has_errors()).then_some(model)
}

fn one<T: DeserializeOwned>(tree: &Tree, key: &str, diagnostics: &mut Diagnostics) -> Option<T> {
    let entry = tree.root().entry(key)?;
    tree::from_entry(entry, key, diagnostics)
}

/// The objects under `key`, by name.
fn named<T: DeserializeOwned>(
    tree: &Tree,
    key: &str,
    diagnostics: &mut Diagnostics,
) -> BTreeMap<String, T> {
    let mut all = BTreeMap::new();
    let Some(section) = tree.root().entry(key) else { return all };
    if section.value.as_mapping().is_none() {
        let reason = format!("expected named objects under `{key}`");
        let at = section.key_span;
        diagnostics.push(Diagnostic::error("config.invalid_value", reason).at(at).path(key));
        return all;
    }
    for entry in section.value.entries() {
        let path = format!("{key}.{}", entry.key);
        if key == "secrets" && matches!(entry.value.value, Value::Scalar(_)) {
            diagnostics.push(inline_secret(entry.key_span, &path));
            continue;
        }
        if let Err(reason) = check_name(&entry.key) {
            let diagnostic = Diagnostic::error("config.name", reason).at(entry.key_span).path(key);
            diagnostics.push(diagnostic);
            continue;
        }
        if let Some(value) = tree::from_entry(entry, &path, diagnostics) {
            all.insert(entry.key.clone(), value);
        }
    }
    all
}

/// Names are labels of metrics, header values and parts of paths: short and plain.
fn check_name(name: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if first && name.len() <= 64 && name.bytes().all(plain) {
        return Ok(());
    }
    Err("a name is of letters, digits, `_` and `-`, begins with a letter or digit, and has at \
         most 64 of them"
        .to_owned())
}

/// `secrets: { name: text }` holds a secret itself: said before the type is read, and not shown.
fn inline_secret(at: Span, path: &str) -> Diagnostic {
    Diagnostic::error("config.inline_secret", "a secret stands in the document itself")
        .at(at)
        .path(path)
        .help("write `{ file: PATH }` or `{ env: VARIABLE }`, and change the secret")
        .conceal(true)
}

impl Document {
    /// Where a path of the document points, or the nearest place above it.
    #[must_use]
    pub fn span(&self, path: &str) -> Span {
        self.tree.at_path(path).span()
    }

    /// `gateway.yaml:14` for a path of the document.
    #[must_use]
    pub fn location(&self, path: &str) -> String {
        self.sources.location(self.span(path))
    }

    /// A path that the document names, from its own folder.
    #[must_use]
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.base.join(path)
    }

    /// Every file that the document refers to: to watch.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let secrets = self.model.secrets.values().filter_map(|source| match source {
            SecretSource::File(path) => Some(path),
            SecretSource::Env(_) => None,
        });
        let listeners = self.model.listeners.values().filter_map(|listener| listener.tls.as_ref());
        let certificates = listeners.clone().flat_map(|tls| &tls.certificates);
        let pairs = certificates
            .flat_map(|files| [&files.chain, &files.key].into_iter().chain(&files.ocsp));
        let clients = listeners.filter_map(|tls| tls.client_certificates.as_ref());
        let clients = clients.flat_map(|it| it.revocation.iter().chain([&it.authorities]));
        let upstreams = self.model.upstreams.values().filter_map(|upstream| upstream.tls.as_ref());
        let authorities = upstreams.filter_map(|tls| tls.authorities.as_ref());
        let all = secrets.chain(pairs).chain(clients).chain(authorities);
        all.map(|path| self.resolve(path)).collect()
    }
}
