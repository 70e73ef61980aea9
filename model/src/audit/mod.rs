//! The audit proves that exactly the pairs that went into the shuffle came out of it.
//!
//! The digest of a set of pairs is the sum of their hashes, so it does not depend on their order
//! (Bellare and Micciancio's AdHash, 1997, with a hash that is not cryptographic: it finds faults,
//! not forgeries). It is computed where pairs are collected and where they are reduced, and
//! compared: pairs that were lost, duplicated or changed on any way between are noticed. The same
//! digest shows whether a map task that ran again has written the same pairs.

mod pair_hash;

use serde::{Deserialize, Serialize};

use self::pair_hash::pair_hash;

/// Number and digest of a set of pairs, or of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// Size of the set.
    pub records: u64,
    /// Wrapping sum of the hashes.
    pub digest: u64,
}

impl Audit {
    /// Adds a pair of encoded key and value.
    #[inline]
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        self.records += 1;
        self.digest = self.digest.wrapping_add(pair_hash(key, value));
    }

    /// Adds another set.
    pub fn merge(&mut self, other: Self) {
        self.records = self.records.saturating_add(other.records);
        self.digest = self.digest.wrapping_add(other.digest);
    }

    /// Removes a set that was added.
    pub fn unmerge(&mut self, other: Self) {
        self.records = self.records.saturating_sub(other.records);
        self.digest = self.digest.wrapping_sub(other.digest);
    }

    /// The audit of the same set in `partition`, so that a sum over partitions shows a pair that
    /// has moved to another partition.
    #[must_use]
    pub fn of_partition(self, partition: u32) -> Self {
        // Multiplication by an odd factor is invertible, and it distributes over sums within a
        // partition.
        let factor = u64::from(partition).wrapping_mul(0x9e37_79b9_7f4a_7c16) | 1;
        Self { records: self.records, digest: self.digest.wrapping_mul(factor) }
    }
}

/// The pairs that the mapper of a job with a combiner emitted.
///
/// An attempt that spills before it has all pairs, or leaves the pairs of each thread by
/// themselves, combines them differently from another attempt of the task. Then their outputs
/// cannot be compared; but what their mappers emitted can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emitted {
    /// The keys, each as often as it was emitted. Their hash is the same within the job only.
    pub keys: Audit,
    /// Whether pairs were spilled or kept before all had been combined.
    pub is_partial: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit(pairs: &[(&str, &str)]) -> Audit {
        let mut audit = Audit::default();
        for (key, value) in pairs {
            audit.add(key.as_bytes(), value.as_bytes());
        }
        audit
    }

    #[test]
    fn only_the_order_of_pairs_does_not_matter() {
        let all = audit(&[("a", "1"), ("b", "2"), ("b", "2")]);
        assert_eq!(all, audit(&[("b", "2"), ("a", "1"), ("b", "2")]));
        for other in [
            &[("a", "1"), ("b", "2")][..],
            &[("a", "1"), ("a", "1"), ("b", "2")],
            &[("a", "2"), ("b", "1"), ("b", "2")],
            &[("", "a1"), ("b", "2"), ("b", "2")],
            &[("1", "a"), ("b", "2"), ("b", "2")],
        ] {
            assert_ne!(all, audit(other), "{other:?}");
        }
    }

    #[test]
    fn audits_of_parts_add_up_within_a_partition_only() {
        let parts = [audit(&[("a", "1")]), audit(&[("b", "2"), ("c", "3")]), audit(&[("d", "4")])];
        let mut whole = Audit::default();
        parts.iter().for_each(|part| whole.merge(*part));
        assert_eq!(whole, audit(&[("d", "4"), ("c", "3"), ("b", "2"), ("a", "1")]));
        let mut weighted = Audit::default();
        parts.iter().for_each(|part| weighted.merge(part.of_partition(7)));
        assert_eq!(weighted, whole.of_partition(7));
        assert_ne!(whole.of_partition(6), whole.of_partition(7));
        whole.unmerge(parts[0]);
        assert_eq!(whole, audit(&[("b", "2"), ("c", "3"), ("d", "4")]));
    }
}
