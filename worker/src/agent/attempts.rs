//! The attempts of this worker, from one session to the next: running attempts, attempts whose
//! reports were not noted yet, and attempts whose map output is held.
//!
//! ```text
//!  Assign --> running --> unanswered --Noted, won--> held, if it is a map output
//!                |             |
//!                |             +-----Noted, lost---> its output is deleted
//!                +--cancelled: leaves no output, and is reported like a failure
//! ```
//!
//! When the connection breaks, all of this stays; the next welcome decides whether the session goes
//! on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use windrow_jobs::{AttemptId, FailureCause, JobId, PartHandle, RecordPlace, StageId};
use windrow_proto::v1;

use crate::executor::{Executor, LostOutputs};
use crate::model::{Finished, Progress, RunRequest};
use crate::parts;
use crate::wire;

/// How long cancelled attempts get to remove what they have begun.
const STOP_GRACE: Duration = Duration::from_secs(3);

type Ended = Result<Finished, FailureCause>;

/// An attempt that runs.
struct Running {
    progress: Arc<Progress>,
    cancel: CancellationToken,
}

/// An attempt that is over and whose report the coordinator has not noted yet.
struct Unanswered {
    report: v1::WorkerMessage,
    /// The parts that it has written under its own name.
    parts: Vec<PartHandle>,
    /// Whether the report was sent, so that the coordinator may know of it.
    was_told: bool,
}

/// All attempts of a worker.
pub(super) struct Attempts {
    executor: Arc<Executor>,
    running: BTreeMap<AttemptId, Running>,
    tasks: JoinSet<(AttemptId, Ended)>,
    unanswered: BTreeMap<AttemptId, Unanswered>,
    /// Attempts whose reports are still to be sent in this session.
    untold: VecDeque<AttemptId>,
    /// Map attempts whose output this worker holds.
    outputs: BTreeSet<AttemptId>,
    /// Outputs lost with the process that held them, and whether the coordinator has been told.
    lost: BTreeMap<AttemptId, bool>,
    /// Receives lost outputs; `None` where all outputs are in this process.
    losses: Option<LostOutputs>,
    /// Removals under way: files of jobs that have ended, and outputs that winning reducers have
    /// read.
    releases: JoinSet<()>,
    /// Jobs whose processes have ended, with the tickets of their releases.
    released: (mpsc::UnboundedSender<Released>, mpsc::UnboundedReceiver<Released>),
    /// Releases still to be reported. Any session will do: the ticket names the call that is
    /// answered.
    untold_released: VecDeque<Released>,
}

type Released = (JobId, u64);

impl Attempts {
    pub(super) fn new(executor: Arc<Executor>, losses: Option<LostOutputs>) -> Self {
        Self {
            executor,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            unanswered: BTreeMap::new(),
            untold: VecDeque::new(),
            outputs: BTreeSet::new(),
            lost: BTreeMap::new(),
            losses,
            releases: JoinSet::new(),
            released: mpsc::unbounded_channel(),
            untold_released: VecDeque::new(),
        }
    }

    /// Starts an attempt, unless it runs already or has ended and was not answered.
    pub(super) fn start(&mut self, request: RunRequest) {
        let attempt = request.attempt;
        if self.running.contains_key(&attempt) || self.unanswered.contains_key(&attempt) {
            return;
        }
        tracing::debug!(%attempt, "starting");
        let (progress, cancel) = (Arc::new(Progress::default()), CancellationToken::new());
        let run = {
            let (executor, progress) = (Arc::clone(&self.executor), Arc::clone(&progress));
            let cancel = cancel.clone();
            async move { executor.run(request, progress, cancel).await }
        };
        self.running.insert(attempt, Running { progress, cancel });
        self.tasks.spawn(async move {
            // Runs in a task of its own, so that a panic in the engine fails the attempt instead of
            // silencing it.
            let ended = tokio::spawn(run).await.unwrap_or_else(|panic| {
                let message = format!("a bug in the engine: {panic}");
                Err(FailureCause::UserPanic { place: RecordPlace::default(), message })
            });
            (attempt, ended)
        });
    }

    /// Waits until an attempt is over or an output is lost, and there is something to report.
    /// Cancel safe.
    pub(super) async fn over(&mut self) {
        tokio::select! {
            Some(ended) = self.tasks.join_next() => {
                // This task only runs an attempt, so it does not panic.
                if let Ok((attempt, ended)) = ended {
                    self.note_end(attempt, ended);
                }
            }
            lost = next_loss(&mut self.losses) => self.note_loss(lost),
            Some(released) = self.released.1.recv() => self.untold_released.push_back(released),
            Some(_) = self.releases.join_next() => {}
            else => std::future::pending().await,
        }
    }

    fn note_loss(&mut self, lost: Vec<AttemptId>) {
        for attempt in lost {
            tracing::warn!(%attempt, "its output is lost");
            // The output may be lost before the end of its attempt was noticed.
            self.outputs.remove(&attempt);
            self.lost.insert(attempt, false);
        }
    }

    fn note_end(&mut self, attempt: AttemptId, ended: Ended) {
        self.running.remove(&attempt);
        if let Err(cause) = &ended {
            tracing::info!(%attempt, cause = ?cause.to_string(), "attempt failed");
        }
        let mut parts = Vec::new();
        if let Ok(Finished { part, bad_records, .. }) = &ended {
            parts.extend(part.iter().chain(bad_records).cloned());
            let is_output = part.is_none() && attempt.task.stage == StageId::MAP;
            if is_output && !self.lost.contains_key(&attempt) {
                self.outputs.insert(attempt);
            }
        }
        let report = wire::result_to(attempt, ended);
        self.unanswered.insert(attempt, Unanswered { report, parts, was_told: false });
        self.untold.push_back(attempt);
    }

    /// Whether a report is waiting to be sent.
    pub(super) fn has_untold(&self) -> bool {
        !self.untold.is_empty()
            || !self.untold_released.is_empty()
            || self.untold_losses().next().is_some()
    }

    /// Losses to report: the coordinator must know of an output before it can be lost.
    fn untold_losses(&self) -> impl Iterator<Item = AttemptId> {
        let untold = self.lost.iter().filter(|(_, was_told)| !**was_told);
        untold.map(|(attempt, _)| *attempt).filter(|attempt| !self.running.contains_key(attempt))
    }

    /// The next report to send; it counts as sent from then on.
    pub(super) fn next_report(&mut self) -> Option<v1::WorkerMessage> {
        if let Some((job, ticket)) = self.untold_released.pop_front() {
            return Some(wire::released_to(job, ticket));
        }
        let Some(attempt) = self.untold.pop_front() else {
            let lost: Vec<_> = self.untold_losses().collect();
            self.lost.extend(lost.iter().map(|attempt| (*attempt, true)));
            return (!lost.is_empty()).then(|| wire::outputs_lost_to(lost));
        };
        let unanswered = self.unanswered.get_mut(&attempt)?;
        unanswered.was_told = true;
        Some(unanswered.report.clone())
    }

    /// The session goes on with a new call: reports without an answer are sent again.
    pub(super) fn tell_again(&mut self) {
        self.untold = self.unanswered.keys().copied().collect();
        self.lost.values_mut().for_each(|was_told| *was_told = false);
    }

    /// The coordinator has noted a report for good. Idempotent.
    pub(super) fn noted(&mut self, attempt: AttemptId, won: bool) {
        let Some(Unanswered { parts, .. }) = self.unanswered.remove(&attempt) else { return };
        self.untold.retain(|untold| *untold != attempt);
        if !won {
            self.discard(attempt, parts);
        } else if attempt.task.stage == StageId::REDUCE {
            let executor = Arc::clone(&self.executor);
            self.releases.spawn(async move { executor.free_partition(attempt.task).await });
        }
    }

    /// The coordinator no longer wants an attempt. An attempt that is over keeps its files until
    /// the coordinator answers: the answer decides.
    pub(super) fn cancel(&mut self, attempt: AttemptId) {
        if let Some(running) = self.running.get(&attempt) {
            running.cancel.cancel();
        } else if !self.unanswered.contains_key(&attempt) {
            self.discard(attempt, Vec::new());
        }
    }

    /// A job has ended: its files are removed in the background, since many large files take longer
    /// than a lease. The end of its processes is reported before that.
    pub(super) fn release(&mut self, job: JobId, ticket: Option<u64>) {
        for (_, running) in self.running.iter().filter(|(attempt, _)| attempt.task.job == job) {
            running.cancel.cancel();
        }
        self.outputs.retain(|attempt| attempt.task.job != job);
        self.lost.retain(|attempt, _| attempt.task.job != job);
        let executor = Arc::clone(&self.executor);
        let released = self.released.0.clone();
        self.releases.spawn(async move {
            executor
                .release(job, || {
                    // Nobody receives this only when the worker is about to end.
                    ticket.map(|ticket| released.send((job, ticket)));
                })
                .await;
        });
    }

    /// Deletes the parts and the output of an attempt.
    fn discard(&mut self, attempt: AttemptId, parts: Vec<PartHandle>) {
        let output = self.outputs.remove(&attempt).then(|| Arc::clone(&self.executor));
        if output.is_none() && parts.is_empty() {
            return;
        }
        tracing::debug!(%attempt, "its output is not wanted");
        tokio::task::spawn_blocking(move || parts.iter().for_each(parts::discard));
        if let Some(executor) = output {
            tokio::spawn(async move { executor.discard_output(attempt).await });
        }
    }

    /// Reports the progress of running attempts.
    pub(super) fn heartbeat(&self, sequence: u64) -> v1::WorkerMessage {
        let progress = self.running.iter().map(|(attempt, running)| (*attempt, &*running.progress));
        wire::heartbeat_to(progress, sequence)
    }

    /// What this worker would lose if its session ended.
    pub(super) fn inventory(&mut self) -> wire::Inventory {
        while let Some(Ok((attempt, ended))) = self.tasks.try_join_next() {
            self.note_end(attempt, ended);
        }
        while let Some(lost) = self.losses.as_mut().and_then(|losses| losses.try_recv().ok()) {
            self.note_loss(lost);
        }
        wire::Inventory {
            running: self.running.keys().copied().collect(),
            unanswered: self.unanswered.keys().copied().collect(),
            outputs: self.outputs.iter().copied().collect(),
        }
    }

    /// Whether this worker holds nothing that could be lost.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.unanswered.is_empty() && self.outputs.is_empty()
    }

    /// Cancels all running attempts, waits briefly until they have stopped, and deletes all
    /// outputs.
    ///
    /// A part whose report was sent stays, although the answer is unknown: it may have won, and the
    /// coordinator sweeps the losers.
    pub(super) async fn drop_all(&mut self) {
        for running in self.running.values() {
            running.cancel.cancel();
        }
        if timeout(STOP_GRACE, self.stopped()).await.is_err() {
            tracing::warn!("some attempts do not stop; leaving them behind");
            self.tasks.detach_all();
        }
        self.running.clear();
        self.untold.clear();
        self.outputs.clear();
        self.lost.clear();
        let unanswered = std::mem::take(&mut self.unanswered).into_values();
        let secret = unanswered.filter(|attempt| !attempt.was_told);
        let parts: Vec<_> = secret.flat_map(|attempt| attempt.parts).collect();
        if tokio::task::spawn_blocking(move || parts.iter().for_each(parts::discard)).await.is_err()
        {
            tracing::error!("a bug in the engine: removing files panicked");
        }
        // A job of the next session may have the number of a job that is still being removed.
        while self.releases.join_next().await.is_some() {}
        self.executor.release_all().await;
        while self.losses.as_mut().is_some_and(|losses| losses.try_recv().is_ok()) {}
    }

    async fn stopped(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if let Ok((attempt, ended)) = ended {
                self.note_end(attempt, ended);
            }
        }
    }
}

async fn next_loss(losses: &mut Option<LostOutputs>) -> Vec<AttemptId> {
    match losses {
        Some(losses) => match losses.recv().await {
            Some(lost) => lost,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
