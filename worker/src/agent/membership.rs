//! What a worker remembers of its cluster from one call to the next: its id there, and the
//! highest epoch that it has seen.
//!
//! Pure: it judges welcomes and does no I/O.

use windrow_jobs::WorkerId;
use windrow_proto::v1;

/// Most clusters whose epochs are remembered. A coordinator without a journal begins a new cluster
/// at each start.
const CLUSTERS_MAX: usize = 64;

/// The worker's membership in a cluster, once it has joined one.
#[derive(Debug, Default)]
pub(super) struct Membership {
    current: Option<Member>,
    /// The highest epoch seen of each cluster; the most recent cluster is last.
    epochs: Vec<(String, u64)>,
}

/// A worker's id, and its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) cluster: String,
    pub(super) worker: WorkerId,
    /// The highest epoch that was seen in the cluster.
    pub(super) epoch: u64,
}

/// How a session begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Welcomed {
    /// The session continues where the last call broke: nothing is lost.
    Back,
    /// The worker has a new id: all work under the former id is lost.
    Anew,
}

/// Why a welcome is rejected.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unwelcome {
    /// A coordinator of a higher epoch has replaced this one.
    #[error("it has been replaced: its epoch is {epoch}, but one of epoch {seen} has been seen")]
    Replaced { epoch: u64, seen: u64 },
    /// It refers to a session that this worker never had.
    #[error("it mistakes this worker for another one")]
    Mistaken,
}

impl Membership {
    /// The membership of the last welcome.
    pub(super) fn current(&self) -> Option<&Member> {
        self.current.as_ref()
    }

    /// Judges a welcome, and remembers it if it is accepted.
    pub(super) fn welcome(&mut self, welcome: &v1::Welcome) -> Result<Welcomed, Unwelcome> {
        let v1::Welcome { worker, ref cluster, epoch, returned, .. } = *welcome;
        let worker = WorkerId(worker);
        let seen = self.epochs.iter().find(|(known, _)| known == cluster).map(|(_, seen)| *seen);
        if let Some(seen) = seen.filter(|seen| *seen > epoch) {
            return Err(Unwelcome::Replaced { epoch, seen });
        }
        let is_same = self
            .current
            .as_ref()
            .is_some_and(|member| member.cluster == *cluster && member.worker == worker);
        if returned && !is_same {
            return Err(Unwelcome::Mistaken);
        }
        self.epochs.retain(|(known, _)| known != cluster);
        if self.epochs.len() == CLUSTERS_MAX {
            self.epochs.remove(0);
        }
        self.epochs.push((cluster.clone(), epoch));
        self.current = Some(Member { cluster: cluster.clone(), worker, epoch });
        Ok(if returned { Welcomed::Back } else { Welcomed::Anew })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn welcome(cluster: &str, worker: u64, epoch: u64, returned: bool) -> v1::Welcome {
        let cluster = cluster.to_string();
        v1::Welcome { worker, cluster, epoch, returned, ..v1::Welcome::default() }
    }

    #[test]
    fn lower_epochs_are_refused_in_each_cluster() {
        let mut membership = Membership::default();
        assert_eq!(membership.welcome(&welcome("a", 1, 5, false)), Ok(Welcomed::Anew));
        assert_eq!(membership.welcome(&welcome("b", 1, 2, false)), Ok(Welcomed::Anew));
        let replaced = Unwelcome::Replaced { epoch: 4, seen: 5 };
        assert_eq!(membership.welcome(&welcome("a", 2, 4, false)), Err(replaced));
        assert_eq!(membership.current().unwrap().cluster, "b", "a refusal changes nothing");
        assert_eq!(membership.welcome(&welcome("b", 1, 3, true)), Ok(Welcomed::Back));
        let back = Member { cluster: "b".into(), worker: WorkerId(1), epoch: 3 };
        assert_eq!(membership.current(), Some(&back));
    }

    #[test]
    fn only_a_member_can_resume_its_session() {
        let mut membership = Membership::default();
        let mistaken = Err(Unwelcome::Mistaken);
        assert_eq!(membership.welcome(&welcome("a", 1, 1, true)), mistaken);
        membership.welcome(&welcome("a", 1, 1, false)).unwrap();
        assert_eq!(membership.welcome(&welcome("a", 2, 1, true)), mistaken);
        assert_eq!(membership.welcome(&welcome("b", 1, 1, true)), mistaken);
        assert_eq!(membership.welcome(&welcome("a", 1, 1, true)), Ok(Welcomed::Back));
    }

    #[test]
    fn the_epochs_of_a_bounded_number_of_clusters_are_remembered() {
        let mut membership = Membership::default();
        for cluster in 0..=CLUSTERS_MAX {
            membership.welcome(&welcome(&cluster.to_string(), 1, 9, false)).unwrap();
        }
        assert_eq!(membership.epochs.len(), CLUSTERS_MAX);
        assert!(membership.welcome(&welcome("1", 1, 8, false)).is_err());
    }
}
