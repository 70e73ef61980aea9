//! The combine function: shrinks map output before it is shuffled.

use crate::error::Result;
use crate::value::Value;

/// Folds the values of one key into an accumulator in the map task's hash table.
///
/// The engine may combine any number of times, in any order and grouping. So the fold must be
/// associative and commutative to the last bit, and the reducer must give the same result for
/// combined values as for single ones. Values that own memory, such as strings and lists, may be
/// folded later: an error then names the key, not the record.
///
/// ```
/// use windrow_jobs::prelude::*;
///
/// /// Keeps a value's bits that are set anywhere.
/// struct AnyBit;
///
/// impl Combiner<u32> for AnyBit {
///     type Accumulator = u32;
///
///     fn start(&self, bits: u32) -> Result<u32> {
///         Ok(bits)
///     }
///
///     fn add(&self, all: &mut u32, bits: u32) -> Result<()> {
///         *all |= bits;
///         Ok(())
///     }
///
///     fn finish(&self, all: &u32) -> u32 {
///         *all
///     }
/// }
/// ```
pub trait Combiner<V: Value + ?Sized>: Send + Sync + 'static {
    /// The running result of one key, updated in place.
    type Accumulator: Send;

    /// The accumulator of the first value.
    fn start(&self, value: V::Ref<'_>) -> Result<Self::Accumulator>;

    /// Makes `accumulator` that of the first value of another key. By default a new one takes its
    /// place; an accumulator that owns memory can reuse it.
    fn restart(&self, accumulator: &mut Self::Accumulator, value: V::Ref<'_>) -> Result<()> {
        *accumulator = self.start(value)?;
        Ok(())
    }

    /// Folds one more value into the accumulator. An error, such as an overflow, fails the attempt.
    fn add(&self, accumulator: &mut Self::Accumulator, value: V::Ref<'_>) -> Result<()>;

    /// Heap memory that the accumulator owns, in bytes; by default 0. It counts towards the job's
    /// memory, so that pairs are spilled in time. Called before and after each value, so it must be
    /// O(1).
    fn heap_bytes(&self, accumulator: &Self::Accumulator) -> usize {
        let _ = accumulator;
        0
    }

    /// The value that stands for all folded values.
    fn finish<'a>(&self, accumulator: &'a Self::Accumulator) -> V::Ref<'a>;
}
