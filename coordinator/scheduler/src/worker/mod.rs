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
    /// How many of them there are of each stage.
    running_of: [u32; StageId::ALL.len()],
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
            running_of: [0; StageId::ALL.len()],
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
        self.running_of[attempt.task.stage.index()] += u32::from(started);
        let slots = u64::from(self.offer.map_slots) + u64::from(self.offer.reduce_slots);
        let room = slots * u64::from(SlotDepth::Several.tasks_per_slot());
        debug_assert!(self.running.len() as u64 <= room, "attempts fit into the slots");
    }

    /// Frees an attempt's slot.
    pub(crate) fn finish(&mut self, attempt: AttemptId) {
        let ran = self.running.remove(&attempt);
        debug_assert!(ran, "only an attempt that was started can finish");
        if ran {
            self.running_of[attempt.task.stage.index()] -= 1;
        }
    }

    fn slots(&self, stage: StageId) -> u32 {
        [self.offer.map_slots, self.offer.reduce_slots][stage.index()]
    }

    /// How many more tasks of a stage it would take at this slot depth.
    fn room(&self, stage: StageId, depth: SlotDepth) -> u32 {
        debug_assert_eq!(
            self.running_of.iter().sum::<u32>() as usize,
            self.running.len(),
            "each running attempt is of one stage"
        );
        let room = self.slots(stage).saturating_mul(depth.tasks_per_slot());
        room.saturating_sub(self.running_of[stage.index()])
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
