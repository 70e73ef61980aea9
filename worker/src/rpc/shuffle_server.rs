//! Serves this worker's segments to the others, on a socket of its own.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::fetch::FetchServer;
use crate::agent::WorkerError;
use crate::shuffle::ShuffleService;

/// How long peers that are still fetching may delay the worker's end.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// A running server.
pub(crate) struct ShuffleServer {
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl ShuffleServer {
    /// Listens on `address`, whose port may be 0, and serves from then on.
    pub(crate) async fn start(
        address: SocketAddr,
        service: ShuffleService,
    ) -> Result<Self, WorkerError> {
        let failed = |error| WorkerError::Listen { address, error };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let server = Server::builder()
            .http2_keepalive_interval(Some(Duration::from_secs(20)))
            .add_service(FetchServer::new(service))
            .serve_with_incoming_shutdown(
                TcpIncoming::from(listener).with_nodelay(Some(true)),
                stopped,
            );
        let serving = tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "the server for shuffle data has ended");
            }
        });
        Ok(Self { address: bound, stop, serving })
    }

    /// Where it listens, `host:port`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Ends it. Streams that are open get a moment to finish.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let serving = self.serving.abort_handle();
        if tokio::time::timeout(STOP_GRACE, self.serving).await.is_err() {
            serving.abort();
        }
    }
}
