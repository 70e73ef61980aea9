//! Each key once.

use crate::combiner::Combiner;
use crate::emit::Emit;
use crate::error::Result;
use crate::key::Key;
use crate::pairs::Values;
use crate::reducer::Reducer;
use crate::value::Value;

/// Each key once, without its values. Emit `()` as value, and combine with `Distinct`, too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Distinct;

impl Combiner<()> for Distinct {
    type Accumulator = ();

    fn start(&self, (): ()) -> Result<()> {
        Ok(())
    }

    fn add(&self, (): &mut (), (): ()) -> Result<()> {
        Ok(())
    }

    fn finish(&self, (): &()) {}
}

impl<K: Key + ?Sized, V: Value + ?Sized> Reducer<K, V> for Distinct {
    type OutputKey = K;
    type OutputValue = ();

    fn reduce(
        &self,
        key: K::Decoded<'_>,
        _values: &mut Values<'_, V>,
        out: &mut impl Emit<K, ()>,
    ) -> Result<()> {
        out.emit(K::view(&key), ())
    }
}
