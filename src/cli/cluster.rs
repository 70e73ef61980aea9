//! `windrow coordinator` and `windrow worker`: the long-running roles.

use std::ffi::OsString;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use windrow_coordinator::{Coordinator, CoordinatorConfig, JournalError, ServeError};
use windrow_jobs::Registry;
use windrow_worker::{ChildProgram, Connector, WorkerConfig};

use super::args::{CoordinatorArgs, WorkerArgs};
use super::error::CliError;
use super::exit::Exit;
use super::interrupt::Interrupts;
use crate::executable::Executable;

/// In the state's folder: where the coordinator can be reached.
const ADDRESS: &str = "address";

pub(crate) async fn coordinator(args: CoordinatorArgs) -> Result<Exit, CliError> {
    refuse_open_address(args.listen, args.insecure)?;
    let mut interrupts = Interrupts::listen()?;
    let _lock = args.state.as_deref().map(|state| lock_state(state, args.take_over)).transpose()?;
    let executable = Executable::own().map_err(CliError::io("/proc/self/exe"))?;
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| CliError::Other(format!("cannot listen on {}: {error}", args.listen)))?;
    let address = listener.local_addr().map_err(CliError::io("the listener"))?;
    let url = format!("http://{address}");
    if let Some(state) = args.state.as_ref().filter(|_| !args.take_over) {
        // A predecessor's, which leads nowhere now. One that is to be replaced may still serve.
        let _ = std::fs::remove_file(state.join(ADDRESS));
    }
    let mut config = CoordinatorConfig::new(executable.build);
    config.executable = Some((executable.blob, executable.file));
    config.blob_bytes_max = args.program_bytes_max.0;
    config.lease = args.lease.into();
    config.state = args.state.as_deref().map(absolute).transpose()?;
    config.failpoint = args.failpoint.unwrap_or_default();
    let coordinator =
        Coordinator::start(config).await.map_err(|error| CliError::Other(error.to_string()))?;
    if let Some(state) = &args.state {
        publish_address(state, &url)?;
    }
    tracing::info!("coordinator ready at {url}");
    let stop = CancellationToken::new();
    let served = coordinator.serve_tcp(listener, stop.clone());
    tokio::pin!(served);
    let mut signals = 0;
    loop {
        tokio::select! {
            result = &mut served => {
                return match result {
                    Ok(()) => Ok(Exit::Success),
                    // The log has said so. The other one goes on with all jobs.
                    Err(ServeError::Journal(JournalError::Fenced(_))) => Ok(Exit::Replaced),
                    Err(error) => Err(CliError::Other(format!("the server ended: {error}"))),
                };
            }
            () = interrupts.next() => {
                signals += 1;
                if signals > 1 {
                    return Ok(Exit::Interrupted);
                }
                tracing::info!("stopping: cancelling all jobs; another signal ends at once");
                stop.cancel();
            }
        }
    }
}

/// Starts job processes with the arguments `prefix` first.
pub(crate) async fn worker(
    registry: Arc<Registry>,
    args: WorkerArgs,
    prefix: Vec<OsString>,
) -> Result<Exit, CliError> {
    refuse_open_address(args.listen, args.insecure)?;
    let mut interrupts = Interrupts::listen()?;
    let build = Executable::own().map_err(CliError::io("/proc/self/exe"))?.build;
    let connector =
        Connector::url(&args.coordinator).map_err(|error| CliError::Usage(error.to_string()))?;
    // Kept until the end, so that the folder goes when the worker does.
    let mut temporary = None;
    let directory = match args.dir {
        Some(directory) => directory,
        None => {
            let made = tempfile::TempDir::with_prefix("windrow-worker-")
                .map_err(CliError::io(std::env::temp_dir()))?;
            temporary.insert(made).path().to_path_buf()
        }
    };
    let mut config = WorkerConfig::tcp(directory, args.listen);
    config.threads = args.threads;
    config.memory_bytes = args.memory.map(|size| size.0);
    config.name = args.name.unwrap_or(config.name);
    config.program_cache_bytes = args.program_cache.0;
    if !args.in_process {
        let program = ChildProgram::own(prefix).map_err(CliError::io("/proc/self/exe"))?;
        config.child = Some(program);
    }

    let (drain, kill) = (CancellationToken::new(), CancellationToken::new());
    let worker =
        windrow_worker::run(config, registry, build, connector, drain.clone(), kill.clone());
    tokio::pin!(worker);
    let mut signals = 0;
    loop {
        tokio::select! {
            result = &mut worker => {
                result.map_err(|error| CliError::Other(error.to_string()))?;
                return Ok(if signals > 1 { Exit::Interrupted } else { Exit::Success });
            }
            () = interrupts.next() => {
                signals += 1;
                if signals == 1 {
                    tracing::info!("draining: finishing what runs; another signal ends at once");
                    drain.cancel();
                } else {
                    kill.cancel();
                }
            }
        }
    }
}

/// What listens beyond this machine must be asked for: there is no encryption and no authentication.
fn refuse_open_address(address: SocketAddr, insecure: bool) -> Result<(), CliError> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    if !insecure {
        return Err(CliError::Usage(format!(
            "{address} can be reached from other machines, and whoever reaches it can run jobs and read data; \
             listen on 127.0.0.1, or say --insecure on a network that you trust"
        )));
    }
    tracing::warn!(
        "{address} is open to everybody who can reach it: no encryption, no authentication"
    );
    Ok(())
}

/// Makes the folder this coordinator's own for as long as the file is open. The journal would keep two of them apart; this
/// only sees to it that nobody is replaced by mistake.
fn lock_state(state: &Path, take_over: bool) -> Result<File, CliError> {
    std::fs::create_dir_all(state).map_err(CliError::io(state))?;
    let path = state.join("lock");
    if take_over {
        // Whoever has it locked keeps a file that has no name any more.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(CliError::Io { path, error });
            }
            _ => {}
        }
    }
    let file = File::create(&path).map_err(CliError::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(CliError::Other(format!(
            "{} belongs to another coordinator that runs; --take-over replaces it",
            state.display()
        ))),
        Err(std::fs::TryLockError::Error(error)) => Err(CliError::Io { path, error }),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(CliError::io(path))
}

/// Writes the address under a temporary name first, so that nobody reads half of it.
fn publish_address(state: &Path, url: &str) -> Result<(), CliError> {
    let (temporary, path) = (state.join("address.tmp"), state.join(ADDRESS));
    std::fs::write(&temporary, format!("{url}\n")).map_err(CliError::io(&temporary))?;
    std::fs::rename(&temporary, &path).map_err(CliError::io(&path))
}
