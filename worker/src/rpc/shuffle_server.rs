//! Serves this worker's segments to the others, on a socket of its own. In a secured cluster, only to workers of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Server;
use windrow_security::access::{AccessLayer, Caller, Gate, Open};
use windrow_security::{Role, Tls, limits};

use super::fetch::FetchServer;
use crate::agent::WorkerError;
use crate::shuffle::ShuffleService;

/// How long peers that are still fetching may delay the worker's end.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// What mappers have left is for reducers, not for users. The handshake has seen to the cluster.
struct WorkersOnly;

impl Gate for WorkersOnly {
    fn admit(&self, _method: &str, caller: &Caller) -> Result<(), Status> {
        match caller.certified() {
            Some(certified) if certified.identity.role() == Role::Worker => {
                let counts = certified.check(SystemTime::now());
                counts.map_err(|error| Status::unauthenticated(error.to_string()))
            }
            _ => Err(Status::permission_denied("only workers of the cluster may fetch")),
        }
    }
}

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
        tls: Option<Tls>,
    ) -> Result<Self, WorkerError> {
        if address.ip().is_unspecified() {
            return Err(WorkerError::UnspecifiedAddress { address });
        }
        let failed = |error| WorkerError::Listen { address, error };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let gate: Arc<dyn Gate> =
            if tls.is_some() { Arc::new(WorkersOnly) } else { Arc::new(Open) };
        let server = Server::builder()
            .layer(AccessLayer::new(gate))
            .max_concurrent_streams(limits::SHUFFLE_STREAMS_MAX)
            .http2_max_header_list_size(limits::HEADER_LIST_BYTES_MAX)
            .http2_keepalive_interval(Some(Duration::from_secs(20)))
            .add_service(FetchServer::new(service))
            .serve_with_incoming_shutdown(windrow_security::listen(listener, tls), stopped);
        let serving = tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "the server for shuffle data has ended");
            }
        });
        Ok(Self { address: bound, stop, serving })
    }

    /// Where peers connect to, `host:port`.
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
