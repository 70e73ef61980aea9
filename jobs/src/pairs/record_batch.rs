//! An owned batch of pairs.
//!
//! User code pulls the values of a group while the source advances, so the typed loops cannot
//! borrow from the source. They copy each batch here first, into memory that stays in the cache.

use super::record::RecordRef;

/// Memory that a batch keeps for reuse; large pairs may need more.
const KEPT_BYTES_MAX: usize = 2 << 20;

/// Encoded pairs, contiguous in memory.
#[derive(Debug, Default)]
pub(super) struct RecordBatch {
    data: Vec<u8>,
    spans: Vec<Span>,
}

/// The ends of a pair's key and value in the data. The value starts where the key ends, and the
/// pair where the previous one ends.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    key_end: usize,
    end: usize,
}

impl RecordBatch {
    /// Removes all pairs and keeps the memory, up to a limit.
    pub(super) fn clear(&mut self) {
        self.data.clear();
        self.data.shrink_to(KEPT_BYTES_MAX);
        self.spans.clear();
    }

    /// Appends one pair.
    #[inline]
    pub(super) fn push(&mut self, record: RecordRef<'_>) {
        let start = self.data.len();
        self.data.extend_from_slice(record.key);
        let key_end = self.data.len();
        self.data.extend_from_slice(record.value);
        self.spans.push(Span { start, key_end, end: self.data.len() });
    }

    /// The pair at `index`. O(1).
    #[inline]
    pub(super) fn get(&self, index: usize) -> RecordRef<'_> {
        let Span { start, key_end, end } = self.spans[index];
        RecordRef { key: &self.data[start..key_end], value: &self.data[key_end..end] }
    }

    /// Whether it takes up more memory than it keeps.
    pub(super) fn is_large(&self) -> bool {
        self.data.len() > KEPT_BYTES_MAX
    }

    /// Number of pairs.
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }
}
