//! Connections to other workers: one for each address, made when first needed and kept.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use crate::sync::lock;

/// More than the workers of a cluster: beyond it, all are forgotten, and made again where needed.
const CHANNELS_MAX: usize = 1 << 14;

/// How often an idle connection is checked, and how long its answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Flow control windows of a connection; all of its streams share the connection's.
const CONNECTION_WINDOW_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=16 << 20;

/// The channels to all peers.
pub struct Peers {
    channels: Mutex<HashMap<String, Channel>>,
    connect_timeout: Duration,
    window_bytes: u32,
}

impl Peers {
    /// No connections yet. Each may hold up to `window_bytes` that have been received and not been taken, within
    /// sensible limits.
    pub fn new(connect_timeout: Duration, window_bytes: u64) -> Self {
        let (min, max) = CONNECTION_WINDOW_BYTES.into_inner();
        let window_bytes = window_bytes.clamp(min, max) as u32;
        Self { channels: Mutex::default(), connect_timeout, window_bytes }
    }

    /// The channel to `host:port`. It connects, and connects again, by itself.
    pub fn channel(&self, address: &str) -> Result<Channel, tonic::transport::Error> {
        let mut channels = lock(&self.channels);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let channel = Endpoint::from_shared(format!("http://{address}"))?
            .connect_timeout(self.connect_timeout)
            .initial_connection_window_size(self.window_bytes)
            .initial_stream_window_size(self.window_bytes / 2)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .tcp_nodelay(true)
            .connect_lazy();
        if channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        channels.insert(address.to_string(), channel.clone());
        Ok(channel)
    }

    /// Uses `channel` for `address`.
    #[cfg(test)]
    pub fn insert(&self, address: &str, channel: Channel) {
        lock(&self.channels).insert(address.to_string(), channel);
    }
}
