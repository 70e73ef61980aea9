//! The state machine: dispatches events, then fills free slots.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windrow_model::{JobId, WorkerId};

use crate::config::Config;
use crate::effect::Effect;
use crate::event::{AttemptProgress, Event};
use crate::job::stage::CowBlock;
use crate::job::{Job, Jobs, publication};
use crate::journal::AttachmentId;
use crate::membership::loss::lose_worker;
use crate::membership::{drain, session, takeover};
use crate::placement::backup::{self, slow_attempts};
use crate::placement::fill_slots;
use crate::quarantine;
use crate::time::{Deadlines, Time, Timer};
use crate::transition::Transition;
use crate::view::{JobView, WorkerView};
use crate::worker::{Worker, Workers};

/// Decides which attempt runs on which worker. See the [crate](crate) for the picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scheduler {
    config: Config,
    pub(crate) jobs: Jobs,
    pub(crate) workers: Workers,
    pub(crate) deadlines: Deadlines,
    /// Slots given so far, which orders jobs and submitters.
    turn: u64,
    /// When to search again for slow attempts. Not worth journaling.
    #[serde(skip)]
    look_for_slow: Time,
    /// When an event was last handled, heartbeats included. Only for views.
    #[serde(skip)]
    now: Time,
}

impl Scheduler {
    /// A scheduler without jobs or workers.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            jobs: Jobs::default(),
            workers: Workers::default(),
            deadlines: Deadlines::default(),
            turn: 0,
            look_for_slow: Time::default(),
            now: Time::default(),
        }
    }

    /// Handles an event and appends its effects. Messages that are late, duplicated or reordered do
    /// no harm. `now` must not go back from call to call. The event is borrowed, since it is also
    /// journaled and shown to the catalog; only what the scheduler keeps is copied.
    pub fn handle(&mut self, now: Time, event: &Event, effects: &mut Vec<Effect>) {
        if let Event::TookOver { config } = event {
            self.config = config.clone();
            self.look_for_slow = now;
        }
        // Heartbeats are not replayed after a takeover, so its time may lie before the last of
        // them.
        let goes_back = now < self.now && !matches!(event, Event::TookOver { .. });
        debug_assert!(!goes_back, "time does not go back");
        self.now = now;
        // A heartbeat frees no slot, queues no task and drains no worker. There are thousands per
        // second.
        let settles = !matches!(event, Event::Heartbeat { .. });
        let Self { config, jobs, workers, deadlines, turn, look_for_slow: _, now: _ } = self;
        let before = effects.len();
        let mut transition = Transition { now, config, workers, deadlines, effects };
        dispatch(jobs, event, &mut transition);
        if settles {
            follow_up(jobs, turn, &mut transition);
        }
        debug_assert!(
            *event != Event::Beat || effects.len() == before,
            "an event without news leaves no slot to fill"
        );
    }

    /// When to call [`due`](Self::due) next, unless an event changes that.
    pub fn next_deadline(&self) -> Option<Time> {
        let look = self.looks_for_slow().then_some(self.look_for_slow);
        [self.deadlines.next(), look].into_iter().flatten().min()
    }

    /// The event to [handle](Self::handle) for deadlines that have passed at `now`, if any have.
    /// Events that have arrived already should be handled first: the message that renews a lease
    /// may be among them.
    pub fn due(&mut self, now: Time) -> Option<Event> {
        let timers: Vec<_> = self.deadlines.due(now).collect();
        if !timers.is_empty() {
            return Some(Event::Elapsed { timers });
        }
        debug_assert!(
            self.deadlines.next().is_none_or(|next| now < next),
            "a deadline that has passed precedes the search for slow attempts"
        );
        if now < self.look_for_slow || !self.looks_for_slow() {
            return None;
        }
        self.look_for_slow = now + self.config.backup_period;
        let attempts = slow_attempts(&self.jobs, &self.workers, &self.config, now);
        (!attempts.is_empty()).then_some(Event::BackUp { attempts })
    }

    fn looks_for_slow(&self) -> bool {
        self.config.backup_after.is_some() && self.jobs.running().any(|job| job.running() > 0)
    }

    /// Handles deadlines that have passed at `now`; does nothing if none have.
    pub fn handle_deadline(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if let Some(event) = self.due(now) {
            self.handle(now, &event, effects);
        }
    }

    /// The view of a job, as long as it is remembered. O(1) in the number of its tasks.
    pub fn job(&self, id: JobId) -> Option<JobView> {
        match self.jobs.get(id) {
            Some(job) => Some(self.view(job)),
            None => self.jobs.ended(id).cloned(),
        }
    }

    /// All remembered jobs, the ended ones first.
    pub fn jobs(&self) -> impl Iterator<Item = JobView> {
        let running = self.jobs.running().map(|job| self.view(job));
        self.jobs.all_ended().cloned().chain(running)
    }

    /// The jobs before an id, the latest first. Lazy: costs only what is taken.
    pub fn latest_jobs(&self, before: Option<JobId>) -> impl Iterator<Item = JobView> {
        self.jobs.latest(before).filter_map(|id| self.job(id))
    }

    fn view(&self, job: &Job) -> JobView {
        job.view(&self.workers, &self.deadlines, self.now)
    }

    /// Writes the blocks of splits and tasks that have changed since they were last written;
    /// `write` names each block.
    pub(crate) fn write_blocks(&mut self, write: &mut dyn FnMut(CowBlock) -> AttachmentId) {
        self.jobs.running_mut().for_each(|job| job.write_blocks(write));
    }

    /// Calls `name` with each attachment that holds splits or tasks.
    pub(crate) fn name_attachments(&self, name: &mut dyn FnMut(AttachmentId)) {
        self.jobs.running().for_each(|job| job.name_attachments(name));
    }

    /// Takes splits and tasks from the attachments that were read with the state, and forgets their
    /// names.
    pub fn take_blocks(&mut self, attachments: &BTreeMap<AttachmentId, CowBlock>) {
        self.jobs.running_mut().for_each(|job| job.take_blocks(attachments));
    }

    /// Tasks of all jobs that have not ended.
    pub(crate) fn tasks(&self) -> u32 {
        let stages = self.jobs.running().flat_map(|job| job.stages().iter());
        stages.map(|stage| stage.tasks().len()).fold(0, u32::saturating_add)
    }

    /// The view of a worker, as long as it has a session.
    pub fn worker(&self, id: WorkerId) -> Option<WorkerView> {
        self.workers.get(id).map(|worker| worker.view(id))
    }

    /// Whether a worker runs attempts of a job, or holds outputs of it that reducers may need.
    pub fn works_for(&self, worker: WorkerId, job: JobId) -> bool {
        let runs = |worker: &Worker| worker.running.iter().any(|attempt| attempt.task.job == job);
        self.workers.get(worker).is_some_and(runs)
            || self.jobs.get(job).is_some_and(|job| job.needs_worker(worker))
    }

    /// All workers that have a session.
    pub fn workers(&self) -> impl Iterator<Item = WorkerView> {
        self.workers.iter().map(|(id, worker)| worker.view(id))
    }
}

/// The consequences of a transition for all: clocks of jobs that wait for workers, free slots, and
/// drained workers.
fn follow_up(jobs: &mut Jobs, turn: &mut u64, transition: &mut Transition<'_>) {
    quarantine::lift_quarantines_if_all(transition);
    if transition.workers.take_groups_changed() {
        jobs.look_for_workers(transition);
    }
    fill_slots(jobs, turn, transition);
    drain::let_go(jobs, transition);
}

fn dispatch(jobs: &mut Jobs, event: &Event, transition: &mut Transition<'_>) {
    if event.sender().is_some_and(|worker| !session::renew_lease(worker, transition)) {
        // The session has ended already, and its work is lost.
        return;
    }
    match *event {
        Event::Submit { request, submission, ref plan } => {
            jobs.submit(request, submission, plan, transition);
        }
        Event::Resubmit { request, submission } => jobs.resubmit(request, submission, transition),
        Event::Cancel { request, job } => jobs.cancel(request, job, transition),
        Event::WorkerJoined { request, ref offer } => {
            session::join(request, offer.clone(), transition);
        }
        Event::WorkerReturned { request, worker, ref inventory } => {
            session::resume(jobs, request, worker, inventory, transition);
        }
        Event::WorkerDisconnected { worker, connection } => {
            session::disconnect(worker, connection, transition);
        }
        Event::WorkerLeft { worker, ref reason } => lose_worker(jobs, worker, reason, transition),
        Event::WorkerDraining { worker } => transition.workers.drain(worker),
        Event::Heartbeat { worker, ref running } => heartbeat(jobs, worker, running, transition),
        Event::AttemptDone { worker, attempt, ref stats } => {
            let job = jobs.get_mut(attempt.task.job);
            let won = job.is_some_and(|job| job.wins(attempt, worker));
            transition.effects.push(Effect::Noted { worker, attempt, won });
            jobs.try_with(attempt.task.job, transition, |job, transition| {
                job.attempt_done(worker, attempt, stats, transition)
            });
        }
        Event::AttemptFailed { worker, attempt, ref cause } => {
            transition.effects.push(Effect::Noted { worker, attempt, won: false });
            jobs.try_with(attempt.task.job, transition, |job, transition| {
                job.attempt_failed(worker, attempt, cause.clone(), transition)
            });
        }
        Event::OutputsLost { worker, ref outputs } => {
            jobs.try_each(transition, |job, transition| {
                job.outputs_died(worker, outputs, transition)
            });
        }
        Event::Published { job, ref result } => {
            publication::ended(jobs, job, result.clone(), transition);
        }
        Event::OutputLost { job, ref cause } => jobs.output_lost(job, cause.clone(), transition),
        Event::Elapsed { ref timers } => {
            for &timer in timers {
                if transition.deadlines.take(timer, transition.now) {
                    time_out(jobs, timer, transition);
                }
            }
        }
        Event::BackUp { ref attempts } => {
            for &attempt in attempts {
                backup::begin(jobs, attempt, transition);
            }
        }
        Event::CleanedUp { job } => jobs.settle(job, transition),
        Event::TookOver { .. } => takeover::begin(jobs, transition),
        Event::Beat => {}
    }
}

fn time_out(jobs: &mut Jobs, timer: Timer, transition: &mut Transition<'_>) {
    match timer {
        Timer::Lease(worker) => {
            let away = transition.workers.get(worker).is_some_and(Worker::is_away);
            let reason = if away {
                "its connection broke, and it did not come back".to_string()
            } else {
                format!("silent for {:.0} s", transition.config.lease.as_secs_f64())
            };
            transition.effects.push(Effect::EndSession { worker, reason: reason.clone() });
            lose_worker(jobs, worker, &reason, transition);
        }
        Timer::Stalled(attempt) => {
            jobs.try_with(attempt.task.job, transition, |job, transition| {
                job.attempt_stalled(attempt, transition)
            });
        }
        Timer::Retry(task) => {
            if let Some(job) = jobs.get_mut(task.job) {
                job.enqueue(task);
            }
        }
        Timer::Quarantine(identity) => quarantine::quarantine_over(identity, transition),
        Timer::NoWorkers(job) => jobs.waited_for_workers(job, transition),
        Timer::Publish(job) => publication::again(jobs, job, transition),
        Timer::Avoided(job, worker) => {
            if let Some(job) = jobs.get_mut(job) {
                job.give_a_chance(worker);
            }
        }
    }
}

/// Handles a heartbeat. Attempts that the worker should not run (any more) are cancelled, again if
/// need be.
fn heartbeat(
    jobs: &mut Jobs,
    worker: WorkerId,
    running: &[AttemptProgress],
    transition: &mut Transition<'_>,
) {
    for &progress in running {
        let attempt = progress.attempt;
        let job = jobs.get_mut(attempt.task.job);
        if !job.is_some_and(|job| job.progress(worker, progress, transition)) {
            transition.effects.push(Effect::CancelAttempt { worker, attempt });
        }
    }
}
