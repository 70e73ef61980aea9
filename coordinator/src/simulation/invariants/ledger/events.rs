//! The ledger's entries from events.

use windrow_jobs::{AttemptId, FailureCause, StageId, TaskId, WorkerId};
use windrow_scheduler::{Config, Event, Inventory, RequestId, Time};

use super::{Job, Ledger, Session, Status};

impl Ledger {
    pub fn on_event(&mut self, now: Time, event: &Event) {
        self.now = now;
        self.returning = None;
        self.took_over = false;
        self.backed_up.clear();
        self.won = None;
        self.poisoned = None;
        match event {
            Event::Submit { plan, .. } => self.submitted = Some(plan.clone()),
            Event::WorkerJoined { request, offer } => {
                self.joining = Some((*request, offer.clone()));
            }
            Event::WorkerReturned { request, worker, inventory } => {
                self.come_back(*request, *worker, inventory);
            }
            Event::WorkerDisconnected { worker, connection } => self.go_away(*worker, *connection),
            Event::Cancel { job, .. } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.cancelled = true;
                }
            }
            Event::WorkerLeft { worker, .. } => self.lose(*worker),
            Event::WorkerDraining { worker } => {
                if let Some(session) = self.hear(*worker) {
                    session.draining = true;
                }
                self.look_around();
            }
            Event::Heartbeat { worker, .. } => drop(self.hear(*worker)),
            Event::AttemptDone { worker, attempt, stats } => {
                self.report(*worker, *attempt, Status::Done);
                if self.won.is_some() && attempt.task.stage == StageId::MAP {
                    // By the emitted pairs, if they are known.
                    let says = stats.emitted.map_or(stats.audit, |emitted| emitted.keys);
                    let former = self.written.insert(attempt.task, says);
                    if former.is_some_and(|former| former != says) {
                        self.nondeterministic.insert(attempt.task.job);
                    }
                }
            }
            Event::AttemptFailed { worker, attempt, cause } => {
                self.report(*worker, *attempt, Status::Failed(cause.clone()));
            }
            Event::OutputsLost { worker, outputs } => self.lose_outputs(*worker, outputs),
            Event::Published { job, result } => {
                if let Some(job) = self.jobs.get_mut(job).filter(|job| job.publishing) {
                    job.published.get_or_insert_with(|| result.clone());
                }
            }
            Event::OutputLost { job, cause } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.output_lost = Some(cause.clone());
                }
            }
            Event::BackUp { attempts } => self.backed_up.extend(attempts),
            Event::TookOver { config } => self.take_over(config),
            Event::CleanedUp { job } => {
                if !self.settled.contains(job) {
                    self.settled.push(*job);
                }
            }
            Event::Resubmit { .. } | Event::Elapsed { .. } | Event::Beat => {}
        }
    }

    fn hear(&mut self, worker: WorkerId) -> Option<&mut Session> {
        let session = self.sessions.get_mut(&worker)?;
        if session.connection.is_some() {
            session.granted = self.now + self.config.lease;
            session.lease_ends = session.granted;
        }
        Some(session)
    }

    /// A disconnected worker has little time, unless most are disconnected: then all of these have
    /// their whole leases.
    fn go_away(&mut self, worker: WorkerId, connection: RequestId) {
        let patience_ends = self.now + self.config.reconnect;
        let session = self.sessions.get_mut(&worker);
        let Some(session) = session.filter(|session| session.connection == Some(connection)) else {
            return;
        };
        session.connection = None;
        session.lease_ends = session.granted.min(patience_ends);
        let away = self.sessions.values().filter(|session| session.connection.is_none()).count();
        if away > 1 && away * 2 > self.sessions.len() {
            let all = self.sessions.values_mut();
            for session in all.filter(|session| session.connection.is_none()) {
                session.lease_ends = session.granted;
            }
        }
    }

    fn come_back(&mut self, connection: RequestId, worker: WorkerId, inventory: &Inventory) {
        let Some(session) = self.sessions.get_mut(&worker) else { return };
        session.connection = Some(connection);
        self.hear(worker);
        self.returning = Some(worker);
        for (id, attempt) in self.attempts.iter_mut().filter(|(_, a)| a.worker == worker) {
            let known = inventory.running.contains(id) || inventory.unanswered.contains(id);
            match attempt.status {
                Status::Running if !known => attempt.status = Status::Unknown,
                Status::Done if id.task.stage == StageId::MAP => {
                    let wanted = self.jobs.get(&id.task.job).is_some_and(Job::needs_map_outputs);
                    attempt.missing |= wanted && !inventory.outputs.contains(id);
                }
                _ => {}
            }
        }
    }

    fn take_over(&mut self, config: &Config) {
        self.took_over = true;
        self.config = config.clone();
        for session in self.sessions.values_mut() {
            session.connection = None;
            session.granted = self.now + config.lease;
            session.lease_ends = session.granted;
        }
        self.deserted_since = self.deserted_since.map(|_| self.now);
        for job in self.jobs.values_mut() {
            job.unfit_since = job.unfit_since.map(|_| self.now);
        }
    }

    fn report(&mut self, worker: WorkerId, id: AttemptId, status: Status) {
        self.hear(worker);
        let Some(attempt) = self.attempts.get_mut(&id) else { return };
        if attempt.worker != worker || attempt.status != Status::Running {
            return;
        }
        attempt.status = status.clone();
        if let Some(job) = self.jobs.get_mut(&id.task.job) {
            job.reduces_won +=
                u32::from(status == Status::Done && id.task.stage == StageId::REDUCE);
            attempt.reduces_won = job.reduces_won;
        }
        if status == Status::Done {
            self.won = Some(id.task);
            self.suspects.remove(&id.task);
        }
        if let Status::Failed(cause) = &status
            && cause.died_alone().is_some()
        {
            self.suspects.insert(id.task);
            let poison = self.jobs.get(&id.task.job).and_then(|job| job.poison(cause)).cloned();
            self.poisoned = poison.is_some().then_some(id.task);
            self.poison.entry(id.task).or_default().extend(poison);
        }
        if let Status::Failed(FailureCause::FetchFailed { map_task, map_attempt, .. }) = status {
            let task = TaskId { stage: StageId::MAP, index: map_task, ..id.task };
            let output = AttemptId { task, number: map_attempt };
            if let Some(output) = self.attempts.get_mut(&output) {
                output.reports += 1;
            }
        }
    }

    pub(super) fn lose(&mut self, worker: WorkerId) {
        if self.sessions.remove(&worker).is_none() {
            return;
        }
        for attempt in self.attempts.values_mut() {
            if attempt.worker == worker && attempt.status == Status::Running {
                attempt.status = Status::Lost;
            }
        }
        self.look_around();
    }

    fn lose_outputs(&mut self, worker: WorkerId, outputs: &[AttemptId]) {
        if self.hear(worker).is_none() {
            return;
        }
        for id in outputs.iter().filter(|id| id.task.stage == StageId::MAP) {
            let wanted = self.jobs.get(&id.task.job).is_some_and(Job::needs_map_outputs);
            let Some(attempt) = self.attempts.get_mut(id) else { continue };
            attempt.missing |= wanted && attempt.worker == worker && attempt.status == Status::Done;
        }
    }

    pub(super) fn look_around(&mut self) {
        if self.sessions.values().any(|session| !session.draining) {
            self.deserted_since = None;
        } else {
            self.deserted_since.get_or_insert(self.now);
        }
        for job in self.jobs.values_mut() {
            if super::fits_any(&job.plan, &self.sessions) {
                job.unfit_since = None;
            } else {
                job.unfit_since.get_or_insert(self.now);
            }
        }
    }
}
