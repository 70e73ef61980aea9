//! A worker's identity, as it tells the processes of its jobs, and their credentials.
//!
//! The end of a lease is passed from one process to another by the system's monotonic clock, and is
//! never later than it was: if either process is stopped in between, the lease only gets shorter.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;
use windrow_jobs::WorkerId;
use windrow_proto::v1;
use windrow_security::pki_types::PrivatePkcs8KeyDer;
use windrow_security::{Credentials, SecurityError};

use crate::identity::Leaseholder;

/// The identity to send.
pub(crate) fn identity_to(holder: Option<&Leaseholder>) -> v1::ChildIdentity {
    let member = holder.map(|Leaseholder { cluster, worker, lease_ends }| {
        // The clock is read first: time that passes between the two reads shortens the lease.
        let now = monotonic();
        let remains = lease_ends.saturating_duration_since(Instant::now());
        let ends = now + remains;
        let lease_ends_ns = u64::try_from(ends.as_nanos()).unwrap_or(u64::MAX);
        v1::ChildMember { cluster: cluster.clone(), worker: worker.0, lease_ends_ns }
    });
    v1::ChildIdentity { member }
}

/// The received identity.
pub(crate) fn identity_from(identity: v1::ChildIdentity) -> Option<Leaseholder> {
    let v1::ChildMember { cluster, worker, lease_ends_ns } = identity.member?;
    // The clock is read last.
    let now = Instant::now();
    let remains = Duration::from_nanos(lease_ends_ns).saturating_sub(monotonic());
    Some(Leaseholder { cluster, worker: WorkerId(worker), lease_ends: now + remains })
}

/// The credentials to send, to this process only: a private key is among them.
pub(crate) fn credentials_to(credentials: &Credentials) -> v1::ChildCredentials {
    let bytes = |bytes: &[u8]| bytes.to_vec().into();
    v1::ChildCredentials {
        key: bytes(credentials.key().secret_der()),
        certificate: bytes(credentials.certificate()),
        authority: bytes(credentials.authority()),
    }
}

/// The received credentials.
pub(crate) fn credentials_from(told: v1::ChildCredentials) -> Result<Credentials, SecurityError> {
    let key = PrivatePkcs8KeyDer::from(told.key.to_vec());
    Credentials::new(key.into(), told.certificate.to_vec().into(), told.authority.to_vec().into())
}

fn monotonic() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_not_extended_by_its_transmission() {
        for remains in [Duration::ZERO, Duration::from_millis(3), Duration::from_secs(7)] {
            let lease_ends = Instant::now() + remains;
            let told = Leaseholder { cluster: "c".into(), worker: WorkerId(3), lease_ends };
            let heard = identity_from(identity_to(Some(&told))).unwrap();
            assert!(heard.lease_ends <= told.lease_ends.max(Instant::now()));
            assert!(told.lease_ends.saturating_duration_since(heard.lease_ends).as_secs() < 2);
            assert_eq!((heard.cluster, heard.worker), (told.cluster, told.worker));
        }
        assert_eq!(identity_from(identity_to(None)), None);
    }
}
