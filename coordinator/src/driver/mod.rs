//! The one task that owns the scheduler: it turns commands into events and time into deadlines, and carries out the
//! effects.
//!
//! ```text
//!  rpc/jobs, rpc/sessions --Command--> Driver --Event--> Scheduler
//!            ^                           |  <--Effect----+
//!            +---replies, outboxes-------+
//!                                        +--> tasks that publish or discard outputs
//! ```
//!
//! It decides nothing itself, never blocks, and knows no protobuf: what it puts into a worker's outbox are shared domain
//! values, converted where they are sent. Every queue is bounded. A worker that does not empty its outbox is ended like
//! one that is silent.

mod effects;
mod handle;
mod jobs;
mod outgoing;
mod snapshot;
mod workers;

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use windrow_jobs::{AttemptId, FailureCause, JobId, WorkerId};
use windrow_proto::v1::Build;
use windrow_scheduler::{
    AttemptProgress, AttemptStats, Config, Effect, Event, RequestId, Scheduler, Time,
};

use crate::explain;
use crate::output::StagedPart;

pub(crate) use handle::{DriverHandle, Stopped};
pub(crate) use jobs::{JobWork, Submission};
pub(crate) use outgoing::{HeldOutputs, Outgoing, OutputsTable};
pub(crate) use snapshot::{JobSnapshot, WorkerSnapshot};
pub(crate) use workers::{AlreadyThere, Joined, WorkerProfile};

use jobs::Jobs;
use workers::Workers;

/// Commands that may wait for the driver before their senders do.
const COMMANDS_MAX: usize = 1_024;

/// What the driver can be told.
enum Command {
    Submit { submission: Box<Submission>, reply: oneshot::Sender<JobId> },
    Cancel { job: JobId, reply: oneshot::Sender<bool> },
    Join { profile: WorkerProfile, reply: oneshot::Sender<Result<Joined, AlreadyThere>> },
    Report { worker: WorkerId, report: Report },
    Left { worker: WorkerId, reason: String },
    Published { job: JobId, result: Result<(), FailureCause> },
    Discarded { job: JobId },
    Inspect(Box<dyn FnOnce(&Driver) + Send>),
    Stop { reply: oneshot::Sender<()> },
}

/// What a worker says in its session.
pub(crate) enum Report {
    /// It is alive, and its attempts have come this far.
    Heartbeat(Vec<AttemptProgress>),
    /// An attempt has succeeded.
    Done {
        /// Which.
        attempt: AttemptId,
        /// What it counted.
        stats: AttemptStats,
        /// What it wrote, in the job's last stage.
        part: Option<StagedPart>,
    },
    /// An attempt has failed.
    Failed {
        /// Which.
        attempt: AttemptId,
        /// Why.
        cause: FailureCause,
    },
    /// It wants to leave.
    Draining,
}

/// Who waits for the scheduler's answer.
enum Pending {
    Submit(Box<Submission>, oneshot::Sender<JobId>),
    Cancel(oneshot::Sender<bool>),
    Join(WorkerProfile, oneshot::Sender<Result<Joined, AlreadyThere>>),
}

/// The scheduler and all that is needed to do as it says.
pub(crate) struct Driver {
    scheduler: Scheduler,
    started: Instant,
    build: Build,
    jobs: Jobs,
    workers: Workers,
    pending: BTreeMap<RequestId, Pending>,
    requests: u64,
    commands: mpsc::Receiver<Command>,
    /// For the tasks that it starts. Weak, so that the driver ends when nobody else can command it.
    own_commands: mpsc::WeakSender<Command>,
    /// Who waits for it to stop. From the first on, nothing new is taken.
    stopping: Vec<oneshot::Sender<()>>,
}

impl Driver {
    /// Starts a driver on the current runtime. It ends when all its handles are gone.
    pub(crate) fn spawn(config: Config, build: Build) -> DriverHandle {
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let driver = Self {
            scheduler: Scheduler::new(config),
            started: Instant::now(),
            build,
            jobs: Jobs::default(),
            workers: Workers::default(),
            pending: BTreeMap::new(),
            requests: 0,
            commands,
            own_commands: sender.downgrade(),
            stopping: Vec::new(),
        };
        tokio::spawn(driver.run());
        DriverHandle::new(sender)
    }

    async fn run(mut self) {
        loop {
            let deadline = self.scheduler.next_deadline();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                () = sleep_until(self.started, deadline) => {
                    let mut effects = Vec::new();
                    self.scheduler.handle_deadline(self.now(), &mut effects);
                    self.carry_out(effects);
                }
            }
            self.jobs.tell_watchers();
            self.stop_if_settled();
        }
    }

    fn now(&self) -> Time {
        Time(self.started.elapsed())
    }

    fn obey(&mut self, command: Command) {
        match command {
            // The reply is dropped, which tells the caller that nothing is taken any more.
            Command::Submit { .. } | Command::Join { .. } if !self.stopping.is_empty() => {}
            Command::Submit { submission, reply } => self.submit(submission, reply),
            Command::Cancel { job, reply } => {
                let request = self.wait_for_answer(Pending::Cancel(reply));
                self.handle(Event::Cancel { request, job });
            }
            Command::Join { profile, reply } => self.join(profile, reply),
            Command::Report { worker, report } => self.report(worker, report),
            Command::Left { worker, reason } => self.lose(worker, reason),
            Command::Published { job, result } => self.handle(Event::Published { job, result }),
            Command::Discarded { job } => self.settle(job),
            Command::Inspect(look) => look(self),
            Command::Stop { reply } => self.stop(reply),
        }
    }

    fn submit(&mut self, submission: Box<Submission>, reply: oneshot::Sender<JobId>) {
        let plan = submission.plan.to_schedule(&submission.spec);
        let request = self.wait_for_answer(Pending::Submit(submission, reply));
        self.handle(Event::Submit { request, plan });
    }

    fn join(
        &mut self,
        profile: WorkerProfile,
        reply: oneshot::Sender<Result<Joined, AlreadyThere>>,
    ) {
        if let Some((worker, there)) = self.workers.at_same_place(&profile) {
            if there.instance != profile.instance {
                let _ = reply.send(Err(AlreadyThere { worker, name: there.name.clone() }));
                return;
            }
            // The same process, back before its old session was seen to end.
            self.lose(worker, "it has opened another session".to_string());
        }
        let offer = profile.offer();
        let request = self.wait_for_answer(Pending::Join(profile, reply));
        self.handle(Event::WorkerJoined { request, offer });
    }

    fn report(&mut self, worker: WorkerId, report: Report) {
        let event = match report {
            Report::Heartbeat(running) => Event::Heartbeat { worker, running },
            Report::Draining => Event::WorkerDraining { worker },
            Report::Done { attempt, stats, part } => {
                if self.workers.finished(worker, attempt)
                    && let Some(part) = part
                {
                    self.jobs.keep_part(part);
                }
                Event::AttemptDone { worker, attempt, stats }
            }
            Report::Failed { attempt, cause } => {
                self.workers.finished(worker, attempt);
                if cause != FailureCause::Cancelled {
                    let cause = explain::one_line(&cause.to_string());
                    tracing::warn!(%attempt, %worker, %cause, "attempt failed");
                }
                Event::AttemptFailed { worker, attempt, cause }
            }
        };
        self.handle(event);
    }

    /// A session is over. What follows is the scheduler's business.
    fn lose(&mut self, worker: WorkerId, reason: String) {
        if let Some(profile) = self.workers.remove(worker) {
            tracing::info!(%worker, name = ?profile.name, ?reason, "worker left");
            self.handle(Event::WorkerLeft { worker, reason });
        }
    }

    fn wait_for_answer(&mut self, pending: Pending) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.pending.insert(request, pending);
        request
    }

    fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.scheduler.handle(self.now(), event, &mut effects);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            self.carry_out_one(effect);
        }
        while let Some((worker, reason)) = self.workers.next_unreachable() {
            self.lose(worker, reason.to_string());
        }
    }

    fn stop(&mut self, reply: oneshot::Sender<()>) {
        self.stopping.push(reply);
        for job in self.jobs.unsettled() {
            self.requests += 1;
            let request = RequestId(self.requests);
            self.handle(Event::Cancel { request, job });
        }
    }

    fn stop_if_settled(&mut self) {
        if !self.stopping.is_empty() && self.jobs.unsettled().is_empty() {
            self.workers.end_all("the coordinator has stopped");
            for reply in self.stopping.drain(..) {
                let _ = reply.send(());
            }
        }
    }
}

async fn sleep_until(started: Instant, deadline: Option<Time>) {
    match deadline {
        Some(Time(after)) => tokio::time::sleep_until(started + after).await,
        None => std::future::pending().await,
    }
}
