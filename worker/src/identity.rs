//! Who this worker is to its cluster, and until when it may act as that, by its own clock.
//!
//! The session sets it; both sides of the shuffle ask. It renews nothing by itself.

use tokio::sync::watch;
use tokio::time::Instant;
use windrow_jobs::WorkerId;

/// The name that a coordinator has given to this worker, once one has, and the end of its lease.
pub struct Identity {
    holder: watch::Sender<Option<Leaseholder>>,
}

/// A worker of a cluster, and how long it may act as that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leaseholder {
    /// The cluster.
    pub cluster: String,
    /// The worker's name in it.
    pub worker: WorkerId,
    /// Until when it may act as that.
    pub lease_ends: Instant,
}

impl Default for Identity {
    fn default() -> Self {
        Self { holder: watch::Sender::new(None) }
    }
}

impl Identity {
    /// Takes the name that this worker has from now on.
    pub fn set(&self, cluster: &str, worker: WorkerId, lease_ends: Instant) {
        let cluster = cluster.to_string();
        self.holder.send_replace(Some(Leaseholder { cluster, worker, lease_ends }));
    }

    /// Takes the end of the lease, renewed.
    pub fn renew(&self, lease_ends: Instant) {
        self.holder.send_if_modified(|holder| match holder {
            Some(holder) if holder.lease_ends != lease_ends => {
                holder.lease_ends = lease_ends;
                true
            }
            _ => false,
        });
    }

    /// Forgets the name: from now on this worker is nobody.
    pub fn clear(&self) {
        self.holder.send_replace(None);
    }

    /// What it is, and what it becomes.
    pub(crate) fn changes(&self) -> watch::Receiver<Option<Leaseholder>> {
        self.holder.subscribe()
    }

    /// Becomes what another one is.
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

    /// The cluster whose worker this is; empty as long as it is in none.
    pub fn cluster(&self) -> String {
        let holder = self.holder.borrow();
        holder.as_ref().map_or_else(String::new, |holder| holder.cluster.clone())
    }

    /// Whether the lease lasts.
    pub fn has_lease(&self) -> bool {
        self.holder.borrow().as_ref().is_some_and(Leaseholder::has_lease)
    }

    /// Waits until there is a lease that lasts. Cancel safe.
    pub async fn leased(&self) {
        let mut changes = self.holder.subscribe();
        let has_lease =
            |holder: &Option<Leaseholder>| holder.as_ref().is_some_and(Leaseholder::has_lease);
        // The sender is `self`, so that this does not fail.
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
    async fn a_lease_runs_out_and_is_renewed() {
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
    async fn ids_mean_nothing_in_another_cluster() {
        let identity = Identity::default();
        identity.set("a", WorkerId(1), Instant::now() + SECOND);
        assert!(identity.is_of("a", WorkerId(1)));
        assert!(!identity.is_of("b", WorkerId(1)) && !identity.is_of("a", WorkerId(2)));
        identity.clear();
        assert!(!identity.is(WorkerId(1)) && !identity.has_lease());
        identity.renew(Instant::now() + SECOND);
        assert!(!identity.has_lease(), "who is nobody cannot be renewed");
    }
}
