//! A page of an index: entries, one after the other, sorted by partition and run.

use std::ops::Range;

use windrow_jobs::{Audit, varint};

use super::{Extent, PartitionIndex};
use crate::shuffle::segment::writer::LARGE_EXTENT_BYTES;

/// Size from which on a page takes no further partition: finding one of its partitions takes some
/// microseconds.
pub(super) const PAGE_BYTES: usize = 4 << 10;

/// Appends an entry to a page.
pub(crate) fn write(entry: &PartitionIndex, page: &mut Vec<u8>) {
    let PartitionIndex { partition, run, audit, block_bytes, extents } = entry;
    varint::write(u64::from(*partition), page);
    varint::write(u64::from(*run), page);
    varint::write(audit.records, page);
    page.extend_from_slice(&audit.digest.to_le_bytes());
    varint::write(*block_bytes, page);
    varint::write(extents.len() as u64, page);
    for Extent { offset, bytes } in extents {
        varint::write(*offset, page);
        varint::write(*bytes, page);
    }
}

/// The entries of `partition` on a page of a file whose blocks lie in `blocks`. `None` for
/// malformed entries. O(n) of the page.
pub(crate) fn read_partition(
    page: &[u8],
    partition: u32,
    blocks: &Range<u64>,
) -> Option<Vec<PartitionIndex>> {
    let entries = Entries { page, blocks, last: None };
    let up_to = entries.take_while(|entry| entry.as_ref().is_none_or(|e| e.partition <= partition));
    up_to.filter(|entry| entry.as_ref().is_none_or(|e| e.partition == partition)).collect()
}

/// All entries of a page, likewise.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn read(page: &[u8], blocks: &Range<u64>) -> Option<Vec<PartitionIndex>> {
    Entries { page, blocks, last: None }.collect()
}

/// Entries of a page in order; `None` for a malformed one.
struct Entries<'a> {
    page: &'a [u8],
    blocks: &'a Range<u64>,
    last: Option<(u32, u32)>,
}

impl Iterator for Entries<'_> {
    type Item = Option<PartitionIndex>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.page.is_empty()).then(|| {
            let entry = self.entry()?;
            let is_next = self.last.replace(entry.order()).is_none_or(|last| last < entry.order());
            is_next.then_some(entry)
        })
    }
}

impl Entries<'_> {
    fn entry(&mut self) -> Option<PartitionIndex> {
        let partition = u32::try_from(self.number()?).ok()?;
        let run = u32::try_from(self.number()?).ok()?;
        let records = self.number()?;
        let (digest, rest) = self.page.split_first_chunk()?;
        self.page = rest;
        let audit = Audit { records, digest: u64::from_le_bytes(*digest) };
        let block_bytes = self.number().filter(|bytes| *bytes <= LARGE_EXTENT_BYTES)?;
        let extents = (0..self.number()?).map(|_| self.extent()).collect::<Option<Vec<_>>>()?;
        Some(PartitionIndex { partition, run, audit, block_bytes, extents })
    }

    fn extent(&mut self) -> Option<Extent> {
        let extent = Extent { offset: self.number()?, bytes: self.number()? };
        let end = extent.offset.checked_add(extent.bytes)?;
        let Range { start, end: blocks_end } = *self.blocks;
        let inside = extent.bytes > 0 && extent.offset >= start && end <= blocks_end;
        inside.then_some(extent)
    }

    fn number(&mut self) -> Option<u64> {
        varint::read(&mut self.page)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Each begins as a valid page, so that large parts of the input are well-formed.
        #[test]
        fn a_modified_page_is_refused_or_well_formed(
            entries in vec((1u32..3, 0u32..4, 2u64..10, 1u64..9), 0..6),
            changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        ) {
            let mut partition = 0;
            let entries: Vec<_> = entries
                .into_iter()
                .map(|(step, run, offset, bytes)| {
                    partition += step;
                    entry(partition, run, offset, bytes)
                })
                .collect();
            let mut bytes = page(&entries);
            prop_assert_eq!(read(&bytes, &(2..20)), Some(entries));
            if !bytes.is_empty() {
                for (at, change) in &changes {
                    *at.get_mut(&mut bytes[..]) ^= change;
                }
            }
            if let Some(read) = read(&bytes, &(2..20)) {
                prop_assert!(read.is_sorted_by(|a, b| a.order() < b.order()));
                for extent in read.iter().flat_map(|entry| &entry.extents) {
                    prop_assert!(extent.offset >= 2 && extent.offset + extent.bytes <= 20);
                }
                prop_assert_eq!(page(&read), bytes, "the encoding is unique");
            }
        }
    }

    fn entry(partition: u32, run: u32, offset: u64, bytes: u64) -> PartitionIndex {
        let audit = Audit { records: 1, digest: u64::MAX / 3 };
        let extents = vec![Extent { offset, bytes }];
        PartitionIndex { partition, run, audit, block_bytes: 5, extents }
    }

    fn page(entries: &[PartitionIndex]) -> Vec<u8> {
        let mut page = Vec::new();
        entries.iter().for_each(|entry| write(entry, &mut page));
        page
    }

    #[test]
    fn extents_outside_the_blocks_and_entries_out_of_order_are_refused() {
        let read = |entries: &[PartitionIndex]| read(&page(entries), &(8..20));
        let good = vec![entry(1, 2, 8, 4), entry(3, 0, 12, 8), entry(3, 1, 14, 1)];
        assert_eq!(read(&good), Some(good));
        for bad in [
            &[entry(1, 0, 7, 4)][..],
            &[entry(1, 0, 17, 4)],
            &[entry(1, 0, u64::MAX, 4)],
            &[entry(3, 0, 8, 4), entry(3, 0, 12, 4)],
            &[entry(3, 1, 8, 4), entry(3, 0, 12, 4)],
            &[PartitionIndex { block_bytes: LARGE_EXTENT_BYTES + 1, ..entry(1, 0, 8, 4) }],
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn all_runs_of_a_partition_are_found_and_later_entries_are_not_read() {
        let entries = [entry(1, 0, 8, 1), entry(1, 2, 9, 1), entry(4, 1, 10, 1)];
        let mut page = page(&entries);
        page.extend([9, 9, 9]);
        assert_eq!(read_partition(&page, 1, &(8..20)), Some(entries[..2].to_vec()));
        assert_eq!(read_partition(&page, 2, &(8..20)), Some(Vec::new()));
        assert_eq!(read_partition(&page, 4, &(8..20)), None);
    }
}
