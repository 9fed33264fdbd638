//! When certificates and lists are good.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use crate::generation::Problem;

/// When a certificate is good, in seconds since the UNIX epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Validity {
    /// Where the document names it.
    pub(crate) place: String,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

impl Validity {
    pub(super) fn of(leaf: &CertificateDer<'_>, place: String) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(leaf)
            .map_err(|error| format!("the first certificate is broken: {error}"))?;
        let validity = parsed.validity();
        let (not_before, not_after) =
            (validity.not_before.timestamp(), validity.not_after.timestamp());
        Ok(Self { place, not_before, not_after })
    }

    /// What is wrong with it at `now`. It is served all the same: without it the listener would
    /// have none, and clients decide for themselves.
    pub(super) fn warning(&self, now: i64) -> Option<Problem> {
        let problem = |code, reason| Some(Problem { place: self.place.clone(), code, reason });
        if now > self.not_after {
            let days = (now - self.not_after) / DAY;
            let reason = format!("the certificate has expired {days} days ago: clients refuse it");
            problem("tls.expired", reason)
        } else if now < self.not_before {
            let days = (self.not_before - now) / DAY;
            let reason = format!("the certificate is not good yet, for {days} days");
            problem("tls.not_yet_valid", reason)
        } else {
            None
        }
    }
}

const DAY: i64 = 24 * 60 * 60;

/// A warning where a revocation list in DER or PEM should have been replaced by now.
pub(super) fn list_expired(list: &[u8], place: String, now: i64) -> Option<Problem> {
    let der = super::client_certificates::list(list).ok()?;
    let (_, parsed) = CertificateRevocationList::from_der(&der).ok()?;
    let due = parsed.next_update()?.timestamp();
    let reason = "the revocation list has expired: every client it covers is refused".to_owned();
    (now > due).then_some(Problem { place, code: "tls.revocation_expired", reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_warned_of_outside_its_time_only() {
        let validity = Validity { place: "p".to_owned(), not_before: 10, not_after: 20 + DAY };
        let code = |now| validity.warning(now).map(|problem| problem.code);
        assert_eq!([9, 10, 20 + DAY].map(code), [Some("tls.not_yet_valid"), None, None]);
        assert_eq!(code(21 + DAY), Some("tls.expired"));
    }
}
