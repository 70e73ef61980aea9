//! Keys on their way out of the store.

use std::ops::Range;

use super::{State, fold};
use crate::collect::chains::{Chains, Positions};
use crate::collect::combine_store::naming_key;
use crate::combiner::Combiner;
use crate::error::Result;
use crate::key::Key;
use crate::program::RecordRef;
use crate::value::Value;

/// Keys that are folded together: while one chain's next value is fetched, the others are followed.
const KEYS: usize = 32;

/// Keys that are being taken out, and what they have.
pub(super) struct Batch<A> {
    keys: Vec<u8>,
    items: Vec<(Range<usize>, Taken<A>)>,
    scratch: Vec<u8>,
}

enum Taken<A> {
    Waiting(Positions),
    Folded(A),
}

impl<A> Default for Batch<A> {
    fn default() -> Self {
        Self { keys: Vec::new(), items: Vec::new(), scratch: Vec::new() }
    }
}

impl<A> Batch<A> {
    pub(super) fn is_full(&self) -> bool {
        self.items.len() == KEYS
    }

    pub(super) fn push(&mut self, key: &[u8], state: State<A>, chains: &Chains) {
        let start = self.keys.len();
        self.keys.extend_from_slice(key);
        let taken = match state {
            State::Waiting(chain) => Taken::Waiting(chains.positions(chain)),
            State::Folded(accumulator) => Taken::Folded(accumulator),
        };
        self.items.push((start..self.keys.len(), taken));
    }

    /// Hands out every key with one value, and empties the batch.
    pub(super) fn fold<K, V, C>(
        &mut self,
        combiner: &C,
        chains: &Chains,
        mut each: impl FnMut(RecordRef<'_>) -> Result<()>,
    ) -> Result<()>
    where
        K: Key + ?Sized,
        V: Value + ?Sized,
        C: Combiner<V, Accumulator = A>,
    {
        let Self { keys, items, scratch } = self;
        let mut is_done = false;
        while !is_done {
            is_done = true;
            for (_, taken) in &mut *items {
                if let Taken::Waiting(positions) = taken {
                    is_done &= !chains.step(positions);
                }
            }
        }
        for (key, taken) in items.drain(..) {
            let key = &keys[key];
            let accumulator = match taken {
                Taken::Folded(accumulator) => accumulator,
                Taken::Waiting(mut positions) => {
                    if let Some(value) = chains.only(&positions) {
                        each(RecordRef { key, value })?;
                        continue;
                    }
                    let folded = fold::<V, C>(combiner, chains.values(&mut positions));
                    folded.map_err(|error| naming_key::<K>(key, &error))?
                }
            };
            let value = V::encoded(combiner.finish(&accumulator), scratch)?;
            each(RecordRef { key, value })?;
        }
        keys.clear();
        Ok(())
    }
}
