//! Batches of keys that are taken out of the store.

use std::ops::Range;

use super::decoded::Decoded;
use super::{State, fold};
use crate::collect::blocks::Blocks;
use crate::collect::chains::{Chains, Followed};
use crate::collect::combine_store::naming_key;
use crate::combiner::Combiner;
use crate::error::Result;
use crate::key::Key;
use crate::pairs::RecordRef;
use crate::prefetch::prefetch;
use crate::value::Value;

/// How many keys are folded together: while one chain's next value is prefetched, the other chains
/// are followed.
const KEYS: usize = 32;

/// Keys that are being taken out, with their values.
pub(super) struct Batch<A> {
    keys: Vec<u8>,
    items: Vec<(Range<usize>, Taken)>,
    followed: Vec<Followed>,
    /// How many of them are chains of this batch.
    waiting: usize,
    /// The accumulator of one chain after the other, so that each can reuse the memory of those
    /// before it.
    folded: Option<A>,
    scratch: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Taken {
    /// By its number among the followed chains.
    Waiting(usize),
    /// By its number among the accumulators.
    Folded(usize),
}

impl<A> Default for Batch<A> {
    fn default() -> Self {
        let (keys, items, followed, waiting, scratch) = Default::default();
        Self { keys, items, followed, waiting, folded: None, scratch }
    }
}

impl<A> Batch<A> {
    pub(super) fn is_full(&self) -> bool {
        self.items.len() == KEYS
    }

    pub(super) fn push(
        &mut self,
        key: &[u8],
        state: State,
        chains: &Chains,
        accumulators: &Blocks<A>,
    ) {
        let start = self.keys.len();
        self.keys.extend_from_slice(key);
        let taken = match state {
            State::Waiting(chain) => {
                let number = self.waiting;
                if number == self.followed.len() {
                    self.followed.push(Followed::default());
                }
                chains.follow(chain, &mut self.followed[number]);
                self.waiting += 1;
                Taken::Waiting(number)
            }
            State::Folded(number) => {
                prefetch(accumulators.address(number));
                Taken::Folded(number)
            }
        };
        self.items.push((start..self.keys.len(), taken));
    }

    /// Passes every key with its combined value on, and empties the batch.
    pub(super) fn fold<K, V, C>(
        &mut self,
        combiner: &C,
        chains: &Chains,
        decoded: &mut Decoded<'_, V>,
        accumulators: &Blocks<A>,
        mut each: impl FnMut(RecordRef<'_>) -> Result<()>,
    ) -> Result<()>
    where
        K: Key + ?Sized,
        V: Value + ?Sized,
        C: Combiner<V, Accumulator = A>,
    {
        let Self { keys, items, followed, waiting, folded, scratch } = self;
        let mut is_done = false;
        while !is_done {
            is_done = true;
            for chain in &mut followed[..*waiting] {
                is_done &= !chains.step(chain);
            }
        }
        for (key, taken) in items.drain(..) {
            let key = &keys[key];
            let accumulator = match taken {
                Taken::Folded(number) => Some(accumulators.get(number)),
                Taken::Waiting(number) => {
                    let chain = &mut followed[number];
                    if let Some(value) = chains.only(chain) {
                        each(RecordRef { key, value })?;
                        continue;
                    }
                    fold(combiner, chains.values(chain), decoded, folded)
                        .map_err(|error| naming_key::<K>(key, &error))?;
                    folded.as_ref()
                }
            };
            let Some(accumulator) = accumulator else { continue };
            let value = V::encoded(combiner.finish(accumulator), scratch)?;
            each(RecordRef { key, value })?;
        }
        keys.clear();
        *waiting = 0;
        Ok(())
    }
}
