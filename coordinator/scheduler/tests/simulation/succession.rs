//! How coordinators come and go: they start, take over, are replaced, and die.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use windrow_scheduler::journal::{JournalError, Nonce, Recovered, Takeover};
use windrow_scheduler::{Clock, Decider, Time};

use crate::books::Books;
use crate::coordinator::{BEAT, Coordinator, Role};
use crate::happening::Happening;
use crate::invariants::{replay, size};
use crate::store::{Records, Whole};
use crate::world::World;

impl World {
    /// Another coordinator starts, whatever others do.
    pub fn start_coordinator(&mut self) {
        let nonce = Nonce(u128::from(self.rng.next()) << 64 | u128::from(self.rng.next()));
        self.coordinators.push(Coordinator {
            role: Role::TakingOver(Box::new(Takeover::new(nonce))),
            nonce,
            paused_until: Time::default(),
            links: BTreeMap::new(),
            clock: Clock::new(Time::default(), self.config.lease),
            started: self.now,
            waits: Vec::new(),
            held: VecDeque::new(),
            waiting: None,
            recorded_at_beat: 0,
        });
        let index = self.coordinators.len() - 1;
        self.note(|_| format!("coordinator {index} starts"));
        self.ask_for_takeover(index);
    }

    pub fn ask_for_takeover(&mut self, index: usize) {
        while let Role::TakingOver(takeover) = &mut self.coordinators[index].role
            && let Some((id, call)) = takeover.next_call()
        {
            self.coordinators[index].waiting.get_or_insert(self.now);
            self.call(index, id, call);
        }
    }

    /// It must not go on. Only one that was replaced may come to this.
    pub fn stopped(&mut self, index: usize, error: &JournalError) -> Result<(), String> {
        self.note(|_| format!("coordinator {index} stops: {error}"));
        let newest = self.store.last_epoch().unwrap_or_default();
        let replaced = self.store.epoch_of(self.coordinators[index].nonce) < Some(newest);
        self.exit(index);
        if replaced { Ok(()) } else { Err(format!("epochs: nobody has replaced {index}: {error}")) }
    }

    pub fn recover(
        &mut self,
        index: usize,
        recovered: Recovered<Records, Whole, ()>,
    ) -> Result<(), String> {
        let epoch = recovered.epoch;
        let recovered =
            if self.rng.chance(200) { size::through_bytes(recovered)? } else { recovered };
        let config = self.config.clone();
        let books = Books::new(config.clone());
        let decider = Decider::recover(recovered, config, books)
            .with_snapshot_after(self.faults.snapshot_after);
        let state = decider.state();
        self.note(|_| {
            format!("coordinator {index} recovers {:?} in {epoch}", state.catalog.history.len())
        });
        let left = self.left.take();
        if self.store.last_epoch() == Some(epoch) {
            self.history.on_recovery(&state.catalog.history)?;
            if let Some(left) = left {
                replay::check_replay(left, state, &self.config)?;
            }
        }
        size::check_size(state)?;
        self.epochs.on_recovery(epoch)?;
        let unsettled: BTreeSet<_> = state.catalog.unsettled.clone();
        let coordinator = &mut self.coordinators[index];
        coordinator.started = self.now;
        coordinator.waiting = None;
        coordinator.clock = Clock::new(state.now, self.config.lease);
        coordinator.role = Role::Deciding(Box::new(decider));
        self.later(BEAT, Happening::Beat(index));
        for job in unsettled {
            self.sweep(index, job);
        }
        self.collect(index)?;
        self.pump(index)
    }

    /// It dies, and so does what it has not told.
    pub fn crash(&mut self, index: usize) {
        if self.coordinators[index].is_gone() {
            return;
        }
        self.note(|_| format!("coordinator {index} crashes"));
        let coordinator = &self.coordinators[index];
        let others = (0..self.coordinators.len())
            .any(|other| other != index && !self.coordinators[other].is_gone());
        if let Some(decider) = coordinator.decider() {
            let asked = coordinator.waiting.is_none() && coordinator.paused_until <= self.now;
            let newest = self.store.epoch_of(coordinator.nonce) == self.store.last_epoch();
            let all_durable = asked && newest && !others;
            self.left = all_durable.then(|| decider.state().clone());
        }
        self.crash_calls(index);
        self.exit(index);
    }

    /// It is gone. Somebody starts another if there is none.
    fn exit(&mut self, index: usize) {
        self.coordinators[index].role = Role::Gone;
        self.coordinator_gone(index);
        if self.coordinators.iter().all(Coordinator::is_gone) {
            let after = self.rng.millis(50, 6_000);
            self.later(after, Happening::StartCoordinator { unless_there: true });
        }
    }
}
