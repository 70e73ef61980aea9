//! The hash function of the tables: fast, and seeded per job.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::words::Words;

/// The secret that makes a job's hashes unpredictable.
#[derive(Clone, Copy)]
pub(in crate::collect) struct Seed(u64, u64);

impl Seed {
    /// The seed for a number; close numbers give unrelated seeds.
    pub(super) fn new(number: u64) -> Self {
        Self(xxh3_64_with_seed(&[0], number), xxh3_64_with_seed(&[1], number))
    }

    /// The hash of a short key: pairs of its words, multiplied and folded.
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

/// Both halves of the product together depend on all bits of both factors, and so does nearly each
/// bit of their sum.
#[inline]
fn folded_product(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}
