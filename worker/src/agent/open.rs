//! Opens the worker's executor in its folder: in this process, or with one process for each job.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;
use windrow_jobs::{Digest, Isolation, Registry};
use windrow_proto::v1;

use super::machine::instance;
use super::{WorkerConfig, WorkerError};
use crate::blobs::{BlobCache, Source};
use crate::cgroup::Delegated;
use crate::connector::Connector;
use crate::executor::{
    ChildSettings, Children, Confinement, Executables, Executor, ExecutorConfig, ExecutorError,
    InProcess, Isolated, Linked, LostOutputs, PrintedLogs, Users, WorkerDirectory, is_noexec,
    jobs_folder, surroundings,
};
use crate::shuffle::transport::{JobCertificates, ShuffleTls};

/// Subfolder for programs and side files.
const PROGRAMS: &str = "programs";

/// An executor with exclusive use of its folder.
pub(super) struct Opened {
    pub(super) executor: Arc<Executor>,
    /// Receives outputs that are lost while the worker lives.
    pub(super) losses: Option<LostOutputs>,
    /// Receives the output that jobs print; nothing where they run in this process.
    pub(super) logs: PrintedLogs,
    /// How far the code of jobs is isolated from the rest of the machine.
    pub(super) isolation: Isolation,
    /// The canonical path of the folder with the jobs' folders.
    pub(super) directory: PathBuf,
}

/// Takes possession of the folder, and sweeps the files of a predecessor, which may take a while.
pub(super) async fn open(
    config: &WorkerConfig,
    threads: u32,
    memory_bytes: u64,
    registry: Arc<Registry>,
    build: &v1::Build,
    connector: &Connector,
) -> Result<Opened, WorkerError> {
    let users = users(config)?;
    let isolated = isolated(config)?;
    let isolation = isolated.level;
    let failed = failed(&config.directory);
    // A predecessor's processes in them end before its folder is swept.
    let groups = control_groups(config).await;
    let (path, of_jobs) = (config.directory.clone(), users.clone());
    let taken = tokio::task::spawn_blocking(move || take(&path, of_jobs.as_deref())).await;
    let (folder, directory) = taken.map_err(|error| failed(io::Error::other(error)))??;
    let host = config.host.clone();
    // The digest is unknown in tests, where there is only one program.
    let own_digest = Digest::from_hex(&build.digest);
    let certificates = config
        .tls
        .as_ref()
        .map(|tls| Arc::new(JobCertificates::new(connector.clone(), tls.authority())));
    let Some(program) = config.child.clone() else {
        let is_embedded = config.listen.is_none();
        let config = ExecutorConfig {
            threads: threads as usize,
            memory_bytes,
            directory: folder.jobs().to_path_buf(),
            host,
            fetch: config.fetch,
            serial: 0,
            outputs_on_disk: false,
            is_only_worker: is_embedded,
            tls: match certificates {
                Some(certificates) => ShuffleTls::OfEachJob(certificates),
                None if is_embedded => ShuffleTls::Off,
                None => ShuffleTls::OfUsers(config.local_users.clone()),
            },
        };
        let executor = InProcess::with_directory(config, registry, folder);
        let linked = Linked { own_digest, has_side_files: is_embedded };
        let executor = Executor::in_process(executor, linked);
        let (_, logs) = mpsc::channel(1);
        let directory = jobs_folder(&directory);
        let executor = Arc::new(executor);
        return Ok(Opened { executor, losses: None, logs, isolation, directory });
    };
    let source = Source::Coordinator(connector.clone());
    let readers = users.as_ref().map(|users| users.group());
    let cache =
        BlobCache::new(directory.join(PROGRAMS), config.program_cache_bytes, source, readers);
    let executables = Executables::new(program, own_digest, Arc::new(cache));
    let fetch = config.fetch;
    let hidden = hidden(&directory, &config.confinement)?;
    let settings = ChildSettings {
        executables,
        threads,
        memory_bytes,
        host,
        fetch,
        certificates,
        local_users: config.local_users.clone(),
        hidden,
        calls: isolated.calls,
        users,
        limits: config.job_limits,
        orphans: config.orphans.clone(),
        groups,
    };
    warn_of_noexec(&directory);
    let (children, losses, logs) = Children::new(settings, folder).map_err(failed)?;
    let executor = Arc::new(Executor::Children(Arc::new(children)));
    let (losses, directory) = (Some(losses), jobs_folder(&directory));
    Ok(Opened { executor, losses, logs, isolation, directory })
}

/// The delegated control group for processes of jobs. Logs once what it offers, or why there is
/// none: the worker then runs without control groups.
async fn control_groups(config: &WorkerConfig) -> Option<Arc<Delegated>> {
    config.child.as_ref()?;
    let taken = tokio::task::spawn_blocking(|| Delegated::take(&instance())).await;
    match taken.ok()? {
        Ok(groups) => {
            tracing::info!("{}", groups.describe());
            Some(Arc::new(groups))
        }
        Err(why) => {
            tracing::info!("no control groups for processes of jobs: {why}");
            None
        }
    }
}

/// Logs once how the code of jobs is isolated; fails if that is less than required.
fn isolated(config: &WorkerConfig) -> Result<Isolated, WorkerError> {
    let Confinement { required, .. } = config.confinement;
    let isolated = match &config.child {
        Some(_) => Isolated::here(&config.confinement),
        None => Isolated::in_process(),
    };
    let level = isolated.level;
    if level < required {
        return Err(WorkerError::Isolation { level, required, missing: isolated.missing });
    }
    // In embedded mode there is no other user's code to isolate.
    if config.listen.is_some() {
        isolated.missing.iter().for_each(|missing| tracing::warn!("{missing}"));
        tracing::info!("isolation of jobs: {level}");
    }
    Ok(isolated)
}

/// The folder and its canonical path.
fn take(path: &Path, users: Option<&Users>) -> Result<(WorkerDirectory, PathBuf), ExecutorError> {
    let failed = failed(path);
    let end_former = |folders: &[PathBuf]| users.map_or(Ok(()), |_| Users::end_those_of(folders));
    let path = std::path::absolute(path).map_err(&failed)?;
    let directory = WorkerDirectory::open_after(&path, end_former)?;
    let path = std::fs::canonicalize(directory.path()).map_err(&failed)?;
    if let Some(users) = users {
        users
            .open_way(&path)
            .and_then(|()| users.open_way(&jobs_folder(&path)))
            .map_err(&failed)?;
    }
    Ok((directory, path))
}

/// The users for jobs, if the configuration asks for them and the system allows them.
fn users(config: &WorkerConfig) -> Result<Option<Arc<Users>>, WorkerError> {
    let Some(users) = config.confinement.users.clone() else { return Ok(None) };
    let refusal = if config.child.is_none() {
        Some("they run in the worker itself (--in-process)".into())
    } else if config.tls.is_none() {
        Some(
            "an open cluster identifies its members by their user; a secured cluster is needed"
                .into(),
        )
    } else {
        users.refusal()
    };
    let made = match refusal {
        Some(why) => Err(why),
        None => {
            Users::new(users).map_err(|error| format!("their user ids cannot be locked: {error}"))
        }
    };
    made.map(|users| Some(Arc::new(users))).map_err(WorkerError::JobUsers)
}

/// The canonical paths that jobs must not see, this worker's folder first; `None` restricts
/// nothing. A path that does not exist yet is hidden under the name that it would have.
fn hidden(
    directory: &Path,
    confinement: &Confinement,
) -> Result<Option<Arc<[PathBuf]>>, ExecutorError> {
    if !confinement.files {
        return Ok(None);
    }
    let real = |path: &PathBuf| {
        for above in path.ancestors() {
            match std::fs::canonicalize(above) {
                Ok(real) => return Ok(real.join(path.strip_prefix(above).unwrap_or(path))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::NotFound.into())
    };
    let mut hidden = vec![directory.to_path_buf()];
    for path in &confinement.hidden {
        let real = real(path).map_err(failed(path))?;
        if directory.starts_with(&real) {
            let error = io::Error::other("it cannot be hidden: this worker's folder lies there");
            return Err(failed(path)(error));
        }
        hidden.push(real);
    }
    check_confinement(&hidden).map_err(failed(directory))?;
    Ok(Some(hidden.into()))
}

/// Fails at the start for a reason for which each job would fail later.
fn check_confinement(hidden: &[PathBuf]) -> io::Result<()> {
    surroundings(hidden, |_, _| Ok(())).map_err(|error: io::Error| {
        let text = format!(
            "jobs cannot be kept out of this folder: {error}; choose another one (--dir), or pass --no-landlock"
        );
        io::Error::new(error.kind(), text)
    })
}

/// Warns at the start of what every uploaded program would fail with.
fn warn_of_noexec(folder: &Path) {
    if File::open(folder).is_ok_and(is_noexec) {
        tracing::warn!(
            "{} lies on a file system that is mounted noexec: no program of a submitter can be started from there; give the worker \
             a folder elsewhere (--dir)",
            folder.display()
        );
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> ExecutorError + Clone + Send + 'static {
    let path = path.to_path_buf();
    move |error| ExecutorError::Io { path: path.clone(), error }
}
