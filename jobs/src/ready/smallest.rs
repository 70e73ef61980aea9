//! The k smallest records of each key; each record is stored behind bytes that give its rank.
//!
//! A value is a set of records, each preceded by its length, since records of one key are combined
//! on the map side.

use std::cell::OnceCell;
use std::collections::BinaryHeap;

use crate::collect::PAIR_BYTES_MAX;
use crate::prelude::*;
use crate::varint;

/// Most bytes of a set, which is the value of a pair.
const SET_BYTES_MAX: usize = PAIR_BYTES_MAX;
/// Most bytes of a record's length in a set.
const LEN_BYTES_MAX: usize = 5;

/// Keeps k records of each key in memory, and writes them in the order of their ranks.
pub(super) struct Smallest {
    /// k.
    pub(super) records: usize,
    /// Size of the rank before a record.
    pub(super) rank_bytes: fn(&[u8]) -> usize,
}

/// Appends a set of one record.
pub(super) fn write_record(record: &[u8], set: &mut Vec<u8>) {
    varint::write(record.len() as u64, set);
    set.extend_from_slice(record);
}

/// The smallest records of one key so far.
#[derive(Default)]
pub(super) struct Kept {
    /// The largest kept record is at the top, ready to be replaced.
    records: BinaryHeap<Vec<u8>>,
    /// Total size of the records.
    bytes: usize,
    /// The encoded set, built on demand.
    set: OnceCell<Vec<u8>>,
}

impl Smallest {
    fn take_set(&self, kept: &mut Kept, mut set: &[u8]) -> Result<()> {
        kept.set.take();
        while !set.is_empty() {
            let len = varint::read(&mut set).and_then(|len| usize::try_from(len).ok());
            let parts = len.and_then(|len| set.split_at_checked(len));
            let (record, rest) = parts.ok_or_else(|| Error::new("malformed set of records"))?;
            set = rest;
            if kept.records.len() < self.records {
                kept.bytes += record.len();
                kept.records.push(record.to_vec());
            } else if let Some(mut largest) = kept.records.peek_mut()
                && record < &largest[..]
            {
                let before = largest.capacity();
                largest.clear();
                largest.extend_from_slice(record);
                kept.bytes += largest.capacity() - before;
            }
        }
        // Checked now, so that the error does not come after hours, when the set is sent.
        let set_bytes = kept.bytes + LEN_BYTES_MAX * kept.records.len();
        if set_bytes > SET_BYTES_MAX { Err(self.too_many()) } else { Ok(()) }
    }

    #[cold]
    fn too_many(&self) -> Error {
        Error::new(format!(
            "the {} records to be kept of a key take up more than {} MiB; keep fewer (--count)",
            self.records,
            SET_BYTES_MAX >> 20
        ))
    }

    /// An error if a set of that many records of at least `record_bytes_min` bytes is always too
    /// large.
    pub(super) fn check(self, record_bytes_min: usize) -> Result<Self> {
        let set_bytes = self.records.saturating_mul(record_bytes_min + 1);
        if set_bytes > SET_BYTES_MAX { Err(self.too_many()) } else { Ok(self) }
    }
}

impl Combiner<[u8]> for Smallest {
    type Accumulator = Kept;

    fn start(&self, set: &[u8]) -> Result<Kept> {
        let mut kept = Kept::default();
        self.take_set(&mut kept, set)?;
        Ok(kept)
    }

    fn add(&self, kept: &mut Kept, set: &[u8]) -> Result<()> {
        self.take_set(kept, set)
    }

    fn heap_bytes(&self, kept: &Kept) -> usize {
        kept.bytes + kept.records.capacity() * size_of::<Vec<u8>>()
    }

    fn finish<'a>(&self, kept: &'a Kept) -> &'a [u8] {
        kept.set.get_or_init(|| {
            let mut records: Vec<_> = kept.records.iter().collect();
            records.sort_unstable();
            let mut set = Vec::new();
            records.iter().for_each(|record| write_record(record, &mut set));
            set
        })
    }
}

impl Reducer<[u8], [u8]> for Smallest {
    type OutputKey = [u8];
    type OutputValue = [u8];

    fn reduce(
        &self,
        key: &[u8],
        sets: &mut Values<'_, [u8]>,
        out: &mut impl Emit<[u8], [u8]>,
    ) -> Result<()> {
        let mut kept = Kept::default();
        while let Some(set) = sets.next()? {
            self.take_set(&mut kept, set)?;
        }
        for record in kept.records.into_sorted_vec() {
            out.emit(key, &record[(self.rank_bytes)(&record)..])?;
        }
        Ok(())
    }
}
