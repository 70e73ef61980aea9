//! The handle of a running coordinator, and its gRPC server.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::{Connected, Router, TcpIncoming};
use windrow_proto::v1::jobs_server::JobsServer;
use windrow_proto::v1::sessions_server::SessionsServer;
use windrow_scheduler::Config;

use crate::config::CoordinatorConfig;
use crate::driver::{Driver, DriverHandle};
use crate::plan::ClusterSize;
use crate::rpc::{JobsService, SessionsService};

/// Largest message that it takes: a submission with many inputs, a heartbeat.
const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Heartbeats that fit into a lease, so that one may be late.
const HEARTBEATS_PER_LEASE: u32 = 4;

/// A running coordinator. Cheap to clone.
#[derive(Clone)]
pub struct Coordinator {
    config: Arc<CoordinatorConfig>,
    driver: DriverHandle,
}

impl Coordinator {
    /// Starts a coordinator on the current tokio runtime. It takes callers once it is [served](Self::serve), and
    /// ends when its last handle is gone.
    pub fn start(config: CoordinatorConfig) -> Self {
        let scheduler = Config { lease: config.lease, ..Config::default() };
        let driver = Driver::spawn(scheduler, config.build.clone());
        Self { config: Arc::new(config), driver }
    }

    /// Serves callers who connect to `listener`, until `shutdown` fires; see [`serve`](Self::serve).
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve_tcp(
        &self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), tonic::transport::Error> {
        self.serve(TcpIncoming::from(listener).with_nodelay(Some(true)), shutdown).await
    }

    /// Serves callers who come over `incoming`, sockets or pipes in memory, until `shutdown` fires. Then it
    /// [stops](Self::stop), and returns when all calls have ended.
    ///
    /// # Errors
    /// When the transport fails.
    pub async fn serve<IO, IE>(
        &self,
        incoming: impl Stream<Item = Result<IO, IE>>,
        shutdown: CancellationToken,
    ) -> Result<(), tonic::transport::Error>
    where
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
        IE: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let stopped = async {
            shutdown.cancelled().await;
            self.stop().await;
        };
        self.router().serve_with_incoming_shutdown(incoming, stopped).await
    }

    /// Cancels all jobs, waits until nothing partial is left of them, and ends all sessions. From then on it takes
    /// nothing new.
    pub async fn stop(&self) {
        // The driver can only be stopping already.
        let _ = self.driver.stop().await;
    }

    fn router(&self) -> Router {
        let config = &self.config;
        let jobs = JobsService {
            driver: self.driver.clone(),
            registry: Arc::clone(&config.registry),
            build: config.build.clone(),
            assumed_cluster: ClusterSize {
                workers: 1,
                threads: config.assumed_threads,
                memory_bytes: config.assumed_memory_bytes,
            },
        };
        let sessions = SessionsService {
            driver: self.driver.clone(),
            build: config.build.clone(),
            lease: config.lease,
            heartbeat: config.heartbeat.min(config.lease / HEARTBEATS_PER_LEASE),
        };
        Server::builder()
            // Finds clients that have gone without a word. For workers, the lease does.
            .http2_keepalive_interval(Some(Duration::from_secs(20)))
            .http2_keepalive_timeout(Some(Duration::from_secs(20)))
            .add_service(JobsServer::new(jobs).max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(SessionsServer::new(sessions).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }
}
