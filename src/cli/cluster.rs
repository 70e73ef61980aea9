//! `windrow coordinator` and `windrow worker`: the long-running roles.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use windrow_coordinator::{Coordinator, CoordinatorConfig, JournalError, ServeError};
use windrow_jobs::Registry;
use windrow_worker::{ChildProgram, Connector, FetchTimeouts, WorkerConfig};

use super::args::{CoordinatorArgs, WorkerArgs};
use super::error::CliError;
use super::exit::Exit;
use super::interrupt::Interrupts;
use super::state_folder::StateFolder;
use crate::executable::Executable;

pub(crate) async fn coordinator(args: CoordinatorArgs) -> Result<Exit, CliError> {
    refuse_open_address(args.listen, args.insecure)?;
    let mut interrupts = Interrupts::listen()?;
    let state =
        args.state.as_deref().map(|path| StateFolder::take(path, args.take_over)).transpose()?;
    let executable = Executable::own().map_err(CliError::io("/proc/self/exe"))?;
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| CliError::Other(format!("cannot listen on {}: {error}", args.listen)))?;
    let address = listener.local_addr().map_err(CliError::io("the listener"))?;
    let url = format!("http://{address}");
    let mut config = CoordinatorConfig::new(executable.build);
    config.executable = Some((executable.blob, executable.file));
    config.blob_bytes_max = args.program_bytes_max.0;
    config.lease = args.lease.into();
    config.state = state.as_ref().map(|state| state.path().to_path_buf());
    config.failpoint = args.failpoint.unwrap_or_default();
    config.snapshot_after = args.snapshot_after;
    let coordinator =
        Coordinator::start(config).await.map_err(|error| CliError::Other(error.to_string()))?;
    if let Some(state) = &state {
        state.publish_address(&url)?;
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
                match &state {
                    Some(state) => tracing::info!(
                        "stopping: all jobs stay in {0}, and go on when a coordinator is started with --state {0}",
                        state.path().display()
                    ),
                    None => tracing::info!(
                        "stopping: cancelling all jobs; another signal ends at once"
                    ),
                }
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
    config.advertise = args.advertise;
    config.fetch = FetchTimeouts::of_silence(args.fetch_timeout.into());
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
