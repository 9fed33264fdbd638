//! The first handshake of a thread, in memory: the cryptography seeds its random numbers, which
//! takes 30 to 60 ms for the process and some more for each thread. No client waits for that.

use std::sync::Arc;

use rustls::{ClientConfig, ClientConnection, NamedGroup, RootCertStore, ServerConfig};
use rustls::{ServerConnection, SupportedProtocolVersion};
use rustls_pki_types::ServerName;

use super::provider;

/// Does as much of a handshake with `config` as shows the client the certificate, which it does not
/// trust. Gives the group in which keys were exchanged; `None` where it came to nothing.
pub(crate) fn up(config: &Arc<ServerConfig>) -> Option<NamedGroup> {
    const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
    let client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .ok()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("warm.invalid").ok()?;
    let mut client = ClientConnection::new(Arc::new(client), name).ok()?;
    let mut server = ServerConnection::new(Arc::clone(config)).ok()?;
    let mut hello = Vec::new();
    client.write_tls(&mut hello).ok()?;
    server.read_tls(&mut &*hello).ok()?;
    server.process_new_packets().ok()?;
    let mut answer = Vec::new();
    server.write_tls(&mut answer).ok()?;
    client.read_tls(&mut &*answer).ok()?;
    // Fails at the certificate, after the keys.
    let _ = client.process_new_packets();
    server.negotiated_key_exchange_group().map(|group| group.name())
}

#[cfg(test)]
mod tests {
    use demilune_core::Secret;
    use demilune_core::snapshot::{CertificateFiles, ClientCertificates, ListenerTls, TlsVersion};
    use demilune_testkit::Authority;

    use super::*;
    use crate::tls::ServerTls;

    #[test]
    fn keys_are_exchanged_whatever_is_asked_of_clients() {
        let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
        authority.issue(folder.path(), "api", &["api.example"]);
        let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
        let place = String::new();
        let mut settings = ListenerTls {
            certificates: vec![CertificateFiles {
                chain: read("api.pem").into(),
                key: Secret::new(read("api.key")),
                ocsp: None,
                place: place.clone(),
            }],
            minimum_version: TlsVersion::Tls12,
            cipher_suites: Vec::new(),
            client_certificates: None,
            place: place.clone(),
        };
        let group = |settings: &ListenerTls| {
            let (tls, _) =
                ServerTls::new(settings, 0).map_err(|found| format!("{found:?}")).unwrap();
            up(&tls.config)
        };
        assert_eq!(group(&settings), Some(NamedGroup::X25519MLKEM768));
        let authorities = std::fs::read(authority.write(folder.path())).unwrap().into();
        settings.client_certificates =
            Some(ClientCertificates { authorities, required: true, revocation: vec![], place });
        settings.minimum_version = TlsVersion::Tls13;
        assert_eq!(group(&settings), Some(NamedGroup::X25519MLKEM768));
    }
}
