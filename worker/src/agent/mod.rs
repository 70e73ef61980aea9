//! The worker's side of its conversation with the coordinator.
//!
//! ```text
//!  run() --- serves shuffle data for as long as it lives
//!    |
//!    +-- session --- hello, welcome --- orders --> Attempts --> executor
//!    |      ^                                          |
//!    |      +-- heartbeats and results <---------------+
//!    +-- backoff, when the session is lost; then a new one, under a new id
//! ```
//!
//! A lost session loses everything: the coordinator has given the work to others, so attempts are cancelled and segments
//! are deleted before the worker asks for a new one. The agent decides nothing about tasks and runs no user code.

mod attempts;
mod backoff;
mod cgroup;
mod config;
mod machine;
mod session;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use windrow_jobs::{JobId, Registry};
use windrow_proto::v1;

pub use config::{WorkerConfig, WorkerError};
pub use machine::default_memory_bytes;

use crate::executor::{ExecutorConfig, ExecutorError, InProcess};
use crate::rpc::{Connector, ShuffleServer};
use crate::shuffle::FetchTimeouts;
use backoff::Backoff;
use session::End;

/// Map attempts at once: while one reads, the other computes.
const MAP_SLOTS: u32 = 2;

/// A worker between and during its sessions.
struct Agent {
    executor: Arc<InProcess>,
    connector: Connector,
    hello: v1::Hello,
    drain: CancellationToken,
    kill: CancellationToken,
}

/// Runs a worker until it has been drained or killed. While the coordinator cannot be reached, it says so and keeps
/// trying.
///
/// When `drain` fires, it takes nothing new, finishes what it has, and leaves when nobody needs its data any more. When
/// `kill` fires, it cancels what runs and leaves.
///
/// # Errors
/// When its folder or its socket cannot be had, or the coordinator refuses it for good.
pub async fn run(
    config: WorkerConfig,
    registry: Arc<Registry>,
    build: v1::Build,
    connector: Connector,
    drain: CancellationToken,
    kill: CancellationToken,
) -> Result<(), WorkerError> {
    let threads = config.threads.unwrap_or_else(machine::cores).max(1);
    let memory_bytes = config.memory_bytes.unwrap_or_else(default_memory_bytes);
    let (executor, directory) = open_executor(&config, threads, memory_bytes, registry).await?;
    let shuffle = match config.listen {
        Some(address) => Some(ShuffleServer::start(address, executor.shuffle_service()).await?),
        None => None,
    };
    let hello = v1::Hello {
        build: Some(build),
        name: config.name,
        shuffle_address: shuffle.as_ref().map_or_else(String::new, ShuffleServer::address),
        host: config.host,
        directory: directory.display().to_string(),
        map_slots: MAP_SLOTS,
        reduce_slots: threads,
        threads,
        memory_bytes,
        instance: machine::instance(),
        r#return: None,
    };
    let agent = Agent { executor, connector, hello, drain, kill };
    let result = agent.keep_joining().await;
    if let Some(shuffle) = shuffle {
        shuffle.stop().await;
    }
    result
}

/// Returns the folder by the one name that it has. Opening sweeps what a predecessor left, which may take a while.
async fn open_executor(
    config: &WorkerConfig,
    threads: u32,
    memory_bytes: u64,
    registry: Arc<Registry>,
) -> Result<(Arc<InProcess>, PathBuf), WorkerError> {
    let given = config.directory.clone();
    let mut config = ExecutorConfig {
        threads: threads as usize,
        memory_bytes,
        directory: given.clone(),
        host: config.host.clone(),
        fetch: FetchTimeouts::default(),
    };
    let failed = move |error| ExecutorError::Io { path: given.clone(), error };
    let open = {
        let failed = failed.clone();
        move || {
            config.directory = std::path::absolute(&config.directory).map_err(&failed)?;
            let directory = config.directory.clone();
            let executor = InProcess::new(config, registry)?;
            Ok((Arc::new(executor), std::fs::canonicalize(directory).map_err(&failed)?))
        }
    };
    let opened = tokio::task::spawn_blocking(open).await;
    opened.unwrap_or_else(|error| Err(failed(io::Error::other(error)).into()))
}

impl Agent {
    async fn keep_joining(&self) -> Result<(), WorkerError> {
        let mut backoff = Backoff::new();
        loop {
            match session::run(self).await {
                End::Drained | End::Killed => return Ok(()),
                End::Refused(status) => {
                    let coordinator = self.connector.name().to_string();
                    return Err(WorkerError::Refused { coordinator, status });
                }
                End::Lost { was_open, reason } => {
                    if was_open {
                        backoff = Backoff::new();
                    }
                    let pause = backoff.pause();
                    let what = if was_open { "lost" } else { "cannot reach" };
                    tracing::warn!(
                        "{what} the coordinator {}: {}; trying again in {:.1} s",
                        self.connector.name(),
                        reason.escape_debug(),
                        pause.as_secs_f64()
                    );
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = self.drain.cancelled() => return Ok(()),
                        () = self.kill.cancelled() => return Ok(()),
                    }
                }
            }
        }
    }

    /// Deletes what is held of a job, while the session goes on: many large files take longer than a lease.
    fn forget(&self, job: JobId) {
        let executor = Arc::clone(&self.executor);
        tokio::task::spawn_blocking(move || executor.release(job));
    }

    /// Deletes what is held of all jobs.
    async fn forget_all(&self) {
        let executor = Arc::clone(&self.executor);
        self.blocking(move || executor.release_all()).await;
    }

    async fn blocking(&self, work: impl FnOnce() + Send + 'static) {
        if tokio::task::spawn_blocking(work).await.is_err() {
            tracing::error!("a bug in the engine: deleting segments panicked");
        }
    }
}
