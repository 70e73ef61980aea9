//! Connections to other workers: one for each address and job, made when first needed and kept.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use windrow_jobs::JobId;
use windrow_security::Dialed;

use crate::rpc::{ShuffleTls, preamble};
use crate::sync::lock;

/// More than the workers of a cluster, for some jobs: beyond it, all are forgotten, and made again where needed.
const CHANNELS_MAX: usize = 1 << 14;

/// How often an idle connection is checked, and how long its answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Bounds of what a stream may hold that has been received and not been taken.
const STREAM_WINDOW_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=4 << 20;

/// Largest piece in which data arrives: most blocks come in one.
const FRAME_BYTES: u32 = 1 << 20;

/// What all streams of a connection may hold together: as much as the protocol allows. A merge takes from its streams in
/// the order of their keys, so one stream must never wait for room that others take up.
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// The channels to all peers.
pub struct Peers {
    channels: Mutex<HashMap<(String, JobId), Channel>>,
    tls: ShuffleTls,
    connect_timeout: Duration,
    stream_window_bytes: u32,
}

impl Peers {
    /// No connections yet. Each of their streams may hold up to `window_bytes` that have been received and not been
    /// taken, within sensible limits.
    pub fn new(tls: ShuffleTls, connect_timeout: Duration, window_bytes: u64) -> Self {
        let (min, max) = STREAM_WINDOW_BYTES.into_inner();
        let stream_window_bytes = window_bytes.clamp(min, max) as u32;
        Self { channels: Mutex::default(), tls, connect_timeout, stream_window_bytes }
    }

    /// What each stream may hold.
    pub fn stream_window_bytes(&self) -> u64 {
        u64::from(self.stream_window_bytes)
    }

    /// The channel to what the worker at `host:port` has of a job. It connects, and connects again, by itself.
    pub fn channel(&self, address: &str, job: JobId) -> Result<Channel, tonic::transport::Error> {
        let mut channels = lock(&self.channels);
        let peer = (address.to_string(), job);
        if let Some(channel) = channels.get(&peer) {
            return Ok(channel.clone());
        }
        let tls = self.tls.clone();
        let connector = tower::service_fn(move |_| connect(peer.0.clone(), job, tls.clone()));
        let channel = Endpoint::from_shared(format!("http://{address}"))?
            .connect_timeout(self.connect_timeout)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .initial_stream_window_size(self.stream_window_bytes)
            .max_frame_size(FRAME_BYTES)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .connect_with_connector_lazy(connector);
        if channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        channels.insert((address.to_string(), job), channel.clone());
        Ok(channel)
    }

    /// Forgets a job: its connections are closed when nobody uses them any more.
    pub fn forget(&self, job: JobId) {
        lock(&self.channels).retain(|(_, of), _| *of != job);
    }

    /// Uses `channel` for `address` and `job`.
    #[cfg(test)]
    pub fn insert(&self, address: &str, job: JobId, channel: Channel) {
        lock(&self.channels).insert((address.to_string(), job), channel);
    }
}

async fn connect(address: String, job: JobId, tls: ShuffleTls) -> io::Result<Dialed> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    preamble::write(&mut stream, job).await?;
    Ok(tls.connect(job, stream).await?)
}
