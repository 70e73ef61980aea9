//! The workers with a session, by platform group and identity. Jobs note which outputs they hold.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use windrow_model::{AttemptId, PlatformNeeds, StageId, WorkerId};

use crate::event::{RequestId, WorkerOffer};
use crate::time::Time;
use crate::worker::platform_groups::{PlatformGroupId, PlatformGroups};
use crate::worker::{Health, Leaving, SLOT_DEPTHS, SlotDepth, Standing, Worker};

/// All workers with a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Workers {
    workers: BTreeMap<WorkerId, Worker>,
    /// By platform, with the lists of free workers.
    groups: PlatformGroups,
    /// By identity: its workers and its health.
    identities: BTreeMap<u64, Identity>,
    /// Workers whose connection is broken.
    away: BTreeSet<WorkerId>,
    /// Workers among `away` that have less time than their lease to come back.
    hurried: BTreeSet<WorkerId>,
    /// Draining workers that were not told to go yet.
    draining: BTreeSet<WorkerId>,
    staying: usize,
    admitted: u64,
    /// Whether the set of runnable programs may have changed since that was last asked.
    #[serde(skip)]
    groups_changed: bool,
}

/// A machine and folder, across sessions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Identity {
    /// Its failures since its last success.
    health: Health,
    bearers: BTreeSet<WorkerId>,
}

impl Workers {
    /// Admits a worker, under an id that was never used before.
    pub(crate) fn admit(&mut self, offer: WorkerOffer, request: RequestId, now: Time) -> WorkerId {
        self.admitted += 1;
        let id = WorkerId(self.admitted);
        let group = self.groups.add(id, &offer.platform);
        let identity = self.identities.entry(offer.identity).or_default();
        identity.bearers.insert(id);
        let worker = Worker::new(offer, group, identity.health.clone(), request, now);
        let former = self.workers.insert(id, worker);
        debug_assert!(former.is_none(), "ids are never reused");
        self.count_staying(group, true);
        self.update(id, |_| ());
        debug_assert!(self.workers.len() as u64 <= self.admitted, "ids are given in order");
        id
    }

    /// Forgets a worker.
    pub(crate) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        self.unindex(id);
        let worker = self.workers.remove(&id)?;
        self.draining.remove(&id);
        self.away.remove(&id);
        self.hurried.remove(&id);
        if worker.leaving == Leaving::No {
            self.count_staying(worker.group, false);
        }
        self.groups.remove(id, worker.group);
        if let Some(identity) = self.identities.get_mut(&worker.offer.identity) {
            identity.bearers.remove(&id);
            if worker.health.standing != Standing::Quarantined {
                // The worker may never come back. Only a quarantine outlasts the session, until its
                // end.
                identity.health = Health::default();
            }
        }
        self.forget_if_unknown(worker.offer.identity);
        self.check_counts();
        Some(worker)
    }

    /// Checks that the lists by state agree with the sessions.
    fn check_counts(&self) {
        debug_assert!(self.away.len() <= self.workers.len(), "a worker that is away has a session");
        debug_assert!(
            self.hurried.len() <= self.away.len(),
            "only a worker that is away is hurried"
        );
        debug_assert!(
            self.staying + self.draining.len() <= self.workers.len(),
            "a draining worker does not stay"
        );
    }

    fn count_staying(&mut self, group: PlatformGroupId, stays: bool) {
        debug_assert!(stays || self.staying > 0, "a staying worker was counted when it joined");
        self.staying = if stays { self.staying + 1 } else { self.staying.saturating_sub(1) };
        self.groups_changed |= self.groups.count_staying(group, stays);
    }

    /// Forgets an identity without workers, unless it is in quarantine.
    fn forget_if_unknown(&mut self, identity: u64) {
        let unknown = |known: &Identity| {
            known.bearers.is_empty() && known.health.standing != Standing::Quarantined
        };
        if self.identities.get(&identity).is_some_and(unknown) {
            self.identities.remove(&identity);
        }
    }

    /// The worker, if it has a session.
    pub(crate) fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.workers.get(&id)
    }

    /// Notes a message of the worker. False when it has no session.
    pub(crate) fn hear(&mut self, id: WorkerId, now: Time) -> bool {
        match self.workers.get_mut(&id) {
            Some(worker) => {
                worker.heard = now;
                true
            }
            None => false,
        }
    }

    /// Notes when the worker's lease ends.
    pub(crate) fn set_lease(&mut self, id: WorkerId, ends: Time) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.lease_ends = ends;
            self.hurried.remove(&id);
        }
    }

    /// Gives a worker that is away less time than its lease.
    pub(crate) fn hurry(&mut self, id: WorkerId) {
        debug_assert!(self.away.contains(&id), "only a worker that is away is hurried");
        self.hurried.insert(id);
        self.check_counts();
    }

    /// Gives all hurried workers their whole leases again; returns them with the ends of their
    /// leases.
    pub(crate) fn hurry_nobody(&mut self) -> Vec<(WorkerId, Time)> {
        let lease = |id: WorkerId| Some((id, self.get(id)?.lease_ends));
        debug_assert!(self.hurried.is_subset(&self.away), "a hurried worker is away");
        let leases = self.hurried.iter().copied().filter_map(lease).collect();
        self.hurried.clear();
        leases
    }

    /// Whether more than half of all workers, and more than one, are away: then the network is at
    /// fault, or the coordinator.
    pub(crate) fn most_are_away(&self) -> bool {
        self.away.len() > 1 && self.away.len() * 2 > self.workers.len()
    }

    /// Whether the set of runnable programs may have changed since this was last called.
    pub(crate) fn take_groups_changed(&mut self) -> bool {
        std::mem::take(&mut self.groups_changed)
    }

    /// Takes a slot for an attempt.
    pub(crate) fn start(&mut self, id: WorkerId, attempt: AttemptId) {
        self.update(id, |worker| worker.start(attempt));
    }

    /// Frees an attempt's slot.
    pub(crate) fn finish(&mut self, id: WorkerId, attempt: AttemptId) {
        self.update(id, |worker| worker.finish(attempt));
    }

    /// Counts an attempt that succeeded there.
    pub(crate) fn count_done(&mut self, id: WorkerId) {
        debug_assert!(self.workers.contains_key(&id), "the worker has a session");
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.done += 1;
        }
    }

    /// Counts an attempt that failed there.
    pub(crate) fn count_failed(&mut self, id: WorkerId) {
        debug_assert!(
            self.workers.contains_key(&id),
            "the worker has a session: otherwise the attempt is lost"
        );
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.failed += 1;
        }
    }

    /// Notes that the worker's connection is broken or replaced.
    pub(crate) fn set_connection(&mut self, id: WorkerId, connection: Option<RequestId>) {
        match (connection, self.workers.contains_key(&id)) {
            (None, true) => drop(self.away.insert(id)),
            _ => drop(self.away.remove(&id)),
        }
        if connection.is_some() {
            self.hurried.remove(&id);
        }
        self.update(id, |worker| worker.connection = connection);
        debug_assert_eq!(
            self.away.contains(&id),
            self.get(id).is_some_and(Worker::is_away),
            "the list of away workers is correct"
        );
        self.check_counts();
    }

    /// Drains the worker: it takes no new tasks.
    pub(crate) fn drain(&mut self, id: WorkerId) {
        let group = self.get(id).filter(|worker| worker.leaving == Leaving::No).map(|it| it.group);
        if let Some(group) = group {
            self.count_staying(group, false);
            self.draining.insert(id);
            self.update(id, |worker| worker.leaving = Leaving::Draining);
        }
        self.has_not_gone(id);
        debug_assert_eq!(
            self.draining.contains(&id),
            self.workers.contains_key(&id),
            "a draining worker is listed"
        );
        self.check_counts();
    }

    /// Notes that a worker that was told to go is still there: it may not have heard, and is told
    /// again.
    pub(crate) fn has_not_gone(&mut self, id: WorkerId) {
        if self.get(id).is_some_and(|worker| worker.leaving == Leaving::Drained) {
            self.draining.insert(id);
            self.update(id, |worker| worker.leaving = Leaving::Draining);
        }
    }

    /// Notes that the worker has been told to go.
    pub(crate) fn drained(&mut self, id: WorkerId) {
        debug_assert!(
            self.get(id).is_some_and(|worker| worker.leaving == Leaving::Draining),
            "the worker is draining"
        );
        if self.draining.remove(&id) {
            self.update(id, |worker| worker.leaving = Leaving::Drained);
        }
    }

    /// The workers that are draining, can be reached, and run nothing.
    pub(crate) fn idle_draining(&self) -> impl Iterator<Item = WorkerId> {
        let idle = |id: &WorkerId| {
            debug_assert!(self.workers.contains_key(id), "a draining worker has a session");
            self.get(*id).is_some_and(|worker| !worker.is_away() && worker.running.is_empty())
        };
        self.draining.iter().copied().filter(idle)
    }

    /// The workers that would take an attempt of this stage and can run such a program, the best
    /// first.
    pub(crate) fn free(
        &self,
        stage: StageId,
        depth: SlotDepth,
        needs: &PlatformNeeds,
    ) -> impl Iterator<Item = (WorkerId, &Worker)> {
        let free = self.groups.free(stage, depth, needs);
        free.filter_map(move |id| {
            let worker = self.workers.get(&id)?;
            debug_assert!(worker.takes(stage, depth), "a worker listed as free takes the attempt");
            Some((id, worker))
        })
    }

    /// Whether any worker would take an attempt of this stage.
    pub(crate) fn any_free(&self, stage: StageId, depth: SlotDepth) -> bool {
        self.groups.any_free(stage, depth)
    }

    /// Whether any worker stays.
    pub(crate) fn any_staying(&self) -> bool {
        self.staying > 0
    }

    /// Whether any worker stays that can run such a program.
    pub(crate) fn any_staying_for(&self, needs: &PlatformNeeds) -> bool {
        self.groups.any_staying(needs)
    }

    /// The workers that can run such a program.
    pub(crate) fn all_for(
        &self,
        needs: &PlatformNeeds,
    ) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.groups.members(needs).filter_map(|id| Some((id, self.workers.get(&id)?)))
    }

    /// All ids, in order.
    pub(crate) fn ids(&self) -> Vec<WorkerId> {
        self.workers.keys().copied().collect()
    }

    /// The identity of a worker, which is the same across sessions.
    pub(crate) fn identity(&self, id: WorkerId) -> Option<u64> {
        self.get(id).map(|worker| worker.offer.identity)
    }

    /// Whether the identity has strikes, a quarantine or a probation.
    pub(crate) fn has_history(&self, identity: u64) -> bool {
        let health = self.identities.get(&identity).map(|known| &known.health);
        health.is_some_and(|health| *health != Health::default())
    }

    /// Changes the health of an identity and of its workers. The health of an identity without
    /// workers is forgotten, except for a quarantine.
    pub(crate) fn change_health<T>(
        &mut self,
        identity: u64,
        change: impl FnOnce(&mut Health) -> T,
    ) -> T {
        let known = self.identities.entry(identity).or_default();
        let result = change(&mut known.health);
        let (health, bearers) = (known.health.clone(), known.bearers.clone());
        for &id in &bearers {
            debug_assert!(self.workers.contains_key(&id), "a worker of an identity has a session");
            self.update(id, |worker| worker.health = health.clone());
        }
        self.forget_if_unknown(identity);
        result
    }

    /// The identities in quarantine, if every staying worker is in one.
    pub(crate) fn all_quarantined(&self) -> Option<BTreeSet<u64>> {
        if self.staying == 0 {
            return None;
        }
        // The first healthy worker ends the search.
        let mut staying = self.workers.values().filter(|worker| worker.leaving == Leaving::No);
        let all = staying.all(|worker| worker.health.standing == Standing::Quarantined);
        debug_assert!(
            !all || StageId::ALL.iter().all(|&stage| !self.any_free(stage, SlotDepth::Several)),
            "a quarantined worker is not listed as free"
        );
        all.then(|| {
            self.workers
                .values()
                .filter(|worker| worker.health.standing == Standing::Quarantined)
                .map(|worker| worker.offer.identity)
                .collect()
        })
    }

    /// Identities in quarantine.
    pub(crate) fn quarantined(&self) -> impl Iterator<Item = u64> {
        let quarantined = |known: &Identity| known.health.standing == Standing::Quarantined;
        self.identities.iter().filter(move |(_, known)| quarantined(known)).map(|(id, _)| *id)
    }

    /// All workers in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.workers.iter().map(|(id, worker)| (*id, worker))
    }

    /// Changes a worker and updates the index of free slots.
    fn update(&mut self, id: WorkerId, change: impl FnOnce(&mut Worker)) {
        self.unindex(id);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        change(worker);
        for list in lists() {
            if worker.takes(list.0, list.1) {
                self.groups.set_free(worker.group, list, (worker.rank(), id), true);
            }
        }
    }

    fn unindex(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        for list in lists() {
            self.groups.set_free(worker.group, list, (worker.rank(), id), false);
        }
    }
}

/// The keys of the lists of free workers.
fn lists() -> impl Iterator<Item = (StageId, SlotDepth)> {
    let stages = StageId::ALL.into_iter();
    stages.flat_map(|stage| SLOT_DEPTHS.map(|depth| (stage, depth)))
}
