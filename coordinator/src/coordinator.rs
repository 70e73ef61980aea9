//! The handle of a running coordinator, and its gRPC server.

use std::convert::Infallible;
use std::future::pending;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::{Connected, Router};
use tower::layer::util::{Identity, Stack};
use windrow_jobs::explained;
use windrow_proto::v1::blobs_server::BlobsServer;
use windrow_proto::v1::enrollment_server::EnrollmentServer;
use windrow_proto::v1::jobs_server::JobsServer;
use windrow_proto::v1::sessions_server::SessionsServer;
use windrow_scheduler::Config;
use windrow_security::access::{AccessLayer, AllowAll, Authorizer, Caller};
use windrow_security::files::make_private_folder;
use windrow_security::{LocalUsers, LocalUsersOnly, Refusals, limits};

use crate::audit::{Audit, Audited};
use crate::blobs::BlobStore;
use crate::config::CoordinatorConfig;
use crate::driver::{self, DriverError, DriverHandle, Settings};
use crate::folder::Folder;
use crate::journal::{Opened, PinnedFolder, RecoverError};
use crate::logs::LogStore;
use crate::plan::ClusterSize;
use crate::rpc::{
    BlobsService, DriverTurns, InProgress, JobsService, LargeRequests, Planner, RequestRoom,
    SessionsService, build_name, stands_still,
};
use crate::security::{EnrollmentService, MembersOnly, Security, is_method};

/// Heartbeats that fit into a lease, so that one may be late.
const HEARTBEATS_PER_LEASE: u32 = 4;

/// Folders of the journal, of programs and side files, and of logs, in the coordinator's state
/// folder.
const JOURNAL: &str = "journal";
const PROGRAMS: &str = "programs";
const LOGS: &str = "logs";

/// How long callers wait, while the journal is being taken over, before they are refused.
const TAKEOVER_USUAL: Duration = Duration::from_secs(2);

/// Why a coordinator cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The journal cannot be continued.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The journal's folder cannot be made.
    #[error("{}: {}", path.display(), explained(path, error))]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        error: std::io::Error,
    },
    /// The journal's folder cannot be used.
    #[error(transparent)]
    Store(#[from] object_store::Error),
}

/// Why a coordinator has stopped serving.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The transport failed.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
    /// The driver cannot continue, mostly because another coordinator has taken over.
    #[error(transparent)]
    Driver(#[from] DriverError),
}

/// A running coordinator. Cheap to clone.
#[derive(Clone)]
pub struct Coordinator {
    config: Arc<CoordinatorConfig>,
    driver: DriverHandle,
    blobs: Arc<BlobStore>,
    logs: Arc<LogStore>,
    /// `None` without a state folder.
    audit: Option<Audit>,
}

impl Coordinator {
    /// Starts a coordinator on the current tokio runtime, with all jobs of its journal. It accepts
    /// callers once it is [served](Self::serve), and ends when its last handle is dropped.
    ///
    /// # Errors
    /// When its journal cannot be continued.
    pub async fn start(config: CoordinatorConfig) -> Result<Self, StartError> {
        let settings = Settings {
            scheduler: Config {
                lease: config.lease,
                reconnect: config.reconnect,
                ..Config::default()
            },
            state: config.state.clone(),
            failpoint: config.failpoint.clone(),
            snapshot_after: config.snapshot_after,
        };
        let opened = match &config.state {
            Some(state) => {
                let (objects, home) = local_store(&state.join(JOURNAL))?;
                let build = build_name(&config.build);
                Opened::take_over(objects, Some(home), build, config.failpoint.clone()).await?
            }
            None => Opened::in_memory()?,
        };
        let audit = config.state.as_deref().map(Audit::start).transpose();
        let audit = audit.unwrap_or_else(|error| {
            tracing::error!(%error, "cannot start the thread of the audit log; nothing is logged there");
            None
        });
        let driver = driver::start(opened, settings);
        let kept = config.state.as_deref().or(config.temporary.as_deref());
        let folder = |name| Folder::new(kept, name);
        let (bytes_max, own) = (config.blob_bytes_max, config.executable.clone());
        let blobs = Arc::new(BlobStore::new(folder(PROGRAMS), bytes_max, own));
        let logs = Arc::new(LogStore::new(folder(LOGS)));
        Ok(Self { config: Arc::new(config), driver, blobs, logs, audit })
    }

    /// Starts a coordinator as [`start`](Self::start) does. If that takes long, callers who connect
    /// to `listener` meanwhile are told why they wait.
    ///
    /// # Errors
    /// When its journal cannot be continued.
    pub async fn start_behind(
        config: CoordinatorConfig,
        listener: &TcpListener,
    ) -> Result<Self, StartError> {
        let security = config.security.clone();
        tokio::select! {
            started = Self::start(config) => started,
            never = refuse_for_now(listener, security) => match never {},
        }
    }

    /// Serves callers who connect to `listener`, until `shutdown` fires; see
    /// [`serve`](Self::serve). With [security](CoordinatorConfig::security), only members of the
    /// cluster are admitted, each with their own permissions; without, everybody from other
    /// machines, and from this one the [local users](CoordinatorConfig::local_users).
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve_tcp(
        &self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError> {
        let Some(security) = self.config.security.clone() else {
            let authorizer: Arc<dyn Authorizer> = match self.config.local_users.clone() {
                users if users == LocalUsers::everybody() => Arc::new(AllowAll),
                users => Arc::new(LocalUsersOnly(users)),
            };
            let authorizer = self.audited(authorizer);
            let incoming = windrow_security::listen(listener, None);
            return self.serve_behind(authorizer, incoming, shutdown).await;
        };
        let incoming = windrow_security::listen(listener, Some(security.tls()));
        let authorizer = Arc::new(MembersOnly::new(security.clone(), self.audit.clone()));
        tokio::select! {
            served = self.serve_behind(self.audited(authorizer.clone()), incoming, shutdown) => served,
            () = security.stay_certified() => Ok(()),
            () = authorizer.shut_out_former() => Ok(()),
        }
    }

    /// Serves callers over `incoming`, such as pipes in memory, with all permissions, until
    /// `shutdown` fires. Then it [stops](Self::stop), and returns when all calls have ended.
    ///
    /// # Errors
    /// When the transport fails, or the journal cannot be continued: then all calls break off, and
    /// nothing more is done.
    pub async fn serve<IO, IE>(
        &self,
        incoming: impl Stream<Item = Result<IO, IE>>,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError>
    where
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
        IE: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.serve_behind(Arc::new(AllowAll), incoming, shutdown).await
    }

    /// Adds the audit log to an authorizer, if there is one.
    fn audited(&self, authorizer: Arc<dyn Authorizer>) -> Arc<dyn Authorizer> {
        match self.audit.clone() {
            Some(audit) => Arc::new(Audited { authorizer, audit, is_method }),
            None => authorizer,
        }
    }

    async fn serve_behind<IO, IE>(
        &self,
        authorizer: Arc<dyn Authorizer>,
        incoming: impl Stream<Item = Result<IO, IE>>,
        shutdown: CancellationToken,
    ) -> Result<(), ServeError>
    where
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
        IE: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let router = self.router(authorizer, shutdown.clone());
        let stopped = async {
            shutdown.cancelled().await;
            self.stop().await;
        };
        tokio::select! {
            served = router.serve_with_incoming_shutdown(incoming, stopped) => Ok(served?),
            error = self.driver.failure() => Err(error.into()),
        }
    }

    /// With a state folder, leaves all jobs there: they continue when a coordinator is started on
    /// it again. Without one, cancels all jobs, and waits until nothing partial is left of them.
    /// Then ends all sessions. Accepts nothing new.
    pub async fn stop(&self) {
        // Fails only if the driver is stopping already.
        let _ = self.driver.stop().await;
    }

    fn router(
        &self,
        authorizer: Arc<dyn Authorizer>,
        stopping: CancellationToken,
    ) -> Router<Stack<AccessLayer, Identity>> {
        let config = &self.config;
        let turns = DriverTurns::default();
        let jobs = JobsService {
            driver: self.driver.clone(),
            build: config.build.clone(),
            assumed_cluster: ClusterSize {
                workers: 1,
                threads: config.assumed_threads,
                memory_bytes: config.assumed_memory_bytes,
            },
            logs: Arc::clone(&self.logs),
            in_planning: InProgress::default(),
            planner: Planner::new(
                (self.driver.clone(), turns.clone()),
                Arc::clone(&self.blobs),
                config.allowed_paths.clone(),
                stopping,
            ),
            turns,
        };
        let sessions = SessionsService {
            driver: self.driver.clone(),
            logs: Arc::clone(&self.logs),
            build: config.build.clone(),
            lease: config.lease,
            heartbeat: config.heartbeat.min(config.lease / HEARTBEATS_PER_LEASE),
        };
        let blobs = BlobsService::new(self.driver.clone(), Arc::clone(&self.blobs));
        let enrollment = EnrollmentService {
            security: config.security.clone(),
            driver: self.driver.clone(),
            refusals: Refusals::default(),
        };
        let room = RequestRoom::default();
        Server::builder()
            .layer(AccessLayer::new(authorizer))
            .max_concurrent_streams(limits::COORDINATOR_STREAMS_MAX)
            .initial_stream_window_size(limits::COORDINATOR_WINDOW_BYTES)
            .initial_connection_window_size(
                limits::COORDINATOR_STREAMS_MAX * limits::COORDINATOR_WINDOW_BYTES,
            )
            .http2_max_header_list_size(limits::HEADER_LIST_BYTES_MAX)
            // Detects clients that have vanished. Workers have their leases.
            .http2_keepalive_interval(Some(Duration::from_secs(20)))
            .http2_keepalive_timeout(Some(Duration::from_secs(20)))
            .add_service(LargeRequests::of(
                BlobsServer::new(blobs).max_decoding_message_size(limits::PIECE_BYTES_MAX),
                &room,
            ))
            .add_service(
                EnrollmentServer::new(enrollment)
                    .max_decoding_message_size(limits::ENROLLMENT_BYTES_MAX),
            )
            .add_service(LargeRequests::of(
                JobsServer::new(jobs)
                    .max_decoding_message_size(limits::REQUEST_BYTES_MAX)
                    .max_encoding_message_size(limits::ANSWER_BYTES_MAX),
                &room,
            ))
            .add_service(
                SessionsServer::new(sessions)
                    .max_decoding_message_size(limits::REPORT_BYTES_MAX)
                    .max_encoding_message_size(limits::ANSWER_BYTES_MAX),
            )
    }
}

/// Refuses all calls, after a while: most takeovers are over by then.
async fn refuse_for_now(listener: &TcpListener, security: Option<Security>) -> Infallible {
    tokio::time::sleep(TAKEOVER_USUAL).await;
    let twin = listener.as_fd().try_clone_to_owned().map(std::net::TcpListener::from);
    match twin.and_then(TcpListener::from_std) {
        Ok(twin) => {
            let incoming = windrow_security::listen(twin, security.map(|security| security.tls()));
            let refusing = Server::builder()
                .layer(AccessLayer::new(Arc::new(StandsStill)))
                .add_routes(Routes::default());
            // With a shutdown, connections end with this future, so that callers reconnect to the
            // real service.
            let served = refusing.serve_with_incoming_shutdown(incoming, pending::<()>()).await;
            tracing::warn!(?served, "cannot tell callers that the journal does not answer");
        }
        Err(error) => {
            tracing::warn!(%error, "cannot tell callers that the journal does not answer");
        }
    }
    pending().await
}

/// Refuses every call.
struct StandsStill;

impl Authorizer for StandsStill {
    fn admit(&self, _method: &str, _caller: &Caller) -> Result<(), Status> {
        Err(stands_still())
    }
}

/// A store of objects in a folder, each of which is durable once it is written.
fn local_store(folder: &Path) -> Result<(Arc<dyn ObjectStore>, PinnedFolder), StartError> {
    let failed = |error| StartError::Folder { path: folder.to_path_buf(), error };
    make_private_folder(folder).map_err(failed)?;
    let home = PinnedFolder::at(folder).map_err(failed)?;
    let objects = LocalFileSystem::new_with_prefix(folder)?;
    Ok((Arc::new(objects.with_fsync(true).with_automatic_cleanup(true)), home))
}
