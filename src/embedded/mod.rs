//! A cluster of one inside this process: the same coordinator and the same worker, joined by
//! memory.
//!
//! No socket is opened, and all files lie in the job's output folder until the job ends.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use windrow_coordinator::{Coordinator, CoordinatorConfig};
use windrow_jobs::{Location, Registry};
use windrow_proto::v1;
use windrow_worker::{Connector, Stops, WorkerConfig};

use crate::client::{Accepted, Client, ClientError};
use crate::executable::Executable;
use crate::submission::{Shipped, Submission, SubmissionName};

mod transport;

/// This cluster gets one only.
const THE_SUBMISSION: SubmissionName = [0; 16];

/// How long the worker may take to put its files away before the process ends without it.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// How much of this machine to use. `None` means a fair default.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbeddedConfig {
    /// Threads that run user code; all cores by default.
    pub threads: Option<u32>,
    /// Memory for intermediate data; half of the machine's by default.
    pub memory_bytes: Option<u64>,
}

/// A coordinator in this process, and a worker from the first job on.
pub struct Embedded {
    client: Client,
    executable: Executable,
    connector: Connector,
    registry: Arc<Registry>,
    config: EmbeddedConfig,
    kill: CancellationToken,
    server: JoinHandle<()>,
    worker: Option<RunningWorker>,
}

struct RunningWorker {
    task: JoinHandle<String>,
    folders: WorkFolders,
}

/// The folders that the worker needs, inside the output, and what has to go when the job is over.
struct WorkFolders {
    output: PathBuf,
    output_is_new: bool,
}

impl Embedded {
    /// Starts the coordinator.
    pub async fn start(registry: Arc<Registry>, config: EmbeddedConfig) -> Result<Self, String> {
        let executable = Executable::own().map_err(|error| format!("/proc/self/exe: {error}"))?;
        let mut coordinator = CoordinatorConfig::new(executable.build.clone());
        coordinator.executable = Some((executable.blob, Arc::clone(&executable.file)));
        coordinator.assumed_threads = config.threads.unwrap_or(coordinator.assumed_threads);
        coordinator.assumed_memory_bytes =
            config.memory_bytes.unwrap_or_else(windrow_worker::default_memory_bytes);
        let coordinator =
            Coordinator::start(coordinator).await.map_err(|error| error.to_string())?;
        let (connector, incoming) = transport::in_memory();
        let kill = CancellationToken::new();
        let stop = kill.clone();
        let server = tokio::spawn(async move {
            if let Err(error) = coordinator.serve(incoming, stop).await {
                tracing::error!("the embedded coordinator ended: {error}");
            }
        });
        let channel = connector.connect().await.map_err(|error| error.to_string())?;
        let client = Client::over(channel, "embedded");
        Ok(Self { client, executable, connector, registry, config, kill, server, worker: None })
    }

    /// Talks to the coordinator.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Submits the one job of this cluster, and starts the worker in its output folder.
    pub async fn submit(&mut self, spec: v1::JobSpec) -> Result<Accepted, ClientError> {
        let output = local_folder(&spec.output)?;
        let folders = WorkFolders { output_is_new: !output.exists(), output };
        // Nothing is shipped: all is of this process, side files included.
        let shipped = Shipped { executable: &self.executable, prefix: &[], side_files: &[] };
        let mut submission = Submission::new(&self.registry, spec, THE_SUBMISSION, &shipped)?;
        let job = submission.submit(&self.client).await?;
        let mut config = WorkerConfig::embedded(folders.worker());
        config.threads = self.config.threads;
        config.memory_bytes = self.config.memory_bytes;
        let worker = windrow_worker::run(
            config,
            self.registry.clone(),
            self.executable.build.clone(),
            self.connector.clone(),
            Stops { kill: self.kill.clone(), ..Stops::default() },
        );
        let task = tokio::spawn(async move {
            worker.await.map_or_else(|error| error.to_string(), |()| "it was stopped".to_string())
        });
        self.worker = Some(RunningWorker { task, folders });
        Ok(job)
    }

    /// Returns when the worker has ended although nothing has stopped it, with the reason. Without
    /// it, the job would wait for another worker, which never comes.
    pub async fn worker_ended(&mut self) -> String {
        let Some(RunningWorker { task, .. }) = &mut self.worker else { return pending().await };
        let why = task.await.unwrap_or_else(|panic| panic.to_string());
        format!("the worker of this process has ended: {why}")
    }

    /// Stops the worker and removes its files. Call it when the job has ended.
    pub async fn stop(self) {
        self.kill.cancel();
        if let Some(RunningWorker { task, folders }) = self.worker {
            if !task.is_finished() {
                let _ = tokio::time::timeout(STOP_GRACE, task).await;
            }

            folders.remove();
        }
        let _ = tokio::time::timeout(STOP_GRACE, self.server).await;
    }
}

/// The output folder, in which the worker has its own.
fn local_folder(output: &str) -> Result<PathBuf, ClientError> {
    let refused = |error: &dyn std::error::Error| ClientError::Refused {
        usage: true,
        message: error.to_string(),
    };
    let location = Location::parse(output).map_err(|error| refused(&error))?;
    Ok(location.to_local().map_err(|error| refused(&error))?.to_path_buf())
}

impl WorkFolders {
    const WORKER: &str = "worker";

    fn worker(&self) -> PathBuf {
        self.output.join("_temporary").join(Self::WORKER)
    }

    /// Removes what nobody needs any more; folders that hold something else stay.
    fn remove(&self) {
        let removed = windrow_coordinator::remove_from_temporary(&self.output, Self::WORKER);
        if let Err(error) = removed
            && error.kind() != std::io::ErrorKind::NotFound
        {
            let path = self.worker();
            tracing::warn!(path = %path.display(), %error, "cannot remove the worker's files");
        }
        if self.output_is_new {
            let _ = std::fs::remove_dir(&self.output);
        }
    }
}
