//! The directory of an index: which partitions each of its pages has.

use windrow_jobs::checksum::crc64;
use windrow_jobs::varint;

use super::page::PAGE_BYTES;

/// All pages of an index, which lie one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Directory {
    /// Offset of the first page in the file.
    start: u64,
    pages: Vec<Page>,
}

/// The place of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// The first partition on it.
    first: u32,
    /// Offset in the file.
    pub(crate) offset: u64,
    /// Its size, at least 1.
    pub(crate) bytes: usize,
    crc64: u64,
}

impl Page {
    /// Whether these are the bytes of the page.
    pub(crate) fn is(&self, bytes: &[u8]) -> bool {
        crc64(bytes) == self.crc64
    }
}

impl Directory {
    /// An empty directory, whose first page will begin at `start`.
    pub(crate) fn new(start: u64) -> Self {
        Self { start, pages: Vec::new() }
    }

    /// Adds a page after all others, whose first partition is `first`.
    pub(crate) fn push(&mut self, first: u32, bytes: &[u8]) {
        let (offset, crc64) = (self.end(), crc64(bytes));
        self.pages.push(Page { first, offset, bytes: bytes.len(), crc64 });
    }

    /// Where the first page begins.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Where the last page ends.
    pub(crate) fn end(&self) -> u64 {
        self.pages.last().map_or(self.start, |page| page.offset + page.bytes as u64)
    }

    /// Number of pages.
    #[cfg(test)]
    pub(crate) fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Memory that it takes up.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.pages.len() * size_of::<Page>()
    }

    /// The only page that can have entries of `partition`. O(log n).
    pub(crate) fn page_of(&self, partition: u32) -> Option<&Page> {
        let behind = self.pages.partition_point(|page| page.first <= partition);
        self.pages.get(behind.checked_sub(1)?)
    }

    /// Whether these bytes, which begin at the first page, are those of all pages.
    pub(crate) fn are_pages(&self, bytes: &[u8]) -> bool {
        let mut left = bytes;
        let mut is_page = |page: &Page| {
            let bytes = left.split_off(..page.bytes);
            bytes.is_some_and(|bytes| page.is(bytes))
        };
        self.pages.iter().all(&mut is_page) && left.is_empty()
    }

    /// Most bytes of a directory whose pages end at `offset`: so few wrong bytes cannot cause a
    /// large allocation.
    pub(crate) fn bytes_max(offset: u64) -> usize {
        /// First partition, size, and checksum.
        const ENTRY_BYTES_MAX: usize = 5 + 10 + 8;
        // Each page but the last is full.
        let pages = offset as usize / PAGE_BYTES + 1;
        10 + pages * ENTRY_BYTES_MAX
    }

    /// Appends it to `out`, after its pages.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        varint::write(self.pages.len() as u64, out);
        for Page { first, bytes, crc64, .. } in &self.pages {
            varint::write(u64::from(*first), out);
            varint::write(*bytes as u64, out);
            out.extend_from_slice(&crc64.to_le_bytes());
        }
    }

    /// The directory in `bytes`, which begin at `offset`; pages can begin at `least` at the
    /// earliest. `None` if it is malformed.
    pub(crate) fn read(mut bytes: &[u8], least: u64, offset: u64) -> Option<Self> {
        let mut pages: Vec<Page> = Vec::new();
        let mut pages_bytes = 0u64;
        for _ in 0..varint::read(&mut bytes)? {
            let first = u32::try_from(varint::read(&mut bytes)?).ok()?;
            let len = varint::read(&mut bytes)?;
            let (crc64, rest) = bytes.split_first_chunk()?;
            bytes = rest;
            let is_next = pages.last().is_none_or(|last| last.first < first);
            if len == 0 || !is_next {
                return None;
            }
            pages_bytes = pages_bytes.checked_add(len)?;
            let (bytes, crc64) = (usize::try_from(len).ok()?, u64::from_le_bytes(*crc64));
            pages.push(Page { first, offset: 0, bytes, crc64 });
        }
        let start = offset.checked_sub(pages_bytes).filter(|start| *start >= least)?;
        let mut next = start;
        for page in &mut pages {
            page.offset = next;
            next += page.bytes as u64;
        }
        bytes.is_empty().then_some(Self { start, pages })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn directory(start: u64, pages: &[(u32, &[u8])]) -> Directory {
        let mut directory = Directory::new(start);
        pages.iter().for_each(|(first, bytes)| directory.push(*first, bytes));
        directory
    }

    fn written(directory: &Directory) -> Vec<u8> {
        let mut bytes = Vec::new();
        directory.write(&mut bytes);
        bytes
    }

    proptest! {
        /// Each begins as a valid directory, so that large parts of the input are well-formed.
        #[test]
        fn a_modified_directory_is_refused_or_well_formed(
            pages in vec((1u32..5, vec(any::<u8>(), 1..9)), 0..6),
            changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<prop::sample::Index>(),
            is_cut in prop::bool::weighted(0.2),
        ) {
            let mut whole = Directory::new(8);
            let mut first = 0;
            for (step, bytes) in &pages {
                first += step;
                whole.push(first, bytes);
            }
            let (mut bytes, end) = (written(&whole), whole.end());
            prop_assert_eq!(Directory::read(&bytes, 8, end), Some(whole));
            for (at, change) in &changes {
                *at.get_mut(&mut bytes[..]) ^= change;
            }
            if is_cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Some(directory) = Directory::read(&bytes, 8, end) {
                prop_assert!(directory.start() >= 8 && directory.end() == end);
                let firsts: Vec<_> = directory.pages.iter().map(|page| page.first).collect();
                prop_assert!(firsts.is_sorted_by(|a, b| a < b));
                prop_assert_eq!(written(&directory), bytes, "the encoding is unique");
            }
        }
    }

    #[test]
    fn a_partition_is_found_on_one_page() {
        let directory = directory(8, &[(2, b"one"), (3, b"other"), (9, b"last")]);
        assert_eq!(Directory::read(&written(&directory), 8, 20), Some(directory.clone()));
        let offset = |partition| directory.page_of(partition).map(|page| page.offset);
        assert_eq!(
            [0, 2, 3, 8, 9, 99].map(offset),
            [None, Some(8), Some(11), Some(11), Some(16), Some(16)]
        );
        assert!(directory.are_pages(b"oneotherlast"));
        for other in [&b"oneotherlost"[..], b"oneotherlas", b"oneotherlastx", b""] {
            assert!(!directory.are_pages(other));
        }
    }

    #[test]
    fn pages_out_of_order_or_outside_the_file_are_refused() {
        let read =
            |pages: &[(u32, &[u8])]| Directory::read(&written(&directory(8, pages)), 8, 8 + 6);
        assert!(read(&[(1, b"abc"), (2, b"def")]).is_some());
        assert!(read(&[(1, b"abc"), (1, b"def")]).is_none());
        assert!(read(&[(1, b""), (2, b"abcdef")]).is_none());
        assert!(read(&[(1, b"abcdefg")]).is_none());
        // A later start is valid, since the bytes between belong to the blocks.
        assert_eq!(read(&[(1, b"abcde")]).unwrap().start(), 9);
    }
}
