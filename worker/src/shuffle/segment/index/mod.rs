//! The index of a segment: where the blocks of each partition of each run lie.
//!
//! An index is as large as all partitions and runs together, and a reader wants one partition of
//! it. So it is cut into [pages](page), each of whole partitions, and a [directory](directory) says
//! which page has which: readers keep the directory, and read a page when they need it, as with the
//! blocks of an SSTable (Bigtable, OSDI 2006, 5.3 and 6).

use windrow_jobs::Audit;

pub(super) mod directory;
pub(super) mod page;

pub(super) use directory::{Directory, Page};

/// Several whole blocks, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Offset in the file.
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
    /// Number of pairs, at least one, and their digest when they were collected.
    pub audit: Audit,
    /// Most bytes of keys and values in one of their blocks, except for blocks of single large
    /// pairs: at most 4 MiB.
    pub block_bytes: u64,
    /// Their blocks.
    pub extents: Vec<Extent>,
}

impl PartitionIndex {
    /// The sort key of an index: all runs of a partition are neighbours.
    pub fn order(&self) -> (u32, u32) {
        (self.partition, self.run)
    }
}

/// The pages of an index and their directory.
pub(super) struct Encoded {
    pub(super) pages: Vec<u8>,
    pub(super) directory: Directory,
}

/// Cuts an index, in any order, into pages that begin at `offset` in the file. Entries without
/// pairs are left out.
pub(super) fn encode(mut index: Vec<PartitionIndex>, offset: u64) -> Encoded {
    index.retain(|entry| entry.audit.records > 0);
    index.sort_unstable_by_key(PartitionIndex::order);
    let (mut pages, mut directory) = (Vec::new(), Directory::new(offset));
    let mut start = 0;
    let mut first = None;
    let mut partitions = index.chunk_by(|one, next| one.partition == next.partition).peekable();
    while let Some(entries) = partitions.next() {
        first.get_or_insert(entries[0].partition);
        entries.iter().for_each(|entry| page::write(entry, &mut pages));
        let is_full = pages.len() - start >= page::PAGE_BYTES || partitions.peek().is_none();
        if let Some(first) = first.take_if(|_| is_full) {
            directory.push(first, &pages[start..]);
            start = pages.len();
        }
    }
    Encoded { pages, directory }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(partition: u32, run: u32, records: u64) -> PartitionIndex {
        let extents = vec![Extent { offset: 8, bytes: 4 }];
        let audit = Audit { records, digest: u64::MAX / 3 };
        PartitionIndex { partition, run, audit, block_bytes: 300, extents }
    }

    #[test]
    fn every_partition_is_complete_on_the_page_in_the_directory() {
        // Some partitions are larger than a page, and some have no pairs.
        let runs = |partition: u32| if partition % 50 == 7 { 900 } else { partition % 5 };
        let has_pairs = |entry: &PartitionIndex| entry.audit.records > 0;
        let of = |partition: u32| -> Vec<PartitionIndex> {
            (0..runs(partition)).map(|run| entry(partition, run, u64::from(run % 4))).collect()
        };
        let index: Vec<_> = (0..300).rev().flat_map(of).collect();
        let Encoded { pages, directory } = encode(index, 100);
        assert!(directory.pages() > 5, "{}", directory.pages());
        assert_eq!(directory.end(), 100 + pages.len() as u64);
        for partition in 0..310 {
            let expected = if partition < 300 { of(partition) } else { Vec::new() };
            let expected: Vec<_> = expected.into_iter().filter(has_pairs).collect();
            let found = directory.page_of(partition).map_or(Vec::new(), |found| {
                let bytes = &pages[found.offset as usize - 100..][..found.bytes];
                assert!(found.is(bytes));
                page::read_partition(bytes, partition, &(8..12)).unwrap()
            });
            assert_eq!(found, expected, "{partition}");
        }
    }
}
