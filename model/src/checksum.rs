//! The checksum of everything that Windrow stores or sends: CRC-64/NVME.
//!
//! Its functions are compiled here, once: the code for each kind of processor would otherwise be
//! compiled anew in each crate that computes a checksum.

use std::fmt;

use crc_fast::{CrcAlgorithm::Crc64Nvme, Digest, checksum};

/// The checksum of some bytes. O(n).
#[must_use]
pub fn crc64(bytes: &[u8]) -> u64 {
    checksum(Crc64Nvme, bytes)
}

/// The checksum of bytes that come in pieces.
#[derive(Clone)]
pub struct Crc64(Digest);

impl Crc64 {
    /// The checksum of no bytes yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Digest::new(Crc64Nvme))
    }

    /// Appends a piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The checksum of all pieces so far: the same as [`crc64`] of their concatenation.
    #[must_use]
    pub fn finish(&self) -> u64 {
        self.0.finalize()
    }
}

impl Default for Crc64 {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Crc64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crc64({:016x})", self.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of the catalogue of CRC algorithms for CRC-64/NVME.
    #[test]
    fn it_is_the_one_of_the_catalogue() {
        assert_eq!(crc64(b"123456789"), 0xae8b_1486_0a79_9888);
    }

    #[test]
    fn pieces_count_as_a_whole() {
        let bytes: Vec<u8> = (0..1_000_u32).map(|n| n as u8).collect();
        for piece_bytes in [1, 7, 256, 1_000] {
            let mut sum = Crc64::new();
            bytes.chunks(piece_bytes).for_each(|piece| sum.update(piece));
            assert_eq!(sum.finish(), crc64(&bytes), "{piece_bytes}");
        }
    }
}
