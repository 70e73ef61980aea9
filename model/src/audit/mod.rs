//! The audit: what went into the shuffle came out of it, pair for pair.
//!
//! A digest of a set of pairs that does not depend on their order, as a sum of their hashes
//! (Bellare and Micciancio's AdHash, 1997, with a hash that is not cryptographic: it finds faults,
//! not forgeries). It is made where pairs are collected and where they are reduced, and compared;
//! so what is lost, doubled or changed on the way is noticed whatever the way was. The same digest
//! tells whether a map task that was run again has written the same.

mod pair_hash;

use serde::{Deserialize, Serialize};

use self::pair_hash::pair_hash;

/// Number and digest of a set of pairs, or of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    /// How many.
    pub records: u64,
    /// Sum of their hashes, wrapping.
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

    /// Takes a set out again that was added.
    pub fn unmerge(&mut self, other: Self) {
        self.records = self.records.saturating_sub(other.records);
        self.digest = self.digest.wrapping_sub(other.digest);
    }

    /// The same set as part of `partition`, so that sums over several partitions notice a pair that
    /// has changed its own.
    #[must_use]
    pub fn of_partition(self, partition: u32) -> Self {
        // An odd factor loses nothing, and sums of what belongs to one partition stay sums.
        let factor = u64::from(partition).wrapping_mul(0x9e37_79b9_7f4a_7c16) | 1;
        Self { records: self.records, digest: self.digest.wrapping_mul(factor) }
    }
}

/// What a map attempt of a job with a combiner was given to combine.
///
/// Two attempts at one task combine the same pairs in different ways, if one of them had to write
/// some before it had all. So what they wrote cannot be compared then; what their mapper emitted
/// can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emitted {
    /// The keys, each as often as it was emitted, by a hash that is the same for all of the job and
    /// for nothing else.
    pub keys: Audit,
    /// Whether any pairs were written before all had been combined.
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
    fn order_does_not_matter_and_all_else_does() {
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
    fn sums_of_parts_are_the_whole_partition_by_partition() {
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
