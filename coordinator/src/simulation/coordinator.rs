//! A coordinator process: the shipped driver with a model of its shell. It may be paused, crash
//! between any two actions, and be replaced while it runs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use windrow_jobs::{AttemptId, TaskId, WorkerId};
use windrow_scheduler::journal::{Answer, CallId, Nonce, Takeover};
use windrow_scheduler::{Effect, Outcome, Time, Unpublished};

use crate::driver::{Action, Command, Driver, DriverAttachment, DriverRecord, DriverState};
use crate::output::OutputPaths;
use crate::simulation::client::Request;
use crate::simulation::happening::{Done, Happening};
use crate::simulation::invariants::{leases, visible};
use crate::simulation::network::Call;
use crate::simulation::output::Publication;
use crate::simulation::recorder;
use crate::simulation::world::World;

pub struct Coordinator {
    pub role: Role,
    pub nonce: Nonce,
    pub paused_until: Time,
    /// When its driver's time began.
    pub started: Time,
    /// The calls of workers that have said hello, by connection.
    pub calls: BTreeMap<usize, Call>,
    /// Requests of clients that it has not answered.
    pub requests: Vec<Request>,
    /// What waits in its sockets while it accepts nothing.
    pub waits: VecDeque<Happening>,
    /// Effects that it has decided and not carried out, each with the length of history that must
    /// be durable first.
    pub held: VecDeque<(usize, Effect)>,
    /// Since when it waits for the store.
    pub waiting: Option<Time>,
    /// How many messages wait in the sockets of each connection since it was paused.
    pub unread: BTreeMap<usize, u32>,
    /// Workers whose leases were far from their end when it was paused.
    pub safe: BTreeSet<WorkerId>,
    /// The output folders that it has taken, with its locks.
    pub folders: BTreeMap<OutputPaths, u64>,
}

pub enum Role {
    TakingOver(Box<Takeover<DriverRecord, DriverState, DriverAttachment>>),
    Deciding(Box<Driver>),
    Gone,
}

impl Coordinator {
    pub fn driver(&self) -> Option<&Driver> {
        match &self.role {
            Role::Deciding(driver) => Some(driver),
            Role::TakingOver(_) | Role::Gone => None,
        }
    }

    pub fn driver_mut(&mut self) -> Option<&mut Driver> {
        match &mut self.role {
            Role::Deciding(driver) => Some(driver),
            Role::TakingOver(_) | Role::Gone => None,
        }
    }

    pub fn is_gone(&self) -> bool {
        matches!(self.role, Role::Gone)
    }

    /// When its shell wakes by a timer.
    pub fn wakes_at(&self) -> Option<Time> {
        let at = self.driver()?.wakes_at()?;
        Some((self.started + at).max(self.paused_until))
    }

    /// Whether it reads from its sockets.
    pub fn has_room(&self) -> bool {
        self.driver().is_none_or(Driver::has_room)
    }

    /// How long the store has been silent.
    pub fn unanswered_for(&self, now: Time) -> Duration {
        self.waiting.map_or(Duration::ZERO, |since| now.since(since))
    }
}

impl World {
    /// Handles an answer of the store.
    pub fn answered(
        &mut self,
        index: usize,
        id: CallId,
        answer: Answer<DriverRecord, DriverState, DriverAttachment>,
    ) -> Result<(), String> {
        let now = self.now;
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
            Role::Deciding(driver) => {
                let answered = driver.answered(now.since(coordinator.started), id, answer);
                // More is durable: the store is not silent.
                answered
                    .map(|is_more| coordinator.waiting = coordinator.waiting.filter(|_| !is_more))
            }
            Role::Gone => return Ok(()),
        };
        match result {
            Ok(()) => self.run_driver(index),
            Err(error) => self.stopped(index, &error),
        }
    }

    /// Delivers a command to a coordinator.
    pub fn command(&mut self, index: usize, command: Command) -> Result<(), String> {
        if let Some(driver) = self.coordinators[index].driver_mut() {
            driver.arrived(command);
        }
        self.run_driver(index)
    }

    /// The shell: runs turns as long as there is something to do.
    pub fn run_driver(&mut self, index: usize) -> Result<(), String> {
        loop {
            let now = self.now;
            let coordinator = &mut self.coordinators[index];
            let real = now.since(coordinator.started);
            if coordinator.paused_until > now {
                return Ok(());
            }
            let Some(driver) = coordinator.driver_mut() else { return Ok(()) };
            driver.turn(real);
            coordinator.waiting = match driver.waits_for_store() {
                true => coordinator.waiting.or(Some(now)),
                false => None,
            };
            self.take_note(index)?;
            if !self.act(index)? {
                return Ok(());
            }
            self.answer_clients(index)?;
            self.speak(index)?;
            let coordinator = &self.coordinators[index];
            let Some(driver) = coordinator.driver() else { return Ok(()) };
            if driver.wakes_at().is_none_or(|at| at > real) {
                break;
            }
        }
        self.read_on(index);
        let coordinator = &self.coordinators[index];
        match coordinator.driver() {
            Some(driver) if driver.has_room() => {
                leases::check_silence(driver.shows(), &driver.state().catalog.recorder.ledger)
            }
            _ => Ok(()),
        }
    }

    /// Reads again from the sockets.
    fn read_on(&mut self, index: usize) {
        if self.coordinators[index].has_room() {
            for happening in std::mem::take(&mut self.coordinators[index].waits) {
                self.later(Duration::ZERO, happening);
            }
        }
    }

    /// Checks what was just decided and told: once told, it binds all coordinators.
    pub fn take_note(&mut self, index: usize) -> Result<(), String> {
        let recorder::Recorded { decided, told, events } = recorder::seen();
        for event in events.into_iter().flatten() {
            self.note(|_| format!("{index} -> {event}"));
        }
        decided.iter().try_for_each(|(_, effect)| self.check_heard(index, effect))?;
        let coordinator = &mut self.coordinators[index];
        coordinator.held.extend(decided);
        if let Role::Deciding(driver) = &coordinator.role {
            let state = driver.state();
            state.scheduler.check_invariants();
            state.catalog.recorder.check(&state.scheduler)?;
        }
        told.into_iter().try_for_each(|effect| self.told(index, effect))
    }

    fn told(&mut self, index: usize, effect: Effect) -> Result<(), String> {
        self.note(|_| format!("{index}    {effect:?}"));
        let coordinator = &mut self.coordinators[index];
        let Some((length, expected)) = coordinator.held.pop_front() else {
            return Err(format!("history: {effect:?} was never decided"));
        };
        if effect != expected {
            return Err(format!("history: {effect:?} is told instead of {expected:?}"));
        }
        let Role::Deciding(driver) = &coordinator.role else { return Ok(()) };
        let epoch = driver.epoch();
        let recorder = &driver.state().catalog.recorder;
        // A coordinator may die before it tells that it has accepted a job; the next one runs it.
        if let Effect::Accepted { job, .. }
        | Effect::Assign { attempt: AttemptId { task: TaskId { job, .. }, .. }, .. } = &effect
            && let Some(work) = driver.state().catalog.work(*job)
        {
            self.places.insert(*job, work.paths.clone());
        }
        if let Effect::Accepted { job, .. }
        | Effect::Publish { job, .. }
        | Effect::Noted { attempt: AttemptId { task: TaskId { job, .. }, .. }, .. }
        | Effect::Assign { attempt: AttemptId { task: TaskId { job, .. }, .. }, .. } = &effect
            && let Some(known) = recorder.ledger.jobs.get(job)
        {
            self.promises.submitted(*job, &known.plan);
            if recorder.ledger.nondeterministic(*job) {
                self.promises.may_be_revoked(*job);
            }
        }
        if let Effect::Ended { job, outcome } = &effect {
            visible::check_given_up(*job, outcome, &self.output, &self.config)?;
            if *outcome == Outcome::Succeeded {
                visible::check_success(*job, &self.output, &self.promises)?;
            }
        }
        self.history.on_release(&recorder.history[..length])?;
        self.epochs.on_release(index, epoch)?;
        let newest = self.epochs.newest_told() == epoch;
        self.promises.on_release(&effect, newest, &recorder.ledger)
    }

    /// Carries out the driver's actions. False if it crashes or is paused in the middle.
    fn act(&mut self, index: usize) -> Result<bool, String> {
        loop {
            if self.coordinators[index].paused_until > self.now {
                return Ok(false);
            }
            let Some(driver) = self.coordinators[index].driver_mut() else { return Ok(false) };
            let Some(action) = driver.next_action() else { return Ok(true) };
            if self.falters(index) {
                return Ok(false);
            }
            self.carry_out(index, action)?;
        }
    }

    /// Whether a coordinator crashes now. It may instead be paused after its next action.
    pub fn falters(&mut self, index: usize) -> bool {
        if self.strikes(self.faults.crash_between) {
            self.crash(index);
            return true;
        }
        if self.strikes(self.faults.pause_between) {
            let pause = self.rng.millis(1, 25_000);
            self.pause(index, pause);
        }
        false
    }

    /// Suspends the process for a while: messages wait in its sockets.
    pub fn pause(&mut self, index: usize, pause: Duration) {
        self.note(|_| format!("coordinator {index} pauses for {pause:?}"));
        // A second pause does not shorten the first.
        let until = self.coordinators[index].paused_until.max(self.now + pause);
        let margin = self.config.lease / 4;
        let coordinator = &mut self.coordinators[index];
        coordinator.paused_until = until;
        if let Some(driver) = coordinator.driver() {
            let (now, ledger) = (driver.shows(), &driver.state().catalog.recorder.ledger);
            let sessions = ledger.sessions.iter();
            let safe = sessions.filter(|(_, session)| session.lease_ends.since(now) > margin);
            coordinator.safe = safe.map(|(worker, _)| *worker).collect();
        }
        self.later(pause, Happening::Wake(index));
    }

    /// Keeps a message in a socket of a paused coordinator.
    pub fn wait_unread(&mut self, index: usize, happening: Happening) -> Happening {
        let Happening::Said(id, ..) = happening else { return happening };
        *self.coordinators[index].unread.entry(id).or_default() += 1;
        Happening::Unread(Box::new(happening))
    }

    pub fn read_unread(&mut self, said: Happening) -> Result<(), String> {
        let Happening::Said(id, sent, event) = said else { return Ok(()) };
        let unread = &mut self.coordinators[self.connections[id].coordinator].unread;
        if let Some(count) = unread.get_mut(&id) {
            *count -= 1;
        }
        self.said(id, sent, event)
    }

    /// Checks that no worker is lost for its silence while its messages were waiting unread at a
    /// paused coordinator.
    fn check_heard(&self, index: usize, effect: &Effect) -> Result<(), String> {
        let Effect::EndSession { worker, .. } = effect else { return Ok(()) };
        let coordinator = &self.coordinators[index];
        let speaks = coordinator.calls.iter().any(|(id, call)| {
            call.worker() == Some(*worker) && coordinator.unread.get(id).is_some_and(|n| *n > 0)
        });
        leases::check_heard(*worker, speaks && coordinator.safe.contains(worker))
    }

    fn carry_out(&mut self, index: usize, action: Action) -> Result<(), String> {
        match action {
            Action::Store(id, call) => self.call(index, id, call),
            Action::TakeFolder { job, paths, after, ended, .. } => {
                self.check_in_charge(index, paths.output())?;
                let after = after + self.rng.millis(0, 300);
                self.later(after, Happening::TakeFolder(index, job, paths, ended));
            }
            Action::Publish { job, paths, publication, stop } => {
                let publication = match publication.and_then(|publication| publication.look_up()) {
                    Ok(publication) => Publication {
                        job,
                        epoch: publication.epoch,
                        winners: publication.parts.iter().map(|part| part.attempt).collect(),
                        done: 0,
                        paths,
                        stop,
                    },
                    Err(cause) => {
                        let cause = Unpublished { cause: Box::new(cause), may_pass: false };
                        self.done(index, Duration::ZERO, Done::Published(job, Err(cause)));
                        return Ok(());
                    }
                };
                self.later(Duration::ZERO, Happening::Publish(index, publication));
            }
            Action::CleanUp { job, paths, succeeded } => {
                let after = self.rng.millis(0, 300);
                self.later(after, Happening::CleanUp(index, job, paths, succeeded));
            }
            Action::GiveBack { paths } => self.give_back(index, &paths),
        }
        Ok(())
    }

    /// Schedules the result of an operation beside the driver.
    pub fn done(&mut self, index: usize, after: Duration, result: Done) {
        self.later(after, Happening::Done(index, result));
    }

    /// The driver that decides in the newest epoch.
    pub fn leader(&self) -> Option<&Driver> {
        self.coordinators.iter().filter_map(Coordinator::driver).max_by_key(|d| d.epoch())
    }
}
