//! Who a worker is, as it tells the processes of its jobs, and what these show each other.
//!
//! The end of a lease goes from one process to another by the system's clock, and is nowhere later
//! than it was: whichever of the two is stopped in between, the lease only gets shorter.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;
use windrow_jobs::WorkerId;
use windrow_proto::v1;
use windrow_security::pki_types::PrivatePkcs8KeyDer;
use windrow_security::{Credentials, SecurityError};

use crate::identity::Leaseholder;

/// To be told.
pub(crate) fn identity_to(holder: Option<&Leaseholder>) -> v1::ChildIdentity {
    let member = holder.map(|Leaseholder { cluster, worker, lease_ends }| {
        // The clock first: time that passes between the two makes less of what remains.
        let now = monotonic();
        let remains = lease_ends.saturating_duration_since(Instant::now());
        let ends = now + remains;
        let lease_ends_ns = u64::try_from(ends.as_nanos()).unwrap_or(u64::MAX);
        v1::ChildMember { cluster: cluster.clone(), worker: worker.0, lease_ends_ns }
    });
    v1::ChildIdentity { member }
}

/// As it was told.
pub(crate) fn identity_from(identity: v1::ChildIdentity) -> Option<Leaseholder> {
    let v1::ChildMember { cluster, worker, lease_ends_ns } = identity.member?;
    // The clock last.
    let now = Instant::now();
    let remains = Duration::from_nanos(lease_ends_ns).saturating_sub(monotonic());
    Some(Leaseholder { cluster, worker: WorkerId(worker), lease_ends: now + remains })
}

/// To be told, and to nobody else: there is a key among them.
pub(crate) fn credentials_to(credentials: &Credentials) -> v1::ChildCredentials {
    let bytes = |bytes: &[u8]| bytes.to_vec().into();
    v1::ChildCredentials {
        key: bytes(credentials.key().secret_der()),
        certificate: bytes(credentials.certificate()),
        authority: bytes(credentials.authority()),
    }
}

/// As they were told.
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
    fn a_lease_arrives_no_longer_than_it_was() {
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
