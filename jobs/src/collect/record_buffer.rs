//! An append buffer of encoded pairs that sorts by (partition, key, value).

use std::cmp::Ordering;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::program::RecordRef;

/// Encoded pairs in one arena, with an entry of fixed size each, so that sorting moves entries and not data.
#[derive(Debug, Default)]
pub struct RecordBuffer {
    data: Vec<u8>,
    entries: Vec<Entry>,
}

/// `prefix` holds the first eight bytes of the key, big endian, so that most comparisons end there.
#[derive(Clone, Copy, Debug)]
struct Entry {
    prefix: u64,
    offset: u64,
    partition: u32,
    key_len: u32,
    value_len: u32,
}

impl RecordBuffer {
    /// An empty buffer with room for `pairs` pairs of `data_bytes` bytes together.
    pub fn with_capacity(pairs: usize, data_bytes: usize) -> Self {
        Self { data: Vec::with_capacity(data_bytes), entries: Vec::with_capacity(pairs) }
    }

    /// Appends one pair. The closures append the encodings of key and value to the arena; `partition` is asked
    /// for the encoded pair's partition. Nothing is appended where one of them fails, or where key or value takes
    /// 4 GiB or more.
    #[inline]
    pub fn push(
        &mut self,
        encode_key: impl FnOnce(&mut Vec<u8>),
        encode_value: impl FnOnce(&mut Vec<u8>) -> Result<()>,
        partition: impl FnOnce(RecordRef<'_>) -> Result<u32>,
    ) -> Result<()> {
        let offset = self.data.len();
        encode_key(&mut self.data);
        let key_end = self.data.len();
        let entry = encode_value(&mut self.data).and_then(|()| {
            let (key, value) = self.data[offset..].split_at(key_end - offset);
            Ok(Entry {
                prefix: prefix(key),
                offset: offset as u64,
                partition: partition(RecordRef { key, value })?,
                key_len: length("key", key.len())?,
                value_len: length("value", value.len())?,
            })
        });
        match entry {
            Ok(entry) => self.entries.push(entry),
            Err(error) => {
                self.data.truncate(offset);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Sorts by (partition, key, value). O(n log n) comparisons, unstable: equal pairs are alike.
    pub fn sort(&mut self) {
        let data = &self.data;
        self.entries.sort_unstable_by(|a, b| {
            (a.partition, a.prefix).cmp(&(b.partition, b.prefix)).then_with(|| compare(data, a, b))
        });
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Memory that the pairs take up, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.data.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// All pairs with their partitions, in order of appending or, after [`sort`](Self::sort), of sorting.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u32, RecordRef<'_>)> {
        self.entries.iter().map(|entry| (entry.partition, record(&self.data, entry)))
    }

    /// The pair at `index` with its partition. O(1).
    #[inline]
    pub fn get(&self, index: usize) -> (u32, RecordRef<'_>) {
        let entry = &self.entries[index];
        (entry.partition, record(&self.data, entry))
    }

    /// Where the pairs of `partition` are once the buffer is sorted. O(log n).
    pub fn partition_range(&self, partition: u32) -> Range<usize> {
        let start = self.entries.partition_point(|entry| entry.partition < partition);
        let len = self.entries[start..].partition_point(|entry| entry.partition == partition);
        start..start + len
    }
}

#[inline]
fn length(side: &str, bytes: usize) -> Result<u32> {
    u32::try_from(bytes).map_err(|_| too_large(side, bytes))
}

#[cold]
pub(super) fn too_large(side: &str, bytes: usize) -> Error {
    Error::new(format!("a {side} of {bytes} bytes is too large: it must be below 4 GiB"))
}

#[inline]
fn prefix(key: &[u8]) -> u64 {
    if let Some(first) = key.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    let mut bytes = [0; 8];
    bytes[..key.len()].copy_from_slice(key);
    u64::from_be_bytes(bytes)
}

#[inline]
fn record<'a>(data: &'a [u8], entry: &Entry) -> RecordRef<'a> {
    let pair = &data[entry.offset as usize..];
    let (key, rest) = pair.split_at(entry.key_len as usize);
    RecordRef { key, value: &rest[..entry.value_len as usize] }
}

fn compare(data: &[u8], a: &Entry, b: &Entry) -> Ordering {
    record(data, a).cmp(&record(data, b))
}
