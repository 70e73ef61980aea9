//! Logs of jobs: received from workers, sent to users.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tonic::Status;
use windrow_jobs::{JobId, StageId, WorkerId};
use windrow_proto::{PRINTED_BYTES_MAX, PRINTED_TASKS_MAX, v1};

use crate::driver::DriverHandle;
use crate::logs::{LogStore, read};

/// Stores the output of one worker's processes.
pub(super) struct WorkerLogs {
    pub(super) driver: DriverHandle,
    pub(super) logs: Arc<LogStore>,
    pub(super) worker: WorkerId,
    /// The worker's.
    pub(super) name: String,
}

impl WorkerLogs {
    /// Stores the output of a known job, up to a limit. Logs are for people only, so that an error
    /// is logged and nothing fails.
    pub(super) async fn keep(&self, printed: v1::Printed) {
        let v1::Printed { job, tail, maps, reduces, .. } = &printed;
        let tasks = maps.len() + reduces.len();
        let is_small = tail.len() <= PRINTED_BYTES_MAX && tasks <= PRINTED_TASKS_MAX;
        if !is_small || !self.driver.knows(JobId(*job)).await.unwrap_or(false) {
            return;
        }
        let (logs, worker) = (Arc::clone(&self.logs), self.worker);
        let log = v1::ProcessLog { worker: self.name.clone(), printed: Some(printed) };
        match spawn_blocking(move || logs.put(worker, &log)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot store a job's log"),
            Err(error) => tracing::error!(%error, "a bug in the engine: keeping a log panicked"),
        }
    }
}

/// Sends the logs of a job, or of the processes in which attempts of `task` ran, until the receiver
/// disconnects. Holds no thread while it waits for the network.
pub(super) async fn send(
    logs: Arc<LogStore>,
    job: JobId,
    task: Option<v1::LogsOfTask>,
    sender: mpsc::Sender<Result<v1::ProcessLog, Status>>,
) {
    let found =
        spawn_blocking(move || logs.of(job)).await.unwrap_or_else(|e| Err(io::Error::other(e)));
    let paths = match found {
        Ok(paths) => paths,
        Err(error) => {
            // Fails only if the receiver has disconnected.
            let _ = sender.send(Err(Status::internal(error.to_string()))).await;
            return;
        }
    };
    for path in paths {
        let Ok(Some(log)) = spawn_blocking(move || read(&path)).await else { continue };
        let is_asked_for = task.as_ref().is_none_or(|task| ran_in(task, log.printed.as_ref()));
        if is_asked_for && sender.send(Ok(log)).await.is_err() {
            return;
        }
    }
}

fn ran_in(task: &v1::LogsOfTask, printed: Option<&v1::Printed>) -> bool {
    let (Some(printed), Ok(stage)) = (printed, StageId::from_number(task.stage)) else {
        return false;
    };
    [&printed.maps, &printed.reduces][stage.index()].contains(&task.task)
}
