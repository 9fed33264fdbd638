//! TLS towards upstreams.

use std::net::IpAddr;

use demilune_core::head::Scheme;
use demilune_core::snapshot::{CertificateFiles, UpstreamTls};

use super::Compiler;
use crate::model::{CertificateConfig, TlsVersion, UpstreamConfig};

/// The most names, and the most keys, of one upstream.
const LIST_LIMIT: usize = 64;

impl Compiler<'_> {
    pub(super) fn upstream_tls(&mut self, path: &str, config: &UpstreamConfig) -> UpstreamTls {
        let path = format!("{path}.tls");
        let Some(tls) = &config.tls else {
            return UpstreamTls { place: path, ..UpstreamTls::default() };
        };
        if config.endpoints.iter().all(|endpoint| endpoint.url.scheme == Scheme::Http) {
            let reason = "`tls` has no effect: no endpoint is `https`";
            self.error("config.no_effect", &path, reason);
        }
        if let Some(name) = &tls.server_name
            && demilune_core::Host::parse(name).is_err()
        {
            let path = format!("{path}.server_name");
            self.error("config.invalid_value", &path, "expected a host name");
        }
        let authorities = tls.authorities.as_ref().and_then(|file| {
            self.files
                .read(file)
                .map_err(|reason| {
                    self.error("config.unreadable", &format!("{path}.authorities"), reason);
                })
                .ok()
        });
        let client = tls.client_certificate.as_ref();
        UpstreamTls {
            authorities,
            server_name: tls.server_name.clone(),
            client_certificate: client.and_then(|files| {
                self.client_certificate(files, format!("{path}.client_certificate"))
            }),
            alternative_names: self.alternative_names(&path, &tls.subject_alternative_names),
            keys: self.public_keys(&path, &tls.public_keys),
            tls13_only: tls.minimum_version == TlsVersion::Tls13,
            place: path,
        }
    }

    fn client_certificate(
        &mut self,
        files: &CertificateConfig,
        place: String,
    ) -> Option<CertificateFiles> {
        if files.ocsp.is_some() {
            let reason = "OCSP responses are stapled by servers: here it has no effect";
            self.error("config.no_effect", &format!("{place}.ocsp"), reason);
        }
        self.certificate(place, files)
    }

    fn alternative_names(&mut self, path: &str, names: &[String]) -> Vec<String> {
        let path = format!("{path}.subject_alternative_names");
        self.short(&path, names);
        for (i, name) in names.iter().enumerate() {
            let uri = name.split_once("://").is_some_and(|(scheme, rest)| {
                !scheme.is_empty() && !rest.is_empty() && name.bytes().all(|b| b.is_ascii_graphic())
            });
            let host = || demilune_core::Host::parse(name).is_ok_and(|h| h.port().is_none());
            if !uri && name.parse::<IpAddr>().is_err() && !host() {
                let reason = "expected a DNS name, an address, or a URI such as \
                              `spiffe://example.com/shop`";
                self.error("config.invalid_value", &format!("{path}[{i}]"), reason);
            }
        }
        names.to_vec()
    }

    fn public_keys(&mut self, path: &str, keys: &[String]) -> Vec<[u8; 32]> {
        let path = format!("{path}.public_keys");
        self.short(&path, keys);
        let mut all = Vec::new();
        for (i, key) in keys.iter().enumerate() {
            match key.strip_prefix("sha256:").and_then(digest) {
                Some(digest) => all.push(digest),
                None => {
                    let reason = "expected `sha256:` and 64 hexadecimal digits";
                    self.error("config.invalid_value", &format!("{path}[{i}]"), reason);
                }
            }
        }
        all
    }

    fn short(&mut self, path: &str, list: &[String]) {
        if list.len() > LIST_LIMIT {
            self.error("config.invalid_value", path, format!("at most {LIST_LIMIT}"));
        }
    }
}

fn digest(hex: &str) -> Option<[u8; 32]> {
    let mut digest = [0_u8; 32];
    let (pairs, rest) = hex.as_bytes().as_chunks::<2>();
    if pairs.len() != digest.len() || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
        let value = |digit: &u8| char::from(*digit).to_digit(16);
        *byte = u8::try_from(value(high)? * 16 + value(low)?).ok()?;
    }
    Some(digest)
}
