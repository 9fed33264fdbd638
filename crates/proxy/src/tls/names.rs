//! Which certificate for which name.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use demilune_core::snapshot::CertificateFiles;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::{certificates, ocsp};

/// Certificates by DNS name; the first one written answers for all other names and for none.
#[derive(Default)]
pub(super) struct ByName {
    names: HashMap<String, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
    several: bool,
}

impl ByName {
    /// Adds the certificate, and gives its leaf. Reasons never hold a part of the key.
    pub(super) fn load(
        &mut self,
        files: &CertificateFiles,
        provider: &CryptoProvider,
    ) -> Result<CertificateDer<'static>, String> {
        let chain = certificates(&files.chain)?;
        let key = PrivateKeyDer::from_pem_slice(files.key.reveal())
            .map_err(|_| "the key file holds no private key in PEM form".to_owned())?;
        let leaf = chain.first().cloned().ok_or("no certificate in PEM form found")?;
        let names: Vec<String> = match webpki::EndEntityCert::try_from(&leaf) {
            Ok(leaf) => leaf.valid_dns_names().map(str::to_ascii_lowercase).collect(),
            Err(error) => return Err(format!("the first certificate is broken: {error:?}")),
        };
        let mut key =
            CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    "the key does not belong to the certificate".to_owned()
                }
                error => format!("the certificate and key cannot be used: {error}"),
            })?;
        if let Some(response) = &files.ocsp {
            ocsp::check(response)?;
            key.ocsp = Some(response.to_vec());
        }
        self.insert(key, names);
        Ok(leaf)
    }

    fn insert(&mut self, key: CertifiedKey, names: Vec<String>) {
        let key = Arc::new(key);
        for name in names {
            self.names.entry(name).or_insert_with(|| Arc::clone(&key));
        }
        self.several = self.first.is_some();
        self.first.get_or_insert(key);
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        // A wildcard stands for exactly one label (RFC 9525 section 6.3).
        let named = self.names.get(name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.names.get(&format!("*.{parent}"))
        });
        named.or(self.first.as_ref())
    }

    /// Whether both names are answered with the same certificate.
    pub(super) fn same(&self, one: &str, other: &str) -> bool {
        let key = |name: &str| self.find(name).map(Arc::as_ptr);
        !self.several || key(one) == key(other)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| self.find(name));
        named.or(self.first.as_ref()).cloned()
    }
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names.keys()).finish()
    }
}
