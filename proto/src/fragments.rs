//! Fragmentation and reassembly of large messages. A message is encoded and compressed once for all
//! receivers, and small messages may be sent between its fragments.

use std::io::Read;

use bytes::Bytes;
use prost::Message;

use crate::v1::{CoordinatorMessage, Fragment};

/// The size of a fragment: a small message waits for at most one.
pub const FRAGMENT_BYTES_MAX: usize = 64 << 10;

/// The longest message, packed or not: the locations of a million map outputs, or the ranges of a
/// hundred thousand reducers.
pub const PACKED_BYTES_MAX: usize = 64 << 20;

/// Shorter messages are not compressed.
const COMPRESSED_BYTES_MIN: usize = 512;

/// The default level of zstd; higher planes and lists of names compress well at any level.
const LEVEL: i32 = 3;

/// An encoded message, to be sent to many workers.
#[derive(Clone, Debug)]
pub struct Packed {
    bytes: Bytes,
    /// Zero if it is not compressed.
    unpacked_bytes: u64,
}

impl Packed {
    /// Encodes a message, and compresses it if that makes it smaller.
    pub fn of(message: &CoordinatorMessage) -> Self {
        let encoded = message.encode_to_vec();
        if encoded.len() >= COMPRESSED_BYTES_MIN
            && let Ok(compressed) = zstd::bulk::compress(&encoded, LEVEL)
            && compressed.len() < encoded.len()
        {
            return Self { bytes: compressed.into(), unpacked_bytes: encoded.len() as u64 };
        }
        Self { bytes: encoded.into(), unpacked_bytes: 0 }
    }

    /// The bytes to send, without the headers of fragments.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The fragment at this offset, and the offset of the next; `None` at the end.
    pub fn fragment(&self, from: usize) -> Option<(Fragment, usize)> {
        // An empty message has one empty fragment.
        if from >= self.bytes.len() && from > 0 {
            return None;
        }
        let until = self.bytes.len().min(from + FRAGMENT_BYTES_MAX);
        let data = self.bytes.slice(from..until);
        let (bytes, unpacked_bytes) =
            if from == 0 { (self.bytes.len() as u64, self.unpacked_bytes) } else { (0, 0) };
        Some((Fragment { bytes, unpacked_bytes, data }, until.max(1)))
    }

    /// All fragments, in order.
    pub fn fragments(&self) -> impl Iterator<Item = Fragment> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let (fragment, next) = self.fragment(from)?;
            from = next;
            Some(fragment)
        })
    }
}

/// Fragments that do not make up a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// The announced length exceeds the limit.
    #[error("a message in fragments is longer than 64 MiB")]
    TooLong,
    /// The fragments exceed the announced length.
    #[error("the fragments of a message are longer than it")]
    Overlong,
    /// The fragments do not decode to a message of the announced length.
    #[error("a message in fragments is damaged")]
    Damaged,
}

/// Reassembles messages from their fragments, one message after the other.
#[derive(Debug, Default)]
pub struct Fragments {
    bytes: usize,
    unpacked_bytes: usize,
    data: Vec<u8>,
    has_begun: bool,
}

impl Fragments {
    /// Adds the next fragment; returns the message if it was the last.
    ///
    /// # Errors
    /// When the fragments make up no message, or one that is too long.
    pub fn add(
        &mut self,
        fragment: &Fragment,
    ) -> Result<Option<CoordinatorMessage>, FragmentError> {
        if !self.has_begun {
            let length = |bytes: u64| {
                let bytes = usize::try_from(bytes).ok();
                bytes.filter(|bytes| *bytes <= PACKED_BYTES_MAX).ok_or(FragmentError::TooLong)
            };
            self.bytes = length(fragment.bytes)?;
            self.unpacked_bytes = length(fragment.unpacked_bytes)?;
            self.has_begun = true;
        }
        if self.data.len() + fragment.data.len() > self.bytes {
            return Err(FragmentError::Overlong);
        }
        // Memory grows with what arrives, not with what is announced.
        self.data.extend_from_slice(&fragment.data);
        if self.data.len() < self.bytes {
            return Ok(None);
        }
        let Self { unpacked_bytes, data, .. } = std::mem::take(self);
        let encoded = if unpacked_bytes == 0 { data } else { unpack(&data, unpacked_bytes)? };
        let message = CoordinatorMessage::decode(Bytes::from(encoded));
        message.map(Some).map_err(|_| FragmentError::Damaged)
    }
}

fn unpack(data: &[u8], unpacked_bytes: usize) -> Result<Vec<u8>, FragmentError> {
    let mut unpacked = Vec::new();
    let decoder = zstd::Decoder::with_buffer(data).map_err(|_| FragmentError::Damaged)?;
    let mut bounded = decoder.take(unpacked_bytes as u64 + 1);
    bounded.read_to_end(&mut unpacked).map_err(|_| FragmentError::Damaged)?;
    if unpacked.len() == unpacked_bytes { Ok(unpacked) } else { Err(FragmentError::Damaged) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::coordinator_message::Message as Order;
    use crate::v1::{JobContext, JobSplitPoints, SplitPoint};

    fn context(params: String) -> CoordinatorMessage {
        let context = JobContext { params, ..JobContext::default() };
        CoordinatorMessage { message: Some(Order::JobContext(context)) }
    }

    /// Keys that do not compress.
    fn points(count: u64) -> CoordinatorMessage {
        let point = |n: u64| {
            let key = blake_like(n).to_vec().into();
            SplitPoint { key, value: Bytes::new() }
        };
        let points = JobSplitPoints { job: 1, points: (0..count).map(point).collect() };
        CoordinatorMessage { message: Some(Order::SplitPoints(points)) }
    }

    fn blake_like(n: u64) -> [u8; 16] {
        let mixed = (u128::from(n) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        (mixed ^ mixed >> 61).to_le_bytes()
    }

    #[test]
    fn messages_survive_the_round_trip_one_after_the_other() {
        let mut fragments = Fragments::default();
        let empty = CoordinatorMessage { message: None };
        for (message, is_one_fragment) in [
            (context("short".into()), true),
            (context("long ".repeat(100_000)), true),
            (points(20_000), false),
            (empty, true),
            (context(String::new()), true),
        ] {
            let packed = Packed::of(&message);
            let mut heard = Vec::new();
            let sent: Vec<_> = packed.fragments().collect();
            assert!(sent.iter().all(|fragment| fragment.data.len() <= FRAGMENT_BYTES_MAX));
            for fragment in &sent {
                heard.extend(fragments.add(fragment).unwrap());
            }
            assert_eq!(heard, [message]);
            assert_eq!(sent.len(), packed.bytes().div_ceil(FRAGMENT_BYTES_MAX).max(1));
            assert_eq!(sent.len() == 1, is_one_fragment);
        }
    }

    #[test]
    fn malformed_fragments_are_refused() {
        let fragment = |bytes, unpacked_bytes, data: &'static [u8]| Fragment {
            bytes,
            unpacked_bytes,
            data: Bytes::from_static(data),
        };
        for (fragment, error) in [
            (fragment(u64::MAX, 0, b""), FragmentError::TooLong),
            (fragment(1, u64::MAX, b""), FragmentError::TooLong),
            (fragment(1, 0, b"ab"), FragmentError::Overlong),
            (fragment(2, 0, b"\xff\xff"), FragmentError::Damaged),
            (fragment(2, 9, b"no"), FragmentError::Damaged),
        ] {
            assert_eq!(Fragments::default().add(&fragment), Err(error), "{fragment:?}");
        }
        // The announced length is one byte too short, or too long.
        let Packed { bytes, unpacked_bytes } = Packed::of(&context("x".repeat(10_000)));
        for claimed in [unpacked_bytes - 1, unpacked_bytes + 1] {
            let data = bytes.clone();
            let fragment = Fragment { bytes: bytes.len() as u64, unpacked_bytes: claimed, data };
            assert_eq!(Fragments::default().add(&fragment), Err(FragmentError::Damaged));
        }
    }
}
