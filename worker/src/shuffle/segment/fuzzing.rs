//! For the fuzz targets: the parts of a segment behind checksums.

use std::ops::Range;

use windrow_jobs::checksum::crc64;

use super::index::{Directory, PartitionIndex, page};
use super::{FILE_HEADER_BYTES, MAGIC, Owner, TRAILER_BYTES};

/// Encodes a page of an index.
pub(crate) fn encode_page(entries: &[PartitionIndex]) -> Vec<u8> {
    let mut page = Vec::new();
    entries.iter().for_each(|entry| page::write(entry, &mut page));
    page
}

/// Decodes a page of an index of blocks in this range.
pub(crate) fn decode_page(bytes: &[u8], blocks: &Range<u64>) -> Option<Vec<PartitionIndex>> {
    page::read(bytes, blocks)
}

/// Decodes the directory of an index at this offset, and encodes it again.
pub(crate) fn recode_directory(bytes: &[u8], offset: u64) -> Option<Vec<u8>> {
    let directory = Directory::read(bytes, FILE_HEADER_BYTES as u64, offset)?;
    let mut encoded = Vec::new();
    directory.write(&mut encoded);
    Some(encoded)
}

/// The directory of pages that each have one of these entries.
pub(crate) fn encode_directory(entries: &[PartitionIndex]) -> Vec<u8> {
    let mut directory = Directory::new(FILE_HEADER_BYTES as u64);
    entries.iter().for_each(|entry| {
        directory.push(entry.partition, &encode_page(std::slice::from_ref(entry)));
    });
    let mut encoded = Vec::new();
    directory.write(&mut encoded);
    encoded
}

/// Sets the first and last bytes, and the checksums, to those of a segment of `owner`; `false`
/// where there is no room for them.
pub(crate) fn reseal(segment: &mut [u8], owner: &Owner) -> bool {
    let Some(trailer) =
        segment.len().checked_sub(TRAILER_BYTES).filter(|at| *at >= FILE_HEADER_BYTES)
    else {
        return false;
    };
    segment[..FILE_HEADER_BYTES].copy_from_slice(&owner.header());
    segment[trailer + 16..].copy_from_slice(MAGIC);
    let Some(offset) = segment[trailer..].first_chunk::<8>().copied().map(u64::from_le_bytes)
    else {
        return false;
    };
    // An impossible offset is replaced by a possible one.
    let bytes = (trailer as u64).checked_sub(offset);
    let can_be = bytes.is_some_and(|bytes| bytes <= Directory::bytes_max(offset) as u64);
    let offset = if can_be { offset } else { trailer as u64 - (offset % 64).min(trailer as u64) };
    segment[trailer..trailer + 8].copy_from_slice(&offset.to_le_bytes());
    let crc64 = crc64(&segment[offset as usize..trailer + 8]);
    segment[trailer + 8..trailer + 16].copy_from_slice(&crc64.to_le_bytes());
    true
}
