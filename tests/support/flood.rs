//! A flood of connections that do nothing, as many as possible.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Mutex;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::eventually;

/// How often closed connections are replaced.
const EVERY: Duration = Duration::from_millis(10);

/// A flood, until it is dropped.
pub struct Flood {
    runtime: tokio::runtime::Runtime,
    opened: Arc<std::sync::atomic::AtomicUsize>,
}

impl Flood {
    /// `count` connections from one address; each sends only `says`.
    pub fn start(from: &str, to: &str, count: usize, says: &[u8]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (from, to): (IpAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
        let opened = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let says: Arc<[u8]> = says.into();
        let pace = runtime.block_on(async { Arc::new(Mutex::new(paced())) });
        for _ in 0..count {
            let (pace, opened, says) = (Arc::clone(&pace), Arc::clone(&opened), Arc::clone(&says));
            runtime.spawn(async move {
                loop {
                    let held = hold(from, to, &says, &opened).await;
                    drop(held);
                    pace.lock().await.tick().await;
                }
            });
        }
        let flood = Self { runtime, opened };
        eventually("a flood", || flood.opened() >= count);
        flood
    }

    /// How many connections it has opened so far.
    pub fn opened(&self) -> usize {
        self.opened.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Ends it, without waiting.
    pub fn end(self) {
        self.runtime.shutdown_background();
    }
}

fn paced() -> Interval {
    let mut pace = interval(EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}

/// Holds a connection until the other side closes it.
async fn hold(
    from: IpAddr,
    to: SocketAddr,
    says: &[u8],
    opened: &std::sync::atomic::AtomicUsize,
) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    let mut stream = socket.connect(to).await?;
    opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    stream.write_all(says).await?;
    let mut answer = [0; 1 << 10];
    while stream.read(&mut answer).await? > 0 {}
    Ok(stream)
}
