//! The workers with a session, by groups and identities. What they hold is noted at the jobs.

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
    /// By platform, with those that have free slots.
    groups: PlatformGroups,
    /// By identity: who bears it, and how it fares.
    identities: BTreeMap<u64, Identity>,
    /// Those whose connection is broken.
    away: BTreeSet<WorkerId>,
    /// Those of them that are waited for for less than their lease.
    hurried: BTreeSet<WorkerId>,
    /// Those that are draining and have not been told to go.
    draining: BTreeSet<WorkerId>,
    staying: usize,
    admitted: u64,
    /// Whether programs may be runnable now that were not, or the other way round, since that was
    /// last asked.
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
    /// Takes a worker in, under a name that none had before.
    pub(crate) fn admit(&mut self, offer: WorkerOffer, request: RequestId, now: Time) -> WorkerId {
        self.admitted += 1;
        let id = WorkerId(self.admitted);
        let group = self.groups.add(id, &offer.platform);
        let identity = self.identities.entry(offer.identity).or_default();
        identity.bearers.insert(id);
        let worker = Worker::new(offer, group, identity.health.clone(), request, now);
        let former = self.workers.insert(id, worker);
        debug_assert!(former.is_none(), "names are never given again");
        self.count_staying(group, true);
        self.update(id, |_| ());
        debug_assert!(
            self.workers.len() as u64 <= self.admitted,
            "names are given in order, and none twice"
        );
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
                // It may never come back. Only a quarantine outlasts the session, until its end.
                identity.health = Health::default();
            }
        }
        self.forget_if_unknown(worker.offer.identity);
        self.check_counts();
        Some(worker)
    }

    /// Those that are listed by their state are among those with a session.
    fn check_counts(&self) {
        debug_assert!(self.away.len() <= self.workers.len(), "only who has a session is away");
        debug_assert!(self.hurried.len() <= self.away.len(), "whoever is there has its lease");
        debug_assert!(
            self.staying + self.draining.len() <= self.workers.len(),
            "who leaves does not stay; those that are missing were told to go"
        );
    }

    fn count_staying(&mut self, group: PlatformGroupId, stays: bool) {
        debug_assert!(stays || self.staying > 0, "who stayed was counted when it came");
        self.staying = if stays { self.staying + 1 } else { self.staying.saturating_sub(1) };
        self.groups_changed |= self.groups.count_staying(group, stays);
    }

    /// Nothing is kept of an identity that nobody bears, unless it is in quarantine.
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

    /// Notes that the worker has spoken. False when it has no session.
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

    /// One that is away is waited for for less than its lease.
    pub(crate) fn hurry(&mut self, id: WorkerId) {
        debug_assert!(self.away.contains(&id), "whoever is there has a lease");
        self.hurried.insert(id);
        self.check_counts();
    }

    /// Those of which this is so have their leases again, which end then.
    pub(crate) fn hurry_nobody(&mut self) -> Vec<(WorkerId, Time)> {
        let lease = |id: WorkerId| Some((id, self.get(id)?.lease_ends));
        debug_assert!(self.hurried.is_subset(&self.away), "whoever is back has its lease already");
        let leases = self.hurried.iter().copied().filter_map(lease).collect();
        self.hurried.clear();
        leases
    }

    /// Whether more than half of all, and more than one, are away: then it is the network that is
    /// broken, or the coordinator.
    pub(crate) fn most_are_away(&self) -> bool {
        self.away.len() > 1 && self.away.len() * 2 > self.workers.len()
    }

    /// Whether jobs may have to wait for other workers than before, since that was last asked.
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
        debug_assert!(self.workers.contains_key(&id), "who has no session finishes nothing");
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.done += 1;
        }
    }

    /// Counts an attempt that failed there.
    pub(crate) fn count_failed(&mut self, id: WorkerId) {
        debug_assert!(
            self.workers.contains_key(&id),
            "without a session, it is lost and not failed"
        );
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.failed += 1;
        }
    }

    /// Notes that the worker's connection is broken, or that it has another one.
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
            "who is listed as away is away"
        );
        self.check_counts();
    }

    /// From now on, the worker takes nothing new.
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
            "whoever is there and wants to go is looked after"
        );
        self.check_counts();
    }

    /// A worker that was told to go is still there: it may not have heard, and is to be told again.
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
            "it asked to go, and was not let go yet"
        );
        if self.draining.remove(&id) {
            self.update(id, |worker| worker.leaving = Leaving::Drained);
        }
    }

    /// The workers that are draining, can be reached, and run nothing.
    pub(crate) fn idle_draining(&self) -> impl Iterator<Item = WorkerId> {
        let idle = |id: &WorkerId| {
            debug_assert!(self.workers.contains_key(id), "who is gone need not be told to go");
            self.get(*id).is_some_and(|worker| !worker.is_away() && worker.running.is_empty())
        };
        self.draining.iter().copied().filter(idle)
    }

    /// The workers that would take an attempt of this stage and can run such a program: those with
    /// fewest strikes first, then the least busy.
    pub(crate) fn free(
        &self,
        stage: StageId,
        depth: SlotDepth,
        needs: &PlatformNeeds,
    ) -> impl Iterator<Item = (WorkerId, &Worker)> {
        let free = self.groups.free(stage, depth, needs);
        free.filter_map(move |id| {
            let worker = self.workers.get(&id)?;
            debug_assert!(worker.takes(stage, depth), "whoever is listed as free takes it");
            Some((id, worker))
        })
    }

    /// Whether any worker would take an attempt of this stage.
    pub(crate) fn any_free(&self, stage: StageId, depth: SlotDepth) -> bool {
        self.groups.any_free(stage, depth)
    }

    /// Whether any worker is there that does not want to leave.
    pub(crate) fn any_staying(&self) -> bool {
        self.staying > 0
    }

    /// Whether any worker is there that can run such a program and does not want to leave.
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

    /// Their ids, in order.
    pub(crate) fn ids(&self) -> Vec<WorkerId> {
        self.workers.keys().copied().collect()
    }

    /// What the worker is known by across sessions.
    pub(crate) fn identity(&self, id: WorkerId) -> Option<u64> {
        self.get(id).map(|worker| worker.offer.identity)
    }

    /// Whether failures are remembered of this identity.
    pub(crate) fn has_history(&self, identity: u64) -> bool {
        let health = self.identities.get(&identity).map(|known| &known.health);
        health.is_some_and(|health| *health != Health::default())
    }

    /// Changes the health of an identity, and of the workers that bear it. Nothing is remembered of
    /// somebody who is not there, but for a quarantine.
    pub(crate) fn change_health<T>(
        &mut self,
        identity: u64,
        change: impl FnOnce(&mut Health) -> T,
    ) -> T {
        let known = self.identities.entry(identity).or_default();
        let result = change(&mut known.health);
        let (health, bearers) = (known.health.clone(), known.bearers.clone());
        for &id in &bearers {
            debug_assert!(self.workers.contains_key(&id), "who bears an identity has a session");
            self.update(id, |worker| worker.health = health.clone());
        }
        self.forget_if_unknown(identity);
        result
    }

    /// The identities in quarantine, if nobody else stays.
    pub(crate) fn all_quarantined(&self) -> Option<BTreeSet<u64>> {
        if self.staying == 0 {
            return None;
        }
        // The first that is well ends the search.
        let mut staying = self.workers.values().filter(|worker| worker.leaving == Leaving::No);
        let all = staying.all(|worker| worker.health.standing == Standing::Quarantined);
        debug_assert!(
            !all || !self.any_free(StageId::MAP, SlotDepth::Several)
                && !self.any_free(StageId::REDUCE, SlotDepth::Several),
            "who is in quarantine gets nothing"
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

    /// Changes a worker and keeps the index of free slots true.
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

/// What workers with free slots are listed by.
fn lists() -> impl Iterator<Item = (StageId, SlotDepth)> {
    let stages = StageId::ALL.into_iter();
    stages.flat_map(|stage| SLOT_DEPTHS.map(|depth| (stage, depth)))
}
