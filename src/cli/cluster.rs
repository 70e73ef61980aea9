//! `windrow coordinator` and `windrow worker`: the long-running roles.

use std::ffi::OsString;
use std::future::{Future, pending};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use windrow_coordinator::security::Security;
use windrow_coordinator::{
    AllowedPaths, Coordinator, CoordinatorConfig, DriverError, JournalError, ServeError,
};
use windrow_jobs::Registry;
use windrow_security::files::make_folder_of_owner;
use windrow_security::{Dialer, SecurityError, TemporaryFolder, Tls, keep_renewed};
use windrow_worker::{
    ChildCommand, Connector, FetchTimeouts, JobLimits, Orphans, Stops, WorkerConfig, WorkerError,
};

use super::args::{CoordinatorArgs, WorkerArgs};
use super::error::CliError;
use super::exit::Exit;
use super::interrupt::{HangUp, Interrupt, Interrupts};
use super::security::{self, TokenSource};
use super::state_folder::StateFolder;
use crate::executable::Executable;

/// In a worker's folder: what it shows to a secured cluster.
const CREDENTIALS: &str = "credentials";
/// How often to look for orphans that have ended.
const REAP_EVERY: Duration = Duration::from_secs(1);
/// How often those who listen without security say so.
const WARN_EVERY: Duration = Duration::from_secs(600);

pub(crate) async fn coordinator(args: CoordinatorArgs) -> Result<Exit, CliError> {
    care_for_orphans();
    let access = Access::of(args.security.is_some(), args.insecure);
    refuse_open_address(args.listen, access)?;
    let allowed_paths = allowed_paths(&args)?;
    let mut interrupts = Interrupts::listen(HangUp::Stops)?;
    let state =
        args.state.as_deref().map(|path| StateFolder::take(path, args.take_over)).transpose()?;
    let executable = Executable::own().map_err(CliError::io("/proc/self/exe"))?;
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| CliError::Other(format!("cannot listen on {}: {error}", args.listen)))?;
    let address = listener.local_addr().map_err(CliError::io("the listener"))?;
    let scheme = if args.security.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{address}");
    // Kept until the end, so that the folder goes when the coordinator does.
    let temporary = temporary_folder(state.is_none(), "windrow-coordinator-").await?;
    let mut config = coordinator_config(args, executable)?;
    config.state = state.as_ref().map(|state| state.path().to_path_buf());
    config.temporary = temporary.as_ref().map(|folder| folder.path().to_path_buf());
    config.allowed_paths = allowed_paths;
    let coordinator = tokio::select! {
        started = Coordinator::start_behind(config, &listener) => {
            started.map_err(|error| CliError::Other(error.to_string()))?
        }
        // A journal that cannot be written is waited for; nothing is in charge yet.
        _ = interrupts.next() => return Ok(Exit::Interrupted),
    };
    if let Some(state) = &state {
        state.take_charge(&url)?;
    }
    tracing::info!("coordinator ready at {url}");
    let stop = CancellationToken::new();
    let served = coordinator.serve_tcp(listener, stop.clone());
    serve_until_stopped(served, stop, interrupts, state.as_ref()).await
}

/// What the options say of a coordinator, without the folders that it has taken.
fn coordinator_config(
    args: CoordinatorArgs,
    executable: Executable,
) -> Result<CoordinatorConfig, CliError> {
    let mut config = CoordinatorConfig::new(executable.build);
    config.executable = Some((executable.blob, executable.file));
    config.local_users = args.locals.users_unless(args.insecure);
    config.blob_bytes_max = args.program_bytes_max.0;
    config.lease = args.lease.into();
    config.reconnect = args.reconnect_grace.into();
    let (life, grace) = (args.certificate_lifetime.into(), args.certificate_grace.into());
    let security = args.security.as_deref().map(|folder| Security::open(folder, life, grace));
    config.security = security.transpose()?;
    config.failpoint = args.failpoint.unwrap_or_default();
    config.snapshot_after = args.snapshot_after;
    Ok(config)
}

/// Serves until a signal has it stop, or a second one ends it at once.
async fn serve_until_stopped(
    served: impl Future<Output = Result<(), ServeError>>,
    stop: CancellationToken,
    mut interrupts: Interrupts,
    state: Option<&StateFolder>,
) -> Result<Exit, CliError> {
    tokio::pin!(served);
    let mut signals = 0;
    loop {
        tokio::select! {
            result = &mut served => return exit_of_server(result),
            interrupt = interrupts.next() => {
                signals += weight(interrupt);
                if signals > 1 {
                    return Ok(Exit::Interrupted);
                }
                match state {
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

fn exit_of_server(result: Result<(), ServeError>) -> Result<Exit, CliError> {
    match result {
        Ok(()) => Ok(Exit::Success),
        // The log has said so. The other coordinator goes on with all jobs.
        Err(ServeError::Driver(DriverError::Journal(JournalError::Fenced(_)))) => {
            Ok(Exit::Replaced)
        }
        Err(error) => Err(CliError::Other(format!("the server ended: {error}"))),
    }
}

/// Starts job processes with the arguments `prefix` first.
pub(crate) async fn worker(
    registry: Arc<Registry>,
    args: WorkerArgs,
    prefix: Vec<OsString>,
) -> Result<Exit, CliError> {
    let orphans = care_for_orphans();
    orphans.take_all().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot end processes that jobs leave behind");
    });
    let is_secured = security::is_secured(&args.coordinator);
    if TokenSource::of(&args.token).is_some() {
        security::refuse_token_in_clear(&args.coordinator)?;
    }
    refuse_open_address(args.listen, Access::of(is_secured, args.insecure))?;
    let interrupts = Interrupts::listen(HangUp::Stops)?;
    let build = Executable::own().map_err(CliError::io("/proc/self/exe"))?.build;
    if !args.in_process {
        // Job processes have the same user: without this, they could read the memory and the
        // environment of this process.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(|error| CliError::Other(format!("cannot guard this process: {error}")))?;
    }
    // Kept until the end, so that the folder goes when the worker does.
    let temporary = temporary_folder(args.dir.is_none(), "windrow-worker-").await?;
    if let Some(given) = &args.dir {
        make_folder_of_owner(given)
            .map_err(|error| CliError::io(given)(error).given_by("--dir"))?;
    }
    let given = args.dir.clone().or_else(|| Some(temporary.as_ref()?.path().to_path_buf()));
    let directory = given.unwrap_or_default();
    let (tls, outside) =
        if is_secured { join(&args, &directory).await? } else { (None, never_outside()) };
    let users = args.locals.users_unless(args.insecure);
    let dialer = tls.clone().map_or_else(|| Dialer::plain_of(users.clone()), Dialer::member);
    let connector = Connector::url(&args.coordinator, &dialer)
        .map_err(|error| CliError::Usage(error.to_string()))?;
    let own_program = || ChildCommand::own(prefix).map_err(CliError::io("/proc/self/exe"));
    let child = (!args.in_process).then(own_program).transpose()?;
    let mut config = worker_config(args, directory);
    config.tls = tls;
    config.local_users = users;
    config.orphans = Some(orphans);
    config.child = child;
    let stops = Stops::default();
    let worker = windrow_worker::run(config, registry, build, connector, stops.clone());
    work_until_stopped(worker, outside, interrupts, &stops).await
}

/// Ends only when this worker is not a member of its cluster any more.
type Outside = Pin<Box<dyn Future<Output = SecurityError>>>;

/// A cluster without members puts nobody out.
fn never_outside() -> Outside {
    Box::pin(pending())
}

/// Becomes a member of a secured cluster, or shows that it is one, and stays one.
async fn join(args: &WorkerArgs, directory: &Path) -> Result<(Option<Tls>, Outside), CliError> {
    let folder = directory.join(CREDENTIALS);
    let joined = security::join(&args.coordinator, &args.token, &folder).await?;
    let outside = keep_renewed(joined.clone(), args.coordinator.clone(), folder);
    Ok((Some(joined), Box::pin(outside)))
}

/// What the options say of a worker.
fn worker_config(args: WorkerArgs, directory: PathBuf) -> WorkerConfig {
    let mut config = WorkerConfig::tcp(directory, args.listen);
    config.threads = args.threads;
    config.memory_bytes = args.memory.map(|size| size.0);
    config.advertise = args.advertise;
    config.fetch = FetchTimeouts::of_silence(args.fetch_timeout.into());
    config.name = args.name.unwrap_or(config.name);
    config.program_cache_bytes = args.program_cache.0;
    config.confinement = args.confinement.to_confinement();
    config.job_limits = JobLimits {
        memory_bytes: args.job_limits.job_memory.map(|size| size.0),
        open_files: args.job_limits.job_open_files,
        file_bytes: args.job_limits.job_file_size.map(|size| size.0),
        processes: args.job_limits.job_processes,
    };
    config
}

/// Works until a signal has it drain, a second one ends it at once, or it is not a member any more.
async fn work_until_stopped(
    worker: impl Future<Output = Result<(), WorkerError>>,
    mut outside: Outside,
    mut interrupts: Interrupts,
    stops: &Stops,
) -> Result<Exit, CliError> {
    tokio::pin!(worker);
    let mut signals = 0;
    loop {
        tokio::select! {
            result = &mut worker => {
                result.map_err(|error| CliError::Other(error.to_string()))?;
                return Ok(if signals > 1 { Exit::Interrupted } else { Exit::Success });
            }
            error = &mut outside => return Err(error.into()),
            interrupt = interrupts.next() => {
                signals += weight(interrupt);
                if signals == 1 {
                    tracing::info!("draining: finishing running tasks; another signal ends at once");
                    stops.drain.cancel();
                } else {
                    stops.kill.cancel();
                }
            }
        }
    }
}

/// The folder of a role that `needs` one because it was given none.
async fn temporary_folder(
    needs: bool,
    prefix: &'static str,
) -> Result<Option<TemporaryFolder>, CliError> {
    if !needs {
        return Ok(None);
    }
    let above = std::env::temp_dir();
    let path = above.clone();
    let made = spawn_blocking(move || TemporaryFolder::make_in(&above, prefix)).await;
    let made = made.map_err(|error| CliError::Other(error.to_string()))?;
    made.map(Some).map_err(|error| {
        let error = CliError::io(path)(error);
        if std::env::var_os("TMPDIR").is_some() { error.given_by("TMPDIR") } else { error }
    })
}

/// Reaps orphans: process 1 of a container becomes the parent of all of them.
fn care_for_orphans() -> Arc<Orphans> {
    let orphans = Arc::new(Orphans::new());
    let reaped = Arc::clone(&orphans);
    tokio::spawn(async move {
        let mut looks = interval(REAP_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            reaped.reap();
        }
    });
    orphans
}

/// How many requests to stop this one counts as: the second one ends a role at once.
fn weight(interrupt: Interrupt) -> u32 {
    match interrupt {
        Interrupt::Stop | Interrupt::HungUp => 1,
        Interrupt::StopAtOnce => 2,
    }
}

/// Who can connect to what listens.
#[derive(Clone, Copy)]
enum Access {
    /// Members of the cluster.
    Members,
    /// Everybody, and the user has not said that this is meant.
    Everybody,
    /// Everybody, as the user wants it.
    EverybodyAsAsked,
}

impl Access {
    fn of(is_secured: bool, insecure: bool) -> Self {
        match (is_secured, insecure) {
            (true, _) => Self::Members,
            (false, true) => Self::EverybodyAsAsked,
            (false, false) => Self::Everybody,
        }
    }
}

/// Refuses to listen beyond this machine without security, unless the user asked for that.
fn refuse_open_address(address: SocketAddr, access: Access) -> Result<(), CliError> {
    match access {
        Access::Everybody if address.ip().is_loopback() => Ok(()),
        Access::Members => Ok(()),
        Access::Everybody => Err(CliError::Usage(format!(
            "{address} can be reached from other machines, and whoever reaches it can run jobs and read data; \
             listen on 127.0.0.1, set up a secured cluster ('windrow init'), or say --insecure on a network that you trust"
        ))),
        Access::EverybodyAsAsked => {
            tokio::spawn(warn_for_ever(address));
            Ok(())
        }
    }
}

/// Warns at once, and repeatedly, so that every part of the log shows it.
async fn warn_for_ever(address: SocketAddr) {
    let mut warn = interval(WARN_EVERY);
    loop {
        warn.tick().await;
        tracing::warn!(
            "{address} is open to everybody who can reach it, also on this machine: no encryption, no authentication"
        );
    }
}

/// Who can be reached from other machines says what their users' jobs may read and write.
fn allowed_paths(args: &CoordinatorArgs) -> Result<AllowedPaths, CliError> {
    if !args.allow_paths.is_empty() {
        let allowed = AllowedPaths::below(&args.allow_paths);
        return allowed.map_err(|error| CliError::Usage(format!("--allow-path: {error}")));
    }
    if args.listen.ip().is_loopback() {
        return Ok(AllowedPaths::everywhere());
    }
    Err(CliError::Usage(format!(
        "{} can be reached from other machines: name the folders in which jobs may read and write, as --allow-path /data",
        args.listen
    )))
}
