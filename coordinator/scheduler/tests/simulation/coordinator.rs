//! Model coordinators: processes that decide, with the journal, and carry effects out one by one. They crash between any two,
//! pause, and are replaced while they go on.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use windrow_jobs::{AttemptId, TaskId, WorkerId};
use windrow_scheduler::journal::{Answer, CallId, Epoch, Nonce, Takeover};
use windrow_scheduler::{Clock, Decider, Effect, Event, Time};

use crate::books::{Books, Note};
use crate::happening::Happening;
use crate::invariants::{leases, visible};
use crate::network::Link;
use crate::output::Publication;
use crate::store::{Records, Whole};
use crate::world::World;

/// One that has been silent for so long makes sure that it is still in charge.
pub const BEAT: Duration = Duration::from_secs(2);

pub struct Coordinator {
    pub role: Role,
    pub nonce: Nonce,
    pub paused_until: Time,
    /// Its sessions, with the connection that each has now.
    pub links: BTreeMap<WorkerId, Link>,
    /// Of the time since `started`.
    pub clock: Clock,
    pub started: Time,
    /// What waits while its clock stands still.
    pub waits: Vec<Happening>,
    /// What it has decided and not told: with the length of history that must be durable before.
    pub held: VecDeque<(usize, Effect)>,
    /// Since when the store is doing something for it.
    pub waiting: Option<Time>,
    pub recorded_at_beat: usize,
}

pub enum Role {
    TakingOver(Box<Takeover<Records, Whole, ()>>),
    Deciding(Box<Decider<Books>>),
    Gone,
}

impl Coordinator {
    pub fn decider(&self) -> Option<&Decider<Books>> {
        match &self.role {
            Role::Deciding(decider) => Some(decider),
            Role::TakingOver(_) | Role::Gone => None,
        }
    }

    fn decider_mut(&mut self) -> Option<&mut Decider<Books>> {
        match &mut self.role {
            Role::Deciding(decider) => Some(decider),
            Role::TakingOver(_) | Role::Gone => None,
        }
    }

    pub fn is_gone(&self) -> bool {
        matches!(self.role, Role::Gone)
    }

    fn time(&self, now: Time) -> Time {
        self.clock.time(now.since(self.started))
    }

    /// When it has something to do by itself.
    pub fn next_deadline(&self) -> Option<Time> {
        let deadline = self.decider()?.next_deadline().and_then(|at| self.clock.when(at));
        let at = deadline.into_iter().chain(self.clock.stops_at()).min()?;
        Some((self.started + at).max(self.paused_until))
    }

    /// Whether it decides nothing, and hears nothing but the store.
    pub fn stands_still(&mut self, now: Time) -> bool {
        self.clock.stop_if_due(now.since(self.started));
        self.clock.stands_still()
    }

    /// Keeps what happens until the store answers.
    pub fn put_off(&mut self, happening: Happening) {
        self.waits.push(happening);
    }

    /// For how long the store has been silent.
    pub fn unanswered_for(&self, now: Time) -> Duration {
        self.waiting.map_or(Duration::ZERO, |since| now.since(since))
    }
}

impl World {
    /// The store has answered.
    pub fn answered(
        &mut self,
        index: usize,
        id: CallId,
        answer: Answer<Records, Whole, ()>,
    ) -> Result<(), String> {
        let coordinator = &mut self.coordinators[index];
        let result = match &mut coordinator.role {
            Role::TakingOver(takeover) => match takeover.answer(id, answer) {
                Ok(Some(recovered)) => return self.recover(index, recovered),
                Ok(None) => {
                    self.ask_for_takeover(index);
                    return Ok(());
                }
                Err(error) => Err(error),
            },
            Role::Deciding(decider) => decider.answer(id, answer),
            Role::Gone => Ok(false),
        };
        match result {
            Ok(is_done) => {
                if is_done {
                    self.go_on(index);
                }
                self.pump(index)
            }
            Err(error) => self.stopped(index, &error),
        }
    }

    /// The store has done some of what it was asked for, which the coordinator may have waited for.
    fn go_on(&mut self, index: usize) {
        let coordinator = &mut self.coordinators[index];
        coordinator.waiting = None;
        coordinator.clock.store_done(self.now.since(coordinator.started));
        for happening in std::mem::take(&mut coordinator.waits) {
            self.later(Duration::ZERO, happening);
        }
    }

    /// Something happens to a coordinator.
    pub fn handle(&mut self, index: usize, event: Event) -> Result<(), String> {
        self.decide(index, event)?;
        self.pump(index)
    }

    fn decide(&mut self, index: usize, event: Event) -> Result<(), String> {
        let at = self.coordinators[index].time(self.now);
        let Some(decider) = self.coordinators[index].decider_mut() else { return Ok(()) };
        self.serial += 1;
        let note = Note { serial: self.serial, at };
        let line = self.trace.is_some().then(|| format!("{index} -> #{} {event:?}", self.serial));
        decider.handle(at, event, note);
        self.note(|_| line.unwrap_or_default());
        self.collect(index)
    }

    pub fn deadline(&mut self, index: usize) -> Result<(), String> {
        let now = self.now;
        if self.coordinators[index].stands_still(now) {
            self.note(|_| format!("coordinator {index} waits for the store"));
            return Ok(());
        }
        let at = self.coordinators[index].time(self.now);
        if let Some(decider) = self.coordinators[index].decider_mut()
            && let Some(event) = decider.due(at)
        {
            self.decide(index, event)?;
        }
        if let Some(decider) = self.coordinators[index].decider() {
            leases::check_silence(&decider.state().catalog.ledger)?;
        }
        self.pump(index)
    }

    /// Takes note of what was just decided, whether or not it will ever be told.
    pub fn collect(&mut self, index: usize) -> Result<(), String> {
        let coordinator = &mut self.coordinators[index];
        let Role::Deciding(decider) = &coordinator.role else { return Ok(()) };
        let state = decider.state();
        state.scheduler.check_invariants();
        state.catalog.check(&state.scheduler)?;
        let length = state.catalog.history.len();
        let decided = state.catalog.decided.iter().map(|effect| (length, effect.clone()));
        coordinator.held.extend(decided);
        Ok(())
    }

    /// Asks the store for what is to be done next, and carries out what may be told by now.
    pub fn pump(&mut self, index: usize) -> Result<(), String> {
        loop {
            let now = self.now;
            let coordinator = &mut self.coordinators[index];
            if coordinator.paused_until > now {
                let pause = coordinator.paused_until.since(now);
                self.later(pause, Happening::Pump(index));
                return Ok(());
            }
            let Role::Deciding(decider) = &mut coordinator.role else { return Ok(()) };
            if let Some((id, call)) = decider.next_call() {
                self.call(index, id, call);
                continue;
            }
            if decider.is_waiting() {
                coordinator.waiting.get_or_insert(now);
                coordinator.clock.store_asked(now.since(coordinator.started));
            }
            let Some(effect) = decider.next_effect() else { return Ok(()) };
            let epoch = decider.epoch();
            if self.strikes(self.faults.crash_between) {
                self.crash(index);
                return Ok(());
            }
            self.release(index, epoch, effect)?;
            if self.strikes(self.faults.pause_between) {
                let pause = self.rng.millis(1, 15_000);
                self.coordinators[index].paused_until = self.now + pause;
            }
        }
    }

    /// Somebody is told: from now on, it binds all coordinators.
    fn release(&mut self, index: usize, epoch: Epoch, effect: Effect) -> Result<(), String> {
        self.note(|_| format!("{index}    {effect:?}"));
        let coordinator = &mut self.coordinators[index];
        let Some((length, expected)) = coordinator.held.pop_front() else {
            return Err(format!("history: {effect:?} was never decided"));
        };
        if effect != expected {
            return Err(format!("history: {effect:?} is told instead of {expected:?}"));
        }
        if let Some(decider) = coordinator.decider() {
            if let Effect::Accepted { job, .. }
            | Effect::Publish { job, .. }
            | Effect::Assign { attempt: AttemptId { task: TaskId { job, .. }, .. }, .. } =
                &effect
                && let Some(known) = decider.state().catalog.ledger.jobs.get(job)
            {
                self.promises.submitted(*job, &known.plan);
                if decider.state().catalog.ledger.nondeterministic(*job) {
                    self.promises.may_be_revoked(*job);
                }
            }
            let books = &decider.state().catalog;
            self.history.on_release(&books.history[..length])?;
            self.epochs.on_release(index, epoch)?;
            let newest = self.epochs.newest_told() == epoch;
            self.promises.on_release(&effect, newest, &books.ledger)?;
        }
        self.carry_out(index, epoch, effect)
    }

    pub fn carry_out(&mut self, index: usize, epoch: Epoch, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::Accepted { request, job } => self.accepted(request.0 as usize / 2, job),
            Effect::NotSubmitted { .. } | Effect::CancelAnswered { .. } => {}
            Effect::Admitted { request, worker } => {
                self.welcome(index, epoch, request.0 as usize / 2, worker);
            }
            Effect::TooLate { request } => self.too_late(index, request.0 as usize / 2),
            Effect::Publish { job, winners } => {
                let publication = Publication { job, winners, done: 0 };
                self.later(Duration::ZERO, Happening::Publish(index, publication));
            }
            Effect::Ended { job, outcome } => {
                if outcome == windrow_scheduler::Outcome::Succeeded {
                    visible::check_success(job, &self.output, &self.promises)?;
                }
                self.sweep(index, job);
            }
            Effect::Noted { worker, .. }
            | Effect::Assign { worker, .. }
            | Effect::CancelAttempt { worker, .. }
            | Effect::Drained { worker }
            | Effect::EndSession { worker, .. }
            | Effect::Release { worker, .. } => self.order(index, epoch, worker, effect),
        }
        Ok(())
    }

    pub fn beat(&mut self, index: usize) -> Result<(), String> {
        let coordinator = &mut self.coordinators[index];
        let Role::Deciding(decider) = &coordinator.role else { return Ok(()) };
        let recorded = decider.state().catalog.history.len();
        let silent = coordinator.recorded_at_beat == recorded && coordinator.waiting.is_none();
        coordinator.recorded_at_beat = recorded + usize::from(silent);
        self.later(BEAT, Happening::Beat(index));
        if silent {
            return self.handle(index, Event::Elapsed { timers: Vec::new() });
        }
        Ok(())
    }

    /// The newest coordinator that decides.
    pub fn leader(&self) -> Option<&Decider<Books>> {
        self.coordinators.iter().filter_map(Coordinator::decider).max_by_key(|d| d.epoch())
    }
}
