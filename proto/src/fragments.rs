//! Large messages in pieces: encoded and compressed once for all who get them, sent so that small
//! messages can go between, and put together again.

use std::io::Read;

use bytes::Bytes;
use prost::Message;

use crate::v1::{CoordinatorMessage, Piece};

/// Bytes of a piece. A small message waits for one of them at most.
pub const PIECE_BYTES_MAX: usize = 64 << 10;

/// Longest message, packed or not: where the outputs of a million maps lie, or the ranges of a
/// hundred thousand reduces.
pub const PACKED_BYTES_MAX: usize = 64 << 20;

/// A shorter message is not worth being compressed.
const COMPRESSED_BYTES_MIN: usize = 512;

/// The usual level of zstd: the highest planes and lists of names shrink to little with any.
const LEVEL: i32 = 3;

/// A message that has been encoded, to be sent to many.
#[derive(Clone, Debug)]
pub struct Packed {
    bytes: Bytes,
    /// Zero if it is not compressed.
    unpacked_bytes: u64,
}

impl Packed {
    /// Encodes a message, and compresses it if that pays.
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

    /// Bytes that are sent, but for what each piece adds.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The piece that begins at this byte, and where the next one begins; `None` at the end.
    pub fn piece(&self, from: usize) -> Option<(Piece, usize)> {
        // An empty message has one piece, which says so.
        if from >= self.bytes.len() && from > 0 {
            return None;
        }
        let until = self.bytes.len().min(from + PIECE_BYTES_MAX);
        let data = self.bytes.slice(from..until);
        let (bytes, unpacked_bytes) =
            if from == 0 { (self.bytes.len() as u64, self.unpacked_bytes) } else { (0, 0) };
        Some((Piece { bytes, unpacked_bytes, data }, until.max(1)))
    }

    /// All pieces, in order.
    pub fn pieces(&self) -> impl Iterator<Item = Piece> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let (piece, next) = self.piece(from)?;
            from = next;
            Some(piece)
        })
    }
}

/// Pieces that make no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PieceError {
    /// Longer than any message is.
    #[error("a message in pieces is longer than 64 MiB")]
    TooLong,
    /// More came than was announced.
    #[error("the pieces of a message are longer than it")]
    Overlong,
    /// They are not what the first one says.
    #[error("a message in pieces is damaged")]
    Damaged,
}

/// Puts the pieces of one message after the other together.
#[derive(Debug, Default)]
pub struct Pieces {
    bytes: usize,
    unpacked_bytes: usize,
    data: Vec<u8>,
    has_begun: bool,
}

impl Pieces {
    /// Takes the next piece; returns the message when this was its last.
    ///
    /// # Errors
    /// When the pieces make no message, or one that is too long.
    pub fn add(&mut self, piece: &Piece) -> Result<Option<CoordinatorMessage>, PieceError> {
        if !self.has_begun {
            let length = |bytes: u64| {
                let bytes = usize::try_from(bytes).ok();
                bytes.filter(|bytes| *bytes <= PACKED_BYTES_MAX).ok_or(PieceError::TooLong)
            };
            self.bytes = length(piece.bytes)?;
            self.unpacked_bytes = length(piece.unpacked_bytes)?;
            self.has_begun = true;
        }
        if self.data.len() + piece.data.len() > self.bytes {
            return Err(PieceError::Overlong);
        }
        // As much as arrives, not as much as is announced.
        self.data.extend_from_slice(&piece.data);
        if self.data.len() < self.bytes {
            return Ok(None);
        }
        let Self { unpacked_bytes, data, .. } = std::mem::take(self);
        let encoded = if unpacked_bytes == 0 { data } else { unpack(&data, unpacked_bytes)? };
        let message = CoordinatorMessage::decode(Bytes::from(encoded));
        message.map(Some).map_err(|_| PieceError::Damaged)
    }
}

fn unpack(data: &[u8], unpacked_bytes: usize) -> Result<Vec<u8>, PieceError> {
    let mut unpacked = Vec::new();
    let decoder = zstd::Decoder::with_buffer(data).map_err(|_| PieceError::Damaged)?;
    let mut bounded = decoder.take(unpacked_bytes as u64 + 1);
    bounded.read_to_end(&mut unpacked).map_err(|_| PieceError::Damaged)?;
    if unpacked.len() == unpacked_bytes { Ok(unpacked) } else { Err(PieceError::Damaged) }
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
        let mut pieces = Pieces::default();
        let empty = CoordinatorMessage { message: None };
        for (message, is_one_piece) in [
            (context("short".into()), true),
            (context("long ".repeat(100_000)), true),
            (points(20_000), false),
            (empty, true),
            (context(String::new()), true),
        ] {
            let packed = Packed::of(&message);
            let mut heard = Vec::new();
            let sent: Vec<_> = packed.pieces().collect();
            assert!(sent.iter().all(|piece| piece.data.len() <= PIECE_BYTES_MAX));
            for piece in &sent {
                heard.extend(pieces.add(piece).unwrap());
            }
            assert_eq!(heard, [message]);
            assert_eq!(sent.len(), packed.bytes().div_ceil(PIECE_BYTES_MAX).max(1));
            assert_eq!(sent.len() == 1, is_one_piece);
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let piece = |bytes, unpacked_bytes, data: &'static [u8]| Piece {
            bytes,
            unpacked_bytes,
            data: Bytes::from_static(data),
        };
        for (piece, error) in [
            (piece(u64::MAX, 0, b""), PieceError::TooLong),
            (piece(1, u64::MAX, b""), PieceError::TooLong),
            (piece(1, 0, b"ab"), PieceError::Overlong),
            (piece(2, 0, b"\xff\xff"), PieceError::Damaged),
            (piece(2, 9, b"no"), PieceError::Damaged),
        ] {
            assert_eq!(Pieces::default().add(&piece), Err(error), "{piece:?}");
        }
        // It says that it is shorter, or longer, than it is.
        let Packed { bytes, unpacked_bytes } = Packed::of(&context("x".repeat(10_000)));
        for claimed in [unpacked_bytes - 1, unpacked_bytes + 1] {
            let data = bytes.clone();
            let piece = Piece { bytes: bytes.len() as u64, unpacked_bytes: claimed, data };
            assert_eq!(Pieces::default().add(&piece), Err(PieceError::Damaged));
        }
    }
}
