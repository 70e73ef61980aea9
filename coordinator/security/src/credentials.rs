//! A member's credentials: its key, its certificate, and the certificate of its cluster's
//! authority.

use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::files::{make_private_folder, read, write_private};
use crate::{Certified, SecurityError};

/// The only file in a folder of credentials: key and certificate are replaced together.
const FILE: &str = "identity.pem";

/// A member's key and certificate, and the authority that it trusts.
pub struct Credentials {
    key: PrivateKeyDer<'static>,
    certificate: CertificateDer<'static>,
    authority: CertificateDer<'static>,
    certified: Certified,
}

impl Credentials {
    /// # Errors
    /// When the certificate cannot be read.
    pub fn new(
        key: PrivateKeyDer<'static>,
        certificate: CertificateDer<'static>,
        authority: CertificateDer<'static>,
    ) -> Result<Self, SecurityError> {
        let certified = Certified::read(&certificate)?;
        Ok(Self { key, certificate, authority, certified })
    }

    /// The file of the credentials in a folder.
    pub fn path(folder: &Path) -> PathBuf {
        folder.join(FILE)
    }

    /// Reads the credentials in a folder.
    ///
    /// # Errors
    /// When there are none, or they are damaged.
    pub fn load(folder: &Path) -> Result<Self, SecurityError> {
        let path = Self::path(folder);
        let bytes = read(&path)?;
        let malformed = |_| SecurityError::Malformed(format!("{} is damaged", path.display()));
        let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(malformed)?;
        let mut certificates = CertificateDer::pem_slice_iter(&bytes);
        let mut next = || {
            let missing = tokio_rustls::rustls::pki_types::pem::Error::NoItemsFound;
            certificates.next().unwrap_or(Err(missing)).map_err(malformed)
        };
        let (certificate, authority) = (next()?, next()?);
        Self::new(key, certificate, authority)
    }

    /// Writes the credentials into a folder, and replaces those in it.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), SecurityError> {
        make_private_folder(folder)
            .map_err(|error| SecurityError::Io { path: folder.to_path_buf(), error })?;
        let text = [
            pem("CERTIFICATE", &self.certificate),
            pem("PRIVATE KEY", self.key.secret_der()),
            pem("CERTIFICATE", &self.authority),
        ];
        write_private(&Self::path(folder), text.concat().as_bytes())
    }

    /// The contents of the certificate.
    pub fn certified(&self) -> &Certified {
        &self.certified
    }

    /// The certificate of the authority.
    pub fn authority(&self) -> &CertificateDer<'static> {
        &self.authority
    }

    /// The certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The private key, which never leaves this machine.
    pub fn key(&self) -> &PrivateKeyDer<'static> {
        &self.key
    }
}

/// DER as PEM text, as OpenSSL reads it.
pub fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    // The text is ASCII, so chunks of bytes are chunks of text.
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem + &format!("-----END {label}-----\n")
}

/// A new key, which never leaves this machine, and the request for its certificate.
pub struct FreshKey {
    key: KeyPair,
}

impl FreshKey {
    /// Generates an ECDSA key on P-256.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn draw() -> Result<Self, SecurityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256);
        Ok(Self { key: key.map_err(|error| SecurityError::Key(error.to_string()))? })
    }

    /// A PKCS #10 request in DER. It proves possession of the key; the authority decides the
    /// identity.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn request(&self) -> Result<Vec<u8>, SecurityError> {
        let request = CertificateParams::default().serialize_request(&self.key);
        Ok(request.map_err(|error| SecurityError::Key(error.to_string()))?.der().to_vec())
    }

    /// The key, PKCS #8.
    pub fn into_der(self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }
}
