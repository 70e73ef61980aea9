//! Join tokens: one small file each. To spend one is to rename its file, which only one can do,
//! whoever else tries at the same time, and whenever the coordinator is started again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use windrow_security::files::{read, sync_folder, write_private};
use windrow_security::pki_types::CertificateDer;
use windrow_security::{Identity, JoinToken, Role, SecurityError};

use super::folder::Folder;
use super::malformed;
use super::revocation::Member;

const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;
/// What follows the id in the name of a token that was spent.
const SPENT: &str = "spent";
/// How long it is remembered why a token that nobody has spent is of no use any more.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3600);

/// What a token's file says.
#[derive(Serialize, Deserialize)]
pub(super) struct Record {
    role: String,
    name: String,
    expires_unix_s: u64,
    /// Hexadecimal: who reads the file cannot spend the token.
    secret_sha256: String,
}

/// What a token was given for.
pub(super) struct Grant {
    pub(super) role: Role,
    pub(super) name: String,
}

/// The tokens of a cluster.
pub(super) struct Tokens {
    path: PathBuf,
}

impl Tokens {
    pub(super) fn in_folder(folder: &Folder) -> Self {
        Self { path: folder.tokens() }
    }

    /// A new one, for this role and name.
    pub(super) fn issue(
        &self,
        authority: &CertificateDer<'static>,
        cluster: &str,
        role: Role,
        name: Option<&str>,
        life: Duration,
    ) -> Result<JoinToken, SecurityError> {
        match role {
            Role::Worker | Role::Submitter | Role::Admin => {}
            Role::Coordinator => {
                return Err(malformed("a coordinator needs no token: it has the cluster's folder"));
            }
            Role::Job => return Err(malformed("a job needs no token: its workers vouch for it")),
        }
        let id = draw_id()?;
        let name = name.map_or_else(|| format!("{role}-{id}"), str::to_string);
        Identity::new(cluster, role, &name).map_err(malformed)?;
        let mut secret = vec![0; SECRET_BYTES];
        getrandom::fill(&mut secret).map_err(|error| SecurityError::Key(error.to_string()))?;
        let record = Record {
            role: role.to_string(),
            name,
            expires_unix_s: unix_seconds(SystemTime::now() + life),
            secret_sha256: hex(digest(&SHA256, &secret).as_ref()),
        };
        self.sweep();
        let text = serde_json::to_vec(&record).map_err(malformed)?;
        write_private(&self.path.join(&id), &text)?;
        Ok(JoinToken { id, secret, authority: authority.clone() })
    }

    /// What the token was given for, once. Whoever does not know the secret cannot spend it, nor
    /// learn more than that there is such an id.
    ///
    /// One who can be `roles` only, unless they are empty, does not spend a token for another role.
    pub(super) fn spend(
        &self,
        id: &str,
        secret: &[u8],
        roles: &[Role],
    ) -> Result<Grant, SecurityError> {
        let unknown = || refused("this cluster has given no such token; ask for another one");
        if id.len() != 2 * ID_BYTES || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(unknown());
        }
        let path = self.path.join(id);
        let spent = path.with_extension(SPENT);
        let bytes = match read(&path) {
            Err(SecurityError::Io { error, .. }) if is_absent(&error) => {
                return Err(if spent.exists() { already_spent() } else { unknown() });
            }
            bytes => bytes?,
        };
        let record = read_record(&bytes)?;
        // Hashes of secrets that are not known: the time that comparing takes says nothing of use.
        if hex(digest(&SHA256, secret).as_ref()) != record.secret_sha256 {
            return Err(unknown());
        }
        if unix_seconds(SystemTime::now()) > record.expires_unix_s {
            return Err(refused("the join token has expired; ask for another one"));
        }
        let role: Role = record.role.parse().map_err(malformed)?;
        if !roles.is_empty() && !roles.contains(&role) {
            let wanted = roles.iter().map(Role::to_string).collect::<Vec<_>>().join(" or ");
            return Err(refused(&format!(
                "the join token is for a new {role}, and this is to be a {wanted}; ask for one that 'windrow token --role {}' \
                 prints (this one was not spent)",
                roles[0]
            )));
        }
        match fs::rename(&path, &spent).and_then(|()| sync_folder(&path)) {
            Ok(()) => Ok(Grant { role, name: record.name }),
            Err(error) if is_absent(&error) => Err(already_spent()),
            Err(error) => Err(SecurityError::Io { path, error }),
        }
    }

    /// Whether somebody was given a token for this member. Those that were spent are kept for that.
    pub(super) fn has_given_to(&self, member: &Member) -> bool {
        fs::read_dir(&self.path).into_iter().flatten().flatten().any(|entry| {
            let record = read(&entry.path()).and_then(|bytes| read_record(&bytes)).ok();
            record.is_some_and(|record| member.is(&record.role, &record.name))
        })
    }

    /// Removes what has been of no use for long. What cannot be removed does no harm.
    fn sweep(&self) {
        let long_ago = unix_seconds(SystemTime::now()).saturating_sub(REMEMBERED.as_secs());
        for entry in fs::read_dir(&self.path).into_iter().flatten().flatten() {
            let expires = |path: &Path| Some(read_record(&read(path).ok()?).ok()?.expires_unix_s);
            let is_spent = entry.path().extension().is_some_and(|extension| extension == SPENT);
            if !is_spent && expires(&entry.path()).is_some_and(|expires| expires < long_ago) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// What the file of a token says.
pub(super) fn read_record(bytes: &[u8]) -> Result<Record, SecurityError> {
    serde_json::from_slice(bytes).map_err(|_| malformed("the token's file is damaged"))
}

fn already_spent() -> SecurityError {
    refused("the join token has been spent; each is for one member, once: ask for another one")
}

fn refused(text: &str) -> SecurityError {
    SecurityError::Refused(text.to_string())
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A name that nothing else has.
pub(super) fn draw_id() -> Result<String, SecurityError> {
    let mut id = [0; ID_BYTES];
    getrandom::fill(&mut id).map_err(|error| SecurityError::Key(error.to_string()))?;
    Ok(hex(&id))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
