//! TLS on both sides: rustls with the aws-lc provider, TLS 1.2 at least, X25519MLKEM768 first.

mod client;
mod client_certificates;
mod names;
mod ocsp;
mod server;
mod validity;
pub(crate) mod warm;

pub(crate) use client::ClientTls;
pub(crate) use client_certificates::facts;
pub(crate) use server::ServerTls;
pub(crate) use validity::Validity;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// All certificates of a PEM text; the reason where there is none or one is broken.
fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => Err("no certificate in PEM form found".to_owned()),
        Ok(all) => Ok(all),
        Err(error) => Err(format!("not certificates in PEM form: {error}")),
    }
}
