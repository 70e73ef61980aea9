//! The attempts that a session has running. Each runs in a task of its own, which reports its result.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use windrow_jobs::{AttemptId, FailureCause, JobId, Place};
use windrow_proto::v1;

use crate::executor::{InProcess, Progress, RunRequest};
use crate::rpc::convert;

/// How long cancelled attempts get to remove what they have begun, when their session is over.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// An attempt that runs.
struct Running {
    progress: Arc<Progress>,
    cancel: CancellationToken,
}

/// The running attempts of one session.
pub(super) struct Attempts {
    executor: Arc<InProcess>,
    /// Bounded: a coordinator that does not listen makes results wait, not grow. Weak: the session alone decides when
    /// to hang up.
    reports: mpsc::WeakSender<v1::WorkerMessage>,
    running: BTreeMap<AttemptId, Running>,
    tasks: JoinSet<AttemptId>,
}

impl Attempts {
    pub(super) fn new(executor: Arc<InProcess>, reports: &mpsc::Sender<v1::WorkerMessage>) -> Self {
        Self {
            executor,
            reports: reports.downgrade(),
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Starts an attempt, unless it runs already.
    pub(super) fn start(&mut self, request: RunRequest) {
        let attempt = request.attempt;
        if self.running.contains_key(&attempt) {
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
        let reports = self.reports.clone();
        self.tasks.spawn(async move {
            // A task of its own, so that a panic in the engine is a failed attempt and not a silent one.
            let result = tokio::spawn(run).await.unwrap_or_else(|panic| {
                let message = format!("a bug in the engine: {panic}");
                Err(FailureCause::UserPanic { place: Place::default(), message })
            });
            if let Err(cause) = &result {
                tracing::info!(%attempt, cause = ?cause.to_string(), "attempt failed");
            }
            // If the session is over, nobody wants to know.
            if let Some(reports) = reports.upgrade() {
                let _ = reports.send(convert::result_to(attempt, result)).await;
            }
            attempt
        });
    }

    /// Waits until an attempt has been reported. Never ends while none runs. Cancel safe.
    pub(super) async fn reported(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(attempt)) => {
                self.running.remove(&attempt);
            }
            // A task that only runs and reports does not panic.
            Some(Err(_)) => {}
            None => std::future::pending().await,
        }
    }

    /// How far all of them have come.
    pub(super) fn heartbeat(&self) -> v1::WorkerMessage {
        let progress = self.running.iter().map(|(attempt, running)| (*attempt, &*running.progress));
        convert::heartbeat_to(progress)
    }

    pub(super) fn cancel(&self, attempt: AttemptId) {
        if let Some(running) = self.running.get(&attempt) {
            running.cancel.cancel();
        }
    }

    pub(super) fn cancel_job(&self, job: JobId) {
        for (_, running) in self.running.iter().filter(|(attempt, _)| attempt.task.job == job) {
            running.cancel.cancel();
        }
    }

    /// Cancels all and waits until they have stopped, or for a moment.
    pub(super) async fn stop(mut self) {
        for running in self.running.values() {
            running.cancel.cancel();
        }
        let stopped = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(STOP_GRACE, stopped).await.is_err() {
            tracing::warn!("some attempts do not stop; leaving them behind");
        }
    }
}
