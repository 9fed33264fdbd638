//! Certificates for tests, made on the spot.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SanType, SerialNumber,
};

/// A certificate authority that nobody else trusts.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// The serial numbers of what it issued, by the name of the file.
    issued: Mutex<HashMap<String, u64>>,
}

static NUMBER: AtomicU64 = AtomicU64::new(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Authority {
    /// A fresh one.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each one is different")]
    pub fn new() -> Self {
        let name = format!("test authority {}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        // OpenSSL takes a certificate for self-signed whose issuer has the same name.
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        Self { issuer, issued: Mutex::default() }
    }

    /// Writes the authority's own certificate as PEM.
    #[must_use]
    pub fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("authority.pem");
        fs::write(&path, self.pem()).unwrap();
        path
    }

    /// Writes the authority's own key as `authority.key`, for others to sign with.
    pub fn write_key(&self, folder: &Path) {
        fs::write(folder.join("authority.key"), self.issuer.key().serialize_pem()).unwrap();
    }

    /// The authority's own certificate as PEM.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Issues a certificate for `names` and writes it as `NAME.pem` and its key as `NAME.key`.
    pub fn issue(&self, folder: &Path, name: &str, names: &[&str]) {
        self.sign(folder, name, params(names));
    }

    /// As [`Authority::issue`], good from yesterday for so many days.
    pub fn issue_for(&self, folder: &Path, name: &str, names: &[&str], days: u32) {
        let mut params = params(names);
        let since_1970 = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + (since_1970 - DAY);
        params.not_after = params.not_before + DAY * days;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(folder, name, params);
    }

    /// As [`Authority::issue`], of a certificate that was good years ago.
    pub fn issue_expired(&self, folder: &Path, name: &str, names: &[&str]) {
        let mut params = params(names);
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        self.sign(folder, name, params);
    }

    /// As [`Authority::issue`], of a certificate that is good in years to come.
    pub fn issue_early(&self, folder: &Path, name: &str, names: &[&str]) {
        let mut params = params(names);
        params.not_before = rcgen::date_time_ymd(2190, 1, 1);
        params.not_after = rcgen::date_time_ymd(2191, 1, 1);
        self.sign(folder, name, params);
    }

    /// Issues a client's certificate with this common name and URI, as [`Authority::issue`] does.
    pub fn issue_client(&self, folder: &Path, name: &str, uri: &str) {
        let mut params = params(&[]);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(folder, name, params);
    }

    /// Writes a list by which the certificates in the files `NAME.pem` are revoked; it is to be
    /// replaced in `year`.
    pub fn revoke(&self, path: &Path, names: &[&str], year: i32) {
        let issued = self.issued.lock().unwrap();
        let revoked = names.iter().map(|name| RevokedCertParams {
            serial_number: SerialNumber::from(issued[*name]),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(year, 1, 1),
            crl_number: SerialNumber::from(NUMBER.fetch_add(1, Ordering::Relaxed)),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        fs::write(path, list.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
    }

    /// The serial number of the certificate in `NAME.pem`, as hexadecimal digits.
    #[must_use]
    pub fn serial(&self, name: &str) -> String {
        let text = format!("{:X}", self.issued.lock().unwrap()[name]);
        if text.len() % 2 == 0 { text } else { format!("0{text}") }
    }

    fn sign(&self, folder: &Path, name: &str, mut params: CertificateParams) {
        let serial = NUMBER.fetch_add(1, Ordering::Relaxed);
        self.issued.lock().unwrap().insert(name.to_owned(), serial);
        params.serial_number = Some(serial.into());
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(folder.join(format!("{name}.pem")), certificate.pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    CertificateParams::new(names).unwrap()
}
