//! Connections in memory in place of sockets.

use std::io;

use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Endpoint;
use windrow_worker::Connector;

/// Bytes that one side may be ahead of the other.
const BUFFER_BYTES: usize = 256 << 10;

/// The two ends: what clients connect with, and what a server accepts from.
pub(super) fn in_memory() -> (Connector, UnboundedReceiverStream<io::Result<DuplexStream>>) {
    // Bounded by the number of connections that this process makes: one for the client, one for the
    // worker.
    let (accept, incoming) = mpsc::unbounded_channel();
    let connector = Connector::new("embedded", move || {
        let accept = accept.clone();
        async move {
            let connect = tower::service_fn(move |_| {
                let accept = accept.clone();
                async move {
                    let (client, server) = tokio::io::duplex(BUFFER_BYTES);
                    accept
                        .send(Ok(server))
                        .map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
                    Ok::<_, io::Error>(TokioIo::new(client))
                }
            });
            Endpoint::from_static("http://embedded").connect_with_connector(connect).await
        }
    });
    (connector, UnboundedReceiverStream::new(incoming))
}
