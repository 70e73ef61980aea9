//! Counts values.

use crate::emit::Emit;
use crate::error::Result;
use crate::key::Key;
use crate::pairs::Values;
use crate::reducer::Reducer;
use crate::value::Value;

/// The number of values of each key. To count with a combiner, emit 1s and use [`Sum`](super::Sum).
#[derive(Clone, Copy, Debug, Default)]
pub struct Count;

impl<K: Key + ?Sized, V: Value + ?Sized> Reducer<K, V> for Count {
    type OutputKey = K;
    type OutputValue = u64;

    fn reduce(
        &self,
        key: K::Decoded<'_>,
        values: &mut Values<'_, V>,
        out: &mut impl Emit<K, u64>,
    ) -> Result<()> {
        out.emit(K::view(&key), values.count()?)
    }
}
