//! Who may call what. What is not in the table is for nobody. Who was let in, and is revoked later,
//! is shut out.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::time::sleep;
use tonic::Status;
use windrow_security::access::{Authorizer, Caller, WeakCaller};
use windrow_security::{Identity, Origin, Role, SecurityError};

use super::Security;
use super::revocation::Revoked;
use crate::audit::Audit;

/// Who may call a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Everybody, also without a certificate.
    Newcomers,
    /// Members that have one of these roles.
    Members(&'static [Role]),
    /// Nobody: it is not the coordinator's.
    Nobody,
}

const USERS: Who = Who::Members(&[Role::Submitter, Role::Admin]);
const WORKERS: Who = Who::Members(&[Role::Worker, Role::Admin]);

/// Which begins what a worker does.
const OPEN: &str = "/windrow.v1.Sessions/Open";

/// The one method for which a certificate counts a while longer than it says.
const RENEW: &str = "/windrow.v1.Enrollment/Renew";

/// Every method that there is, in the order of the services. Whose jobs a submitter may stop, and
/// whose prints they may read, `Jobs` itself decides.
pub(super) const TABLE: &[(&str, Who)] = &[
    ("/windrow.v1.Blobs/Offer", USERS),
    ("/windrow.v1.Blobs/Upload", USERS),
    ("/windrow.v1.Blobs/Download", WORKERS),
    ("/windrow.v1.Enrollment/Enroll", Who::Newcomers),
    (RENEW, Who::Members(&[Role::Worker, Role::Submitter, Role::Admin])),
    ("/windrow.v1.Enrollment/CertifyJob", WORKERS),
    ("/windrow.v1.Jobs/InCharge", USERS),
    ("/windrow.v1.Jobs/Plan", USERS),
    ("/windrow.v1.Jobs/Submit", USERS),
    ("/windrow.v1.Jobs/Watch", USERS),
    ("/windrow.v1.Jobs/List", USERS),
    ("/windrow.v1.Jobs/Get", USERS),
    ("/windrow.v1.Jobs/Cancel", USERS),
    ("/windrow.v1.Jobs/Workers", USERS),
    ("/windrow.v1.Jobs/Logs", USERS),
    (OPEN, WORKERS),
    ("/windrow.v1.Shuffle/Fetch", Who::Nobody),
];

/// Whether there is such a method.
pub(crate) fn is_method(method: &str) -> bool {
    TABLE.iter().any(|(name, _)| *name == method)
}

/// How often it is said what is wrong with the list of revoked members.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// Between two looks at who is revoked, and whose certificate has run out.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Lets members in by the table, while their certificates count.
pub(crate) struct MembersOnly {
    security: Security,
    audit: Option<Audit>,
    /// Those that were let in, by connection.
    inside: Mutex<Vec<WeakCaller>>,
    /// When it was last said what is wrong with the list of revoked members.
    warned: Mutex<Option<Instant>>,
}

impl MembersOnly {
    /// Of the cluster.
    pub(crate) fn new(security: Security, audit: Option<Audit>) -> Self {
        Self { security, audit, inside: Mutex::default(), warned: Mutex::default() }
    }

    /// Ends the connections of members that are revoked, or have let their certificates run out:
    /// their sessions, and whatever else they do. Ends never.
    pub(crate) async fn shut_out_former(&self) {
        loop {
            sleep(LOOK_EVERY).await;
            self.look();
        }
    }

    /// Shuts out whom the list names by now, and whose certificate has run out. Where the list
    /// cannot be read, the last one counts; calls are refused then.
    pub(super) fn look(&self) {
        self.look_at(SystemTime::now());
    }

    pub(super) fn look_at(&self, now: SystemTime) {
        let revoked = self.security.revoked().unwrap_or_else(|error| {
            self.warn_of_list(&format!("{error}; all calls are refused until it can be read"));
            self.security.last_revoked()
        });
        self.warn_of_senseless(&revoked);
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.retain(|caller| caller.upgrade().is_some());
        for caller in inside.iter().filter_map(WeakCaller::upgrade) {
            let Some(certified) = caller.certified().filter(|_| !caller.is_shut_out()) else {
                continue;
            };
            let identity = &certified.identity;
            if revoked.names(identity) {
                tracing::warn!(%identity, "a member was revoked; its connection is closed");
                self.note(identity, "shut-out-revoked");
                caller.shut_out();
            } else if self.security.has_run_out(certified, now) {
                tracing::warn!(%identity, "a member's certificate has run out, and was not renewed; its connection is closed");
                self.note(identity, "shut-out-expired");
                caller.shut_out();
            }
        }
    }

    fn note(&self, identity: &Identity, why: &str) {
        if let Some(audit) = &self.audit {
            audit.shut_out(identity, why);
        }
    }

    /// Says that a line of the list makes no sense.
    fn warn_of_senseless(&self, revoked: &Revoked) {
        if let Some(wrong) = revoked.wrong() {
            let path = self.security.revoked_path();
            self.warn_of_list(&format!(
                "{}, {wrong}; until that is mended, whoever was named there before stays out",
                path.display()
            ));
        }
    }

    /// Says once a minute what is wrong with the list of revoked members.
    fn warn_of_list(&self, text: &str) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            *warned = Some(Instant::now());
            tracing::error!("{text}");
        }
    }

    /// Remembers a connection by its first call. One that only has an old certificate renewed ends
    /// by itself.
    fn remember(&self, caller: &Caller) {
        let now = SystemTime::now();
        let counts = caller.certified().is_some_and(|certified| certified.check(now).is_ok());
        if counts && caller.is_first_call() {
            self.inside.lock().unwrap_or_else(PoisonError::into_inner).push(caller.downgrade());
        }
    }

    fn check(&self, method: &str, caller: &Caller) -> Result<(), Status> {
        let row = TABLE.iter().find(|(name, _)| *name == method);
        let roles = match row.map_or(Who::Nobody, |(_, who)| *who) {
            Who::Newcomers => return Ok(()),
            Who::Members(roles) => roles,
            Who::Nobody => return Err(denied("there is no such method for anybody here")),
        };
        let Some(certified) = caller.certified() else {
            let text = "this needs a certificate of the cluster; a worker gets one with --token-file, a user with 'windrow login'";
            return Err(Status::unauthenticated(text));
        };
        let (identity, role) = (&certified.identity, certified.identity.role());
        // A connection may last longer than the certificate that it began with.
        let now = SystemTime::now();
        let is_renewed = method == RENEW && self.security.renews(certified, now);
        if !is_renewed {
            certified.check(now).map_err(|e| Status::unauthenticated(e.to_string()))?;
        }
        if identity.cluster() != self.security.cluster() {
            return Err(denied("the certificate is of another cluster"));
        }
        if !roles.contains(&role) {
            let name = method.rsplit('/').next().unwrap_or_default();
            return Err(denied(&format!(
                "{} is a {role} and may not call {name}",
                identity.name()
            )));
        }
        self.security.refuse_revoked(identity).map_err(|error| match error {
            SecurityError::Refused(text) => denied(&text),
            error => Status::internal(error.to_string()),
        })
    }
}

impl Authorizer for MembersOnly {
    fn admit(&self, method: &str, caller: &Caller) -> Result<(), Status> {
        self.check(method, caller)?;
        if method == OPEN {
            warn_of_shared_user(caller);
        }
        self.remember(caller);
        Ok(())
    }
}

/// Jobs of a worker read what its user can: here, the authority's key.
fn warn_of_shared_user(caller: &Caller) {
    if let Some(identity) = caller.identity()
        && caller.origin().is_some_and(Origin::is_own)
    {
        tracing::warn!(
            %identity,
            "a worker runs as the coordinator's user on the coordinator's machine, so that its jobs can read whatever the coordinator can, the \
             authority's key among it; give the coordinator a user of its own ('Users of their own' in docs/security.md), or the worker \
             --hide for the folders of --security and --state"
        );
    }
}

fn denied(text: &str) -> Status {
    Status::permission_denied(text)
}
