//! The model store of the journal: objects that are created once. What is asked of it is done at a moment of its own and
//! answered at another, perhaps long after, or is refused, or done and answered with an error, or done long after the error.

use std::collections::BTreeMap;
use std::time::Duration;

use windrow_scheduler::journal::{Answer, Body, Call, Epoch, Key, Nonce, Object};
use windrow_scheduler::{Record, State};

use crate::books::{Books, Note};
use crate::happening::Happening;
use crate::world::World;

pub type Records = Record<Note>;
pub type Whole = State<Books>;
type Reply = Answer<Records, Whole>;

#[derive(Default)]
pub struct Store {
    /// `None`: it breaks off.
    objects: BTreeMap<Key, Option<Object<Records, Whole>>>,
    /// What is still to be done.
    pending: BTreeMap<u64, Pending>,
    calls: u64,
}

struct Pending {
    coordinator: usize,
    call: Call<Records, Whole>,
    /// What is said instead of what is true, if anything, and when after it was done.
    lie: Option<Reply>,
    answered_after: Duration,
}

impl Store {
    /// The newest epoch that has begun.
    pub fn last_epoch(&self) -> Option<Epoch> {
        let epochs = self.objects.keys().filter_map(|key| match key {
            Key::Epoch(epoch) => Some(*epoch),
            Key::Log(..) => None,
        });
        epochs.max()
    }

    /// The newest epoch that this coordinator has begun.
    pub fn epoch_of(&self, nonce: Nonce) -> Option<Epoch> {
        let begun = self.objects.iter().filter_map(|(key, object)| match (key, object) {
            (Key::Epoch(epoch), Some(object)) if object.nonce == nonce => Some(*epoch),
            _ => None,
        });
        begun.max()
    }

    fn perform(&mut self, call: Call<Records, Whole>) -> Reply {
        match call {
            Call::LastEpoch => Answer::LastEpoch(self.last_epoch()),
            Call::Create(key, _) if self.objects.contains_key(&key) => Answer::Exists,
            Call::Create(key, object) => {
                self.objects.insert(key, Some(object));
                Answer::Created
            }
            Call::Read(key) => match self.objects.get(&key) {
                Some(Some(object)) => Answer::Found(object.clone()),
                Some(None) => Answer::Damaged { torn: true, message: "it breaks off".into() },
                None => Answer::Absent,
            },
            Call::DeleteUpTo(epoch) => {
                self.objects.retain(|key, object| match (key, object) {
                    (Key::Log(of, _), Some(object)) => {
                        *of > epoch || matches!(object.body, Body::Seal)
                    }
                    (Key::Log(..), None) | (Key::Epoch(_), _) => true,
                });
                Answer::Deleted
            }
        }
    }

    /// A coordinator has crashed: what it had asked for may be lost, done in part, or still be done.
    fn crash(&mut self, coordinator: usize, fate: u64) {
        let mut of_coordinator =
            self.pending.iter().filter(|(_, pending)| pending.coordinator == coordinator);
        let Some((&id, _)) = of_coordinator.next() else { return };
        if fate > 0
            && let Some(Pending { call: Call::Create(key, _), .. }) = self.pending.remove(&id)
            && fate > 1
        {
            self.objects.entry(key).or_insert(None);
        }
    }
}

impl World {
    /// Asks the store for something.
    pub fn call(&mut self, coordinator: usize, call: Call<Records, Whole>) {
        self.store.calls += 1;
        let id = self.store.calls;
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
        let mut lie = None;
        if self.strikes(refuse) {
            return self.tell_answer(coordinator, applied_after, Answer::Failed);
        } else if self.strikes(conflict) && matches!(call, Call::Create(..)) {
            return self.tell_answer(coordinator, applied_after, Answer::Exists);
        } else if self.strikes(defer) {
            self.tell_answer(coordinator, answered_after, Answer::Failed);
            applied_after += self.rng.millis(0, 20_000);
            // Whatever it says then, nobody listens any more.
            let listener = usize::MAX;
            let pending = Pending { coordinator: listener, call, lie, answered_after };
            self.store.pending.insert(id, pending);
            return self.later(applied_after, Happening::Apply(id));
        } else if self.strikes(fail) {
            lie = Some(Answer::Failed);
        }
        self.store.pending.insert(id, Pending { coordinator, call, lie, answered_after });
        self.later(applied_after, Happening::Apply(id));
    }

    /// Something that was asked for is done now.
    pub fn apply(&mut self, id: u64) {
        let Some(Pending { coordinator, call, lie, answered_after }) =
            self.store.pending.remove(&id)
        else {
            return;
        };
        self.note(|_| format!("store <- {}", summary(&call)));
        let truth = self.store.perform(call);
        if coordinator < self.coordinators.len() {
            self.tell_answer(coordinator, answered_after, lie.unwrap_or(truth));
        }
    }

    fn tell_answer(&mut self, coordinator: usize, after: Duration, answer: Reply) {
        self.later(after, Happening::Answered(coordinator, Box::new(answer)));
    }

    /// What becomes of the call that a coordinator was waiting for when it crashed.
    pub fn crash_calls(&mut self, coordinator: usize) {
        let torn = self.faults.torn;
        let fate = if self.strikes(torn) { 2 } else { self.rng.below(2) };
        self.store.crash(coordinator, fate);
    }
}

fn summary(call: &Call<Records, Whole>) -> String {
    match call {
        Call::LastEpoch => "last epoch?".into(),
        Call::Read(key) => format!("read {key}"),
        Call::DeleteUpTo(epoch) => format!("delete up to {epoch}"),
        Call::Create(key, object) => match &object.body {
            Body::Begin => format!("create {key}: begin {}", object.epoch),
            Body::Seal => format!("create {key}: seal by {}", object.epoch),
            Body::Snapshot(state) => {
                format!("create {key}: state after {} events", state.catalog.history.len())
            }
            Body::Records(records) => {
                let serials: Vec<_> = records.iter().map(|record| record.note.serial).collect();
                format!("create {key}: events {serials:?}")
            }
        },
    }
}
