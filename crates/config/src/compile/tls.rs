//! TLS towards clients.

use std::path::Path;

use bytes::Bytes;
use demilune_core::snapshot::{CertificateFiles, ClientCertificates, ListenerTls, TlsVersion};

use super::Compiler;
use crate::model::{
    CertificateConfig, CipherSuiteConfig, ClientCertificatesConfig, ClientCertificatesMode,
    ListenerTlsConfig, TlsVersionConfig,
};

impl Compiler<'_> {
    pub(crate) fn listener_tls(&mut self, path: &str, config: &ListenerTlsConfig) -> ListenerTls {
        let place = format!("{path}.certificates");
        if config.certificates.is_empty() {
            self.error("config.invalid_value", &place, "expected at least one certificate");
        }
        let files = config.certificates.iter().enumerate();
        let certificates =
            files.filter_map(|(i, files)| self.certificate(format!("{place}[{i}]"), files));
        let certificates = certificates.collect();
        let minimum_version = match config.minimum_version {
            TlsVersionConfig::Tls12 => TlsVersion::Tls12,
            TlsVersionConfig::Tls13 => TlsVersion::Tls13,
        };
        let cipher_suites = self.cipher_suites(&format!("{path}.cipher_suites"), config);
        let client = config.client_certificates.as_ref();
        let client_certificates = client.and_then(|client| {
            self.client_certificates(format!("{path}.client_certificates"), client)
        });
        let place = path.to_owned();
        ListenerTls { certificates, minimum_version, cipher_suites, client_certificates, place }
    }

    pub(super) fn certificate(
        &mut self,
        place: String,
        files: &CertificateConfig,
    ) -> Option<CertificateFiles> {
        if files.key.to_string_lossy().contains("-----BEGIN") {
            let reason = "a private key stands in the document itself";
            let diagnostic = self
                .diagnostic("config.inline_secret", &format!("{place}.key"), reason)
                .help("write the path of the key's file, and change the key")
                .conceal(true);
            self.diagnostics.push(diagnostic);
            return None;
        }
        let chain = self.file(&format!("{place}.chain"), &files.chain);
        let key = match self.files.read_secret(&files.key) {
            Ok(key) => Some(key),
            Err(reason) => {
                self.error("config.unreadable", &format!("{place}.key"), reason);
                None
            }
        };
        let ocsp = match &files.ocsp {
            None => None,
            Some(path) => Some(self.file(&format!("{place}.ocsp"), path)?),
        };
        Some(CertificateFiles { chain: chain?, key: key?, ocsp, place })
    }

    /// What stands in a file that is no secret.
    fn file(&mut self, place: &str, path: &Path) -> Option<Bytes> {
        match self.files.read(path) {
            Ok(bytes) => Some(bytes),
            Err(reason) => {
                self.error("config.unreadable", place, reason);
                None
            }
        }
    }

    fn client_certificates(
        &mut self,
        place: String,
        config: &ClientCertificatesConfig,
    ) -> Option<ClientCertificates> {
        let authorities = self.file(&format!("{place}.authorities"), &config.authorities);
        let lists = config.revocation.iter().enumerate();
        let lists: Vec<_> =
            lists.map(|(i, path)| self.file(&format!("{place}.revocation[{i}]"), path)).collect();
        Some(ClientCertificates {
            authorities: authorities?,
            required: config.mode == ClientCertificatesMode::Required,
            revocation: lists.into_iter().collect::<Option<_>>()?,
            place,
        })
    }

    /// A list that leaves a version without a suite would turn that version off in passing.
    fn cipher_suites(&mut self, path: &str, config: &ListenerTlsConfig) -> Vec<&'static str> {
        let suites = &config.cipher_suites;
        for (i, suite) in suites.iter().enumerate() {
            if suites.iter().take(i).any(|other| other == suite) {
                let path = format!("{path}[{i}]");
                self.error("config.duplicate", &path, "this suite is written twice");
            }
        }
        let newest = suites.iter().filter(|suite| is_of_1_3(**suite)).count();
        if !suites.is_empty() && newest == 0 {
            let reason = "expected at least one suite of TLS 1.3";
            self.error("config.invalid_value", path, reason);
        }
        let both = config.minimum_version == TlsVersionConfig::Tls12;
        if !suites.is_empty() && both && newest == suites.len() {
            let reason = "there is no suite of TLS 1.2, which would be offered";
            let help = "write `minimum_version: \"1.3\"` too";
            let diagnostic = self.diagnostic("config.invalid_value", path, reason).help(help);
            self.diagnostics.push(diagnostic);
        }
        if !both && newest != suites.len() {
            let reason = "suites of TLS 1.2 have no effect beside `minimum_version: \"1.3\"`";
            self.error("config.no_effect", path, reason);
        }
        suites.iter().map(|suite| name(*suite)).collect()
    }
}

const fn is_of_1_3(suite: CipherSuiteConfig) -> bool {
    use CipherSuiteConfig::{Aes128, Aes256, ChaCha20};
    matches!(suite, Aes256 | Aes128 | ChaCha20)
}

const fn name(suite: CipherSuiteConfig) -> &'static str {
    match suite {
        CipherSuiteConfig::Aes256 => "TLS_AES_256_GCM_SHA384",
        CipherSuiteConfig::Aes128 => "TLS_AES_128_GCM_SHA256",
        CipherSuiteConfig::ChaCha20 => "TLS_CHACHA20_POLY1305_SHA256",
        CipherSuiteConfig::EcdsaAes256 => "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        CipherSuiteConfig::EcdsaAes128 => "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        CipherSuiteConfig::EcdsaChaCha20 => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        CipherSuiteConfig::RsaAes256 => "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        CipherSuiteConfig::RsaAes128 => "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        CipherSuiteConfig::RsaChaCha20 => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    }
}
