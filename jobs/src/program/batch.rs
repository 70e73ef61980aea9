//! How encoded pairs cross from the engine to the typed loops: in batches, borrowed.

use crate::failure::FailureCause;

/// One encoded pair. Ordered by key, then by value, as all sorted runs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordRef<'a> {
    /// The key's bytes.
    pub key: &'a [u8],
    /// The value's bytes.
    pub value: &'a [u8],
}

/// A source of sorted pairs: a merge, a block of a segment, a buffer.
pub trait RecordBatches {
    /// The next pairs, at least one, in order across batches; `None` at the end. They are borrowed until the next
    /// call, so that a merge can hand out pairs without copying them.
    fn next_batch(&mut self) -> Result<Option<&[RecordRef<'_>]>, FailureCause>;
}

/// Takes sorted pairs: a segment writer, a buffer.
pub trait RecordSink {
    /// Takes one pair.
    fn push(&mut self, record: RecordRef<'_>) -> Result<(), FailureCause>;
}

/// Takes finished output, many records at a time.
pub trait PartSink {
    /// Takes whole records, ready to be written.
    fn write(&mut self, bytes: &[u8]) -> Result<(), FailureCause>;
}
