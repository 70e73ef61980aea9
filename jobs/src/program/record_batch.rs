//! A batch of pairs that is owned.
//!
//! User code pulls the values of a group while the source moves on beneath it, so the typed loops
//! cannot go on borrowing from the source. What they read is copied here first: into memory that
//! stays in the cache.

use super::batch::RecordRef;

/// What a batch keeps for the next one; large pairs may take more.
const KEPT_BYTES_MAX: usize = 2 << 20;

/// Encoded pairs, one after the other in one piece of memory.
#[derive(Debug, Default)]
pub(super) struct RecordBatch {
    data: Vec<u8>,
    spans: Vec<Span>,
}

/// Where a pair lies in the data: the key ends where the value starts, the pair starts where the
/// last one ended.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    key_end: usize,
    end: usize,
}

impl RecordBatch {
    /// Removes all pairs and keeps the memory, but for that of large pairs.
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

    /// Whether it takes up more than it keeps.
    pub(super) fn is_large(&self) -> bool {
        self.data.len() > KEPT_BYTES_MAX
    }

    /// Number of pairs.
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }
}
