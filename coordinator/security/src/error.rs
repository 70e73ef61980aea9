//! What can go wrong, in words for the one who has to put it right.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use humantime::format_rfc3339_seconds as when;
use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

/// Why there is no secure connection.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// A file.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Bytes that are not what they should be.
    #[error("{0}")]
    Malformed(String),
    /// The connection did not last until it was known who is there.
    #[error("the connection broke off: {0}")]
    BrokenOff(io::Error),
    /// Its time is over.
    #[error(
        "the certificate expired at {}; ask for a new join token ('windrow token', where the cluster was set up), and join with it",
        when(*since)
    )]
    Expired {
        /// When it was.
        since: SystemTime,
    },
    /// Its time has not come.
    #[error(
        "the certificate is valid from {} on, and by this machine's clock it is {}: set the clock, here or on the coordinator",
        when(*from), when(*now)
    )]
    NotYetValid {
        /// When it will be.
        from: SystemTime,
        /// When it was looked at.
        now: SystemTime,
    },
    /// TLS itself.
    #[error("{}", explain(.0))]
    Tls(#[from] rustls::Error),
    /// Somebody of the cluster, but not the one who should be there.
    #[error("{found} is there, and {expected} should be")]
    WrongPeer {
        /// Who should be there.
        expected: String,
        /// Who is.
        found: String,
    },
    /// No coordinator answers there.
    #[error("{0}")]
    Unreachable(String),
    /// It could not be done, now or at all.
    #[error("{0}")]
    Refused(String),
    /// The coordinator has said no, and will say so again.
    #[error("{0}")]
    Denied(String),
    /// The operating system gives no random bytes, or the key cannot be made.
    #[error("cannot make a key: {0}")]
    Key(String),
}

/// The innermost cause of an error; if that is one of TLS, in plain words.
pub fn explain(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    loop {
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return explain_tls(error);
        }
        if cause.downcast_ref::<h2::Error>().is_some_and(is_no_http2) {
            return "what answers there does not speak HTTP/2".to_string();
        }
        match wrapped(cause).or_else(|| cause.source()) {
            Some(source) => cause = source,
            None => return cause.to_string(),
        }
    }
}

/// What errors wrap that name as their source what is behind it, or nothing.
pub(crate) fn wrapped<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return error.get_ref().map(|inner| inner as _);
    }
    error.downcast_ref::<h2::Error>()?.get_io().map(|inner| inner as _)
}

/// Whether this side finds that what it reads are no frames. An SSH server's greeting and an answer
/// of HTTP/1.1 look like frames of megabytes.
fn is_no_http2(error: &h2::Error) -> bool {
    let is_senseless =
        matches!(error.reason(), Some(h2::Reason::PROTOCOL_ERROR | h2::Reason::FRAME_SIZE_ERROR));
    is_senseless && !error.is_remote()
}

fn explain_tls(error: &rustls::Error) -> String {
    use rustls::Error as Tls;
    match error {
        Tls::InvalidMessage(_) => {
            "it does not speak TLS; say http:// if it was started without --security".to_string()
        }
        Tls::InvalidCertificate(error) => explain_certificate(error),
        Tls::NoCertificatesPresented | Tls::AlertReceived(AlertDescription::CertificateRequired) => {
            "a certificate is required".to_string()
        }
        Tls::AlertReceived(AlertDescription::CertificateExpired) => {
            "this side's certificate has expired, as it sees it; if it should not have, one of the two clocks is wrong"
                .to_string()
        }
        Tls::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::DecryptError,
        ) => "it does not know the authority that signed this side's certificate: that belongs to another cluster"
            .to_string(),
        other => other.to_string(),
    }
}

fn explain_certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "another authority than that of this cluster has signed its certificate".to_string()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired, or this machine's clock is ahead".to_string()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet, or this machine's clock is behind".to_string()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for other addresses; add this one to the file 'hosts' where the cluster was set up, \
             and start the coordinator again"
                .to_string()
        }
        other => format!("its certificate is not valid: {other}"),
    }
}

impl From<SecurityError> for io::Error {
    fn from(error: SecurityError) -> Self {
        match &error {
            SecurityError::BrokenOff(broken) => Self::new(broken.kind(), error),
            _ => Self::other(error),
        }
    }
}
