//! The brain of a coordinator: it owns the scheduler, turns what arrives into events and time into
//! deadlines, and says what is to be done once the journal has it.
//!
//! ```text
//!  rpc/jobs, rpc/sessions --Command--> Driver --Event, Note--> Decider: scheduler, catalog
//!            ^                          | |                       |
//!            +---replies, outboxes------+ +--Effect, if durable---+
//!                                       |
//!  shell: channels, timers, tasks <--Action-- store this, publish that, remove what is left
//!         --answers, results, the time--> Driver
//! ```
//!
//! The [`Driver`] does no I/O, reads no clock and awaits nothing (after quinn-proto): whoever runs
//! it tells it [what has arrived](Driver::arrived), gives it a [turn](Driver::turn) at a time, and
//! carries out its [actions](Driver::next_action). In a coordinator that is the [`shell`], in tests
//! the simulator. In which order commands, deadlines and answers of the store are taken is decided
//! [here](turn), and so is simulated.
//!
//! While the journal takes nothing, time stands still: commands wait, and only questions are
//! answered ([`Clock`](windrow_scheduler::Clock)).
//!
//! It decides nothing itself, never blocks, and knows no messages of the wire: what it puts into a
//! worker's outbox are shared domain values, converted where they are sent. A worker that does not
//! empty its outbox is disconnected.

mod action;
mod catalog;
mod command;
mod effects;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod handle;
mod hosts;
mod job_index;
mod jobs;
mod members;
mod outgoing;
mod outputs;
mod profile;
mod publication;
mod recovery;
mod releases;
mod sessions;
mod shell;
mod snapshot;
mod turn;
mod workers;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use windrow_jobs::JobId;
use windrow_scheduler::journal::PartId;
use windrow_scheduler::{
    Clock, Decider, Event, Part, Record, RequestId, Scheduler, State, SubmissionId, Time,
};

use crate::journal::WriteTotals;
use crate::output::Place;

pub(crate) use catalog::JobWork;
pub(crate) use command::Submission;
pub use handle::DriverError;
pub(crate) use handle::{DriverHandle, Stopped, Unsubmitted};
pub(crate) use outgoing::{
    Assignment, Outgoing, OutputsHolder, OutputsTable, Receipt, Shared, SharedContent,
};
pub(crate) use profile::WorkerProfile;
pub(crate) use recovery::Settings;
pub(crate) use sessions::{Joined, Outbox, SessionId};
pub(crate) use shell::start;
pub(crate) use snapshot::{JobSnapshot, OutputOwner, WorkerSnapshot};
pub(crate) use workers::{JoinError, Report, Returning, SessionEnd};

pub(crate) use action::Action;
pub(crate) use catalog::Catalog;
pub(crate) use command::Command;

use catalog::{JobRef, Note};
use command::{Planned, Question};
use jobs::LiveJobs;
use releases::Releases;
use sessions::Sessions;
use turn::Turns;
use workers::JoinReply;

/// What is written into the journal: one event, all of the state, and what is too large for both.
pub(crate) type DriverRecord = Record<Note>;
pub(crate) type DriverState = State<Catalog>;
pub(crate) type DriverPart = Part<JobWork>;

/// Who waits for the scheduler's answer.
enum Pending {
    Submit(Place, oneshot::Sender<JobId>),
    Resubmit(oneshot::Sender<Option<JobId>>),
    Cancel(oneshot::Sender<bool>),
    Join(JoinReply),
    Return(Box<WorkerProfile>, JoinReply),
}

/// The scheduler and all that is needed to do as it says.
pub(crate) struct Driver {
    decider: Decider<Catalog>,
    clock: Clock,
    /// Since the start, as last told.
    real: Duration,
    turns: Turns,
    jobs: LiveJobs,
    sessions: Sessions,
    releases: Releases,
    pending: BTreeMap<RequestId, Pending>,
    /// Jobs whose plans are on their way into the journal: only then are they submitted.
    unwritten: BTreeMap<PartId, (SubmissionId, Planned, oneshot::Sender<JobId>)>,
    requests: u64,
    actions: VecDeque<Action>,
    /// Whether its journal outlives it: then another coordinator may take over at any time.
    is_shared: bool,
    /// Whether its epoch is durable. Before, another coordinator may still win the race for it.
    in_charge: bool,
    /// What was written into the journal so far.
    written: Arc<WriteTotals>,
    /// Whether it was asked to stop: from then on, nothing new is taken.
    is_stopping: bool,
    /// Who waits for that.
    stopping: Vec<oneshot::Sender<()>>,
    has_stopped: bool,
}

impl Driver {
    fn now(&self) -> Time {
        self.clock.time(self.real)
    }

    /// Whether nothing is decided.
    pub(crate) fn stands_still(&self) -> bool {
        self.clock.stands_still()
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
            // Nobody would speak in that session: the worker has tried again meanwhile, or gone
            // elsewhere.
            Command::Join { reply, .. } if reply.is_closed() => {}
            Command::Submit { id, work, reply } => self.submit(id, work, reply),
            Command::Resubmit { submission, reply } => {
                let request = self.wait_for_answer(Pending::Resubmit(reply));
                self.handle(Event::Resubmit { request, submission });
            }
            Command::Cancel { job, reply } => self.cancel(job, reply),
            Command::Join { profile, returning, reply } => {
                self.open_session(*profile, returning, reply);
            }
            Command::Report { worker, session, report } => self.report(worker, session, report),
            Command::SessionEnded { worker, session, end } => {
                self.session_ended(worker, session, end);
            }
            Command::FolderTaken { job, result } => self.folder_taken(job, result),
            Command::Published { job, result } => self.published(job, result),
            Command::CleanedUp { job } => self.settle(job),
        }
    }

    /// A plan may be large: it goes into the journal first, beside everything else.
    fn submit(&mut self, id: SubmissionId, (work, plan): Planned, reply: oneshot::Sender<JobId>) {
        if self.is_shared {
            let written = self.decider.write_part(Arc::clone(&work));
            let before = self.unwritten.insert(written, (id, (work, plan), reply));
            debug_assert!(before.is_none(), "the name of a part is used once");
        } else {
            self.submit_written(id, None, (work, plan), reply);
        }
    }

    fn plan_written(&mut self, plan: PartId) {
        let submission = self.unwritten.remove(&plan);
        debug_assert!(submission.is_some(), "only plans of submissions are written like this");
        if let Some((id, job, reply)) = submission {
            self.submit_written(id, Some(plan), job, reply);
        }
        self.decider.part_named(plan);
    }

    fn submit_written(
        &mut self,
        id: SubmissionId,
        written: Option<PartId>,
        (work, plan): Planned,
        reply: oneshot::Sender<JobId>,
    ) {
        let request = self.wait_for_answer(Pending::Submit(work.place.clone(), reply));
        let note = Note::Job(JobRef::new(written, work));
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

    /// Answers a question, at the time `real` since the start; even while nothing can be decided.
    pub(crate) fn asked(&mut self, real: Duration, question: Question) {
        self.real = self.real.max(real);
        match question {
            Question::Inspect(look) => look(self),
            Question::Stop { reply } => self.stop(reply),
        }
    }

    /// With a journal that outlives it, jobs are left to whoever is started on it next; else they
    /// end here. There, none waits for the journal, so that all are known.
    fn stop(&mut self, reply: oneshot::Sender<()>) {
        self.is_stopping = true;
        self.stopping.push(reply);
        if self.is_shared {
            return;
        }
        for job in self.jobs.ids() {
            // Nobody waits for the answer.
            self.cancel(job, oneshot::channel().0);
        }
    }

    /// Ends all sessions once all is left to a successor, or nothing is left.
    fn stop_if_settled(&mut self) {
        if !self.is_stopping || !self.is_shared && !self.jobs.is_empty() {
            return;
        }
        self.sessions.end_all("the coordinator has stopped");
        for reply in self.stopping.drain(..) {
            let _ = reply.send(());
        }
        self.has_stopped = self.is_shared;
    }

    /// Whether nothing more is done: all is left to a successor.
    pub(crate) fn has_stopped(&self) -> bool {
        self.has_stopped
    }
}

#[cfg(test)]
impl Driver {
    /// All that survives it.
    pub(crate) fn state(&self) -> &DriverState {
        self.decider.state()
    }

    /// The epoch in which it decides.
    pub(crate) fn epoch(&self) -> windrow_scheduler::journal::Epoch {
        self.decider.epoch()
    }

    /// Whether nobody else can have its epoch.
    pub(crate) fn is_in_charge(&self) -> bool {
        self.in_charge
    }

    /// Whether anything waits for the store.
    pub(crate) fn waits_for_store(&self) -> bool {
        self.decider.is_waiting()
    }

    /// What its clock shows.
    pub(crate) fn shows(&self) -> Time {
        self.now()
    }
}

#[cfg(test)]
mod tests;
