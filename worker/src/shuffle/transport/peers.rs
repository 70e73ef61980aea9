//! Connections to other workers: one for each address and job, made when first needed and kept.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use windrow_jobs::JobIdentity;
use windrow_security::Dialed;

use crate::shuffle::transport::{ShuffleTls, preamble};
use crate::sync::lock;

/// More channels than the workers of a cluster need for some jobs: beyond it, all are dropped, and
/// made again on demand.
const CHANNELS_MAX: usize = 1 << 14;

/// The number of channels made by tests.
const FIXED: u64 = 0;

/// How often an idle connection is checked, and how long its answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Most bytes of a stream that have arrived and not been read. They are read at once: the effective
/// bound is the stream's credit.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// Largest HTTP/2 frame: most blocks arrive in one.
const FRAME_BYTES: u32 = 1 << 20;

/// Most bytes of all streams of a connection that have arrived and not been read: the largest
/// window of the protocol. A merge reads its streams in the order of their keys, so one stream must
/// never wait for room that others take up.
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// A channel, with its serial number.
#[derive(Clone)]
pub struct Peer {
    pub channel: Channel,
    number: u64,
}

/// The channels to all peers.
pub struct Peers {
    channels: Mutex<HashMap<(String, JobIdentity), Peer>>,
    last_number: AtomicU64,
    tls: ShuffleTls,
    connect_timeout: Duration,
}

impl Peers {
    /// No connections yet.
    pub fn new(tls: ShuffleTls, connect_timeout: Duration) -> Self {
        let (channels, last_number) = Default::default();
        Self { channels, last_number, tls, connect_timeout }
    }

    /// The channel to the process of a job on the worker at `host:port`. It connects, and
    /// reconnects, by itself.
    pub fn peer(&self, address: &str, job: JobIdentity) -> Result<Peer, tonic::transport::Error> {
        let mut channels = lock(&self.channels);
        let peer = (address.to_string(), job);
        if let Some(known) = channels.get(&peer) {
            return Ok(known.clone());
        }
        let tls = self.tls.clone();
        let connector = tower::service_fn(move |_| connect(peer.0.clone(), job, tls.clone()));
        let channel = Endpoint::from_shared(format!("http://{address}"))?
            .connect_timeout(self.connect_timeout)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .connect_with_connector_lazy(connector);
        if channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        let number = self.last_number.fetch_add(1, Ordering::Relaxed) + 1;
        let peer = Peer { channel, number };
        channels.insert((address.to_string(), job), peer.clone());
        Ok(peer)
    }

    /// A stream over this channel has broken off. The next one gets another connection: this one
    /// may be broken without having noticed.
    pub fn avoid(&self, address: &str, job: JobIdentity, broken: &Peer) {
        let is_broken = |known: &Peer| known.number == broken.number && known.number != FIXED;
        let mut channels = lock(&self.channels);
        let peer = (address.to_string(), job);
        if channels.get(&peer).is_some_and(is_broken) {
            channels.remove(&peer);
        }
    }

    /// Forgets a job: its connections are closed when nobody uses them any more.
    pub fn forget(&self, job: JobIdentity) {
        lock(&self.channels).retain(|(_, of), _| *of != job);
    }

    /// Uses `channel` for `address` and `job`.
    #[cfg(test)]
    pub fn insert(&self, address: &str, job: JobIdentity, channel: Channel) {
        let peer = Peer { channel, number: FIXED };
        lock(&self.channels).insert((address.to_string(), job), peer);
    }
}

async fn connect(address: String, job: JobIdentity, tls: ShuffleTls) -> io::Result<Dialed> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    preamble::write(&mut stream, job).await?;
    tls.check_server(&stream).await?;
    Ok(tls.connect(job, stream).await?)
}
