//! The core of a coordinator. The driver owns the scheduler, turns messages into events and time
//! into deadlines, and requests actions once the journal has the events behind them.
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
//! The [`Driver`] does no I/O, reads no clock and awaits nothing (sans-I/O, after quinn-proto). Its
//! caller tells it [what has arrived](Driver::arrived), gives it one [turn](Driver::turn) after
//! another, and carries out its [actions](Driver::next_action). In a coordinator the caller is the
//! [`shell`], in tests the simulator. The order of commands, deadlines and answers of the store is
//! decided [here](turn), and so is simulated, too.
//!
//! While the journal accepts nothing, time stands still: commands wait, and only questions are
//! answered ([`windrow_scheduler::Clock`]).
//!
//! The driver makes no scheduling decisions, never blocks, and knows no wire messages: a worker's
//! outbox holds shared domain values, which are converted when they are sent. A worker that does
//! not empty its outbox is disconnected.

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
use windrow_scheduler::journal::AttachmentId;
use windrow_scheduler::{
    Attachment, Clock, Decider, Event, JournaledState, Record, RequestId, Scheduler, SubmissionId,
    Time,
};

use crate::journal::WriteTotals;
use crate::output::OutputPaths;

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

/// The types of the journal: a record of one event, the state, and an attachment that is too large
/// for both.
pub(crate) type DriverRecord = Record<Note>;
pub(crate) type DriverState = JournaledState<Catalog>;
pub(crate) type DriverAttachment = Attachment<JobWork>;

/// A caller that waits for the scheduler's answer.
enum Pending {
    Submit(OutputPaths, oneshot::Sender<JobId>),
    Resubmit(oneshot::Sender<Option<JobId>>),
    Cancel(oneshot::Sender<bool>),
    Join(JoinReply),
    Return(Box<WorkerProfile>, JoinReply),
}

/// The scheduler, and everything needed to carry out its effects.
pub(crate) struct Driver {
    decider: Decider<Catalog>,
    clock: Clock,
    /// Time since the start, as of the last call.
    real: Duration,
    turns: Turns,
    jobs: LiveJobs,
    sessions: Sessions,
    releases: Releases,
    pending: BTreeMap<RequestId, Pending>,
    /// Jobs whose plans are being written to the journal; they are submitted afterwards.
    unwritten: BTreeMap<AttachmentId, (SubmissionId, Planned, oneshot::Sender<JobId>)>,
    requests: u64,
    actions: VecDeque<Action>,
    /// Whether the journal outlives the process: then another coordinator may take over at any
    /// time.
    is_shared: bool,
    /// Whether the epoch is durable. Before that, another coordinator may win the race for it.
    in_charge: bool,
    /// Totals of what was written to the journal.
    written: Arc<WriteTotals>,
    /// Whether the driver was asked to stop: it accepts nothing new from then on.
    is_stopping: bool,
    /// Callers that wait for the stop.
    stopping: Vec<oneshot::Sender<()>>,
    has_stopped: bool,
}

impl Driver {
    fn now(&self) -> Time {
        self.clock.time(self.real)
    }

    /// Whether time stands still and nothing is decided.
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
            // Dropping the reply tells the caller that the driver is stopping.
            Command::Submit { .. } | Command::Join { .. } if self.is_stopping => {}
            // The caller has disconnected: the worker has retried, or found another coordinator.
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

    /// A plan may be large, so it is written to the journal first, concurrently with everything
    /// else.
    fn submit(&mut self, id: SubmissionId, (work, plan): Planned, reply: oneshot::Sender<JobId>) {
        if self.is_shared {
            let written = self.decider.write_attachment(Arc::clone(&work));
            let before = self.unwritten.insert(written, (id, (work, plan), reply));
            debug_assert!(before.is_none(), "an attachment's id is used once");
        } else {
            self.submit_written(id, None, (work, plan), reply);
        }
    }

    fn plan_written(&mut self, plan: AttachmentId) {
        let submission = self.unwritten.remove(&plan);
        debug_assert!(submission.is_some(), "only plans of submissions are written like this");
        if let Some((id, job, reply)) = submission {
            self.submit_written(id, Some(plan), job, reply);
        }
        self.decider.attachment_named(plan);
    }

    fn submit_written(
        &mut self,
        id: SubmissionId,
        written: Option<AttachmentId>,
        (work, plan): Planned,
        reply: oneshot::Sender<JobId>,
    ) {
        let request = self.wait_for_answer(Pending::Submit(work.paths.clone(), reply));
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

    /// Answers a question at the time `real` since the start, even while nothing can be decided.
    pub(crate) fn asked(&mut self, real: Duration, question: Question) {
        self.real = self.real.max(real);
        match question {
            Question::Inspect(look) => look(self),
            Question::Stop { reply } => self.stop(reply),
        }
    }

    /// With a journal that outlives the process, jobs are left to the next coordinator on it.
    /// Otherwise they end here; then none waits for the journal, so all of them are known.
    fn stop(&mut self, reply: oneshot::Sender<()>) {
        self.is_stopping = true;
        self.stopping.push(reply);
        if self.is_shared {
            return;
        }
        for job in self.jobs.ids() {
            // The receiver is dropped: nobody waits for the answer.
            self.cancel(job, oneshot::channel().0);
        }
    }

    /// Ends all sessions once the jobs are left to a successor, or none is left.
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

    /// Whether the driver has stopped and left all jobs to a successor.
    pub(crate) fn has_stopped(&self) -> bool {
        self.has_stopped
    }
}

#[cfg(test)]
impl Driver {
    /// The durable state.
    pub(crate) fn state(&self) -> &DriverState {
        self.decider.state()
    }

    /// The driver's epoch.
    pub(crate) fn epoch(&self) -> windrow_scheduler::journal::Epoch {
        self.decider.epoch()
    }

    /// Whether the driver's epoch is durable.
    pub(crate) fn is_in_charge(&self) -> bool {
        self.in_charge
    }

    /// Whether calls to the store are outstanding.
    pub(crate) fn waits_for_store(&self) -> bool {
        self.decider.is_waiting()
    }

    /// The time of the driver's clock.
    pub(crate) fn shows(&self) -> Time {
        self.now()
    }
}

#[cfg(test)]
mod tests;
