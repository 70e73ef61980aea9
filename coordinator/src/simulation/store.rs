//! The model store of the journal: objects that are created once. A call is applied at one moment
//! and answered at another, perhaps much later and out of order; or it is refused, applied and
//! answered with an error, or applied long after the error. A sweep deletes objects one by one, and
//! may stop half-way.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use windrow_scheduler::journal::{
    Answer, Body, Call, CallId, Epoch, Key, Listing, Nonce, Object, Sweep, SweepStage,
};

use crate::driver::{DriverAttachment, DriverRecord, DriverState};
use crate::simulation::happening::Happening;
use crate::simulation::world::World;

/// The receiver of the late answer to a call that was reported as failed.
const NOBODY: usize = usize::MAX;

type StoreCall = Call<DriverRecord, DriverState, DriverAttachment>;
type Reply = Answer<DriverRecord, DriverState, DriverAttachment>;

#[derive(Default)]
pub struct Store {
    /// Objects by key. `None`: a torn write.
    objects: BTreeMap<Key, Option<Object<DriverRecord, DriverState, DriverAttachment>>>,
    /// Calls that are not applied or answered yet.
    pending: BTreeMap<u64, Pending>,
    /// Coordinators that have appended a record.
    begun: BTreeSet<Nonce>,
    calls: u64,
}

struct Pending {
    coordinator: usize,
    id: CallId,
    call: StoreCall,
    /// A false answer, if there is one, and the time from the call's application to the answer.
    lie: Option<Reply>,
    answered_after: Duration,
}

impl Store {
    /// The newest epoch that has begun.
    pub fn last_epoch(&self) -> Option<Epoch> {
        self.listing().epochs.last().copied()
    }

    /// The newest epoch that this coordinator has begun.
    pub fn epoch_of(&self, nonce: Nonce) -> Option<Epoch> {
        let begun = self.objects.iter().filter_map(|(key, object)| match (key, object) {
            (Key::Epoch(epoch), Some(object)) if object.nonce == nonce => Some(*epoch),
            _ => None,
        });
        begun.max()
    }

    /// Whether a coordinator has ever appended a record: before that, its epoch may be another's.
    pub fn has_begun(&self, nonce: Nonce) -> bool {
        self.begun.contains(&nonce)
    }

    /// Number of objects.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    fn listing(&self) -> Listing {
        self.objects.keys().copied().collect()
    }

    fn perform(&mut self, call: StoreCall) -> Reply {
        match call {
            Call::List => Answer::Listed(self.listing()),
            Call::Licences => {
                let epochs = self.listing().epochs;
                Answer::Listed(Listing { epochs, ..Listing::default() })
            }
            Call::Create(key, _) if self.objects.contains_key(&key) => Answer::Exists,
            Call::Create(key, object) => {
                if matches!(object.body, Body::Records { .. }) {
                    self.begun.insert(object.nonce);
                }
                self.objects.insert(key, Some(object));
                Answer::Created
            }
            Call::Read(key) => match self.objects.get(&key) {
                Some(Some(object)) => Answer::Found(object.clone()),
                Some(None) => Answer::Damaged { torn: true, message: "it breaks off".into() },
                None => Answer::Absent,
            },
            Call::Sweep(sweep) => {
                self.objects.retain(|key, _| !sweep.deletes(*key));
                Answer::Swept
            }
        }
    }

    /// Decides the fate of the calls of a crashed coordinator: each may be lost, applied in part,
    /// or applied later.
    fn crash(&mut self, coordinator: usize, mut fate: impl FnMut() -> u64) {
        let of_coordinator =
            self.pending.iter().filter(|(_, pending)| pending.coordinator == coordinator);
        let ids: Vec<_> = of_coordinator.map(|(id, _)| *id).collect();
        for id in ids {
            let fate = fate();
            if fate > 0
                && let Some(Pending { call: Call::Create(key, _), .. }) = self.pending.remove(&id)
                && fate > 1
            {
                self.objects.entry(key).or_insert(None);
            }
        }
    }
}

impl World {
    /// Sends a call to the store.
    pub fn call(&mut self, coordinator: usize, id: CallId, call: StoreCall) {
        let faults = &self.faults;
        let (refuse, fail, defer, conflict, slow, hang) = (
            faults.refuse,
            faults.fail_applied,
            faults.defer,
            faults.conflict,
            faults.slow_store,
            faults.hang_store,
        );
        let mut applied_after = self.rng.millis(0, 20);
        let mut answered_after = self.rng.millis(0, 20);
        if self.strikes(slow) {
            applied_after += self.rng.millis(0, 8_000);
            answered_after += self.rng.millis(0, 8_000);
        }
        if self.strikes(hang) {
            let before = self.rng.chance(500);
            let hangs = self.rng.millis(5_000, 40_000);
            *if before { &mut applied_after } else { &mut answered_after } += hangs;
        }
        if let Call::Sweep(sweep) = &call {
            self.sweep_slowly(sweep.clone());
            applied_after += self.rng.millis(0, 5_000);
        }
        let mut lie = None;
        if self.strikes(refuse) {
            return self.tell_answer(coordinator, id, applied_after, Answer::Failed);
        } else if self.strikes(conflict) && matches!(call, Call::Create(..)) {
            return self.tell_answer(coordinator, id, applied_after, Answer::Exists);
        } else if self.strikes(defer) {
            self.tell_answer(coordinator, id, answered_after, Answer::Failed);
            applied_after += self.rng.millis(0, 20_000);
            // The later answer has no receiver any more.
            return self.pend(NOBODY, id, call, lie, applied_after, answered_after);
        } else if self.strikes(fail) {
            lie = Some(Answer::Failed);
        }
        self.pend(coordinator, id, call, lie, applied_after, answered_after);
    }

    fn pend(
        &mut self,
        coordinator: usize,
        id: CallId,
        call: StoreCall,
        lie: Option<Reply>,
        applied_after: Duration,
        answered_after: Duration,
    ) {
        self.store.calls += 1;
        let pending = Pending { coordinator, id, call, lie, answered_after };
        self.store.pending.insert(self.store.calls, pending);
        self.later(applied_after, Happening::Apply(self.store.calls));
    }

    /// Deletes some objects of a sweep early, whatever becomes of the sweep.
    fn sweep_slowly(&mut self, sweep: Sweep) {
        let some = self.rng.below(1_001);
        let keys: Vec<_> = self.store.objects.keys().copied().collect();
        for key in keys {
            if sweep.deletes(key) && self.rng.chance(some) {
                let after = self.rng.millis(0, 5_000);
                self.later(after, Happening::Vanish(key));
            }
        }
    }

    /// Deletes an object.
    pub fn vanish(&mut self, key: Key) {
        self.note(|_| format!("store: {key} is deleted"));
        self.store.objects.remove(&key);
    }

    /// Applies a call.
    pub fn apply(&mut self, number: u64) {
        let Some(Pending { coordinator, id, call, lie, answered_after }) =
            self.store.pending.remove(&number)
        else {
            return;
        };
        self.note(|_| format!("store <- {}", summary(&call)));
        let truth = self.store.perform(call);
        if coordinator < self.coordinators.len() {
            self.tell_answer(coordinator, id, answered_after, lie.unwrap_or(truth));
        }
    }

    fn tell_answer(&mut self, coordinator: usize, id: CallId, after: Duration, answer: Reply) {
        self.later(after, Happening::Answered(coordinator, id, Box::new(answer)));
    }

    /// Decides the fate of the calls that a coordinator was waiting for when it crashed.
    pub fn crash_calls(&mut self, coordinator: usize) {
        let torn = self.faults.torn;
        let storm = self.storm();
        let rng = &mut self.rng;
        self.store.crash(coordinator, || if storm && rng.chance(torn) { 2 } else { rng.below(2) });
    }
}

fn summary(call: &StoreCall) -> String {
    match call {
        Call::List => "list".into(),
        Call::Licences => "list licences".into(),
        Call::Read(key) => format!("read {key}"),
        Call::Sweep(Sweep { below, stage: SweepStage::Logs }) => {
            format!("sweep logs below {below}")
        }
        Call::Sweep(Sweep { below, .. }) => format!("sweep licences below {below}"),
        Call::Create(key, object) => match &object.body {
            Body::Begin => format!("create {key}: begin {}", object.epoch),
            Body::Seal { holds } => {
                format!("create {key}: seal by {}, {} slots count", object.epoch, holds.0)
            }
            Body::State(state) => {
                format!("create {key}: state after {} events", state.catalog.recorder.history.len())
            }
            Body::Attachment(_) => format!("create {key}"),
            Body::Records { holds, records } => {
                format!("create {key}: {} events, {} slots are durable", records.len(), holds.0)
            }
        },
    }
}
