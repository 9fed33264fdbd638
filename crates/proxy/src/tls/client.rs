//! TLS towards upstreams: always verified.

use std::sync::Arc;

use demilune_core::snapshot::UpstreamTls;
use rustls::{ClientConfig, RootCertStore};

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
    /// Loads the authorities: those named, or the system's.
    ///
    /// # Errors
    /// Where there is none: an upstream that cannot be verified is not used.
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
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| problem("tls.settings", error.to_string()))?
            .with_root_certificates(roots);
        let config = config.with_no_client_auth();
        let with_http2 = http2.then(|| Arc::new(alpn(config.clone(), &[b"h2", b"http/1.1"])));
        Ok(Self { config: Arc::new(alpn(config, &[b"http/1.1"])), with_http2 })
    }
}

fn alpn(mut config: ClientConfig, protocols: &[&[u8]]) -> ClientConfig {
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config
}
