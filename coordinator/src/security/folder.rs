//! The folder of a cluster's authority: what is where in it.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use windrow_security::files::{
    SMALL_BYTES_MAX, make_private_folder, open_regular, private, read, read_regular, sync_folder,
    write_private,
};
use windrow_security::pki_types::pem::PemObject;
use windrow_security::pki_types::{CertificateDer, PrivateKeyDer};
use windrow_security::{SecurityError, pem};

use super::authority::Authority;
use super::malformed;
use super::revocation::{Member, Revoked};

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

    /// The list of members that count no more, as it is now. A line that is no text makes no sense,
    /// as does something in its place that is no file.
    pub(super) fn revoked(&self) -> Result<Revoked, SecurityError> {
        let path = self.revoked_path();
        match read_regular(&path, SMALL_BYTES_MAX) {
            Ok(bytes) => Ok(Revoked::read(&String::from_utf8_lossy(&bytes))),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound => Ok(Revoked::default()),
                io::ErrorKind::InvalidData | io::ErrorKind::FileTooLarge => {
                    Ok(Revoked::senseless(&error))
                }
                _ => Err(io_error(&path)(error)),
            },
        }
    }

    /// Where that list is.
    pub(super) fn revoked_path(&self) -> PathBuf {
        self.path.join(REVOKED)
    }

    /// Adds a member to it, on the disk when this returns.
    pub(super) fn revoke(&self, member: &Member) -> Result<(), SecurityError> {
        let path = self.revoked_path();
        let add = || {
            let mut options = private();
            options.read(true).append(true).create(true);
            let mut file = open_regular(&path, &mut options)?;
            let mut text = Vec::new();
            file.read_to_end(&mut text)?;
            // Whoever has edited it may have left its last line open.
            let end = if text.last().is_some_and(|byte| *byte != b'\n') { "\n" } else { "" };
            file.write_all(format!("{end}{member}\n").as_bytes())?;
            file.sync_all()?;
            sync_folder(&path)
        };
        add().map_err(io_error(&path))
    }

    pub(super) fn admin(&self) -> PathBuf {
        self.path.join(ADMIN)
    }

    pub(super) fn tokens(&self) -> PathBuf {
        self.path.join(TOKENS)
    }

    fn text(&self, name: &str) -> Result<String, SecurityError> {
        let text = String::from_utf8(read(&self.path.join(name))?);
        text.map_err(|_| malformed(format!("{name} is damaged")))
    }

    fn lines(&self, name: &str) -> Result<Vec<String>, SecurityError> {
        let text = self.text(name)?;
        let lines = text.lines().map(str::trim);
        Ok(lines.filter(|line| !line.is_empty()).map(str::to_string).collect())
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
