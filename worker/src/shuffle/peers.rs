//! Connections to other workers: one for each address, made when first needed and kept.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use windrow_security::Dialer;

use crate::sync::lock;

/// More than the workers of a cluster: beyond it, all are forgotten, and made again where needed.
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
    channels: Mutex<HashMap<String, Channel>>,
    dialer: Dialer,
    connect_timeout: Duration,
    stream_window_bytes: u32,
}

impl Peers {
    /// No connections yet. Each of their streams may hold up to `window_bytes` that have been received and not been
    /// taken, within sensible limits.
    pub fn new(dialer: Dialer, connect_timeout: Duration, window_bytes: u64) -> Self {
        let (min, max) = STREAM_WINDOW_BYTES.into_inner();
        let stream_window_bytes = window_bytes.clamp(min, max) as u32;
        Self { channels: Mutex::default(), dialer, connect_timeout, stream_window_bytes }
    }

    /// What each stream may hold.
    pub fn stream_window_bytes(&self) -> u64 {
        u64::from(self.stream_window_bytes)
    }

    /// The channel to `host:port`. It connects, and connects again, by itself.
    pub fn channel(&self, address: &str) -> Result<Channel, tonic::transport::Error> {
        let mut channels = lock(&self.channels);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let (dialer, peer) = (self.dialer.clone(), address.to_string());
        let connector = tower::service_fn(move |_| {
            let (dialer, peer) = (dialer.clone(), peer.clone());
            async move { dialer.dial_worker(&peer).await }
        });
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
        channels.insert(address.to_string(), channel.clone());
        Ok(channel)
    }

    /// Uses `channel` for `address`.
    #[cfg(test)]
    pub fn insert(&self, address: &str, channel: Channel) {
        lock(&self.channels).insert(address.to_string(), channel);
    }
}
