//! Values that wait in an arena, each linked to the one before of the same key.
//!
//! To wait costs a write at the arena's end, which is in the cache, and nothing of what the key has
//! already is read.

use super::arena::Arena;
use super::record_buffer::check_size;
use crate::error::Result;
use crate::program::RecordRef;

/// Values of a key that wait at most. So many of rare keys are few in all; a key that has more is
/// likely to be in the cache.
pub(super) const CHAIN_LEN_MAX: usize = 8;

/// The arena of all chains of a store.
#[derive(Default)]
pub(super) struct Chains {
    /// A value with the position of the one before as key, or none.
    arena: Arena,
}

/// The values of one key: at least one, at most [`CHAIN_LEN_MAX`].
#[derive(Clone, Copy)]
pub(super) struct Chain {
    last: u64,
    len: u32,
}

impl Chain {
    /// Number of values.
    #[inline]
    pub(super) fn len(self) -> usize {
        self.len as usize
    }
}

/// Where the values of a chain lie, the first to come first, as far as they have been followed.
pub(super) struct Positions {
    at: [u64; CHAIN_LEN_MAX],
    len: usize,
    found: usize,
}

impl Chains {
    /// A chain of one value.
    #[inline]
    pub(super) fn start(&mut self, value: &[u8]) -> Result<Chain> {
        let record = RecordRef { key: &[], value };
        check_size(record)?;
        Ok(Chain { last: self.arena.push_record(record), len: 1 })
    }

    /// Appends a value to a chain that is not full.
    #[inline]
    pub(super) fn push(&mut self, chain: &mut Chain, value: &[u8]) -> Result<()> {
        debug_assert!(chain.len() < CHAIN_LEN_MAX, "a full chain is folded");
        let record = RecordRef { key: &chain.last.to_ne_bytes(), value };
        check_size(record)?;
        *chain = Chain { last: self.arena.push_record(record), len: chain.len + 1 };
        Ok(())
    }

    /// Begins to follow a chain; the first step's memory is on its way to the cache then.
    pub(super) fn positions(&self, chain: Chain) -> Positions {
        let mut positions = Positions { at: [0; CHAIN_LEN_MAX], len: chain.len(), found: 1 };
        positions.at[chain.len() - 1] = chain.last;
        self.arena.prefetch(chain.last);
        positions
    }

    /// Follows a chain by one step, and asks for the memory of the next. `false` at its end.
    pub(super) fn step(&self, positions: &mut Positions) -> bool {
        let Positions { at, len, found } = positions;
        if *found == *len {
            return false;
        }
        let record = self.arena.record(at[*len - *found]);
        let before = record.key.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes));
        *found += 1;
        at[*len - *found] = before;
        self.arena.prefetch(before);
        true
    }

    /// The values of a chain in the order in which they came.
    pub(super) fn values<'a>(
        &'a self,
        positions: &'a mut Positions,
    ) -> impl Iterator<Item = &'a [u8]> {
        while self.step(positions) {}
        positions.at[..positions.len].iter().map(|at| self.arena.record(*at).value)
    }

    /// The value of a chain that has no other.
    pub(super) fn only(&self, positions: &Positions) -> Option<&[u8]> {
        (positions.len == 1).then(|| self.arena.record(positions.at[0]).value)
    }

    /// Memory of all values. O(1).
    #[inline]
    pub(super) fn memory_bytes(&self) -> usize {
        self.arena.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_in_order() {
        let mut chains = Chains::default();
        let mut made: Vec<(Chain, Vec<Vec<u8>>)> = Vec::new();
        for n in 0..100_u8 {
            let value = vec![n; usize::from(n) * 3];
            made.push((chains.start(&value).unwrap(), vec![value]));
            for (chain, values) in made.iter_mut().rev().take(CHAIN_LEN_MAX - 1) {
                let value = vec![n, 1];
                chains.push(chain, &value).unwrap();
                values.push(value);
            }
            made.retain(|(chain, values)| {
                let mut positions = chains.positions(*chain);
                chains.step(&mut positions);
                assert!(chains.values(&mut positions).eq(values));
                chain.len() < CHAIN_LEN_MAX
            });
        }
    }
}
