//! The combine function: shrinks map output before it is shuffled.

use crate::error::Result;
use crate::value::Value;

/// Folds the values of one key into an accumulator that lives in the map task's hash table.
///
/// The engine may combine any number of times, in any order and grouping. So the fold must be
/// associative and commutative to the last bit, and the reducer must give the same answer on
/// combined values as on single ones. Strings, lists and the like may wait for a while before they
/// are folded: an error of theirs names the key, not the record.
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
    /// State of one key, updated in place.
    type Accumulator: Send;

    /// The state after the first value.
    fn start(&self, value: V::Ref<'_>) -> Result<Self::Accumulator>;

    /// Takes one more value into the state. An error, such as a sum that overflows, fails the
    /// attempt.
    fn add(&self, accumulator: &mut Self::Accumulator, value: V::Ref<'_>) -> Result<()>;

    /// Bytes that the state owns elsewhere, as a vector does; by default none. They count towards
    /// the job's memory, so that pairs are spilled in time. Asked before and after each value, so
    /// it has to be O(1).
    fn heap_bytes(&self, accumulator: &Self::Accumulator) -> usize {
        let _ = accumulator;
        0
    }

    /// The value that stands for all that were taken.
    fn finish<'a>(&self, accumulator: &'a Self::Accumulator) -> V::Ref<'a>;
}
