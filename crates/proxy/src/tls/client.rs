//! TLS towards upstreams: always verified.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use demilune_core::snapshot::{CertificateFiles, UpstreamTls};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    WebPkiServerVerifier, verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    version,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::{certificates, provider};
use crate::generation::Problem;

/// The TLS settings of an upstream, ready for use.
#[derive(Clone)]
pub(crate) struct ClientTls {
    pub(crate) config: Arc<ClientConfig>,
    /// As that, but HTTP/2 is offered too; where the upstream may speak it.
    pub(crate) with_http2: Option<Arc<ClientConfig>>,
}

impl ClientTls {
    /// Loads the authorities: those named, or the system's; and what the gateway proves itself
    /// with.
    ///
    /// # Errors
    /// Where there is none: an upstream that cannot be verified is not used. Where a certificate
    /// or key cannot be used; never with a part of the key.
    pub(crate) fn new(settings: &UpstreamTls, http2: bool) -> Result<Self, Problem> {
        let problem = |code, reason| Problem { place: settings.place.clone(), code, reason };
        let mut roots = RootCertStore::empty();
        if let Some(pem) = &settings.authorities {
            let found = certificates(pem).map_err(|reason| problem("tls.authorities", reason))?;
            for certificate in found {
                roots.add(certificate).map_err(|error| {
                    problem("tls.authorities", format!("an authority cannot be used: {error}"))
                })?;
            }
        } else {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        if roots.is_empty() {
            let reason = "this system trusts no certificate authority: name one under \
                          `tls: { authorities: … }`";
            return Err(problem("tls.authorities", reason.to_owned()));
        }
        let settled = |error: Error| problem("tls.settings", error.to_string());
        let versions: &[_] = if settings.tls13_only {
            &[&version::TLS13]
        } else {
            &[&version::TLS13, &version::TLS12]
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .map_err(settled)?;
        let builder = if settings.alternative_names.is_empty() && settings.keys.is_empty() {
            builder.with_root_certificates(roots)
        } else {
            let verifier = Verifier::new(settings, Arc::new(roots)).map_err(settled)?;
            builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
        };
        let config = match &settings.client_certificate {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let refused = |reason| Problem {
                    place: files.place.clone(),
                    code: "tls.client_certificate",
                    reason,
                };
                let (chain, key) = load(files).map_err(refused)?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    refused(match error {
                        Error::InconsistentKeys(_) => {
                            "the key does not belong to the certificate".to_owned()
                        }
                        error => format!("the certificate and key cannot be used: {error}"),
                    })
                })?
            }
        };
        let with_http2 = http2.then(|| Arc::new(alpn(config.clone(), &[b"h2", b"http/1.1"])));
        Ok(Self { config: Arc::new(alpn(config, &[b"http/1.1"])), with_http2 })
    }
}

fn alpn(mut config: ClientConfig, protocols: &[&[u8]]) -> ClientConfig {
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config
}

type ChainAndKey = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn load(files: &CertificateFiles) -> Result<ChainAndKey, String> {
    let key = PrivateKeyDer::from_pem_slice(files.key.reveal())
        .map_err(|_| "the key file holds no private key in PEM form".to_owned())?;
    Ok((certificates(&files.chain)?, key))
}

/// Verifies as WebPKI does, and beside it that the certificate has one of the names and one of the
/// keys that the document lists. Names listed take the place of the endpoint's.
struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
    roots: Arc<RootCertStore>,
    names: Vec<Name>,
    keys: Vec<[u8; 32]>,
}

enum Name {
    Server(ServerName<'static>),
    Uri(String),
}

impl Verifier {
    fn new(settings: &UpstreamTls, roots: Arc<RootCertStore>) -> Result<Self, Error> {
        let name = |text: &String| {
            if text.contains("://") {
                return Ok(Name::Uri(text.clone()));
            }
            if let Ok(address) = text.parse::<IpAddr>() {
                return Ok(Name::Server(ServerName::IpAddress(address.into())));
            }
            let invalid = |_| Error::General(format!("`{text}` is not a name"));
            ServerName::try_from(text.clone()).map(Name::Server).map_err(invalid)
        };
        let provider = provider();
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        Ok(Self {
            webpki: verifier.build().map_err(|error| Error::General(error.to_string()))?,
            provider,
            roots,
            names: settings.alternative_names.iter().map(name).collect::<Result<_, _>>()?,
            keys: settings.keys.clone(),
        })
    }

    fn has_name(&self, leaf: &CertificateDer<'_>) -> Result<bool, Error> {
        let parsed = ParsedCertificate::try_from(leaf)?;
        let broken = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
        let entity = webpki::EndEntityCert::try_from(leaf).map_err(broken)?;
        Ok(self.names.iter().any(|name| match name {
            Name::Server(name) => verify_server_name(&parsed, name).is_ok(),
            Name::Uri(uri) => entity.valid_uri_names().any(|found| found == uri),
        }))
    }

    fn has_key(&self, leaf: &CertificateDer<'_>) -> Result<bool, Error> {
        let broken = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
        let entity = webpki::EndEntityCert::try_from(leaf).map_err(broken)?;
        let found = digest(&SHA256, &entity.subject_public_key_info());
        Ok(self.keys.iter().any(|key| key.as_slice() == found.as_ref()))
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.names.is_empty() {
            self.webpki.verify_server_cert(leaf, intermediates, server_name, ocsp, now)?;
        } else {
            let algorithms = self.provider.signature_verification_algorithms.all;
            verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(leaf)?,
                &self.roots,
                intermediates,
                now,
                algorithms,
            )?;
            if !self.has_name(leaf)? {
                let reason = "the certificate has none of the `subject_alternative_names`";
                return Err(Error::General(reason.to_owned()));
            }
        }
        if !self.keys.is_empty() && !self.has_key(leaf)? {
            let reason = "the certificate has none of the `public_keys`";
            return Err(Error::General(reason.to_owned()));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}
