//! This worker's identity in its cluster, and its lease, by its own clock.
//!
//! The session sets it; both sides of the shuffle read it. It renews nothing by itself.

use tokio::sync::watch;
use tokio::time::Instant;
use windrow_jobs::WorkerId;

/// The worker id that the coordinator has assigned, once there is one, and the end of the lease.
pub struct Identity {
    holder: watch::Sender<Option<Leaseholder>>,
}

/// A worker of a cluster, and the end of its lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaseholder {
    /// The cluster.
    pub cluster: String,
    /// The worker's id in it.
    pub worker: WorkerId,
    /// When the lease ends.
    pub lease_ends: Instant,
}

impl Default for Identity {
    fn default() -> Self {
        Self { holder: watch::Sender::new(None) }
    }
}

impl Identity {
    /// Sets a new id.
    pub fn set(&self, cluster: &str, worker: WorkerId, lease_ends: Instant) {
        let cluster = cluster.to_string();
        self.holder.send_replace(Some(Leaseholder { cluster, worker, lease_ends }));
    }

    /// Sets the end of the renewed lease.
    pub fn renew(&self, lease_ends: Instant) {
        self.holder.send_if_modified(|holder| match holder {
            Some(holder) if holder.lease_ends != lease_ends => {
                holder.lease_ends = lease_ends;
                true
            }
            _ => false,
        });
    }

    /// Forgets the id: from now on this worker has no identity.
    pub fn clear(&self) {
        self.holder.send_replace(None);
    }

    /// The current identity, and its changes.
    pub(crate) fn changes(&self) -> watch::Receiver<Option<Leaseholder>> {
        self.holder.subscribe()
    }

    /// Takes over another identity.
    pub(crate) fn follow(&self, holder: Option<Leaseholder>) {
        self.holder.send_replace(holder);
    }

    /// Whether this is `worker`.
    pub fn is(&self, worker: WorkerId) -> bool {
        self.holder.borrow().as_ref().is_some_and(|holder| holder.worker == worker)
    }

    /// Whether this is `worker` of `cluster`.
    pub fn is_of(&self, cluster: &str, worker: WorkerId) -> bool {
        let holder = self.holder.borrow();
        holder.as_ref().is_some_and(|of| of.worker == worker && of.cluster == cluster)
    }

    /// The cluster; empty before the worker has joined one.
    pub fn cluster(&self) -> String {
        let holder = self.holder.borrow();
        holder.as_ref().map_or_else(String::new, |holder| holder.cluster.clone())
    }

    /// Whether the lease is valid.
    pub fn has_lease(&self) -> bool {
        self.holder.borrow().as_ref().is_some_and(Leaseholder::has_lease)
    }

    /// Waits until there is a valid lease. Cancel safe.
    pub async fn leased(&self) {
        let mut changes = self.holder.subscribe();
        let has_lease =
            |holder: &Option<Leaseholder>| holder.as_ref().is_some_and(Leaseholder::has_lease);
        // The sender is `self`, so this does not fail.
        let _ = changes.wait_for(has_lease).await;
    }

    /// For messages.
    pub fn describe(&self) -> String {
        match &*self.holder.borrow() {
            Some(Leaseholder { cluster, worker, .. }) => format!("{worker} of cluster {cluster}"),
            None => "a worker without a name yet".to_string(),
        }
    }
}

impl Leaseholder {
    fn has_lease(&self) -> bool {
        Instant::now() < self.lease_ends
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_lease_expires_and_is_renewed() {
        let identity = Identity::default();
        assert!(!identity.has_lease() && !identity.is(WorkerId(1)));
        let start = Instant::now();
        identity.set("a", WorkerId(1), start + SECOND);
        assert!(identity.has_lease());
        sleep(SECOND).await;
        assert!(!identity.has_lease() && identity.is_of("a", WorkerId(1)));
        let renew = async {
            sleep(SECOND).await;
            identity.renew(Instant::now() + SECOND);
        };
        tokio::join!(identity.leased(), renew);
        assert_eq!(start.elapsed().as_secs(), 2);
        assert!(identity.has_lease());
    }

    #[tokio::test]
    async fn ids_are_valid_in_their_cluster_only() {
        let identity = Identity::default();
        identity.set("a", WorkerId(1), Instant::now() + SECOND);
        assert!(identity.is_of("a", WorkerId(1)));
        assert!(!identity.is_of("b", WorkerId(1)) && !identity.is_of("a", WorkerId(2)));
        identity.clear();
        assert!(!identity.is(WorkerId(1)) && !identity.has_lease());
        identity.renew(Instant::now() + SECOND);
        assert!(!identity.has_lease(), "without an identity there is no lease to renew");
    }
}
