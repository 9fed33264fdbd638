//! Certificates of clients: who issues them, which are revoked, and what they say.

use std::fmt::Write as _;
use std::sync::Arc;

use demilune_core::head::ClientCertificate;
use demilune_core::snapshot::ClientCertificates;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::server::roots;
use crate::generation::Problem;

/// What verifies client certificates. Where there are revocation lists, each certificate of a chain
/// must be covered by one, and an expired list covers nobody: who cannot be told to be good is
/// refused.
pub(super) fn verifier(
    settings: &ClientCertificates,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Problem> {
    let problem = |field: &str, code, reason| {
        let place = format!("{}.{field}", settings.place);
        Problem { place, code, reason }
    };
    let authorities = roots(&settings.authorities)
        .map_err(|reason| problem("authorities", "tls.authorities", reason))?;
    let mut lists = Vec::new();
    for (i, bytes) in settings.revocation.iter().enumerate() {
        let list = list(bytes)
            .map_err(|reason| problem(&format!("revocation[{i}]"), "tls.revocation", reason))?;
        lists.push(list);
    }
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(provider))
            .enforce_revocation_expiration()
            .with_crls(lists);
    if !settings.required {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| {
        let reason = format!("a revocation list cannot be used: {error}");
        problem("revocation", "tls.revocation", reason)
    })
}

/// A revocation list, from PEM or DER.
pub(super) fn list(bytes: &[u8]) -> Result<CertificateRevocationListDer<'static>, String> {
    let der = if bytes.starts_with(&[0x30]) {
        CertificateRevocationListDer::from(bytes.to_vec())
    } else {
        CertificateRevocationListDer::from_pem_slice(bytes)
            .map_err(|_| "no revocation list in PEM or DER form found".to_owned())?
    };
    match webpki::BorrowedCertRevocationList::from_der(&der) {
        Ok(_) => Ok(der),
        Err(error) => Err(format!("the revocation list cannot be used: {error:?}")),
    }
}

/// What a certificate that was verified says. `None` where it cannot be read, which the
/// verification does not leave over.
pub(crate) fn facts(certificate: &CertificateDer<'_>) -> Option<ClientCertificate> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let mut facts = ClientCertificate {
        subject: parsed.subject().to_string(),
        thumbprint: thumbprint(certificate),
        ..ClientCertificate::default()
    };
    let names = parsed.subject_alternative_name().ok()?;
    for name in names.iter().flat_map(|names| &names.value.general_names) {
        match name {
            GeneralName::DNSName(name) => facts.dns_names.push(name.to_ascii_lowercase()),
            GeneralName::URI(uri) => facts.uris.push((*uri).to_owned()),
            GeneralName::RFC822Name(address) => facts.emails.push((*address).to_owned()),
            _ => {}
        }
    }
    Some(facts)
}

fn thumbprint(certificate: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
    digest.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use demilune_testkit::Authority;

    use super::*;

    #[test]
    fn a_certificate_tells_its_subject_its_names_and_its_thumbprint() {
        let folder = tempfile::tempdir().unwrap();
        Authority::new().issue_client(folder.path(), "acme", "spiffe://example.com/acme");
        let pem = std::fs::read(folder.path().join("acme.pem")).unwrap();
        let certificate = CertificateDer::from_pem_slice(&pem).unwrap();
        let found = facts(&certificate).unwrap();
        assert_eq!(found.subject, "CN=acme");
        assert_eq!(found.uris, ["spiffe://example.com/acme"]);
        assert_eq!((found.dns_names.len(), found.emails.len()), (0, 0));
        assert_eq!(found.thumbprint.len(), 64);
        Authority::new().issue(folder.path(), "host", &["A.example"]);
        let pem = std::fs::read(folder.path().join("host.pem")).unwrap();
        let other = facts(&CertificateDer::from_pem_slice(&pem).unwrap()).unwrap();
        assert_eq!(other.dns_names, ["a.example"]);
        assert_ne!(other.thumbprint, found.thumbprint);
        assert_eq!(facts(&CertificateDer::from(vec![0x30, 0])), None);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for bytes in
            [&b""[..], b"junk", b"-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n"]
        {
            assert!(list(bytes).is_err(), "{bytes:?}");
        }
        assert!(list(&[0x30, 0]).is_err());
    }
}
