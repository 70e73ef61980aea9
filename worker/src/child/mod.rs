//! The process of a job: an executor for that job, told by its worker what to do.
//!
//! ```text
//!  worker ===== orders, identity, budget =====>  serve()  --- runs attempts ---> InProcess
//!         <==== progress, reports =============     |
//!         ----- connections of other workers --> ShuffleServer
//! ```
//!
//! It ends in one way only: it kills its process group, itself included, so that no process of user
//! code is left. It does so when its worker asks for it, or is gone.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::process::{Signal, getpid, kill_process, kill_process_group};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};
use windrow_jobs::Registry;

mod confine;
mod serve;

use crate::channel::receive_descriptor;
use crate::orphans::Orphans;

/// Why a process could not begin to serve its worker.
#[derive(Debug, thiserror::Error)]
pub enum ChildError {
    /// It was not started by a worker.
    #[error("this command is for workers, which start it for each job: {0}")]
    NoWorker(io::Error),
    /// The system refuses a resource.
    #[error("the process of a job cannot start: {0}")]
    System(#[from] io::Error),
}

/// Serves the worker that has started this process, through the socket on standard input. Call it
/// before any other thread is started. Returns only if it cannot begin.
///
/// # Errors
///
/// When the process was not started by a worker, or the system refuses a resource.
pub fn run(registry: Registry) -> Result<(), ChildError> {
    let orphans = Arc::new(Orphans::new());
    let socket = take_standard_input()?;
    confine::confine()?;
    let stream = receive_descriptor(&socket)
        .and_then(|stream| stream.ok_or(io::ErrorKind::UnexpectedEof.into()))
        .map_err(ChildError::NoWorker)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // For RPC and orders only: user code runs on pools of its own.
        .worker_threads(2)
        .thread_name("windrow-io")
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // The kernel sends it when the worker has died.
        let mut terminate = signal(SignalKind::terminate())?;
        let stream = std::os::unix::net::UnixStream::from(stream);
        stream.set_nonblocking(true)?;
        let stream = UnixStream::from_std(stream)?;
        tokio::select! {
            served = serve::serve(socket, stream, Arc::new(registry), orphans) => if let Err(error) = served {
                tracing::warn!(%error, "lost the worker");
            },
            _ = terminate.recv() => {}
        }
        Ok(end()?)
    })
}

/// Takes the socket on standard input, and replaces it by an empty input: user code must not have
/// it.
fn take_standard_input() -> Result<OwnedFd, ChildError> {
    let socket = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3).map_err(io::Error::from)?;
    rustix::net::sockopt::socket_type(&socket)
        .map_err(|error| ChildError::NoWorker(error.into()))?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?).map_err(io::Error::from)?;
    Ok(socket)
}

/// Kills the group in which this process was started, and this process, even if user code has moved
/// it to another group.
fn end() -> io::Result<()> {
    let group = getpid();
    let _ = kill_process_group(group, Signal::KILL);
    kill_process(group, Signal::KILL)?;
    Ok(())
}
