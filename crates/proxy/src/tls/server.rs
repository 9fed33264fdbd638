//! TLS towards clients: which certificate for which name.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use demilune_core::snapshot::{CertificateFiles, ListenerTls};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use super::{certificates, provider};
use crate::generation::Problem;

/// The TLS settings of a listener, ready for use.
#[derive(Clone)]
pub(crate) struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
}

impl ServerTls {
    /// Loads all certificates.
    ///
    /// # Errors
    /// Every one that cannot be used.
    pub(crate) fn new(settings: &ListenerTls) -> Result<Self, Vec<Problem>> {
        let mut resolver = ByName::default();
        let mut problems = Vec::new();
        for files in &settings.certificates {
            match load(files) {
                Ok((key, names)) => resolver.insert(key, names),
                Err(reason) => problems.push(Problem {
                    place: files.place.clone(),
                    code: "tls.certificate",
                    reason,
                }),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Self::with(resolver).map_err(|error| {
            let place = settings.certificates.first().map(|files| files.place.clone());
            let reason = error.to_string();
            vec![Problem { place: place.unwrap_or_default(), code: "tls.settings", reason }]
        })
    }

    fn with(resolver: ByName) -> Result<Self, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
        Ok(Self { config: Arc::new(config) })
    }
}

/// The key with its chain, and the DNS names of the leaf. Reasons never hold a part of the key.
fn load(files: &CertificateFiles) -> Result<(CertifiedKey, Vec<String>), String> {
    let chain = certificates(&files.chain)?;
    let key = PrivateKeyDer::from_pem_slice(files.key.reveal())
        .map_err(|_| "the key file holds no private key in PEM form".to_owned())?;
    let names = match chain.first().map(webpki::EndEntityCert::try_from) {
        Some(Ok(leaf)) => leaf.valid_dns_names().map(str::to_ascii_lowercase).collect(),
        Some(Err(error)) => return Err(format!("the first certificate is broken: {error:?}")),
        None => return Err("no certificate in PEM form found".to_owned()),
    };
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            "the key does not belong to the certificate".to_owned()
        }
        error => format!("the certificate and key cannot be used: {error}"),
    })?;
    Ok((key, names))
}

/// Certificates by DNS name; the first one written answers for all other names and for none.
#[derive(Default)]
struct ByName {
    names: HashMap<String, Arc<CertifiedKey>>,
    first: Option<Arc<CertifiedKey>>,
}

impl ByName {
    fn insert(&mut self, key: CertifiedKey, names: Vec<String>) {
        let key = Arc::new(key);
        for name in names {
            self.names.entry(name).or_insert_with(|| Arc::clone(&key));
        }
        self.first.get_or_insert(key);
    }

    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        // A wildcard stands for exactly one label (RFC 9525 section 6.3).
        self.names.get(name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.names.get(&format!("*.{parent}"))
        })
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
