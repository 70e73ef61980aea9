//! The workers with a session, and an index of their free slots. What they hold is noted at the jobs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use windrow_jobs::{AttemptId, Stage, WorkerId};

use crate::event::{RequestId, WorkerOffer};
use crate::health::{Health, Standing};
use crate::time::Time;
use crate::view::WorkerView;

/// A worker with a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Worker {
    /// What it offers.
    pub(crate) offer: WorkerOffer,
    /// Whether it stays.
    pub(crate) leaving: Leaving,
    /// The request that opened its connection. `None` when that is broken: then it is away, may come back until its lease
    /// ends, and gets nothing new meanwhile.
    pub(crate) connection: Option<RequestId>,
    /// Its health, as it is remembered for its identity.
    pub(crate) health: Health,
    /// When it last spoke.
    pub(crate) heard: Time,
    /// Its attempts, as far as is known.
    pub(crate) running: BTreeSet<AttemptId>,
    reduces_running: u32,
    done: u64,
    failed: u64,
}

/// Whether a worker stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Leaving {
    /// It stays.
    No,
    /// It wants to leave, takes nothing new, and waits until nothing depends on it.
    Draining,
    /// It has been told that it may go.
    Drained,
}

/// All workers with a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Workers {
    workers: BTreeMap<WorkerId, Worker>,
    /// For each stage, the workers that would take an attempt of it, the best first.
    free: [BTreeSet<((u32, u32), WorkerId)>; 2],
    /// By identity: those that have had failures since their last success.
    health: BTreeMap<u64, Health>,
    /// Those that are draining and have not been told to go.
    draining: BTreeSet<WorkerId>,
    staying: usize,
    admitted: u64,
}

impl Worker {
    fn free_slots(&self, stage: Stage) -> u32 {
        let maps_running = self.running.len() as u32 - self.reduces_running;
        match stage {
            Stage::Map => self.offer.map_slots.saturating_sub(maps_running),
            Stage::Reduce => self.offer.reduce_slots.saturating_sub(self.reduces_running),
        }
    }

    /// Whether it would take an attempt of this stage.
    pub(crate) fn takes(&self, stage: Stage) -> bool {
        let may = match self.health.standing {
            Standing::Good => true,
            Standing::Quarantined => false,
            Standing::Probation => self.running.is_empty(),
        };
        may && self.leaving == Leaving::No && !self.is_away() && self.free_slots(stage) > 0
    }

    /// Whether it takes an attempt of this stage now, or will as soon as it has a free slot.
    pub(crate) fn will_take(&self, stage: Stage) -> bool {
        let slots = match stage {
            Stage::Map => self.offer.map_slots,
            Stage::Reduce => self.offer.reduce_slots,
        };
        let may = self.health.standing != Standing::Quarantined && self.leaving == Leaving::No;
        may && !self.is_away() && slots > 0
    }

    /// Whether its connection is broken.
    pub(crate) fn is_away(&self) -> bool {
        self.connection.is_none()
    }

    /// Whom to prefer: those with fewer strikes, then the less busy.
    fn rank(&self) -> (u32, u32) {
        (self.health.strikes, self.running.len() as u32)
    }

    /// How it looks from outside.
    pub(crate) fn view(&self, worker: WorkerId) -> WorkerView {
        WorkerView {
            worker,
            name: self.offer.name.clone(),
            running: self.running.len() as u32,
            done: self.done,
            failed: self.failed,
            draining: self.leaving != Leaving::No,
            away: self.is_away(),
            quarantined: self.health.standing == Standing::Quarantined,
            on_probation: self.health.standing == Standing::Probation,
            heard: self.heard,
        }
    }
}

impl Workers {
    /// Takes a worker in, under a name that none had before.
    pub(crate) fn admit(&mut self, offer: WorkerOffer, request: RequestId, now: Time) -> WorkerId {
        self.admitted += 1;
        let id = WorkerId(self.admitted);
        let worker = Worker {
            leaving: Leaving::No,
            connection: Some(request),
            health: self.health.get(&offer.identity).cloned().unwrap_or_default(),
            heard: now,
            running: BTreeSet::new(),
            reduces_running: 0,
            offer,
            done: 0,
            failed: 0,
        };
        self.workers.insert(id, worker);
        self.staying += 1;
        self.update(id, |_| ());
        id
    }

    /// Forgets a worker.
    pub(crate) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        self.unindex(id);
        let worker = self.workers.remove(&id)?;
        self.draining.remove(&id);
        self.staying -= usize::from(worker.leaving == Leaving::No);
        if worker.health.standing != Standing::Quarantined {
            // It may never come back. Only a quarantine outlasts the session, until its end.
            self.health.remove(&worker.offer.identity);
        }
        Some(worker)
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

    /// Takes a slot for an attempt.
    pub(crate) fn start(&mut self, id: WorkerId, attempt: AttemptId) {
        self.update(id, |worker| {
            debug_assert!(worker.takes(attempt.task.stage));
            worker.running.insert(attempt);
            worker.reduces_running += u32::from(attempt.task.stage == Stage::Reduce);
        });
    }

    /// Frees an attempt's slot.
    pub(crate) fn finish(&mut self, id: WorkerId, attempt: AttemptId) {
        self.update(id, |worker| {
            if worker.running.remove(&attempt) {
                worker.reduces_running -= u32::from(attempt.task.stage == Stage::Reduce);
            }
        });
    }

    /// Counts an attempt that succeeded there.
    pub(crate) fn count_done(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.done += 1;
        }
    }

    /// Counts an attempt that failed there.
    pub(crate) fn count_failed(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.failed += 1;
        }
    }

    /// Notes that the worker's connection is broken, or that it has another one.
    pub(crate) fn set_connection(&mut self, id: WorkerId, connection: Option<RequestId>) {
        self.update(id, |worker| worker.connection = connection);
    }

    /// From now on, the worker takes nothing new.
    pub(crate) fn drain(&mut self, id: WorkerId) {
        if self.get(id).is_some_and(|worker| worker.leaving == Leaving::No) {
            self.staying -= 1;
            self.draining.insert(id);
            self.update(id, |worker| worker.leaving = Leaving::Draining);
        }
        self.has_not_gone(id);
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
        if self.draining.remove(&id) {
            self.update(id, |worker| worker.leaving = Leaving::Drained);
        }
    }

    /// The workers that are draining, can be reached, and run nothing.
    pub(crate) fn idle_draining(&self) -> impl Iterator<Item = WorkerId> {
        let idle = |id: &WorkerId| {
            self.get(*id).is_some_and(|worker| !worker.is_away() && worker.running.is_empty())
        };
        self.draining.iter().copied().filter(idle)
    }

    /// The workers that would take an attempt of this stage: those with fewest strikes first, then the least busy.
    pub(crate) fn free(&self, stage: Stage) -> impl Iterator<Item = (WorkerId, &Worker)> {
        self.free[stage as usize]
            .iter()
            .filter_map(|&(_, id)| self.workers.get(&id).map(|worker| (id, worker)))
    }

    /// Whether any worker would take an attempt of this stage.
    pub(crate) fn any_free(&self, stage: Stage) -> bool {
        !self.free[stage as usize].is_empty()
    }

    /// Whether any worker is there that does not want to leave.
    pub(crate) fn any_staying(&self) -> bool {
        self.staying > 0
    }

    /// Whether any worker is of this kind. O(workers) if none is.
    pub(crate) fn any(&self, kind: impl Fn(&Worker) -> bool) -> bool {
        self.workers.values().any(kind)
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
        self.health.contains_key(&identity)
    }

    /// Changes the health of an identity, and of the workers that bear it. Perfect health is not remembered, nor that of
    /// somebody who is not there, unless in quarantine. O(workers).
    pub(crate) fn change_health<T>(
        &mut self,
        identity: u64,
        change: impl FnOnce(&mut Health) -> T,
    ) -> T {
        let mut health = self.health.remove(&identity).unwrap_or_default();
        let result = change(&mut health);
        let bearers: Vec<_> = self
            .workers
            .iter()
            .filter(|(_, worker)| worker.offer.identity == identity)
            .map(|(id, _)| *id)
            .collect();
        for &id in &bearers {
            self.update(id, |worker| worker.health = health.clone());
        }
        let there = !bearers.is_empty() || health.standing == Standing::Quarantined;
        if there && health != Health::default() {
            self.health.insert(identity, health);
        }
        result
    }

    /// The identities in quarantine, if nobody else stays.
    pub(crate) fn all_quarantined(&self) -> Option<BTreeSet<u64>> {
        if self.health.is_empty() || self.staying == 0 {
            return None;
        }
        let mut staying = self.workers.values().filter(|worker| worker.leaving == Leaving::No);
        let all = staying.all(|worker| worker.health.standing == Standing::Quarantined);
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
        let quarantined = |(_, health): &(&u64, &Health)| health.standing == Standing::Quarantined;
        self.health.iter().filter(quarantined).map(|(identity, _)| *identity)
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
        for stage in [Stage::Map, Stage::Reduce] {
            if worker.takes(stage) {
                self.free[stage as usize].insert((worker.rank(), id));
            }
        }
    }

    fn unindex(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        let entry = (worker.rank(), id);
        for free in &mut self.free {
            free.remove(&entry);
        }
    }
}
