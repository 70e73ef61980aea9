//! The succession of coordinators: they start, take over, are fenced, and die.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use windrow_scheduler::Time;
use windrow_scheduler::journal::{JournalError, Nonce, Recovered, Takeover};

use crate::driver::{Driver, DriverAttachment, DriverRecord, DriverState, Settings};
use crate::failpoint::Failpoint;
use crate::journal::{ClusterId, WriteTotals};
use crate::simulation::coordinator::{Coordinator, Role};
use crate::simulation::happening::Happening;
use crate::simulation::invariants::{replay, size};
use crate::simulation::recorder;
use crate::simulation::world::World;

/// The cluster of the journal.
const CLUSTER: ClusterId = ClusterId(7);

impl World {
    /// Starts another coordinator, beside any others.
    pub fn start_coordinator(&mut self) {
        let nonce = Nonce(u128::from(self.rng.next()) << 64 | u128::from(self.rng.next()));
        self.coordinators.push(Coordinator {
            role: Role::TakingOver(Box::new(Takeover::new(nonce))),
            nonce,
            paused_until: Time::default(),
            started: self.now,
            calls: BTreeMap::new(),
            requests: Vec::new(),
            waits: VecDeque::new(),
            held: VecDeque::new(),
            waiting: None,
            unread: BTreeMap::new(),
            safe: BTreeSet::new(),
            folders: BTreeMap::new(),
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

    /// Handles a coordinator that must stop. Only a fenced one may come to this.
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
        recovered: Recovered<DriverRecord, DriverState, DriverAttachment>,
    ) -> Result<(), String> {
        let epoch = recovered.epoch;
        let recovered =
            if self.rng.chance(200) { size::through_bytes(recovered)? } else { recovered };
        let settings = Settings {
            scheduler: self.config.clone(),
            state: Some("/state".into()),
            failpoint: Failpoint::default(),
            snapshot_after: Some(self.faults.snapshot_after),
        };
        let written = Arc::new(WriteTotals::default());
        let _ = recorder::seen();
        let driver = Driver::recover(CLUSTER, recovered, &settings, written);
        let state = driver.state();
        let recorder = &state.catalog.recorder;
        self.note(|_| {
            format!("coordinator {index} recovers {:?} in {epoch}", recorder.history.len())
        });
        // Replayed effects are not told again.
        let length = recorder.history.len();
        let decided =
            recorder::seen().decided.into_iter().filter(|(at, _)| *at == length).collect();
        let left = self.left.take();
        if self.store.last_epoch() == Some(epoch) {
            self.history.on_recovery(&recorder.history)?;
            if let Some(left) = left {
                replay::check_replay(left, state, &self.config)?;
            }
        }
        size::check_size(state)?;
        self.epochs.on_recovery(epoch)?;
        let _ = recorder::seen();
        let coordinator = &mut self.coordinators[index];
        coordinator.held = decided;
        coordinator.started = self.now;
        coordinator.waiting = None;
        coordinator.role = Role::Deciding(Box::new(driver));
        self.run_driver(index)
    }

    /// Crashes a coordinator; what it has not told is lost.
    pub fn crash(&mut self, index: usize) {
        if self.coordinators[index].is_gone() {
            return;
        }
        self.note(|_| format!("coordinator {index} crashes"));
        let coordinator = &self.coordinators[index];
        let others = (0..self.coordinators.len())
            .any(|other| other != index && !self.coordinators[other].is_gone());
        if let Some(driver) = coordinator.driver() {
            let asked = coordinator.waiting.is_none() && coordinator.paused_until <= self.now;
            let newest = self.store.epoch_of(coordinator.nonce) == self.store.last_epoch();
            let all_durable = asked && newest && !others;
            self.left = all_durable.then(|| driver.state().clone());
        }
        self.crash_calls(index);
        self.exit(index);
    }

    /// Removes a coordinator. Another one is started if there is none.
    fn exit(&mut self, index: usize) {
        self.coordinators[index].role = Role::Gone;
        self.coordinator_gone(index);
        if self.coordinators.iter().all(Coordinator::is_gone) {
            let after = self.rng.millis(50, 6_000);
            self.later(after, Happening::StartCoordinator { unless_there: true });
        }
    }
}
