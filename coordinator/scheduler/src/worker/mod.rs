//! A worker with a session: its offer, its attempts, and whether it takes more.

mod health;
mod platform_groups;
mod slot_depth;
mod workers;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use windrow_model::{AttemptId, StageId, WorkerId};

use crate::event::{RequestId, WorkerOffer};
use crate::time::Time;
use crate::view::WorkerView;

pub(crate) use health::{Health, Standing, quarantine};
use platform_groups::{PlatformGroupId, Rank};
pub(crate) use slot_depth::{SLOT_DEPTHS, SlotDepth};
pub(crate) use workers::Workers;

/// A worker with a session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Worker {
    /// What it offers.
    pub(crate) offer: WorkerOffer,
    /// Its platform group.
    pub(crate) group: PlatformGroupId,
    /// Whether it is leaving.
    pub(crate) leaving: Leaving,
    /// The request that opened its connection. `None` when that is broken: the worker is away, may
    /// come back until its lease ends, and gets no new tasks meanwhile.
    pub(crate) connection: Option<RequestId>,
    /// A copy of the health of its identity.
    pub(crate) health: Health,
    /// When it last spoke.
    pub(crate) heard: Time,
    /// When its lease ends, unless its connection breaks before.
    pub(crate) lease_ends: Time,
    /// Its attempts, as far as is known.
    pub(crate) running: BTreeSet<AttemptId>,
    reduces_running: u32,
    pub(crate) done: u64,
    pub(crate) failed: u64,
}

/// Whether a worker is leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Leaving {
    /// It stays.
    No,
    /// It wants to leave, takes no new tasks, and waits until nothing depends on it.
    Draining,
    /// It was told that it may go.
    Drained,
}

impl Worker {
    /// A worker that has just joined, with a lease from now on.
    pub(crate) fn new(
        offer: WorkerOffer,
        group: PlatformGroupId,
        health: Health,
        connection: RequestId,
        now: Time,
    ) -> Self {
        Self {
            offer,
            group,
            leaving: Leaving::No,
            connection: Some(connection),
            health,
            heard: now,
            lease_ends: now,
            running: BTreeSet::new(),
            reduces_running: 0,
            done: 0,
            failed: 0,
        }
    }

    /// Takes a slot for an attempt.
    pub(crate) fn start(&mut self, attempt: AttemptId) {
        debug_assert!(
            self.takes(attempt.task.stage, SlotDepth::Several),
            "the chosen slot is free"
        );
        let started = self.running.insert(attempt);
        debug_assert!(started, "an attempt starts once");
        self.reduces_running += u32::from(attempt.task.stage == StageId::REDUCE);
        let slots = u64::from(self.offer.map_slots) + u64::from(self.offer.reduce_slots);
        let room = slots * u64::from(SlotDepth::Several.tasks_per_slot());
        debug_assert!(self.running.len() as u64 <= room, "attempts fit into the slots");
    }

    /// Frees an attempt's slot.
    pub(crate) fn finish(&mut self, attempt: AttemptId) {
        let ran = self.running.remove(&attempt);
        debug_assert!(ran, "only an attempt that was started can finish");
        if ran {
            self.reduces_running -= u32::from(attempt.task.stage == StageId::REDUCE);
        }
    }

    fn slots(&self, stage: StageId) -> u32 {
        [self.offer.map_slots, self.offer.reduce_slots][stage.index()]
    }

    /// How many more tasks of a stage it would take at this slot depth.
    fn room(&self, stage: StageId, depth: SlotDepth) -> u32 {
        debug_assert!(
            self.reduces_running as usize <= self.running.len(),
            "running reduces are running attempts"
        );
        let maps_running = self.running.len() as u32 - self.reduces_running;
        let room = |slots: u32| slots.saturating_mul(depth.tasks_per_slot());
        let running = [maps_running, self.reduces_running][stage.index()];
        room(self.slots(stage)).saturating_sub(running)
    }

    /// Whether it would take an attempt of this stage at this slot depth.
    pub(crate) fn takes(&self, stage: StageId, depth: SlotDepth) -> bool {
        let may = match self.health.standing {
            Standing::Good => true,
            Standing::Quarantined => false,
            Standing::Probation => self.running.is_empty(),
        };
        may && self.leaving == Leaving::No && !self.is_away() && self.room(stage, depth) > 0
    }

    /// Whether it takes an attempt of this stage now, or will as soon as it has a free slot.
    pub(crate) fn will_take(&self, stage: StageId) -> bool {
        let may = self.health.standing != Standing::Quarantined && self.leaving == Leaving::No;
        may && !self.is_away() && self.slots(stage) > 0
    }

    /// Whether its connection is broken.
    pub(crate) fn is_away(&self) -> bool {
        self.connection.is_none()
    }

    /// Its rank among free workers. By the share of taken slots, not by their number: half of a
    /// large machine is as busy as half of a small one.
    pub(crate) fn rank(&self) -> Rank {
        let slots = u64::from(self.offer.map_slots) + u64::from(self.offer.reduce_slots);
        (self.health.strikes, ((self.running.len() as u64) << 16) / slots.max(1))
    }

    /// The view of it.
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
