//! Writing the log of one's own epoch: one object at a time, each with all records that have come meanwhile.
//!
//! A long log is cut by beginning another epoch: the next number is taken, the log sealed, and the state written at the
//! start of the next log. Then all logs before can go.

use std::collections::VecDeque;
use std::sync::Arc;

use super::call::{Answer, Call, Fenced, JournalError};
use super::object::{Body, Epoch, Key, Nonce, Object, Slot};

/// Most records in one object, so that none is too large for a store.
const RECORDS_MAX: usize = 4_096;

/// Appends records. Ask for the [`next call`](Self::next_call), carry it out, and tell the [`answer`](Self::answer).
#[derive(Clone, Debug)]
pub struct Appender<R, S> {
    /// The last that is ours for certain: another coordinator may win the race for the one after.
    epoch: Epoch,
    /// That of the log to which `slot` belongs, and which may still be to begin.
    log: Epoch,
    nonce: Nonce,
    /// The next free one.
    slot: Slot,
    steps: VecDeque<Step<R, S>>,
    asked: Asked,
    /// Not in a step yet.
    queue: VecDeque<R>,
    pushed: u64,
    durable: Option<u64>,
    since_snapshot: u64,
    steps_done: u64,
}

/// Something to be done before all that follows.
#[derive(Clone, Debug)]
enum Step<R, S> {
    Create {
        key: Key,
        object: Object<R, S>,
        /// How many records are durable when it is there, if that changes.
        durable: Option<u64>,
    },
    DeleteUpTo(Epoch),
}

/// What the store is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// Nothing.
    Nothing,
    /// The first step is to be looked at, since its outcome is not known.
    Unclear,
    /// The first step.
    Step,
    /// To read what the first step should have created.
    Read,
}

impl<R: Clone, S: Clone> Appender<R, S> {
    /// Goes on in an epoch that has begun, from `state`.
    pub fn new(epoch: Epoch, nonce: Nonce, state: Arc<S>) -> Self {
        let mut appender = Self {
            epoch,
            log: epoch,
            nonce,
            slot: Slot(0),
            steps: VecDeque::new(),
            asked: Asked::Nothing,
            queue: VecDeque::new(),
            pushed: 0,
            durable: None,
            since_snapshot: 0,
            steps_done: 0,
        };
        appender.begin_log(state);
        appender
    }

    /// The epoch in which it decides: the last one that nobody else can have.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Takes a record, and returns its number: 1 for the first, and so on.
    pub fn push(&mut self, record: R) -> u64 {
        self.queue.push_back(record);
        self.pushed += 1;
        self.since_snapshot += 1;
        self.pushed
    }

    /// Records taken.
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Records that are durable: all up to the one with this number. `None` until the epoch's first state is.
    pub fn durable(&self) -> Option<u64> {
        self.durable
    }

    /// Records since the last state was written.
    pub fn since_snapshot(&self) -> u64 {
        self.since_snapshot
    }

    /// What the store has done so far: grows whenever nothing more is to be done about what it was asked for.
    pub fn steps_done(&self) -> u64 {
        self.steps_done
    }

    /// Begins another epoch with `state`, in which all records so far are contained.
    pub fn roll(&mut self, state: Arc<S>) {
        self.queue.clear();
        let next = self.log.next();
        // What is in flight comes first, so that the seal takes the slot after it.
        self.create(Key::Epoch(next), next, Body::Begin);
        self.create(Key::Log(self.log, self.slot), next, Body::Seal);
        self.log = next;
        self.begin_log(state);
    }

    /// What the store is to do next, unless it is busy or there is nothing to do.
    pub fn next_call(&mut self) -> Option<Call<R, S>> {
        if matches!(self.asked, Asked::Step | Asked::Read) {
            return None;
        }
        if self.steps.is_empty() && !self.queue.is_empty() {
            self.append_queue();
        }
        let call = match (self.asked, self.steps.front()?) {
            (Asked::Unclear, Step::Create { key, .. }) => {
                self.asked = Asked::Read;
                return Some(Call::Read(*key));
            }
            (_, Step::Create { key, object, .. }) => Call::Create(*key, object.clone()),
            (_, Step::DeleteUpTo(epoch)) => Call::DeleteUpTo(*epoch),
        };
        self.asked = Asked::Step;
        Some(call)
    }

    /// What the store has answered.
    ///
    /// # Errors
    /// When another coordinator has taken over, or the journal is damaged. Nothing more must be appended then.
    pub fn answer(&mut self, answer: Answer<R, S>) -> Result<(), JournalError> {
        let Some(step) = self.steps.front() else { return Ok(()) };
        if let Answer::Refused(message) = answer {
            return Err(JournalError::Refused(message));
        }
        self.asked = match (step, self.asked, answer) {
            (Step::DeleteUpTo(_), ..) | (Step::Create { .. }, _, Answer::Created) => {
                self.step_done();
                Asked::Nothing
            }
            (Step::Create { .. }, Asked::Read, Answer::Found(object)) => {
                if object.nonce != self.nonce {
                    return Err(Fenced { by: object.epoch }.into());
                }
                self.step_done();
                Asked::Nothing
            }
            // It has not been done; if it is done later, it is by this very call.
            (Step::Create { .. }, Asked::Read, Answer::Absent) => Asked::Nothing,
            (Step::Create { key, .. }, Asked::Read, Answer::Damaged { message, .. }) => {
                return Err(JournalError::Damaged { key: *key, message });
            }
            (Step::Create { .. }, ..) => Asked::Unclear,
        };
        Ok(())
    }

    fn begin_log(&mut self, state: Arc<S>) {
        self.since_snapshot = 0;
        self.slot = Slot(0);
        self.create(Key::Log(self.log, self.slot), self.log, Body::Snapshot(state));
        self.slot = self.slot.next();
        self.steps.push_back(Step::DeleteUpTo(Epoch(self.log.0 - 1)));
    }

    fn append_queue(&mut self) {
        let count = self.queue.len().min(RECORDS_MAX);
        let records: Vec<_> = self.queue.drain(..count).collect();
        let durable = Some(self.pushed - self.queue.len() as u64);
        let key = Key::Log(self.log, self.slot);
        let body = Body::Records(Arc::new(records));
        let object = Object { epoch: self.log, nonce: self.nonce, body };
        self.steps.push_back(Step::Create { key, object, durable });
        self.slot = self.slot.next();
    }

    fn create(&mut self, key: Key, epoch: Epoch, body: Body<R, S>) {
        let durable = matches!(body, Body::Snapshot(_)).then_some(self.pushed);
        let object = Object { epoch, nonce: self.nonce, body };
        self.steps.push_back(Step::Create { key, object, durable });
    }

    fn step_done(&mut self) {
        self.steps_done += 1;
        if let Some(Step::Create { object, durable, .. }) = self.steps.pop_front() {
            self.durable = self.durable.max(durable);
            if matches!(object.body, Body::Snapshot(_)) {
                self.epoch = object.epoch;
            }
        }
    }
}
