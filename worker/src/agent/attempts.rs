//! The attempts of this worker, from one session to the next: those that run, those whose reports are not noted yet, and those
//! whose map output is held.
//!
//! ```text
//!  Assign --> running --> unanswered --Noted, won--> held, if it is a map output
//!                |             |
//!                |             +-----Noted, lost---> what it has left is deleted
//!                +--cancelled: leaves nothing, and is reported like a failure
//! ```
//!
//! When the connection breaks, all of this stays; whoever has opened the next one decides whether it goes on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use windrow_jobs::{AttemptId, FailureCause, JobId, Place, Stage};
use windrow_proto::v1;

use crate::executor::{Finished, InProcess, Progress, RunRequest};
use crate::files::TemporaryFile;
use crate::rpc::convert;

/// How long cancelled attempts get to remove what they have begun.
const STOP_GRACE: Duration = Duration::from_secs(3);

type Ended = Result<Finished, FailureCause>;

/// An attempt that runs.
struct Running {
    progress: Arc<Progress>,
    cancel: CancellationToken,
}

/// An attempt that is over, and whose report was not noted yet.
struct Unanswered {
    report: v1::WorkerMessage,
    /// What it has written under its own name.
    part: Option<PathBuf>,
    /// Whether the coordinator may know of it.
    was_told: bool,
}

/// All attempts of a worker.
pub(super) struct Attempts {
    executor: Arc<InProcess>,
    running: BTreeMap<AttemptId, Running>,
    tasks: JoinSet<(AttemptId, Ended)>,
    unanswered: BTreeMap<AttemptId, Unanswered>,
    /// Those of them that are still to be told in this session.
    untold: VecDeque<AttemptId>,
    /// Map attempts whose output is here.
    outputs: BTreeSet<AttemptId>,
}

impl Attempts {
    pub(super) fn new(executor: Arc<InProcess>) -> Self {
        Self {
            executor,
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            unanswered: BTreeMap::new(),
            untold: VecDeque::new(),
            outputs: BTreeSet::new(),
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
            // A task of its own, so that a panic in the engine is a failed attempt and not a silent one.
            let ended = tokio::spawn(run).await.unwrap_or_else(|panic| {
                let message = format!("a bug in the engine: {panic}");
                Err(FailureCause::UserPanic { place: Place::default(), message })
            });
            (attempt, ended)
        });
    }

    /// Waits until an attempt is over; its report is to be told then. Never ends while none runs. Cancel safe.
    pub(super) async fn over(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok((attempt, ended))) => self.note_end(attempt, ended),
            // A task that only runs an attempt does not panic.
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }

    fn note_end(&mut self, attempt: AttemptId, ended: Ended) {
        self.running.remove(&attempt);
        if let Err(cause) = &ended {
            tracing::info!(%attempt, cause = ?cause.to_string(), "attempt failed");
        }
        let part = match &ended {
            Ok(Finished { part: Some(part), .. }) => Some(part.path.clone()),
            Ok(Finished { part: None, .. }) if attempt.task.stage == Stage::Map => {
                self.outputs.insert(attempt);
                None
            }
            _ => None,
        };
        let report = convert::result_to(attempt, ended);
        self.unanswered.insert(attempt, Unanswered { report, part, was_told: false });
        self.untold.push_back(attempt);
    }

    /// Whether a report is to be told.
    pub(super) fn has_untold(&self) -> bool {
        !self.untold.is_empty()
    }

    /// The next report to tell; it counts as told.
    pub(super) fn next_report(&mut self) -> Option<v1::WorkerMessage> {
        let attempt = self.untold.pop_front()?;
        let unanswered = self.unanswered.get_mut(&attempt)?;
        unanswered.was_told = true;
        Some(unanswered.report.clone())
    }

    /// A new call goes on with the session: what was not answered is told again.
    pub(super) fn tell_again(&mut self) {
        self.untold = self.unanswered.keys().copied().collect();
    }

    /// The coordinator has noted a report for good. Also when it does so for the second time.
    pub(super) fn noted(&mut self, attempt: AttemptId, won: bool) {
        let Some(Unanswered { part, .. }) = self.unanswered.remove(&attempt) else { return };
        self.untold.retain(|untold| *untold != attempt);
        if !won {
            self.discard(attempt, part);
        }
    }

    /// The coordinator has no use for an attempt. One that is over and not answered stays: the answer decides.
    pub(super) fn cancel(&mut self, attempt: AttemptId) {
        if let Some(running) = self.running.get(&attempt) {
            running.cancel.cancel();
        } else if !self.unanswered.contains_key(&attempt) {
            self.discard(attempt, None);
        }
    }

    /// A job has ended: what is held of it goes, while the session goes on, for many large files take longer than a lease.
    pub(super) fn release(&mut self, job: JobId) {
        for (_, running) in self.running.iter().filter(|(attempt, _)| attempt.task.job == job) {
            running.cancel.cancel();
        }
        self.outputs.retain(|attempt| attempt.task.job != job);
        let executor = Arc::clone(&self.executor);
        tokio::task::spawn_blocking(move || executor.release(job));
    }

    /// Deletes what an attempt has left.
    fn discard(&mut self, attempt: AttemptId, part: Option<PathBuf>) {
        let output = self.outputs.remove(&attempt).then(|| Arc::clone(&self.executor));
        if output.is_none() && part.is_none() {
            return;
        }
        tracing::debug!(%attempt, "what it has left is not wanted");
        tokio::task::spawn_blocking(move || {
            drop(part.map(TemporaryFile::new));
            if let Some(executor) = output {
                executor.discard_output(attempt);
            }
        });
    }

    /// How far those that run have come.
    pub(super) fn heartbeat(&self, sequence: u64) -> v1::WorkerMessage {
        let progress = self.running.iter().map(|(attempt, running)| (*attempt, &*running.progress));
        convert::heartbeat_to(progress, sequence)
    }

    /// What there is to lose.
    pub(super) fn inventory(&mut self) -> convert::Inventory {
        while let Some(Ok((attempt, ended))) = self.tasks.try_join_next() {
            self.note_end(attempt, ended);
        }
        convert::Inventory {
            running: self.running.keys().copied().collect(),
            unanswered: self.unanswered.keys().copied().collect(),
            outputs: self.outputs.iter().copied().collect(),
        }
    }

    /// Whether nothing would be lost.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty() && self.unanswered.is_empty() && self.outputs.is_empty()
    }

    /// Cancels all that runs, waits until it has stopped, or for a moment, and deletes all outputs.
    ///
    /// A part whose report was told stays, though its answer is not known: it may have won, and the coordinator sweeps
    /// those that have not.
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
        let unanswered = std::mem::take(&mut self.unanswered).into_values();
        let secret = unanswered.filter(|attempt| !attempt.was_told);
        let parts: Vec<_> = secret.filter_map(|attempt| attempt.part).collect();
        let executor = Arc::clone(&self.executor);
        let delete = move || {
            parts.into_iter().map(TemporaryFile::new).for_each(drop);
            executor.release_all();
        };
        if tokio::task::spawn_blocking(delete).await.is_err() {
            tracing::error!("a bug in the engine: deleting segments panicked");
        }
    }

    async fn stopped(&mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            if let Ok((attempt, ended)) = ended {
                self.note_end(attempt, ended);
            }
        }
    }
}
