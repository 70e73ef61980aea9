//! Everything that the coordinator knows of who may do what: it issues certificates for join
//! tokens, and lets calls in by role.
//!
//! ```text
//!  windrow init  --> folder: ca.pem, ca-key.pem, cluster, hosts, admin/
//!  windrow token --> folder: tokens/ID               (role, name, expiry, hash of the secret)
//!  Enroll        --> tokens/ID becomes tokens/ID.spent, and a certificate is issued
//!  CertifyJob    --> a certificate for one job's processes, for workers that have to do with it
//!  all else      --> authorizer: certificate, role, table of methods
//! ```
//!
//! The folder is all there is: coordinators that share it, at once or one after the other, spend
//! each token once. It holds the authority's key, so whoever reads it owns the cluster.

mod authority;
mod enrollment;
mod folder;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod methods;
mod revocation;
mod tokens;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rcgen::SanType;
use tokio::time::sleep;
use windrow_jobs::JobIdentity;
use windrow_security::pki_types::CertificateDer;
use windrow_security::{
    Certified, Credentials, FreshKey, Identity, JoinToken, Role, SecurityError, Tls,
};

use authority::Authority;
use folder::{ADMIN, Folder};
pub use revocation::Member;
use revocation::Revoked;
use tokens::{Grant, Tokens};

pub(crate) use enrollment::EnrollmentService;
pub(crate) use methods::{MembersOnly, is_method};

/// How long the coordinator's own certificate counts. It renews it by itself.
const OWN_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
/// How long that of the first admin counts, who has no token to join with.
const FIRST_ADMIN_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long to wait before a certificate is tried to be issued again, and between looks at the
/// clock.
const LOOK_EVERY: Duration = Duration::from_secs(600);

/// The name of the first admin.
const FIRST_ADMIN: &str = "admin";

/// Makes the folder of a new cluster: its authority, and credentials of a first admin. `hosts` are
/// the names and addresses at which its coordinators are reached, besides those of this machine
/// alone.
///
/// # Errors
/// When the folder exists, a host makes no sense, or the system says no.
pub fn init(path: &Path, hosts: &[String]) -> Result<(), SecurityError> {
    let cluster = tokens::draw_id()?;
    let (authority, key) = Authority::create(&cluster)?;
    let folder = Folder::create(path, &cluster, &authority, &key, hosts)?;
    own_names(&folder.hosts()?)?;
    let admin = Identity::new(&cluster, Role::Admin, FIRST_ADMIN).map_err(malformed)?;
    let credentials = issue_own(&authority, &admin, Vec::new(), FIRST_ADMIN_LIFE)?;
    credentials.save(&folder.admin())?;
    folder.finish()
}

/// A new join token for one who is to have this role and this name; without one, the name is made
/// up.
///
/// # Errors
/// When the folder is not a cluster's, the name makes no sense, or the role cannot be joined as.
pub fn issue_token(
    path: &Path,
    role: Role,
    name: Option<&str>,
    life: Duration,
) -> Result<JoinToken, SecurityError> {
    let folder = Folder::open(path)?;
    let authority = folder.authority()?;
    if let Some(name) = name
        && folder
            .revoked()?
            .names(&Identity::new(authority.cluster(), role, name).map_err(malformed)?)
    {
        let path = folder.revoked_path();
        return Err(malformed(format!("{role}/{name} has been revoked, in {}", path.display())));
    }
    Tokens::in_folder(&folder).issue(authority.certificate(), authority.cluster(), role, name, life)
}

/// Whether the cluster has given somebody of this name a token, as far as its folder tells.
///
/// # Errors
/// When the folder is not a cluster's, or the name cannot be a member's.
pub fn knows(path: &Path, role: Role, name: &str) -> Result<bool, SecurityError> {
    let folder = Folder::open(path)?;
    let member = format!("{}/{name}", role.name()).parse()?;
    Ok(Tokens::in_folder(&folder).has_given_to(&member))
}

/// Puts a member out. Returns whether it was in.
///
/// # Errors
/// When the folder is not a cluster's, or knows nothing of such a member and it is not said that it
/// may be `unknown`; and when the list cannot be written, or has a line that makes no sense.
pub fn revoke(path: &Path, member: &Member, unknown: bool) -> Result<bool, SecurityError> {
    let folder = Folder::open(path)?;
    let revoked = folder.revoked()?;
    let is_new = !revoked.contains(member);
    if is_new {
        let known = || {
            member.is(Role::Admin.name(), FIRST_ADMIN)
                || Tokens::in_folder(&folder).has_given_to(member)
        };
        if !unknown && !known() {
            return Err(malformed(format!(
                "this cluster has given no token to {member}; look for a typing error, or say --unknown"
            )));
        }
        folder.revoke(member)?;
    }
    refuse_senseless(&folder, &revoked)?;
    Ok(is_new)
}

fn refuse_senseless(folder: &Folder, revoked: &Revoked) -> Result<(), SecurityError> {
    let Some(wrong) = revoked.wrong() else { return Ok(()) };
    let path = folder.revoked_path();
    Err(malformed(format!("{}, {wrong}", path.display())))
}

/// What a coordinator needs of its cluster's folder. Cheap to clone.
#[derive(Clone)]
pub struct Security {
    shared: Arc<Shared>,
}

struct Shared {
    folder: Folder,
    authority: Authority,
    tls: Tls,
    /// Of the certificates of others.
    life: Duration,
    /// For how long after it has run out a certificate is renewed.
    grace: Duration,
    /// Who counts no more, as the list said last.
    revoked: Mutex<Revoked>,
    /// Until when members count by the certificates that this coordinator has given them, whichever
    /// they show: a session goes on with the one that it was opened with.
    renewed: Mutex<BTreeMap<Member, SystemTime>>,
}

impl Security {
    /// Opens the folder of a cluster, and issues certificates that count for `life`, and are
    /// renewed for `grace` after that.
    ///
    /// # Errors
    /// When it is none.
    pub fn open(path: &Path, life: Duration, grace: Duration) -> Result<Self, SecurityError> {
        let folder = Folder::open(path)?;
        let authority = folder.authority()?;
        let tls = Tls::new(issue_coordinator(&folder, &authority)?)?;
        let revoked = folder.revoked()?;
        refuse_senseless(&folder, &revoked)?;
        let (revoked, renewed) = (Mutex::new(revoked), Mutex::default());
        let shared = Shared { folder, authority, tls, life, grace, revoked, renewed };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What its listener speaks.
    pub(crate) fn tls(&self) -> Tls {
        self.shared.tls.clone()
    }

    /// Issues the coordinator another certificate whenever its own grows old. Ends never.
    pub(crate) async fn stay_certified(&self) {
        let Shared { folder, authority, tls, .. } = &*self.shared;
        loop {
            sleep(LOOK_EVERY).await;
            if SystemTime::now() < tls.certified().renew_at() {
                continue;
            }
            match issue_coordinator(folder, authority).and_then(|renewed| tls.replace(renewed)) {
                Ok(()) => tracing::info!("the coordinator's certificate was renewed"),
                Err(error) => tracing::warn!(%error, "cannot renew the coordinator's certificate"),
            }
        }
    }

    /// Spends a token, and certifies the key of whoever has shown it.
    pub(crate) fn enroll(
        &self,
        id: &str,
        secret: &[u8],
        request: &[u8],
        roles: &[Role],
    ) -> Result<(Identity, Vec<u8>), SecurityError> {
        let Shared { folder, authority, life, .. } = &*self.shared;
        // A request that cannot be answered must not cost a token.
        let key = authority::requested_key(request)?;
        let Grant { role, name } = Tokens::in_folder(folder).spend(id, secret, roles)?;
        let identity = Identity::new(authority.cluster(), role, &name).map_err(malformed)?;
        self.refuse_revoked(&identity)?;
        let certificate = authority.issue(&identity, Vec::new(), &key, *life)?;
        self.note_renewal(&identity, &certificate)?;
        Ok((identity, certificate.to_vec()))
    }

    /// Certifies another key of a member.
    pub(crate) fn renew(&self, of: &Identity, request: &[u8]) -> Result<Vec<u8>, SecurityError> {
        let key = authority::requested_key(request)?;
        let Shared { authority, life, .. } = &*self.shared;
        let certificate = authority.issue(of, Vec::new(), &key, *life)?;
        self.note_renewal(of, &certificate)?;
        Ok(certificate.to_vec())
    }

    fn note_renewal(
        &self,
        of: &Identity,
        certificate: &CertificateDer<'_>,
    ) -> Result<(), SecurityError> {
        let until = Certified::read(certificate)?.not_after;
        let mut renewed = self.shared.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemTime::now();
        renewed.retain(|_, until| *until > now);
        renewed.insert(Member::of(of), until);
        Ok(())
    }

    /// Whether a member has let its certificate run out: the one that it shows, and those that it
    /// was given since.
    pub(crate) fn has_run_out(&self, certified: &Certified, now: SystemTime) -> bool {
        let renewed = self.shared.renewed.lock().unwrap_or_else(PoisonError::into_inner);
        let until = renewed.get(&Member::of(&certified.identity));
        now > certified.not_after && until.is_none_or(|until| now > *until)
    }

    /// Certifies a key of a job's processes. Whether the worker that asks has to do with the job,
    /// its caller has seen to.
    pub(crate) fn certify_job(
        &self,
        job: JobIdentity,
        request: &[u8],
    ) -> Result<Vec<u8>, SecurityError> {
        let key = authority::requested_key(request)?;
        let Shared { authority, life, .. } = &*self.shared;
        let identity = Identity::new(authority.cluster(), Role::Job, &job.to_string());
        let identity = identity.map_err(malformed)?;
        Ok(authority.issue(&identity, Vec::new(), &key, *life)?.to_vec())
    }

    /// Whether a certificate that does not count any more may still be renewed.
    pub(crate) fn renews(&self, certified: &Certified, now: SystemTime) -> bool {
        let age = now.duration_since(certified.not_after).unwrap_or_default();
        now >= certified.not_before && age <= self.shared.grace
    }

    /// Refuses members that are named in the file `revoked`, which is read each time: calls are
    /// few.
    pub(crate) fn refuse_revoked(&self, identity: &Identity) -> Result<(), SecurityError> {
        if self.revoked()?.names(identity) {
            let text = format!("{identity} has been revoked");
            return Err(SecurityError::Refused(text));
        }
        Ok(())
    }

    /// The members that are revoked by now.
    fn revoked(&self) -> Result<Revoked, SecurityError> {
        let now = self.shared.folder.revoked()?;
        let mut last = self.shared.revoked.lock().unwrap_or_else(PoisonError::into_inner);
        *last = now.after(&last);
        Ok(last.clone())
    }

    /// The members that were revoked when their list was last read.
    fn last_revoked(&self) -> Revoked {
        self.shared.revoked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where they are listed.
    fn revoked_path(&self) -> PathBuf {
        self.shared.folder.revoked_path()
    }

    pub(crate) fn cluster(&self) -> &str {
        self.shared.authority.cluster()
    }
}

fn issue_coordinator(folder: &Folder, authority: &Authority) -> Result<Credentials, SecurityError> {
    // Several may serve one cluster, each with a key of its own.
    let name = tokens::draw_id()?;
    let identity =
        Identity::new(authority.cluster(), Role::Coordinator, &name).map_err(malformed)?;
    issue_own(authority, &identity, own_names(&folder.hosts()?)?, OWN_LIFE)
}

/// A key that is made here, with its certificate.
fn issue_own(
    authority: &Authority,
    identity: &Identity,
    names: Vec<SanType>,
    life: Duration,
) -> Result<Credentials, SecurityError> {
    let key = FreshKey::draw()?;
    let certificate =
        authority.issue(identity, names, &authority::requested_key(&key.request()?)?, life)?;
    Credentials::new(key.into_der(), certificate, authority.certificate().clone())
}

fn own_names(hosts: &[String]) -> Result<Vec<SanType>, SecurityError> {
    hosts.iter().map(|host| authority::host_name(host)).collect()
}

fn malformed(error: impl std::fmt::Display) -> SecurityError {
    SecurityError::Malformed(error.to_string())
}

/// Where the first admin's credentials are in a cluster's folder.
pub fn admin_folder(path: &Path) -> PathBuf {
    path.join(ADMIN)
}

#[cfg(test)]
mod tests;
