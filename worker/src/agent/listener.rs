//! The worker's one port, on which other workers ask for the outputs of all its jobs. It learns
//! which job a connection is for, and hands the connection to the executor, which knows the job's
//! process.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use windrow_jobs::JobIdentity;
use windrow_security::Refusals;
use windrow_security::limits::{ConnectionLimits, HANDSHAKE_TIME_MAX};
use windrow_security::waiting_list::{WaitingGuard, WaitingList, origin};

use super::WorkerError;
use crate::executor::Executor;
use crate::shuffle::transport::preamble;

/// Pause before the next `accept` after one has failed, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A listening port, closed when this is dropped.
pub(crate) struct ShuffleListener {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl ShuffleListener {
    /// Listens on `address`, whose port may be 0, and from then on serves the outputs of
    /// `executor`.
    pub(crate) async fn start(
        address: SocketAddr,
        executor: Arc<Executor>,
    ) -> Result<Self, WorkerError> {
        let failed = |error| WorkerError::Listen { address, error };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let limits = ConnectionLimits::of_this_process();
        Ok(Self { address, accepting: tokio::spawn(accept(listener, executor, limits)) })
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

async fn accept(listener: TcpListener, executor: Arc<Executor>, limits: ConnectionLimits) {
    // Connections that were handed over count against their job: a process that accepts none holds
    // up no other job's connections.
    let (nameless, named) =
        (WaitingList::new(limits.strangers()), WaitingList::new(limits.strangers()));
    let refusals = Refusals::default();
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                refusals.say(|| {
                    tracing::warn!(%error, "cannot accept the connection of another worker");
                });
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let seat = nameless.enter(origin(peer.ip())).await;
        let (executor, named, refusals) = (Arc::clone(&executor), named.clone(), refusals.clone());
        tokio::spawn(async move {
            if let Err(error) = hand_on(stream, &executor, seat, &named).await {
                refusals.say(|| tracing::warn!(%peer, %error, "a connection was refused"));
            }
        });
    }
}

/// Learns which job a connection is for, and hands it on.
async fn hand_on(
    mut stream: TcpStream,
    executor: &Executor,
    seat: WaitingGuard<IpAddr>,
    named: &WaitingList<JobIdentity>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let job = within(&seat, preamble::read(&mut stream)).await?;
    if !executor.knows(job) {
        // A peer that names a job which is not here is still a stranger: it is answered within the
        // same limit.
        return within(&seat, executor.serve(job, stream)).await;
    }
    drop(seat);
    let seat = named.enter(job).await;
    within(&seat, executor.serve(job, stream)).await
}

/// Does `work` until its seat is taken away, and only for a limited time.
async fn within<K: Ord + Clone, T>(
    seat: &WaitingGuard<K>,
    work: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    let evicted = seat.evicted();
    tokio::select! {
        done = timeout(HANDSHAKE_TIME_MAX, work) => done?,
        () = evicted.cancelled() => Err(io::Error::other("it was evicted to make room for other connections")),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use windrow_jobs::Registry;

    use super::*;
    use crate::executor::{ExecutorConfig, InProcess, Linked};
    use crate::shuffle::FetchTimeouts;
    use crate::shuffle::transport::ShuffleTls;
    use crate::testing::IDENTITY;

    /// The bytes with which an HTTP/2 connection begins.
    const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

    fn executor(directory: std::path::PathBuf) -> Arc<Executor> {
        let config = ExecutorConfig {
            threads: 1,
            memory_bytes: 1 << 20,
            directory,
            host: String::new(),
            tls: ShuffleTls::Off,
            fetch: FetchTimeouts::default(),
            serial: 0,
            outputs_on_disk: false,
            is_only_worker: false,
        };
        let executor = InProcess::new(config, Arc::new(Registry::default())).unwrap();
        let linked = Linked { own_digest: None, has_side_files: false };
        Arc::new(Executor::in_process(executor, linked))
    }

    /// Silent connections keep no other out, even from the same address.
    #[tokio::test]
    async fn a_caller_is_answered_among_many_silent_connections() {
        let folder = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let executor = executor(folder.path().to_path_buf());
        let accepting = tokio::spawn(accept(listener, executor, ConnectionLimits::of_files(128)));
        let mut silent = Vec::new();
        for n in 1..=200 {
            silent.push(TcpStream::connect(address).await.unwrap());
            if n % 50 == 0 {
                let mut caller = TcpStream::connect(address).await.unwrap();
                preamble::write(&mut caller, IDENTITY).await.unwrap();
                caller.write_all(HTTP2).await.unwrap();
                let mut frame = [0; 9];
                let answer = timeout(HANDSHAKE_TIME_MAX, caller.read_exact(&mut frame)).await;
                answer.expect("an answer").unwrap();
                assert_eq!(frame[3], 4, "the server's settings");
            }
        }
        // The first connections were evicted long before their time was over.
        assert_eq!(silent[0].read(&mut [0]).await.unwrap(), 0);
        accepting.abort();
    }

    /// A job whose process accepts no connections uses up its own share of the waiting list, and no
    /// more.
    #[tokio::test]
    async fn connections_of_one_job_do_not_crowd_out_other_jobs() {
        let named = WaitingList::new(8);
        let other = named.enter(JobIdentity(2)).await;
        let mut waiting = Vec::new();
        for _ in 0..100 {
            waiting.push(named.enter(JobIdentity(1)).await);
        }
        assert!(!other.evicted().is_cancelled());
        assert!(within(&other, async { Ok(()) }).await.is_ok());
        let evicted = within(&waiting[0], std::future::pending::<io::Result<()>>()).await;
        assert!(evicted.unwrap_err().to_string().contains("evicted"));
    }
}
