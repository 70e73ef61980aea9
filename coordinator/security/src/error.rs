//! Errors of secure connections, in words for the person who has to fix them.

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use humantime::format_rfc3339_seconds as when;
use tokio_rustls::rustls::{self, AlertDescription, CertificateError};

/// Why there is no secure connection.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// Bytes that cannot be parsed, or a connection that breaks the protocol.
    #[error("{0}")]
    Malformed(String),
    /// The connection broke during the handshake.
    #[error("the connection broke off: {0}")]
    BrokenOff(io::Error),
    /// The certificate has expired.
    #[error(
        "the certificate expired at {}; ask for a new join token ('windrow token', where the cluster was set up), and join with it",
        when(*since)
    )]
    Expired {
        /// When it expired.
        since: SystemTime,
    },
    /// The certificate is not valid yet.
    #[error(
        "the certificate is valid from {}, and this machine's clock says {}: set the clock here, or on the coordinator",
        when(*from), when(*now)
    )]
    NotYetValid {
        /// When it becomes valid.
        from: SystemTime,
        /// When it was checked.
        now: SystemTime,
    },
    /// An error of TLS.
    #[error("{}", explain(.0))]
    Tls(#[from] rustls::Error),
    /// The other end is a member of the cluster, but the wrong one.
    #[error("the other end is {found}, and should be {expected}")]
    WrongPeer {
        /// The expected identity or role.
        expected: String,
        /// The identity of the other end.
        found: String,
    },
    /// No coordinator answers.
    #[error("{0}")]
    Unreachable(String),
    /// The request failed, perhaps only for now.
    #[error("{0}")]
    Refused(String),
    /// The coordinator refuses, and would refuse again.
    #[error("{0}")]
    Denied(String),
    /// The operating system gives no random bytes, or the key cannot be made.
    #[error("cannot make a key: {0}")]
    Key(String),
}

/// The innermost cause of an error; errors of TLS in plain words.
pub fn explain(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    loop {
        if let Some(error) = cause.downcast_ref::<rustls::Error>() {
            return explain_tls(error);
        }
        if cause.downcast_ref::<h2::Error>().is_some_and(is_no_http2) {
            return "the server there does not speak HTTP/2".to_string();
        }
        match wrapped(cause).or_else(|| cause.source()) {
            Some(source) => cause = source,
            None => return cause.to_string(),
        }
    }
}

/// The error wrapped inside one whose `source` skips it.
pub(crate) fn wrapped<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        return error.get_ref().map(|inner| inner as _);
    }
    error.downcast_ref::<h2::Error>()?.get_io().map(|inner| inner as _)
}

/// Whether this side found that what it reads are no frames. A greeting of SSH or an answer of
/// HTTP/1.1 looks like a frame of megabytes.
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
            "it says that this side's certificate has expired; if that is wrong, check both machines' clocks"
                .to_string()
        }
        Tls::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::DecryptError,
        ) => "it does not know the authority that signed this side's certificate: it belongs to another cluster"
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
