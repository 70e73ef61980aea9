//! The folder of a cluster's authority: what is where in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use windrow_security::files::{make_private_folder, read, write_private};
use windrow_security::pki_types::pem::PemObject;
use windrow_security::pki_types::{CertificateDer, PrivateKeyDer};
use windrow_security::{Identity, SecurityError, pem};

use super::authority::Authority;
use super::malformed;

/// Credentials of the first admin.
pub(super) const ADMIN: &str = "admin";
const CERTIFICATE: &str = "ca.pem";
const KEY: &str = "ca-key.pem";
const CLUSTER: &str = "cluster";
/// Names and addresses of coordinators, one a line.
const HOSTS: &str = "hosts";
/// Members whose certificates count no more, one `ROLE/NAME` a line.
const REVOKED: &str = "revoked";
const TOKENS: &str = "tokens";

/// How everybody names the own machine.
const LOCAL_HOSTS: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A cluster's folder.
pub(super) struct Folder {
    path: PathBuf,
    /// What it is to be called once it is complete.
    becomes: Option<PathBuf>,
}

impl Folder {
    /// A new one, which has its name when it is [finished](Self::finish).
    pub(super) fn create(
        path: &Path,
        cluster: &str,
        authority: &Authority,
        key: &[u8],
        hosts: &[String],
    ) -> Result<Self, SecurityError> {
        if fs::symlink_metadata(path).is_ok() {
            let error = io::Error::new(
                io::ErrorKind::AlreadyExists,
                "it exists already, and what is in it is not replaced; name a new folder",
            );
            return Err(SecurityError::Io { path: path.to_path_buf(), error });
        }
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}.new", std::process::id()));
        let folder = Self { path: path.with_file_name(name), becomes: Some(path.to_path_buf()) };
        for path in [&folder.path, &folder.tokens()] {
            make_private_folder(path).map_err(io_error(path))?;
        }
        let hosts: String =
            LOCAL_HOSTS.into_iter().chain(hosts.iter().map(String::as_str)).map(line).collect();
        write_private(&folder.path.join(KEY), pem("PRIVATE KEY", key).as_bytes())?;
        let certificate = pem("CERTIFICATE", authority.certificate());
        write_private(&folder.path.join(CERTIFICATE), certificate.as_bytes())?;
        write_private(&folder.path.join(CLUSTER), line(cluster).as_bytes())?;
        write_private(&folder.path.join(HOSTS), hosts.as_bytes())?;
        Ok(folder)
    }

    /// Gives it its name.
    pub(super) fn finish(mut self) -> Result<(), SecurityError> {
        let Some(path) = self.becomes.take() else { return Ok(()) };
        fs::rename(&self.path, &path).map_err(io_error(&path))
    }

    /// One that is there.
    pub(super) fn open(path: &Path) -> Result<Self, SecurityError> {
        if !path.join(KEY).exists() {
            return Err(malformed(format!(
                "{} is not the folder of a cluster's authority; 'windrow init DIR' makes one",
                path.display()
            )));
        }
        Ok(Self { path: path.to_path_buf(), becomes: None })
    }

    pub(super) fn authority(&self) -> Result<Authority, SecurityError> {
        let damaged = |name| move |_| malformed(format!("{name} is damaged"));
        let key =
            PrivateKeyDer::from_pem_slice(&read(&self.path.join(KEY))?).map_err(damaged(KEY))?;
        let certificate = CertificateDer::from_pem_slice(&read(&self.path.join(CERTIFICATE))?)
            .map_err(damaged(CERTIFICATE))?;
        let cluster = self.lines(CLUSTER)?;
        Authority::load(cluster.first().map_or("", String::as_str), certificate, &key)
    }

    pub(super) fn hosts(&self) -> Result<Vec<String>, SecurityError> {
        self.lines(HOSTS)
    }

    /// The list of members that count no more, as it is now.
    pub(super) fn revoked(&self) -> Result<Revoked, SecurityError> {
        match self.lines(REVOKED) {
            Err(SecurityError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Revoked(Vec::new()))
            }
            lines => lines.map(Revoked),
        }
    }

    pub(super) fn admin(&self) -> PathBuf {
        self.path.join(ADMIN)
    }

    pub(super) fn tokens(&self) -> PathBuf {
        self.path.join(TOKENS)
    }

    fn lines(&self, name: &str) -> Result<Vec<String>, SecurityError> {
        let text = String::from_utf8(read(&self.path.join(name))?);
        let text = text.map_err(|_| malformed(format!("{name} is damaged")))?;
        let lines = text.lines().map(str::trim);
        Ok(lines.filter(|line| !line.is_empty()).map(str::to_string).collect())
    }
}

/// Members that count no more, each as `ROLE/NAME`.
pub(super) struct Revoked(Vec<String>);

impl Revoked {
    pub(super) fn names(&self, identity: &Identity) -> bool {
        let member = format!("{}/{}", identity.role(), identity.name());
        self.0.contains(&member)
    }
}

/// What was not finished is of no use.
impl Drop for Folder {
    fn drop(&mut self) {
        if self.becomes.is_some() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> SecurityError {
    |error| SecurityError::Io { path: path.to_path_buf(), error }
}

fn line(text: &str) -> String {
    format!("{text}\n")
}
