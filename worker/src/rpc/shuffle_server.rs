//! Serves the segments of this process on connections that others have accepted: in a secured
//! cluster, to processes of the same job alone.

use std::convert::Infallible;
use std::io;
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
use windrow_security::Connection;
use windrow_security::limits::{self, SHUFFLE_HANDSHAKES_MAX};

use super::ShuffleTls;
use super::fetch::FetchServer;
use crate::shuffle::ShuffleService;

/// How often a connection is checked on which nothing comes.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Connections that wait to be served.
const WAITING_MAX: usize = 64;

/// How long a connection lasts on which there is only a refusal to be heard.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(30);

/// A running server. It ends with the runtime, or when this is dropped and the last connection is
/// closed.
pub(crate) struct ShuffleServer {
    connections: mpsc::Sender<Connection>,
    tls: ShuffleTls,
    handshakes: Arc<Semaphore>,
}

impl ShuffleServer {
    /// Serves from now on what it is given. Must be called on a runtime.
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
        Self { connections, tls, handshakes: Arc::new(Semaphore::new(SHUFFLE_HANDSHAKES_MAX)) }
    }

    /// Serves a connection that is for this job, too, once its handshake is done. Does not wait for
    /// that.
    pub(crate) fn serve(&self, job: JobIdentity, stream: TcpStream) {
        let Ok(handshake) = Arc::clone(&self.handshakes).try_acquire_owned() else {
            tracing::warn!(%job, "too many handshakes are under way; a connection was closed");
            return;
        };
        let (tls, connections) = (self.tls.clone(), self.connections.clone());
        tokio::spawn(async move {
            let accepted = tls.accept(job, stream).await;
            drop(handshake);
            match accepted {
                // A server that has ended has said so.
                Ok(connection) => drop(connections.send(connection).await),
                Err(error) => {
                    let reason = error.to_string();
                    tracing::warn!(%job, reason, "a connection was refused");
                }
            }
        });
    }
}

/// Answers what comes first on a connection, and ends it: who asks again must connect again, for by
/// then another process may have what is wanted.
pub(crate) async fn answer_once(service: ShuffleService, connection: TcpStream) {
    let answered = CancellationToken::new();
    let once = Once { server: FetchServer::new(service), answered: answered.clone() };
    let incoming = tokio_stream::once(Ok::<_, io::Error>(connection));
    let serving = Server::builder().add_service(once).serve_with_incoming_shutdown(
        // Without an end of its own: that of the server is when it has answered.
        incoming.chain(tokio_stream::pending()),
        answered.cancelled(),
    );
    // Whether the refusal could be told does not matter to anybody else.
    let _ = timeout(REFUSAL_TIMEOUT, serving).await;
}

/// A server that says when it has been asked.
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
        // What has been begun is finished before the connection is closed.
        self.answered.cancel();
        self.server.call(request)
    }
}
