//! TLS towards clients: versions, suites, tickets, and what is asked of them.
//!
//! Each listener has a configuration of its own, and with it its own tickets and sessions: what was
//! settled with one is worth nothing at another. A listener that asks for client certificates takes
//! up no session at all: each connection proves anew who the client is, so that a certificate that
//! was revoked or has expired ends with its connections.

use std::sync::Arc;

use demilune_core::snapshot::{ListenerTls, TlsVersion};
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::names::ByName;
use super::validity::{Validity, list_expired};
use super::{certificates, client_certificates, provider};
use crate::generation::Problem;

/// The TLS settings of a listener, ready for use.
#[derive(Clone)]
pub(crate) struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
    names: Arc<ByName>,
}

/// What loading has shown.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    /// When each certificate is good.
    pub(crate) validity: Vec<Validity>,
    /// What works, but somebody should look at.
    pub(crate) warnings: Vec<Problem>,
}

impl ServerTls {
    /// Loads all certificates, authorities and lists. `now` is seconds since the UNIX epoch.
    ///
    /// # Errors
    /// Every one that cannot be used.
    pub(crate) fn new(settings: &ListenerTls, now: i64) -> Result<(Self, Shown), Vec<Problem>> {
        let provider = offered(settings);
        let (mut names, mut shown) = (ByName::default(), Shown::default());
        let mut problems = Vec::new();
        for files in &settings.certificates {
            match names.load(files, &provider) {
                Ok(leaf) => match Validity::of(&leaf, files.place.clone()) {
                    Ok(found) => {
                        shown.warnings.extend(found.warning(now));
                        shown.validity.push(found);
                    }
                    Err(reason) => problems.push(certificate_problem(&files.place, reason)),
                },
                Err(reason) => problems.push(certificate_problem(&files.place, reason)),
            }
        }
        let verifier = match &settings.client_certificates {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(client) => match client_certificates::verifier(client, &provider) {
                Ok(verifier) => {
                    let lists = client.revocation.iter().enumerate();
                    shown.warnings.extend(lists.filter_map(|(i, list)| {
                        list_expired(list, format!("{}.revocation[{i}]", client.place), now)
                    }));
                    verifier
                }
                Err(problem) => {
                    problems.push(problem);
                    return Err(problems);
                }
            },
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        let names = Arc::new(names);
        let resumes = settings.client_certificates.is_none();
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions(settings.minimum_version))
            .map(|builder| {
                let builder = builder.with_client_cert_verifier(verifier);
                builder.with_cert_resolver(Arc::clone(&names) as _)
            })
            .and_then(|config| finished(config, resumes));
        match config {
            Ok(config) => Ok((Self { config: Arc::new(config), names }, shown)),
            Err(error) => {
                let (place, reason) = (settings.place.clone(), error.to_string());
                Err(vec![Problem { place, code: "tls.settings", reason }])
            }
        }
    }

    /// Whether a request for `host` may come on a connection that was opened for `server_name`:
    /// where both are answered with the same certificate. Otherwise somebody reaches one name
    /// behind the face of another.
    pub(crate) fn answers_for(&self, server_name: &str, host: &str) -> bool {
        server_name == host || self.names.same(server_name, host)
    }
}

fn certificate_problem(place: &str, reason: String) -> Problem {
    Problem { place: place.to_owned(), code: "tls.certificate", reason }
}

fn finished(mut config: ServerConfig, resumes: bool) -> Result<ServerConfig, rustls::Error> {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if resumes {
        // The keys of tickets change every six hours.
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    } else {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

const fn versions(minimum: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    use rustls::version::{TLS12, TLS13};
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    static NEWEST: [&SupportedProtocolVersion; 1] = [&TLS13];
    match minimum {
        TlsVersion::Tls12 => &BOTH,
        TlsVersion::Tls13 => &NEWEST,
    }
}

/// The provider, with no more than the suites that are named.
fn offered(settings: &ListenerTls) -> Arc<CryptoProvider> {
    let all = provider();
    if settings.cipher_suites.is_empty() {
        return all;
    }
    let mut fewer = (*all).clone();
    fewer.cipher_suites.retain(|suite| {
        // rustls names those of TLS 1.3 `TLS13_…`.
        let name = format!("{:?}", suite.suite()).replacen("TLS13_", "TLS_", 1);
        settings.cipher_suites.contains(&&*name)
    });
    Arc::new(fewer)
}

/// All certificates of the authorities, as roots to trust.
pub(super) fn roots(pem: &[u8]) -> Result<rustls::RootCertStore, String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| format!("an authority cannot be used: {error}"))?;
    }
    Ok(roots)
}
