//! The index of a segment: where each partition's blocks lie.

use crate::shuffle::varint;

/// A run of whole blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// From the start of the file.
    pub offset: u64,
    /// Size, at least 1.
    pub bytes: u64,
}

/// Where the pairs of one partition lie, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionIndex {
    /// Its number.
    pub partition: u32,
    /// Its pairs, at least one.
    pub records: u64,
    /// Their blocks.
    pub extents: Vec<Extent>,
}

/// Encodes an index whose partitions ascend.
pub(super) fn encode(partitions: &[PartitionIndex]) -> Vec<u8> {
    let mut out = Vec::new();
    varint::write(&mut out, partitions.len() as u64);
    for PartitionIndex { partition, records, extents } in partitions {
        varint::write(&mut out, u64::from(*partition));
        varint::write(&mut out, *records);
        varint::write(&mut out, extents.len() as u64);
        for Extent { offset, bytes } in extents {
            varint::write(&mut out, *offset);
            varint::write(&mut out, *bytes);
        }
    }
    out
}

/// Decodes an index of a file whose blocks lie in `blocks`. `None` unless all of it makes sense.
pub(super) fn decode(
    mut bytes: &[u8],
    blocks: std::ops::Range<u64>,
) -> Option<Vec<PartitionIndex>> {
    let count = varint::read(&mut bytes)?;
    let mut partitions: Vec<PartitionIndex> = Vec::new();
    for _ in 0..count {
        let partition = u32::try_from(varint::read(&mut bytes)?).ok()?;
        if partitions.last().is_some_and(|last| last.partition >= partition) {
            return None;
        }
        let records = varint::read(&mut bytes)?;
        let extents = (0..varint::read(&mut bytes)?)
            .map(|_| decode_extent(&mut bytes, &blocks))
            .collect::<Option<Vec<_>>>()?;
        partitions.push(PartitionIndex { partition, records, extents });
    }
    bytes.is_empty().then_some(partitions)
}

fn decode_extent(bytes: &mut &[u8], blocks: &std::ops::Range<u64>) -> Option<Extent> {
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

    #[test]
    fn extents_outside_the_blocks_and_partitions_out_of_order_are_refused() {
        let index = |partition, offset, bytes| PartitionIndex {
            partition,
            records: 1,
            extents: vec![Extent { offset, bytes }],
        };
        let good = vec![index(1, 8, 4), index(3, 12, 8)];
        assert_eq!(decode(&encode(&good), 8..20), Some(good));
        assert_eq!(decode(&encode(&[index(1, 7, 4)]), 8..20), None);
        assert_eq!(decode(&encode(&[index(1, 17, 4)]), 8..20), None);
        assert_eq!(decode(&encode(&[index(1, u64::MAX, 4)]), 8..20), None);
        assert_eq!(decode(&encode(&[index(3, 8, 4), index(3, 12, 4)]), 8..20), None);
    }
}
