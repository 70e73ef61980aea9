//! The worker's one port, on which others ask for the outputs of all its jobs. It learns which job
//! a connection is for, and leaves the rest to the executor, which knows the process that has them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use windrow_security::limits::{HANDSHAKE_TIME_MAX, NAMELESS_MAX};

use super::preamble;
use crate::agent::WorkerError;
use crate::executor::Executor;

/// Before it is tried again, when a connection could not be taken: mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A port that is listened on, until this is dropped.
pub(crate) struct ShuffleListener {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl ShuffleListener {
    /// Listens on `address`, whose port may be 0, and serves what `executor` has from then on.
    pub(crate) async fn start(
        address: SocketAddr,
        executor: Arc<Executor>,
    ) -> Result<Self, WorkerError> {
        let failed = |error| WorkerError::Listen { address, error };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { address, accepting: tokio::spawn(accept(listener, executor)) })
    }

    /// Where peers connect to, `host:port`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for ShuffleListener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, executor: Arc<Executor>) {
    let nameless = Arc::new(Semaphore::new(NAMELESS_MAX));
    loop {
        // It is never closed.
        let Ok(permit) = Arc::clone(&nameless).acquire_owned().await else { return };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection of another worker could not be taken");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let executor = Arc::clone(&executor);
        tokio::spawn(async move {
            let serving = hand_on(stream, &executor, permit);
            if let Err(error) = serving.await {
                tracing::warn!(%peer, %error, "a connection was refused");
            }
        });
    }
}

async fn hand_on(
    mut stream: TcpStream,
    executor: &Executor,
    permit: tokio::sync::OwnedSemaphorePermit,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let job = timeout(HANDSHAKE_TIME_MAX, preamble::read(&mut stream)).await??;
    // Whoever names a job that is not here is still a stranger: it is answered within the same
    // limit.
    let permit = (!executor.knows(job)).then_some(permit);
    let served = executor.serve(job, stream).await;
    drop(permit);
    served
}
