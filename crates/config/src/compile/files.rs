//! Files and secrets that the document refers to.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use demilune_core::env::Secrets;
use demilune_core::{Invalid, Secret};

use super::Compiler;
use crate::document::Document;
use crate::model::SecretSource;
use crate::tree::nearest;

/// The largest file of certificates, keys or a secret, in bytes.
const FILE_LIMIT: u64 = 1024 * 1024;

/// Reads files from the document's folder, and remembers those that are no secrets.
pub(crate) struct Files<'d> {
    document: &'d Document,
    public: RefCell<BTreeMap<PathBuf, Bytes>>,
}

impl<'d> Files<'d> {
    pub(crate) fn new(document: &'d Document) -> Self {
        Self { document, public: RefCell::default() }
    }

    /// The bytes of a file that is no secret.
    pub(crate) fn read(&self, path: &Path) -> Result<Bytes, String> {
        let full = self.document.resolve(path);
        let bytes = Bytes::from(read_limited(&full)?);
        self.public.borrow_mut().insert(full, bytes.clone());
        Ok(bytes)
    }

    /// The bytes of a file that is one.
    pub(crate) fn read_secret(&self, path: &Path) -> Result<Secret, String> {
        read_limited(&self.document.resolve(path)).map(Secret::new)
    }

    pub(crate) fn hash_public(&self, hasher: &mut impl Hasher) {
        for bytes in self.public.borrow().values() {
            bytes.hash(hasher);
        }
    }
}

fn read_limited(path: &Path) -> Result<Vec<u8>, String> {
    let say = |error: std::io::Error| format!("`{}` cannot be read: {error}", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(say)?;
    if !file.metadata().map_err(say)?.is_file() {
        return Err(format!("`{}` is not a file", path.display()));
    }
    file.take(FILE_LIMIT + 1).read_to_end(&mut bytes).map_err(say)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_LIMIT {
        return Err(format!("`{}` is larger than 1 MiB", path.display()));
    }
    Ok(bytes)
}

/// The secret that the document declares under `name`, as its policies get it.
///
/// # Errors
/// Where it is not declared or cannot be read; the message never repeats what may be a secret.
pub fn secret(document: &Document, name: &str) -> Result<Secret, Invalid> {
    Files::new(document).secret(name)
}

impl Compiler<'_> {
    /// Every declared secret must be there, used or not.
    pub(crate) fn check_secrets(&mut self) {
        for name in self.document.model.secrets.keys() {
            if let Err(invalid) = self.files.secret(name) {
                self.invalid(&format!("secrets.{name}"), invalid);
            }
        }
    }
}

impl Secrets for Files<'_> {
    fn secret(&self, name: &str) -> Result<Secret, Invalid> {
        let secrets = &self.document.model.secrets;
        let Some(source) = secrets.get(name) else {
            // What stands here may be the secret itself: it is not repeated.
            let invalid = Invalid::new("", "this names no secret of the document").conceal();
            return Err(match nearest(name, secrets.keys().map(String::as_str)) {
                Some(meant) => invalid.help(format!("did you mean `{meant}`?")),
                None => invalid.help(
                    "declare it under `secrets:` as `{ file: PATH }` or `{ env: VARIABLE }`, and \
                     write its name here",
                ),
            });
        };
        let secret = match source {
            SecretSource::File(path) => {
                self.read_secret(path).map_err(|reason| Invalid::new("file", reason))?
            }
            SecretSource::Env(variable) => {
                let missing = |what: &str| {
                    Err(Invalid::new("env", format!("environment variable `{variable}` {what}")))
                };
                match std::env::var(variable) {
                    Ok(value) => Secret::new(value.into_bytes()),
                    Err(std::env::VarError::NotPresent) => return missing("is not set"),
                    Err(std::env::VarError::NotUnicode(_)) => return missing("is not text"),
                }
            }
        };
        let bytes = secret.reveal();
        let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Err(Invalid::new("", "the secret is empty"));
        }
        Ok(Secret::new(line.to_vec()))
    }
}
