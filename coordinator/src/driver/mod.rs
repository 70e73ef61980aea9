//! The one task that owns the scheduler: it turns commands into events and time into deadlines, and carries out the
//! effects, once the journal has them.
//!
//! ```text
//!  rpc/jobs, rpc/sessions --Command--> Driver --Event, Note--> Decider: scheduler, catalog
//!            ^                           | ^                      |
//!            +---replies, outboxes-------+ +--Effect, if durable--+--Call--> journal
//!                                        |                        ^--Answer---+
//!                                        +--> tasks that publish or discard outputs
//! ```
//!
//! While the journal takes nothing, time stands still: commands wait, and only questions are answered
//! ([`Clock`](windrow_scheduler::Clock)).
//!
//! It decides nothing itself, never blocks, and knows no protobuf: what it puts into a worker's outbox are shared domain
//! values, converted where they are sent. Every queue is bounded. A worker that does not empty its outbox is
//! disconnected.

mod catalog;
mod effects;
pub(crate) mod fuzzing;
mod handle;
mod jobs;
mod outgoing;
mod profile;
mod publication;
mod recovery;
mod sessions;
mod snapshot;
mod workers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};
use windrow_jobs::{JobId, WorkerId};
use windrow_proto::v1::Build;
use windrow_scheduler::journal::{Answer, JournalError};
use windrow_scheduler::{
    Clock, Decider, Event, Record, RequestId, Scheduler, State, SubmissionId, Time, Unpublished,
};

use crate::failpoint::Failpoint;
use crate::journal::Journal;
use crate::output::Reservation;

pub(crate) use catalog::JobWork;
pub(crate) use handle::{DriverHandle, Stopped, Unsubmitted};
pub(crate) use outgoing::{Assignment, HeldOutputs, Outgoing, OutputsTable};
pub(crate) use profile::WorkerProfile;
pub(crate) use recovery::{Settings, start};
pub(crate) use sessions::{Joined, SessionId};
pub(crate) use snapshot::{JobSnapshot, WorkerSnapshot};
pub(crate) use workers::{JoinError, Report, Returning, SessionEnd};

use catalog::{Catalog, Note};
use jobs::LiveJobs;
use sessions::Sessions;
use workers::JoinReply;

/// Commands that may wait for the driver before their senders do.
const COMMANDS_MAX: usize = 1_024;

/// The journal of this driver.
type DriverJournal = Journal<Record<Note>, State<Catalog>>;

/// A coordinator that has appended nothing between two beats makes sure that it is still in charge. If it is not, it knows
/// after half a lease, and its workers have the other half to find the one that is, which waits for them that long.
const BEATS_PER_LEASE: u32 = 4;

/// What the driver can be told.
enum Command {
    Submit { submission: Box<Submission>, reply: oneshot::Sender<JobId> },
    Resubmit { submission: SubmissionId, reply: oneshot::Sender<Option<JobId>> },
    Cancel { job: JobId, reply: oneshot::Sender<bool> },
    Join { profile: WorkerProfile, returning: Option<Returning>, reply: JoinReply },
    Report { worker: WorkerId, session: SessionId, report: Report },
    SessionEnded { worker: WorkerId, session: SessionId, end: SessionEnd },
    Published { job: JobId, result: Result<(), Unpublished> },
    CleanedUp { job: JobId },
}

/// What it answers even while nothing can be decided.
enum Question {
    Inspect(Box<dyn FnOnce(&Driver) + Send>),
    Stop { reply: oneshot::Sender<()> },
}

/// A job that has been planned and has its output folder.
pub(crate) struct Submission {
    /// As its submitter has named it.
    pub(crate) id: SubmissionId,
    /// What it is made of.
    pub(crate) work: JobWork,
    /// Its output folder.
    pub(crate) reservation: Arc<Reservation>,
}

/// Who waits for the scheduler's answer.
enum Pending {
    Submit(Arc<Reservation>, oneshot::Sender<JobId>),
    Resubmit(oneshot::Sender<Option<JobId>>),
    Cancel(oneshot::Sender<bool>),
    Join(JoinReply),
    Return(Box<WorkerProfile>, JoinReply),
}

/// The scheduler and all that is needed to do as it says.
pub(crate) struct Driver {
    decider: Decider<Catalog>,
    journal: DriverJournal,
    started: Instant,
    clock: Clock,
    build: Build,
    failpoint: Failpoint,
    jobs: LiveJobs,
    sessions: Sessions,
    pending: BTreeMap<RequestId, Pending>,
    requests: u64,
    commands: mpsc::Receiver<Command>,
    questions: mpsc::Receiver<Question>,
    /// For the tasks that it starts. Weak, so that the driver ends when nobody else can command it.
    own_commands: mpsc::WeakSender<Command>,
    /// Between two looks at whether it is still in charge.
    beat: Duration,
    /// Objects that the journal had at the last beat.
    objects_at_beat: u64,
    /// Whether it was asked to stop: from then on, nothing new is taken.
    is_stopping: bool,
    /// Who waits for that.
    stopping: Vec<oneshot::Sender<()>>,
}

impl Driver {
    /// Runs until all handles are gone, the jobs are left to a successor, or the journal cannot be gone on with. Then nothing
    /// more is told to anybody.
    async fn run(mut self) -> Result<(), JournalError> {
        self.clean_up_ended();
        let mut beat = interval(self.beat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.advance()?;
            self.jobs.tell_watchers();
            if self.is_stopping && self.stop_if_settled() {
                return Ok(());
            }
            let decides = !self.clock.stands_still();
            let deadline = self.decider.next_deadline().and_then(|at| self.clock.when(at));
            tokio::select! {
                // Without anybody to ask questions, what waits is looked through for the end.
                command = self.commands.recv(), if decides || self.questions.is_closed() => match command {
                    Some(command) => self.obey(command),
                    None => return Ok(()),
                },
                Some(question) = self.questions.recv() => self.reply(question),
                answer = self.journal.answered() => self.store_answered(answer)?,
                () = sleep_until(self.started, deadline) => self.decider.handle_deadline(self.now()),
                () = sleep_until(self.started, self.clock.stops_at()) => self.stand_still(),
                _ = beat.tick(), if decides && self.journal.is_shared() => self.append_if_idle(),
            }
        }
    }

    fn store_answered(
        &mut self,
        answer: Answer<Record<Note>, State<Catalog>>,
    ) -> Result<(), JournalError> {
        let is_done = self.decider.answer(answer)?;
        let stood = is_done.then(|| self.clock.store_done(self.started.elapsed())).flatten();
        if let Some(stood) = stood {
            tracing::info!("the journal takes records again, and all goes on after {stood:.1?}");
        }
        Ok(())
    }

    fn stand_still(&mut self) {
        if self.clock.stop_if_due(self.started.elapsed()) {
            tracing::error!(
                "the journal has taken nothing for half a lease: nothing is decided and no worker is acknowledged until it does"
            );
        }
    }

    /// One that was replaced learns it by appending. So one that has nothing to append says that nothing has happened.
    fn append_if_idle(&mut self) {
        let (objects, _) = self.journal.written().totals();
        if std::mem::replace(&mut self.objects_at_beat, objects) == objects {
            self.handle(Event::Elapsed { timers: Vec::new() });
        }
    }

    /// Carries out what may be by now, and keeps the journal busy.
    fn advance(&mut self) -> Result<(), JournalError> {
        let mut idle = false;
        while !idle {
            idle = true;
            while let Some(effect) = self.decider.next_effect() {
                self.carry_out(effect);
            }
            while let Some((worker, reason)) = self.sessions.next_unreachable() {
                self.disconnect(worker, reason);
                idle = false;
            }
            if let Some(call) = self.decider.next_call() {
                match self.journal.start(call) {
                    Some(answer) => drop(self.decider.answer(answer)?),
                    None => self.clock.store_asked(self.started.elapsed()),
                }
                idle = false;
            }
        }
        Ok(())
    }

    fn now(&self) -> Time {
        self.clock.time(self.started.elapsed())
    }

    fn scheduler(&self) -> &Scheduler {
        &self.decider.state().scheduler
    }

    fn catalog(&self) -> &Catalog {
        &self.decider.state().catalog
    }

    fn obey(&mut self, command: Command) {
        match command {
            // The reply is dropped, which tells the caller that nothing is taken any more.
            Command::Submit { .. } | Command::Join { .. } if self.is_stopping => {}
            // Nobody would speak in that session: the worker has tried again meanwhile, or gone elsewhere.
            Command::Join { reply, .. } if reply.is_closed() => {}
            Command::Submit { submission, reply } => self.submit(*submission, reply),
            Command::Resubmit { submission, reply } => {
                let request = self.wait_for_answer(Pending::Resubmit(reply));
                self.handle(Event::Resubmit { request, submission });
            }
            Command::Cancel { job, reply } => {
                let request = self.wait_for_answer(Pending::Cancel(reply));
                self.handle(Event::Cancel { request, job });
            }
            Command::Join { profile, returning, reply } => {
                self.open_session(profile, returning, reply);
            }
            Command::Report { worker, session, report } => self.report(worker, session, report),
            Command::SessionEnded { worker, session, end } => {
                self.session_ended(worker, session, end);
            }
            Command::Published { job, result } => self.handle(Event::Published { job, result }),
            Command::CleanedUp { job } => self.settle(job),
        }
    }

    fn reply(&mut self, question: Question) {
        match question {
            Question::Inspect(look) => look(self),
            Question::Stop { reply } => self.stop(reply),
        }
    }

    fn submit(&mut self, submission: Submission, reply: oneshot::Sender<JobId>) {
        let Submission { id, work, reservation } = submission;
        let plan = work.plan.to_schedule(&work.spec);
        let request = self.wait_for_answer(Pending::Submit(reservation, reply));
        let note = Note::Job(Arc::new(work));
        self.handle_noted(Event::Submit { request, submission: id, plan }, note);
    }

    fn wait_for_answer(&mut self, pending: Pending) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.pending.insert(request, pending);
        request
    }

    fn handle(&mut self, event: Event) {
        self.handle_noted(event, Note::Nothing);
    }

    fn handle_noted(&mut self, event: Event, note: Note) {
        self.decider.handle(self.now(), event, note);
    }

    /// With a journal that outlives it, jobs are left to whoever is started on it next; else they end here. There, none waits
    /// for the journal, so that all are known.
    fn stop(&mut self, reply: oneshot::Sender<()>) {
        self.is_stopping = true;
        self.stopping.push(reply);
        if self.journal.is_shared() {
            return;
        }
        for job in self.jobs.ids() {
            self.requests += 1;
            let request = RequestId(self.requests);
            self.handle(Event::Cancel { request, job });
        }
    }

    /// Whether all is left to a successor.
    fn stop_if_settled(&mut self) -> bool {
        let leaves = self.journal.is_shared();
        if leaves || self.jobs.is_empty() {
            self.sessions.end_all("the coordinator has stopped");
            for reply in self.stopping.drain(..) {
                let _ = reply.send(());
            }
        }
        leaves
    }
}

/// For ever without a time, which counts from `started`.
async fn sleep_until(started: Instant, time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep_until(started + time).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
