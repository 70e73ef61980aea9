//! Values that wait to be combined, each linked to the previous value of its key.
//!
//! ```text
//!  slot of a key             links                        values
//!  +---------------------+   +---------------------+      +----------------+
//!  | value, times, before|-->| value, times, before|--->  | books/alice.txt|
//!  +---------------------+   +---------------------+      +----------------+
//! ```
//!
//! Adding a value writes to the key's slot, which is in the cache, and reads no earlier value of
//! the key. A value that repeats is only counted. A value that many keys share, such as the name of
//! the current file, is kept once.

use std::num::NonZeroU16;

use xxhash_rust::xxh3::xxh3_64;

use super::arena::Arena;
use super::blocks::Blocks;
use super::record_buffer::check_size;
use crate::error::Result;
use crate::pairs::RecordRef;
use crate::prefetch::prefetch;

/// At most this many different values of a key wait. Rare keys have few values in all; the
/// accumulator of a key with more is probably in the cache.
pub(super) const CHAIN_LEN_MAX: usize = 24;

/// How many recently kept values are searched before a value is kept.
const RECENT: usize = 64;

/// The number of no link.
const NONE: u32 = u32::MAX;

/// The values and links of all chains of a store.
#[derive(Default)]
pub(super) struct Chains {
    values: Arena,
    /// Recently kept values, by their hashes.
    recent: Vec<Option<Kept>>,
    /// The value that was kept or found last, with its bytes: most values are like it.
    latest: Option<Kept>,
    latest_bytes: Vec<u8>,
    links: Blocks<Link>,
}

/// The position of a kept value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept(u64);

impl Kept {
    /// A hash of the position.
    #[inline]
    pub(super) fn hash(self) -> u32 {
        (self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32
    }
}

/// A value that came `times` times in a row.
#[derive(Clone, Copy)]
struct Link {
    value: Kept,
    /// The number of the previous link.
    before: u32,
    times: u32,
}

/// The values of one key: at least one.
#[derive(Clone, Copy)]
pub(super) struct Chain {
    value: Kept,
    before: u32,
    /// Number of links, including this one; at most [`CHAIN_LEN_MAX`].
    len: NonZeroU16,
    times: u16,
}

/// The links of a chain, oldest first, as far as the chain has been followed. Reused for the next
/// chain, so that only its links are written.
pub(super) struct Followed {
    links: [Link; CHAIN_LEN_MAX],
    len: usize,
    found: usize,
}

impl Default for Followed {
    fn default() -> Self {
        let nothing = Link { value: Kept(0), before: NONE, times: 0 };
        Self { links: [nothing; CHAIN_LEN_MAX], len: 0, found: 0 }
    }
}

impl Chain {
    /// A chain of one value.
    #[inline]
    pub(super) fn new(value: Kept) -> Self {
        Self { value, before: NONE, len: NonZeroU16::MIN, times: 1 }
    }

    /// The chain has at least this many values.
    #[inline]
    pub(super) fn values_min(self) -> usize {
        usize::from(self.len.get() - 1) + usize::from(self.times)
    }

    fn link(self) -> Link {
        Link { value: self.value, before: self.before, times: u32::from(self.times) }
    }
}

impl Chains {
    /// The position of a recently kept value.
    #[inline]
    pub(super) fn find(&self, value: &[u8]) -> Option<Kept> {
        if same_bytes(&self.latest_bytes, value) {
            return self.latest;
        }
        (*self.recent.get(slot(value))?).filter(|kept| self.value(*kept) == value)
    }

    /// Keeps a value, or finds it among the recent ones.
    #[inline]
    pub(super) fn keep(&mut self, value: &[u8]) -> Result<Kept> {
        if let Some(kept) = self.find(value) {
            self.keep_latest(kept, value);
            return Ok(kept);
        }
        let record = RecordRef { key: &[], value };
        check_size(record)?;
        let kept = Kept(self.values.push_record(record));
        self.recent.resize(RECENT, None);
        self.recent[slot(value)] = Some(kept);
        self.keep_latest(kept, value);
        Ok(kept)
    }

    #[inline]
    fn keep_latest(&mut self, kept: Kept, value: &[u8]) {
        if self.latest != Some(kept) {
            self.latest = Some(kept);
            self.latest_bytes.clear();
            self.latest_bytes.extend_from_slice(value);
        }
    }

    /// The bytes of a value. O(1).
    #[inline]
    pub(super) fn value(&self, kept: Kept) -> &[u8] {
        self.values.record(kept.0).value
    }

    /// Appends a value to a chain; `false` if the chain is full.
    #[inline]
    pub(super) fn push(&mut self, chain: &mut Chain, value: Kept) -> bool {
        if chain.value == value && chain.times < u16::MAX {
            chain.times += 1;
            return true;
        }
        if usize::from(chain.len.get()) >= CHAIN_LEN_MAX {
            return false;
        }
        let Some(before) = self.push_link(chain.link()) else { return false };
        *chain = Chain { value, before, len: chain.len.saturating_add(1), times: 1 };
        true
    }

    /// The number of a new link; `None` if the numbers are exhausted.
    #[inline]
    fn push_link(&mut self, link: Link) -> Option<u32> {
        let number = u32::try_from(self.links.len()).ok().filter(|number| *number != NONE)?;
        self.links.push(link);
        Some(number)
    }

    /// Begins to follow a chain, and prefetches its previous link.
    pub(super) fn follow(&self, chain: Chain, followed: &mut Followed) {
        (followed.len, followed.found) = (usize::from(chain.len.get()), 1);
        followed.links[followed.len - 1] = chain.link();
        self.prefetch(chain.before);
    }

    /// Follows a chain by one step, and prefetches the next value; `false` at the end.
    pub(super) fn step(&self, followed: &mut Followed) -> bool {
        let Followed { links, len, found } = followed;
        if *found == *len {
            return false;
        }
        let link = *self.links.get(links[*len - *found].before as usize);
        *found += 1;
        links[*len - *found] = link;
        self.prefetch(link.before);
        self.values.prefetch(link.value.0);
        true
    }

    #[inline]
    fn prefetch(&self, number: u32) {
        prefetch(self.links.address(number as usize));
    }

    /// The values of a chain, oldest first, and how many times in a row each of them came.
    pub(super) fn values<'a>(
        &self,
        followed: &'a mut Followed,
    ) -> impl Iterator<Item = (Kept, u32)> + use<'a> {
        while self.step(followed) {}
        followed.links[..followed.len].iter().map(|link| (link.value, link.times))
    }

    /// The value of a chain of length one.
    pub(super) fn only(&self, followed: &Followed) -> Option<&[u8]> {
        let is_only = followed.len == 1 && followed.links[0].times == 1;
        is_only.then(|| self.value(followed.links[0].value))
    }

    /// Memory of all values and links. O(1).
    #[inline]
    pub(super) fn memory_bytes(&self) -> usize {
        self.values.memory_bytes() + self.links.memory_bytes()
    }
}

/// Compares like slices, but without a call where both are short, as most values are.
#[inline]
fn same_bytes(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let word = |bytes: &[u8; 8]| u64::from_ne_bytes(*bytes);
    match (a.last_chunk::<8>(), b.last_chunk::<8>()) {
        // The last word overlaps the others.
        (Some(a_last), Some(b_last)) if a.len() <= 64 => {
            let words = a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0);
            words.fold(word(a_last) ^ word(b_last), |all, (a, b)| all | (word(a) ^ word(b))) == 0
        }
        _ => a == b,
    }
}

/// Where a value stands among the recent ones.
#[inline]
fn slot(value: &[u8]) -> usize {
    xxh3_64(value) as usize % RECENT
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of a chain, with repetitions.
    fn all<'a>(chains: &'a Chains, followed: &mut Followed) -> Vec<&'a [u8]> {
        let links = chains.values(followed);
        let repeated = |(kept, times)| std::iter::repeat_n(chains.value(kept), times as usize);
        links.flat_map(repeated).collect()
    }

    #[test]
    fn values_are_read_in_order() {
        let mut chains = Chains::default();
        let mut made: Vec<(Chain, Vec<Vec<u8>>)> = Vec::new();
        for n in 0..200_u8 {
            let value = vec![n; usize::from(n % 90) * 3];
            let kept = chains.keep(&value).unwrap();
            made.push((Chain::new(kept), vec![value]));
            made.retain_mut(|(chain, values)| {
                // Each value twice, then one that is not like it.
                let value = vec![n / 2, 1];
                let kept = chains.keep(&value).unwrap();
                let is_pushed = chains.push(chain, kept);
                if is_pushed {
                    values.push(value);
                }
                assert!((1..=values.len()).contains(&chain.values_min()));
                let mut followed = Followed::default();
                chains.follow(*chain, &mut followed);
                chains.step(&mut followed);
                assert_eq!(all(&chains, &mut followed), *values);
                is_pushed
            });
        }
        assert!((CHAIN_LEN_MAX - 1..200).contains(&made.len()), "some are full: {}", made.len());
    }

    #[test]
    fn values_differ_by_any_byte() {
        for len in 0..100 {
            let value = vec![1; len];
            assert!(same_bytes(&value, &value.clone()));
            assert!(!same_bytes(&value, &vec![1; len + 1]));
            for at in 0..len {
                let mut other = value.clone();
                other[at] = 2;
                assert!(!same_bytes(&value, &other), "{at} of {len}");
            }
        }
    }

    #[test]
    fn a_value_that_repeats_is_kept_once() {
        let mut chains = Chains::default();
        let kept: Vec<Kept> =
            (0..1_000).map(|n| chains.keep([b"hay", b"rye"][n % 2]).unwrap()).collect();
        assert_eq!((kept[0], kept[1]), (kept[998], kept[999]));
        let mut chain = Chain::new(kept[0]);
        let before = chains.memory_bytes();
        assert!((0..1_000).all(|_| chains.push(&mut chain, kept[0])));
        assert_eq!(chains.memory_bytes(), before);
        let mut followed = Followed::default();
        chains.follow(chain, &mut followed);
        assert_eq!(all(&chains, &mut followed).len(), 1_001);
        assert_eq!(chains.only(&followed), None);
    }

    #[test]
    fn a_value_may_come_more_often_than_a_link_can_count() {
        let mut chains = Chains::default();
        let kept = chains.keep(b"hay").unwrap();
        let mut chain = Chain::new(kept);
        let times = usize::from(u16::MAX) * 3;
        assert!((0..times).all(|_| chains.push(&mut chain, kept)));
        let mut followed = Followed::default();
        chains.follow(chain, &mut followed);
        assert_eq!(all(&chains, &mut followed).len(), times + 1);
    }
}
