//! Opens the worker's executor in its folder: in this process, or with a process for each job.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use windrow_jobs::Registry;

use super::{WorkerConfig, WorkerError};
use crate::executor::{
    ChildSettings, Children, Executor, ExecutorConfig, ExecutorError, InProcess, LostOutputs,
    WorkerDirectory,
};
use crate::rpc::{Connector, JobCertificates, ShuffleTls};

/// An executor that has its folder.
pub(super) struct Opened {
    pub(super) executor: Arc<Executor>,
    /// Hears of outputs that are lost while the worker lives.
    pub(super) losses: Option<LostOutputs>,
    /// Of its segments, by the one name that the folder has.
    pub(super) directory: PathBuf,
}

/// Takes possession of the folder, which sweeps what a predecessor left and may take a while.
pub(super) async fn open(
    config: &WorkerConfig,
    connector: &Connector,
    threads: u32,
    memory_bytes: u64,
    registry: Arc<Registry>,
) -> Result<Opened, WorkerError> {
    let failed = failed(&config.directory);
    let take = {
        let (path, failed) = (config.directory.clone(), failed.clone());
        move || -> Result<_, ExecutorError> {
            let directory = WorkerDirectory::open(&std::path::absolute(&path).map_err(&failed)?)?;
            let path = std::fs::canonicalize(directory.path()).map_err(&failed)?;
            Ok((directory, path))
        }
    };
    let taken = tokio::task::spawn_blocking(take).await;
    let (folder, directory) = taken.map_err(|error| failed(io::Error::other(error)))??;
    let host = config.host.clone();
    let certificates = config
        .tls
        .as_ref()
        .map(|tls| Arc::new(JobCertificates::new(connector.clone(), tls.authority())));
    let Some(program) = config.child.clone() else {
        let config = ExecutorConfig {
            threads: threads as usize,
            memory_bytes,
            directory: folder.path().to_path_buf(),
            host,
            fetch: config.fetch,
            serial: 0,
            outputs_on_disk: false,
            tls: certificates.map_or(ShuffleTls::Off, ShuffleTls::OfEachJob),
        };
        let executor = Executor::in_process(InProcess::with_directory(config, registry, folder));
        return Ok(Opened { executor: Arc::new(executor), losses: None, directory });
    };
    let fetch = config.fetch;
    let settings = ChildSettings { program, threads, memory_bytes, host, fetch, certificates };
    let (children, losses) = Children::new(settings, folder).map_err(failed)?;
    let executor = Arc::new(Executor::Children(Arc::new(children)));
    Ok(Opened { executor, losses: Some(losses), directory })
}

fn failed(path: &Path) -> impl Fn(io::Error) -> ExecutorError + Clone + Send + 'static {
    let path = path.to_path_buf();
    move |error| ExecutorError::Io { path: path.clone(), error }
}
