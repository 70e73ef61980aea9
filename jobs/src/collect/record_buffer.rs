//! An append buffer of encoded pairs that sorts by (partition, key, value).

use std::ops::Range;

use super::arena::Arena;
use super::entry::Entry;
use super::sort;
use crate::audit::Audit;
use crate::error::{Error, Result};
use crate::pairs::{RecordRef, prefix};

/// Most bytes of a key and its value together. A block of a segment holds a little more.
pub(crate) const PAIR_BYTES_MAX: usize = (1 << 30) - 64;

/// How many pairs ahead to prefetch: sorted pairs are in random places.
const AHEAD: usize = 16;

/// Encoded pairs in one arena, with an entry of sixteen bytes each, so that sorting moves entries
/// and not data.
///
/// Pairs are appended to partitions `0..partitions()`. When the buffer grows, only entries are
/// copied. Each pair is audited when it is appended: it is in the cache then, and nothing can have
/// happened to it.
#[derive(Debug, Default)]
pub struct RecordBuffer {
    arena: Arena,
    partitions: Vec<Partition>,
    records: usize,
    records_bytes: u64,
    /// The capacity of all lists of entries together.
    entries_capacity: usize,
}

#[derive(Debug, Default)]
struct Partition {
    entries: Vec<Entry>,
    audit: Audit,
}

impl Partition {
    /// Appends the entries of pairs that have moved behind `base` in another arena.
    fn append(&mut self, other: Self, base: u64) {
        self.entries.reserve_exact(other.entries.len());
        let moved = other.entries.iter().map(|entry| Entry::new(entry.word(), base + entry.at()));
        self.entries.extend(moved);
        self.audit.merge(other.audit);
    }
}

impl RecordBuffer {
    /// An empty buffer of `partitions` partitions.
    pub fn new(partitions: u32) -> Self {
        Self::with_capacity(partitions, 0)
    }

    /// An empty buffer with capacity for the entries of `partition_records` pairs in each
    /// partition.
    pub fn with_capacity(partitions: u32, partition_records: usize) -> Self {
        let partition = |_| Partition {
            entries: Vec::with_capacity(partition_records),
            audit: Audit::default(),
        };
        let mut this =
            Self { partitions: (0..partitions).map(partition).collect(), ..Self::default() };
        this.count_capacity();
        this
    }

    /// Appends one pair. Key and value together must be below 1 GiB.
    ///
    /// # Panics
    /// When there is no such partition.
    // Each pair that is not combined passes here and through its route. Where the compiler chose
    // not to inline both, a sort took 9 % more instructions.
    #[inline(always)]
    pub fn push(&mut self, partition: u32, record: RecordRef<'_>) -> Result<()> {
        check_size(record)?;
        let Partition { entries, audit } = &mut self.partitions[partition as usize];
        audit.add(record.key, record.value);
        let capacity = entries.capacity();
        entries.push(Entry::new(prefix(record.key), self.arena.push_record(record)));
        self.entries_capacity += entries.capacity() - capacity;
        self.records += 1;
        self.records_bytes += (record.key.len() + record.value.len()) as u64;
        Ok(())
    }

    /// Sorts every partition by key and then by value, almost in place.
    pub fn sort(&mut self) {
        self.sort_tasks().into_iter().for_each(SortTask::run);
    }

    /// The work of [`sort`](Self::sort): one task for each partition, to be run on any thread.
    pub fn sort_tasks(&mut self) -> Vec<SortTask<'_>> {
        let Self { arena, partitions, .. } = self;
        let entries = partitions.iter_mut().map(|partition| &mut partition.entries);
        entries.map(|entries| SortTask { arena, entries }).collect()
    }

    /// Removes all pairs and keeps the memory, except that of large records.
    pub fn clear(&mut self) {
        self.arena.clear();
        for partition in &mut self.partitions {
            partition.entries.clear();
            partition.audit = Audit::default();
        }
        self.records = 0;
        self.records_bytes = 0;
    }

    /// Merges the pairs of several buffers into one, unsorted. Copies entries, but no pairs. The
    /// result has as many partitions as the buffer with the most.
    pub fn merge(buffers: Vec<Self>) -> Self {
        let mut buffers = buffers.into_iter();
        let mut all = buffers.next().unwrap_or_default();
        for buffer in buffers {
            all.append(buffer);
        }
        all
    }

    /// A buffer with all partitions of several buffers, in order.
    pub fn concat(buffers: Vec<Self>) -> Self {
        let mut all = Self::default();
        for buffer in buffers {
            let base = all.arena.append(buffer.arena);
            all.partitions.extend(buffer.partitions.into_iter().map(|mut partition| {
                for entry in &mut partition.entries {
                    *entry = Entry::new(entry.word(), base + entry.at());
                }
                partition
            }));
            all.records += buffer.records;
            all.records_bytes += buffer.records_bytes;
        }
        all.count_capacity();
        all
    }

    fn append(&mut self, other: Self) {
        let base = self.arena.append(other.arena);
        if self.partitions.len() < other.partitions.len() {
            self.partitions.resize_with(other.partitions.len(), Partition::default);
        }
        for (all, more) in self.partitions.iter_mut().zip(other.partitions) {
            all.append(more, base);
        }
        self.records += other.records;
        self.records_bytes += other.records_bytes;
        self.count_capacity();
    }

    fn count_capacity(&mut self) {
        let capacities = self.partitions.iter().map(|partition| partition.entries.capacity());
        self.entries_capacity = capacities.sum();
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.records
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Number of partitions, with and without pairs.
    pub fn partitions(&self) -> u32 {
        self.partitions.len() as u32
    }

    /// Bytes of all keys and values together.
    pub fn records_bytes(&self) -> u64 {
        self.records_bytes
    }

    /// Memory of the buffer, in bytes. O(1).
    #[inline]
    pub fn memory_bytes(&self) -> usize {
        let partitions = self.partitions.capacity() * size_of::<Partition>();
        self.arena.memory_bytes() + self.entries_capacity * size_of::<Entry>() + partitions
    }

    /// The audit of the pairs of `partition`, computed when they were appended. O(1).
    pub fn audit(&self, partition: u32) -> Audit {
        self.partitions.get(partition as usize).map_or_else(Audit::default, |of| of.audit)
    }

    /// Number of pairs in `partition`.
    pub fn partition_len(&self, partition: u32) -> usize {
        self.entries(partition).len()
    }

    /// The pair at `index` of `partition`, in the order of appending or, after
    /// [`sort`](Self::sort), in sorted order. O(1).
    #[inline]
    pub fn get(&self, partition: u32, index: usize) -> RecordRef<'_> {
        self.arena.record(self.entries(partition)[index].at())
    }

    /// Appends the pairs of a range of `partition` to `records`, prefetching their memory.
    pub fn read<'a>(
        &'a self,
        partition: u32,
        range: Range<usize>,
        records: &mut Vec<RecordRef<'a>>,
    ) {
        let entries = &self.entries(partition)[range.start..];
        entries.iter().take(AHEAD).for_each(|entry| self.arena.prefetch(entry.at()));
        records.reserve(range.len());
        for (index, entry) in entries[..range.len()].iter().enumerate() {
            // Pairs behind the range are prefetched, too, since they are read next.
            if let Some(ahead) = entries.get(index + AHEAD) {
                self.arena.prefetch(ahead.at());
            }
            let record = self.arena.record(entry.at());
            Arena::prefetch_end(record);
            records.push(record);
        }
    }

    /// The entries of a partition; empty if there is no such partition.
    fn entries(&self, partition: u32) -> &[Entry] {
        self.partitions.get(partition as usize).map_or(&[], |of| &of.entries)
    }
}

/// Sorts one partition of a [`RecordBuffer`].
#[derive(Debug)]
pub struct SortTask<'a> {
    arena: &'a Arena,
    entries: &'a mut [Entry],
}

impl SortTask<'_> {
    /// Number of pairs in the partition.
    pub fn records(&self) -> usize {
        self.entries.len()
    }

    /// Sorts the pairs by key and then by value.
    pub fn run(self) {
        sort::sort(self.entries, self.arena);
    }
}

#[inline]
pub(super) fn check_size(record: RecordRef<'_>) -> Result<()> {
    let bytes = record.key.len().saturating_add(record.value.len());
    if bytes <= PAIR_BYTES_MAX { Ok(()) } else { Err(too_large(bytes)) }
}

#[cold]
pub(super) fn too_large(bytes: usize) -> Error {
    Error::new(format!("a pair of {bytes} bytes is too large: it must be below 1 GiB"))
}
