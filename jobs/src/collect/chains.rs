//! Values that wait, each linked to the one before of the same key.
//!
//! ```text
//!  slot of a key             links                        values
//!  +---------------------+   +---------------------+      +----------------+
//!  | value, times, before|-->| value, times, before|--->  | books/alice.txt|
//!  +---------------------+   +---------------------+      +----------------+
//! ```
//!
//! To wait costs a write to the key's slot, which is in the cache, and nothing else of what the key
//! has is read. A value that comes again for its key is only counted. Values that many keys share,
//! such as the name of the file that is being read, are kept once.

use xxhash_rust::xxh3::xxh3_64;

use super::arena::Arena;
use super::record_buffer::check_size;
use crate::error::Result;
use crate::prefetch::prefetch;
use crate::program::RecordRef;

/// Different values of a key that wait at most, one after the other. So many of rare keys are few
/// in all; a key that has more is likely to be in the cache.
pub(super) const CHAIN_LEN_MAX: usize = 24;

/// How many of the values that were kept last are looked at before a value is kept.
const RECENT: usize = 64;

/// Links are in blocks of so many, which never move: 64 KiB.
const BLOCK_LINKS: usize = 4096;

/// The number of no link.
const NONE: u32 = u32::MAX;

/// The values and links of all chains of a store.
#[derive(Default)]
pub(super) struct Chains {
    values: Arena,
    /// Values that were kept a short time ago, by their hashes.
    recent: Vec<Option<Kept>>,
    latest: Option<Kept>,
    links: Vec<Vec<Link>>,
}

/// Where a value is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept(u64);

/// A value that came some times in a row.
#[derive(Clone, Copy)]
struct Link {
    value: Kept,
    /// The number of the link before.
    before: u32,
    times: u32,
}

/// The values of one key: at least one.
#[derive(Clone, Copy)]
pub(super) struct Chain {
    value: Kept,
    before: u32,
    /// Links, the one in here included; at most [`CHAIN_LEN_MAX`].
    len: u16,
    times: u16,
}

/// The links of a chain, the first to come first, as far as they have been followed. Used again for
/// the next chain, so that its memory is written only where there are links.
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
        Self { value, before: NONE, len: 1, times: 1 }
    }

    fn link(self) -> Link {
        Link { value: self.value, before: self.before, times: u32::from(self.times) }
    }
}

impl Chains {
    /// The place of a value that was kept a short time ago.
    #[inline]
    pub(super) fn find(&self, value: &[u8]) -> Option<Kept> {
        let is_it = |kept: &Kept| self.value(*kept) == value;
        self.latest.filter(is_it).or_else(|| (*self.recent.get(slot(value))?).filter(is_it))
    }

    /// Keeps a value, unless it is found.
    #[inline]
    pub(super) fn keep(&mut self, value: &[u8]) -> Result<Kept> {
        if let Some(kept) = self.find(value) {
            self.latest = Some(kept);
            return Ok(kept);
        }
        let record = RecordRef { key: &[], value };
        check_size(record)?;
        let kept = Kept(self.values.push_record(record));
        self.recent.resize(RECENT, None);
        self.recent[slot(value)] = Some(kept);
        self.latest = Some(kept);
        Ok(kept)
    }

    /// The bytes of a value. O(1).
    #[inline]
    pub(super) fn value(&self, kept: Kept) -> &[u8] {
        self.values.record(kept.0).value
    }

    /// Appends a value to a chain. `false`, and nothing done, if the chain is full.
    #[inline]
    pub(super) fn push(&mut self, chain: &mut Chain, value: Kept) -> bool {
        if chain.value == value && chain.times < u16::MAX {
            chain.times += 1;
            return true;
        }
        if usize::from(chain.len) == CHAIN_LEN_MAX {
            return false;
        }
        let Some(before) = self.push_link(chain.link()) else { return false };
        *chain = Chain { value, before, len: chain.len + 1, times: 1 };
        true
    }

    /// The number of a new link, or `None` when there are no more numbers.
    #[inline]
    fn push_link(&mut self, link: Link) -> Option<u32> {
        if self.links.last().is_none_or(|block| block.len() == BLOCK_LINKS) {
            self.links.push(Vec::with_capacity(BLOCK_LINKS));
        }
        let number = (self.links.len() - 1) * BLOCK_LINKS + self.links.last()?.len();
        let number = u32::try_from(number).ok().filter(|number| *number != NONE)?;
        self.links.last_mut()?.push(link);
        Some(number)
    }

    /// Begins to follow a chain; the memory of the first step is on its way to the cache then.
    pub(super) fn follow(&self, chain: Chain, followed: &mut Followed) {
        (followed.len, followed.found) = (usize::from(chain.len), 1);
        followed.links[followed.len - 1] = chain.link();
        self.prefetch(chain.before);
    }

    /// Follows a chain by one step, and asks for the memory of the next. `false` at its end.
    pub(super) fn step(&self, followed: &mut Followed) -> bool {
        let Followed { links, len, found } = followed;
        if *found == *len {
            return false;
        }
        let number = links[*len - *found].before as usize;
        let link = self.links[number / BLOCK_LINKS][number % BLOCK_LINKS];
        *found += 1;
        links[*len - *found] = link;
        self.prefetch(link.before);
        self.values.prefetch(link.value.0);
        true
    }

    #[inline]
    fn prefetch(&self, number: u32) {
        let number = number as usize;
        if let Some(block) = self.links.get(number / BLOCK_LINKS) {
            prefetch(block.as_ptr().wrapping_add(number % BLOCK_LINKS));
        }
    }

    /// The values of a chain in the order in which they came, as often as they came.
    pub(super) fn values<'a>(
        &'a self,
        followed: &'a mut Followed,
    ) -> impl Iterator<Item = &'a [u8]> {
        while self.step(followed) {}
        let links = followed.links[..followed.len].iter();
        links.flat_map(|link| std::iter::repeat_n(self.value(link.value), link.times as usize))
    }

    /// The value of a chain that has no other.
    pub(super) fn only(&self, followed: &Followed) -> Option<&[u8]> {
        let is_only = followed.len == 1 && followed.links[0].times == 1;
        is_only.then(|| self.value(followed.links[0].value))
    }

    /// Memory of all values and links. O(1).
    #[inline]
    pub(super) fn memory_bytes(&self) -> usize {
        self.values.memory_bytes() + self.links.len() * BLOCK_LINKS * size_of::<Link>()
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

    #[test]
    fn values_come_back_in_order() {
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
                let mut followed = Followed::default();
                chains.follow(*chain, &mut followed);
                chains.step(&mut followed);
                assert!(chains.values(&mut followed).eq(values.iter()));
                is_pushed
            });
        }
        assert!((CHAIN_LEN_MAX - 1..200).contains(&made.len()), "some are full: {}", made.len());
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
        assert_eq!(chains.values(&mut followed).count(), 1_001);
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
        assert_eq!(chains.values(&mut followed).count(), times + 1);
    }
}
