//! Partitioners, which decide which reducer gets a key.

/// Assigns encoded keys to partitions; in a job that groups by a prefix of its keys, it gets the
/// prefixes. The result must depend on the arguments only.
pub trait Partitioner: Send + Sync + 'static {
    /// The partition of `key`, below `partitions`, which is at least 1. `hash` is [`hash_key`] of
    /// `key`.
    fn partition(&self, key: &[u8], hash: u64, partitions: u32) -> u32;
}

/// The hash by which keys are partitioned: XXH3 (64 bits, seed 0). It never changes, since a job's
/// parts must not depend on the build.
#[inline]
pub fn hash_key(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}

/// Spreads keys evenly by their hash; the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct HashPartitioner;

impl Partitioner for HashPartitioner {
    #[inline]
    fn partition(&self, _key: &[u8], hash: u64, partitions: u32) -> u32 {
        // The high half of the product maps the hash's range onto 0..partitions without a division.
        ((u128::from(hash) * u128::from(partitions)) >> 64) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_never_changes() {
        // From the reference implementation of XXH3.
        assert_eq!(hash_key(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(HashPartitioner.partition(b"", hash_key(b""), 100), 17);
    }

    #[test]
    fn partitions_are_in_range_and_all_used() {
        let mut sizes = [0_u32; 7];
        for n in 0..7_000_u32 {
            let key = n.to_be_bytes();
            sizes[HashPartitioner.partition(&key, hash_key(&key), 7) as usize] += 1;
        }
        assert!(sizes.iter().all(|size| (800..1200).contains(size)), "{sizes:?}");
        assert_eq!(HashPartitioner.partition(b"x", u64::MAX, u32::MAX), u32::MAX - 1);
    }
}
