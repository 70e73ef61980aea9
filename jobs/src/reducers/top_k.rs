//! The largest values.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::emit::Emit;
use crate::error::Result;
use crate::key::Key;
use crate::pairs::Values;
use crate::reducer::Reducer;
use crate::value::OrderedValue;

/// The k largest values of each key, the largest first. Holds k values in memory.
#[derive(Clone, Copy, Debug)]
pub struct TopK(
    /// k.
    pub usize,
);

/// An owned value in the order of its type.
struct Ranked<V: OrderedValue + ?Sized>(V::Owned);

impl<V: OrderedValue + ?Sized> Ord for Ranked<V> {
    fn cmp(&self, other: &Self) -> Ordering {
        V::compare(V::view_owned(&self.0), V::view_owned(&other.0))
    }
}

impl<V: OrderedValue + ?Sized> PartialOrd for Ranked<V> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<V: OrderedValue + ?Sized> PartialEq for Ranked<V> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<V: OrderedValue + ?Sized> Eq for Ranked<V> {}

impl<K: Key + ?Sized, V: OrderedValue + ?Sized> Reducer<K, V> for TopK {
    type OutputKey = K;
    type OutputValue = V;

    fn reduce(
        &self,
        key: K::Decoded<'_>,
        values: &mut Values<'_, V>,
        out: &mut impl Emit<K, V>,
    ) -> Result<()> {
        // The smallest kept value is at the top, ready to be replaced.
        let mut kept = BinaryHeap::<Reverse<Ranked<V>>>::new();
        while let Some(value) = values.next()? {
            let value = V::view(&value);
            if kept.len() < self.0 {
                kept.push(Reverse(Ranked(V::own(value))));
            } else if let Some(mut least) = kept.peek_mut()
                && V::compare(value, V::view_owned(&least.0.0)).is_gt()
            {
                *least = Reverse(Ranked(V::own(value)));
            }
        }
        for Reverse(Ranked(value)) in kept.into_sorted_vec() {
            out.emit(K::view(&key), V::view_owned(&value))?;
        }
        Ok(())
    }
}
