//! The index of a segment: where the blocks of each partition of each run lie.

use std::ops::Range;

use windrow_jobs::{Audit, varint};

/// Several whole blocks, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// From the start of the file.
    pub offset: u64,
    /// Size, at least 1.
    pub bytes: u64,
}

/// Where the pairs of one partition of one run lie, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionIndex {
    /// Number of the partition.
    pub partition: u32,
    /// Number of the run.
    pub run: u32,
    /// Their number, at least one, and their digest when they were collected.
    pub audit: Audit,
    /// Their blocks.
    pub extents: Vec<Extent>,
}

impl PartitionIndex {
    /// What an index is sorted by: all runs of a partition are neighbours.
    pub fn order(&self) -> (u32, u32) {
        (self.partition, self.run)
    }
}

/// The entries of `partition` in a sorted index. O(log n).
pub fn of_partition(index: &[PartitionIndex], partition: u32) -> &[PartitionIndex] {
    let start = index.partition_point(|entry| entry.partition < partition);
    let len = index[start..].partition_point(|entry| entry.partition == partition);
    &index[start..start + len]
}

/// Encodes a sorted index.
pub(super) fn encode(index: &[PartitionIndex]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::write(index.len() as u64, &mut out);
    for PartitionIndex { partition, run, audit, extents } in index {
        varint::write(u64::from(*partition), &mut out);
        varint::write(u64::from(*run), &mut out);
        varint::write(audit.records, &mut out);
        out.extend_from_slice(&audit.digest.to_le_bytes());
        varint::write(extents.len() as u64, &mut out);
        for Extent { offset, bytes } in extents {
            varint::write(*offset, &mut out);
            varint::write(*bytes, &mut out);
        }
    }
    out
}

/// Decodes the index of a file whose blocks lie in `blocks`. `None` unless all of it makes sense.
pub(super) fn decode(mut bytes: &[u8], blocks: Range<u64>) -> Option<Vec<PartitionIndex>> {
    let count = varint::read(&mut bytes)?;
    let mut index: Vec<PartitionIndex> = Vec::new();
    for _ in 0..count {
        let partition = u32::try_from(varint::read(&mut bytes)?).ok()?;
        let run = u32::try_from(varint::read(&mut bytes)?).ok()?;
        let records = varint::read(&mut bytes)?;
        let (digest, rest) = bytes.split_first_chunk()?;
        bytes = rest;
        let audit = Audit { records, digest: u64::from_le_bytes(*digest) };
        let extents = (0..varint::read(&mut bytes)?)
            .map(|_| decode_extent(&mut bytes, &blocks))
            .collect::<Option<Vec<_>>>()?;
        let entry = PartitionIndex { partition, run, audit, extents };
        if index.last().is_some_and(|last| last.order() >= entry.order()) {
            return None;
        }
        index.push(entry);
    }
    bytes.is_empty().then_some(index)
}

fn decode_extent(bytes: &mut &[u8], blocks: &Range<u64>) -> Option<Extent> {
    let extent = Extent { offset: varint::read(bytes)?, bytes: varint::read(bytes)? };
    let end = extent.offset.checked_add(extent.bytes)?;
    let inside = extent.bytes > 0 && extent.offset >= blocks.start && end <= blocks.end;
    inside.then_some(extent)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn foreign_bytes_are_refused_or_make_sense(bytes in vec(0u8..6, 0..60)) {
            for entry in decode(&bytes, 2..20).unwrap_or_default() {
                for extent in entry.extents {
                    prop_assert!(extent.offset >= 2 && extent.offset + extent.bytes <= 20);
                }
            }
        }
    }

    fn entry(partition: u32, run: u32, offset: u64, bytes: u64) -> PartitionIndex {
        let audit = Audit { records: 1, digest: u64::MAX / 3 };
        PartitionIndex { partition, run, audit, extents: vec![Extent { offset, bytes }] }
    }

    #[test]
    fn extents_outside_the_blocks_and_entries_out_of_order_are_refused() {
        let good = vec![entry(1, 2, 8, 4), entry(3, 0, 12, 8), entry(3, 1, 14, 1)];
        assert_eq!(decode(&encode(&good), 8..20), Some(good));
        assert_eq!(decode(&encode(&[entry(1, 0, 7, 4)]), 8..20), None);
        assert_eq!(decode(&encode(&[entry(1, 0, 17, 4)]), 8..20), None);
        assert_eq!(decode(&encode(&[entry(1, 0, u64::MAX, 4)]), 8..20), None);
        assert_eq!(decode(&encode(&[entry(3, 0, 8, 4), entry(3, 0, 12, 4)]), 8..20), None);
        assert_eq!(decode(&encode(&[entry(3, 1, 8, 4), entry(3, 0, 12, 4)]), 8..20), None);
    }

    #[test]
    fn all_runs_of_a_partition_are_found() {
        let index = [entry(1, 0, 8, 1), entry(1, 2, 9, 1), entry(4, 1, 10, 1)];
        assert_eq!(of_partition(&index, 1), &index[..2]);
        assert_eq!(of_partition(&index, 4), &index[2..]);
        assert_eq!(of_partition(&index, 2), []);
    }
}
