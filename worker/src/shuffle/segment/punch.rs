//! Punches holes into segments, where nobody will read again.
//!
//! A sort beyond memory writes its input twice, as runs and as output. With holes, the second copy
//! takes the place of the first: on the disk, and in the page cache, where recently used pages cost
//! much less than new ones.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Mutex;

use rustix::fs::FallocateFlags;

use super::Extent;
use crate::sync::lock;

/// Size of a page of the cache; punching a part of a page would only write zeros.
const PAGE_BYTES: u64 = 4096;

/// Partitions whose pairs are gone.
#[derive(Default)]
pub(super) struct Punched(Mutex<BTreeSet<u32>>);

impl Punched {
    /// Whether the pairs of `partition` are gone, or about to be.
    pub(super) fn has(&self, partition: u32) -> bool {
        lock(&self.0).contains(&partition)
    }

    /// Punches the extents of `partition` out of the file.
    pub(super) fn punch(
        &self,
        path: &Path,
        partition: u32,
        extents: Vec<Extent>,
    ) -> io::Result<()> {
        // Noted before the first hole: a later reader must not read zeros.
        if extents.is_empty() || !lock(&self.0).insert(partition) {
            return Ok(());
        }
        let file = File::options().write(true).open(path)?;
        joined(extents).into_iter().try_for_each(|extent| punch_hole(&file, extent))
    }
}

/// Punches out the whole pages in this extent.
pub(super) fn punch_hole(file: &File, Extent { offset, bytes }: Extent) -> io::Result<()> {
    let start = offset.next_multiple_of(PAGE_BYTES);
    let end = (offset + bytes) / PAGE_BYTES * PAGE_BYTES;
    if start < end {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(file, hole, start, end - start)?;
    }
    Ok(())
}

/// The same bytes in as few extents as possible, in order.
fn joined(mut extents: Vec<Extent>) -> Vec<Extent> {
    extents.sort_unstable_by_key(|extent| extent.offset);
    extents.dedup_by(|next, last| {
        let are_neighbours = last.offset + last.bytes == next.offset;
        last.bytes += if are_neighbours { next.bytes } else { 0 };
        are_neighbours
    });
    extents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjacent_extents_are_joined() {
        let extents = |all: &[(u64, u64)]| -> Vec<Extent> {
            all.iter().map(|&(offset, bytes)| Extent { offset, bytes }).collect()
        };
        let joined = joined(extents(&[(30, 5), (8, 2), (10, 20), (36, 1), (100, 1)]));
        assert_eq!(joined, extents(&[(8, 27), (36, 1), (100, 1)]));
    }
}
