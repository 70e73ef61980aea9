//! Batches of borrowed encoded pairs, which pass between the engine and the typed loops.

use std::cmp::Ordering;

use crate::failure::FailureCause;

/// One encoded pair. Ordered by key and then by value, like all sorted runs.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// The key's bytes.
    pub key: &'a [u8],
    /// The value's bytes.
    pub value: &'a [u8],
}

impl Ord for RecordRef<'_> {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self.key, other.key).then_with(|| compare(self.value, other.value))
    }
}

impl PartialOrd for RecordRef<'_> {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for RecordRef<'_> {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        let lens = |record: &Self| (record.key.len(), record.value.len());
        lens(self) == lens(other) && self.cmp(other).is_eq()
    }
}

impl Eq for RecordRef<'_> {}

/// Compares like slices, but without a call for empty ones. Many values are empty, and an empty
/// slice need not point at mapped memory: glibc's `memcmp` with AVX-512 loads a vector under an
/// empty mask, which takes 200 ns at an unmapped address.
#[inline]
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    if a.is_empty() || b.is_empty() { a.len().cmp(&b.len()) } else { a.cmp(b) }
}

/// A source of sorted pairs: a merge, a block of a segment, a buffer.
pub trait RecordBatches {
    /// The next pairs, at least one, in order across batches; `None` at the end. They are borrowed
    /// until the next call, so that a merge need not copy them.
    fn next_batch(&mut self) -> Result<Option<&[RecordRef<'_>]>, FailureCause>;

    /// Says that the caller has copied the last batch, so that the source may free the batch's
    /// memory before the next call. Useful for large pairs; by default does nothing.
    fn batch_copied(&mut self) {}
}

/// Takes sorted pairs: a segment writer, a buffer.
pub trait RecordSink {
    /// Takes one pair.
    fn push(&mut self, record: RecordRef<'_>) -> Result<(), FailureCause>;
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pairs_compare_by_key_and_then_by_value(
            a in (vec(0..2_u8, 0..3), vec(0..2_u8, 0..3)),
            b in (vec(0..2_u8, 0..3), vec(0..2_u8, 0..3)),
        ) {
            let first = RecordRef { key: &a.0, value: &a.1 };
            let second = RecordRef { key: &b.0, value: &b.1 };
            prop_assert_eq!(first.cmp(&second), a.cmp(&b));
            prop_assert_eq!(first == second, a == b);
        }
    }
}
