//! The contents of a certificate. This only reads: TLS has verified it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::{Identity, SecurityError};

/// The identity in a certificate, and its validity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// The member whose certificate it is.
    pub identity: Identity,
    /// The start of its validity.
    pub not_before: SystemTime,
    /// The end of its validity.
    pub not_after: SystemTime,
}

impl Certified {
    /// Reads a certificate.
    ///
    /// # Errors
    /// When it is malformed, or does not name exactly one member of a cluster.
    pub fn read(certificate: &CertificateDer<'_>) -> Result<Self, SecurityError> {
        let malformed = |why: &str| SecurityError::Malformed(format!("the certificate {why}"));
        let (_, parsed) = X509Certificate::from_der(certificate)
            .map_err(|error| malformed(&format!("cannot be read: {error}")))?;
        let names = parsed.subject_alternative_name();
        let names = names.map_err(|error| malformed(&format!("cannot be read: {error}")))?;
        let mut uris = names
            .iter()
            .flat_map(|names| &names.value.general_names)
            .filter_map(|n| if let GeneralName::URI(uri) = n { Some(*uri) } else { None });
        let (Some(uri), None) = (uris.next(), uris.next()) else {
            return Err(malformed("does not name one member of a cluster"));
        };
        let identity = uri.parse().map_err(|_| malformed("names no member of a cluster"))?;
        let validity = parsed.validity();
        let [not_before, not_after] =
            [validity.not_before, validity.not_after].map(|time| from_unix(time.timestamp()));
        Ok(Self { identity, not_before, not_after })
    }

    /// Checks that it is valid at `now`.
    ///
    /// # Errors
    /// When it has expired, or is not valid yet.
    pub fn check(&self, now: SystemTime) -> Result<(), SecurityError> {
        if now > self.not_after {
            return Err(SecurityError::Expired { since: self.not_after });
        }
        if now < self.not_before {
            return Err(SecurityError::NotYetValid { from: self.not_before, now });
        }
        Ok(())
    }

    /// When to renew it: after two thirds of its life.
    pub fn renew_at(&self) -> SystemTime {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        self.not_after - life / 3
    }
}

fn from_unix(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
