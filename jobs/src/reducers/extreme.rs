//! The smallest and the largest value.

use crate::combiner::Combiner;
use crate::emit::Emit;
use crate::error::Result;
use crate::key::Key;
use crate::pairs::Values;
use crate::reducer::Reducer;
use crate::value::OrderedValue;

/// The smallest value of each key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Min;

/// The largest value of each key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Max;

macro_rules! extreme {
    ($name:ident, $is_better:ident) => {
        impl<V: OrderedValue + ?Sized> Combiner<V> for $name {
            type Accumulator = V::Owned;

            fn start(&self, value: V::Ref<'_>) -> Result<V::Owned> {
                Ok(V::own(value))
            }

            fn add(&self, best: &mut V::Owned, value: V::Ref<'_>) -> Result<()> {
                if V::compare(value, V::view_owned(best)).$is_better() {
                    *best = V::own(value);
                }
                Ok(())
            }

            fn heap_bytes(&self, best: &V::Owned) -> usize {
                V::heap_bytes(best)
            }

            fn finish<'a>(&self, best: &'a V::Owned) -> V::Ref<'a> {
                V::view_owned(best)
            }
        }

        impl<K: Key + ?Sized, V: OrderedValue + ?Sized> Reducer<K, V> for $name {
            type OutputKey = K;
            type OutputValue = V;

            fn reduce(
                &self,
                key: K::Decoded<'_>,
                values: &mut Values<'_, V>,
                out: &mut impl Emit<K, V>,
            ) -> Result<()> {
                let Some(first) = values.next()? else { return Ok(()) };
                let mut best = V::own(V::view(&first));
                drop(first);
                while let Some(value) = values.next()? {
                    Combiner::<V>::add(self, &mut best, V::view(&value))?;
                }
                out.emit(K::view(&key), V::view_owned(&best))
            }
        }
    };
}

extreme!(Min, is_lt);
extreme!(Max, is_gt);
