//! The present workers, found by their ids, their certificates, and their hosts and folders.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use windrow_jobs::WorkerId;

use super::profile::WorkerProfile;

/// The present workers. The profile of a worker never changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "BTreeMap<WorkerId, Arc<WorkerProfile>>")]
#[serde(into = "BTreeMap<WorkerId, Arc<WorkerProfile>>")]
pub(super) struct Members {
    workers: BTreeMap<WorkerId, Arc<WorkerProfile>>,
    /// By the name in their certificates, and by host and folder: derived.
    by_identity: BTreeMap<String, BTreeSet<WorkerId>>,
    by_place: BTreeMap<(String, String), BTreeSet<WorkerId>>,
}

impl Members {
    pub(super) fn insert(&mut self, id: WorkerId, profile: Arc<WorkerProfile>) {
        self.remove(id);
        if let Some(identity) = &profile.identity {
            self.by_identity.entry(identity.clone()).or_default().insert(id);
        }
        self.by_place.entry(profile.place()).or_default().insert(id);
        self.workers.insert(id, profile);
    }

    pub(super) fn remove(&mut self, id: WorkerId) {
        let Some(profile) = self.workers.remove(&id) else { return };
        if let Some(identity) = &profile.identity {
            take_out(&mut self.by_identity, identity, id);
        }
        take_out(&mut self.by_place, &profile.place(), id);
        debug_assert!(
            self.by_place.values().map(BTreeSet::len).sum::<usize>() == self.workers.len(),
            "every worker has one host and folder"
        );
    }

    pub(super) fn get(&self, id: WorkerId) -> Option<&Arc<WorkerProfile>> {
        self.workers.get(&id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = WorkerId> {
        self.workers.keys().copied()
    }

    pub(super) fn profiles(&self) -> impl ExactSizeIterator<Item = &Arc<WorkerProfile>> + Clone {
        self.workers.values()
    }

    /// The workers that cannot coexist with this one, in order: a folder has one worker, and so has
    /// a certificate.
    pub(super) fn rivals(&self, profile: &WorkerProfile) -> Vec<(WorkerId, Arc<WorkerProfile>)> {
        let same_identity = profile.identity.as_ref().and_then(|name| self.by_identity.get(name));
        // If the machine is unknown, the folder is unknown, too.
        let same_place = (!profile.host.is_empty()).then(|| self.by_place.get(&profile.place()));
        let ids: BTreeSet<_> =
            same_identity.into_iter().chain(same_place.flatten()).flatten().collect();
        ids.into_iter().filter_map(|id| Some((*id, Arc::clone(self.get(*id)?)))).collect()
    }

    /// The worker with a certificate of this name.
    pub(super) fn of_identity(&self, name: &str) -> Option<WorkerId> {
        self.by_identity.get(name)?.first().copied()
    }
}

fn take_out<K: Ord>(index: &mut BTreeMap<K, BTreeSet<WorkerId>>, key: &K, id: WorkerId) {
    if let Some(ids) = index.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            index.remove(key);
        }
    }
}

impl From<BTreeMap<WorkerId, Arc<WorkerProfile>>> for Members {
    fn from(workers: BTreeMap<WorkerId, Arc<WorkerProfile>>) -> Self {
        let mut members = Self::default();
        for (id, profile) in workers {
            members.insert(id, profile);
        }
        members
    }
}

impl From<Members> for BTreeMap<WorkerId, Arc<WorkerProfile>> {
    fn from(members: Members) -> Self {
        members.workers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(identity: Option<&str>, host: &str) -> Arc<WorkerProfile> {
        let identity = identity.map(str::to_string);
        Arc::new(WorkerProfile { identity, host: host.into(), ..WorkerProfile::for_test() })
    }

    fn rivals(members: &Members, profile: &WorkerProfile) -> Vec<u64> {
        members.rivals(profile).into_iter().map(|(id, _)| id.0).collect()
    }

    #[test]
    fn rivals_share_a_certificate_or_a_folder() {
        let mut members = Members::default();
        members.insert(WorkerId(1), profile(Some("ada"), "a"));
        members.insert(WorkerId(2), profile(Some("bob"), "b"));
        members.insert(WorkerId(3), profile(None, ""));
        assert_eq!(rivals(&members, &profile(Some("ada"), "b")), [1, 2]);
        assert_eq!(rivals(&members, &profile(Some("ada"), "a")), [1], "once");
        assert_eq!(rivals(&members, &profile(None, "")), [0; 0], "the machine is unknown");
        assert_eq!(members.of_identity("bob"), Some(WorkerId(2)));
        members.remove(WorkerId(2));
        assert_eq!(members.of_identity("bob"), None);
        assert_eq!(rivals(&members, &profile(Some("bob"), "b")), [0; 0]);
    }

    #[test]
    fn members_are_found_after_a_restart() {
        let mut members = Members::default();
        members.insert(WorkerId(1), profile(Some("ada"), "a"));
        let bytes = postcard::to_allocvec(&members).unwrap();
        let read: Members = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(read, members);
        assert_eq!(read.of_identity("ada"), Some(WorkerId(1)));
    }
}
