//! The hash of the tables: fast, and different for each job.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::words::Words;

/// What makes a job's hashes unpredictable.
#[derive(Clone, Copy)]
pub(in crate::collect) struct Seed(u64, u64);

impl Seed {
    /// The seed that belongs to a number; near ones have nothing in common.
    pub(super) fn new(number: u64) -> Self {
        Self(xxh3_64_with_seed(&[0], number), xxh3_64_with_seed(&[1], number))
    }

    /// The hash of a short key: its words, multiplied pair by pair and folded.
    #[inline]
    pub(super) fn hash_words<const N: usize>(self, words: Words<N>) -> u64 {
        let pairs = words.as_words().chunks_exact(2);
        pairs.fold(self.0, |hash, pair| folded_product(pair[0] ^ hash, pair[1] ^ self.1))
    }

    /// The hash of a long key.
    pub(super) fn hash_bytes(self, key: &[u8]) -> u64 {
        xxh3_64_with_seed(key, self.0) ^ self.1
    }
}

/// Both halves of the product depend on all bits of both factors; so does each bit of their sum,
/// nearly.
#[inline]
fn folded_product(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}
