//! For `crate::fuzzing`: what of a segment is guarded by checksums.

use std::ops::Range;

use crc_fast::{CrcAlgorithm::Crc64Nvme, checksum};

use super::index::{self, PartitionIndex};
use super::{MAGIC, TRAILER_BYTES};

/// Encodes an index.
pub(crate) fn encode_index(index: &[PartitionIndex]) -> Vec<u8> {
    index::encode(index)
}

/// Decodes an index whose blocks lie in this range.
pub(crate) fn decode_index(bytes: &[u8], blocks: Range<u64>) -> Option<Vec<PartitionIndex>> {
    index::decode(bytes, blocks)
}

/// Makes the first and last bytes, and the checksum of the index, those of a segment; `false` where there is no room for them.
pub(crate) fn reseal(segment: &mut [u8]) -> bool {
    let Some(trailer) = segment.len().checked_sub(TRAILER_BYTES).filter(|at| *at >= MAGIC.len())
    else {
        return false;
    };
    segment[..MAGIC.len()].copy_from_slice(MAGIC);
    segment[trailer + 16..].copy_from_slice(MAGIC);
    let Some(offset) = segment[trailer..].first_chunk::<8>().copied().map(u64::from_le_bytes)
    else {
        return false;
    };
    // An offset beyond is cut to something that might be one.
    let offset = offset % (trailer as u64 + 1);
    segment[trailer..trailer + 8].copy_from_slice(&offset.to_le_bytes());
    let crc64 = checksum(Crc64Nvme, &segment[offset as usize..trailer + 8]);
    segment[trailer + 8..trailer + 16].copy_from_slice(&crc64.to_le_bytes());
    true
}
