//! What a worker knows of its cluster from one call to the next: its id there, and the highest
//! epoch that it has seen.
//!
//! Pure: it judges welcomes, and does nothing about them.

use windrow_jobs::WorkerId;
use windrow_proto::v1;

/// Most clusters whose epochs are remembered. One is new with each coordinator that keeps no
/// journal.
const CLUSTERS_MAX: usize = 64;

/// The worker's place in a cluster, once it had one.
#[derive(Debug, Default)]
pub(super) struct Membership {
    current: Option<Member>,
    /// The highest epoch seen of each cluster, the latest cluster last.
    epochs: Vec<(String, u64)>,
}

/// A name, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) cluster: String,
    pub(super) worker: WorkerId,
    /// The highest that was seen in that cluster.
    pub(super) epoch: u64,
}

/// How a session begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Welcomed {
    /// As it was when the last call broke: nothing is lost.
    Back,
    /// Under a new name: all that was done under the former one is lost.
    Anew,
}

/// Why a welcome is not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unwelcome {
    /// Another coordinator has taken its place.
    #[error("it has been replaced: its epoch is {epoch}, but one of epoch {seen} has been seen")]
    Replaced { epoch: u64, seen: u64 },
    /// It speaks of a session that there never was.
    #[error("it takes this worker for another one")]
    Mistaken,
}

impl Membership {
    /// Who this was when last welcomed.
    pub(super) fn current(&self) -> Option<&Member> {
        self.current.as_ref()
    }

    /// Judges a welcome, and remembers one that is good.
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
    fn only_who_was_there_can_be_back() {
        let mut membership = Membership::default();
        let mistaken = Err(Unwelcome::Mistaken);
        assert_eq!(membership.welcome(&welcome("a", 1, 1, true)), mistaken);
        membership.welcome(&welcome("a", 1, 1, false)).unwrap();
        assert_eq!(membership.welcome(&welcome("a", 2, 1, true)), mistaken);
        assert_eq!(membership.welcome(&welcome("b", 1, 1, true)), mistaken);
        assert_eq!(membership.welcome(&welcome("a", 1, 1, true)), Ok(Welcomed::Back));
    }

    #[test]
    fn a_bounded_number_of_clusters_is_remembered() {
        let mut membership = Membership::default();
        for cluster in 0..=CLUSTERS_MAX {
            membership.welcome(&welcome(&cluster.to_string(), 1, 9, false)).unwrap();
        }
        assert_eq!(membership.epochs.len(), CLUSTERS_MAX);
        assert!(membership.welcome(&welcome("1", 1, 8, false)).is_err());
    }
}
