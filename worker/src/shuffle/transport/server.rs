//! Serves the segments of this process on connections that others have accepted; in a secured
//! cluster, only to processes of the same job.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::transport::Server;
use windrow_jobs::JobIdentity;
use windrow_security::limits::{self, ConnectionLimits};
use windrow_security::waiting_list::{WaitingList, origin};
use windrow_security::{Connection, Refusals, SecurityError};

use super::ShuffleTls;
use super::call::FetchServer;
use crate::shuffle::ShuffleService;

/// How often an idle connection is checked.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Connections that wait to be served.
const WAITING_MAX: usize = 64;

/// How long a connection lasts that only gets a refusal.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(30);

/// A running server. It ends with the runtime, or when this is dropped and the last connection is
/// closed.
pub(crate) struct ShuffleServer {
    connections: mpsc::Sender<Connection>,
    tls: ShuffleTls,
    handshakes: WaitingList<IpAddr>,
    /// Permits for connections after their handshake.
    open: Arc<Semaphore>,
    refusals: Refusals,
}

impl ShuffleServer {
    /// Serves the connections that it is given. Must be called on a runtime.
    pub(crate) fn start(service: ShuffleService, tls: ShuffleTls) -> Self {
        let (connections, incoming) = mpsc::channel(WAITING_MAX);
        let incoming = ReceiverStream::new(incoming).map(Ok::<_, io::Error>);
        let server = Server::builder()
            .http2_keepalive_interval(Some(KEEP_ALIVE))
            .max_concurrent_streams(limits::SHUFFLE_STREAMS_MAX)
            .http2_max_header_list_size(limits::HEADER_LIST_BYTES_MAX)
            .add_service(FetchServer::new(service))
            .serve_with_incoming(incoming);
        tokio::spawn(async move {
            if let Err(error) = server.await {
                tracing::error!(%error, "the server for shuffle data has ended");
            }
        });
        let limits = ConnectionLimits::of_this_process();
        Self {
            connections,
            tls,
            handshakes: WaitingList::new(limits.shuffle_handshakes()),
            open: Arc::new(Semaphore::new(limits.shuffle_connections())),
            refusals: Refusals::default(),
        }
    }

    /// Serves a connection for this job, once its handshake is done. Returns before that.
    pub(crate) fn serve(&self, job: JobIdentity, stream: TcpStream) {
        // A peer that is already gone has no address.
        let Ok(peer) = stream.peer_addr() else { return };
        let (tls, connections) = (self.tls.clone(), self.connections.clone());
        let (handshakes, open) = (self.handshakes.clone(), Arc::clone(&self.open));
        let refusals = self.refusals.clone();
        tokio::spawn(async move {
            let seat = handshakes.enter(origin(peer.ip())).await;
            let evicted = seat.evicted();
            let accepted = tokio::select! {
                accepted = tls.accept(job, stream, seat) => accepted,
                () = evicted.cancelled() => {
                    Err(SecurityError::Refused("it was evicted to make room for other connections".to_string()))
                }
            };
            let accepted = accepted.and_then(|connection| match open.try_acquire_owned() {
                Ok(permit) => Ok(connection.holding(permit)),
                Err(_) => Err(SecurityError::Refused("too many connections are open".to_string())),
            });
            match accepted {
                // A server that has ended has logged it.
                Ok(connection) => drop(connections.send(connection).await),
                Err(error) => {
                    let reason = error.to_string();
                    refusals.say(|| tracing::warn!(%job, reason, "a connection was refused"));
                }
            }
        });
    }
}

/// Answers the first request on a connection, and closes it: the caller must reconnect, since by
/// then another process may have the output.
pub(crate) async fn answer_once(service: ShuffleService, connection: TcpStream) {
    let answered = CancellationToken::new();
    let once = Once { server: FetchServer::new(service), answered: answered.clone() };
    let incoming = tokio_stream::once(Ok::<_, io::Error>(connection));
    let serving = Server::builder().add_service(once).serve_with_incoming_shutdown(
        // Without an end of its own: the server ends when it has answered.
        incoming.chain(tokio_stream::pending()),
        answered.cancelled(),
    );
    // Whether the caller received the refusal does not matter here.
    let _ = timeout(REFUSAL_TIMEOUT, serving).await;
}

/// A server that signals when it has been called.
#[derive(Clone)]
struct Once {
    server: FetchServer,
    answered: CancellationToken,
}

impl NamedService for Once {
    const NAME: &'static str = FetchServer::NAME;
}

impl Service<http::Request<Body>> for Once {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = <FetchServer as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.server.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        // A request in progress is finished before the connection is closed.
        self.answered.cancel();
        self.server.call(request)
    }
}
