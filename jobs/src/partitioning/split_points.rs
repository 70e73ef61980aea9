//! Split points: where the ranges of an ordered job begin.

use serde::{Deserialize, Serialize};

use crate::pairs::{RecordRef, prefix};

/// Up to this many points, a linear search is faster than a binary one.
const FEW_POINTS: usize = 16;

/// The first pair of each range except the first, ascending. The ranges of equal points share the
/// pairs equal to them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitPoints {
    points: Vec<Point>,
    /// The prefixes of the points' keys, packed for the search.
    prefixes: Vec<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Point {
    key: Vec<u8>,
    value: Vec<u8>,
    /// How many of the following points are equal to this one.
    repeats: u32,
}

/// An encoded pair of a sample.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SampledPair {
    /// The key, or the start of a long one.
    pub key: Vec<u8>,
    /// The value, or the start of a long one.
    pub value: Vec<u8>,
    /// How much of the map output it stands for, in any unit.
    pub weight: u64,
}

impl SplitPoints {
    /// Most bytes that a point keeps of its key or its value: a range may begin anywhere.
    pub const SIDE_BYTES_MAX: usize = 256;

    /// Rebuilds points from the items of [`iter`](Self::iter).
    pub fn new(points: impl IntoIterator<Item = (Vec<u8>, Vec<u8>)>) -> Self {
        let points = points.into_iter().map(|(key, value)| Point { key, value, repeats: 0 });
        let mut points: Vec<_> = points.collect();
        points.sort_by(|a, b| a.record().cmp(&b.record()));
        for index in (1..points.len()).rev() {
            if points[index - 1].record() == points[index].record() {
                points[index - 1].repeats = points[index].repeats + 1;
            }
        }
        let prefixes = points.iter().map(|point| prefix(&point.key)).collect();
        Self { points, prefixes }
    }

    /// Cuts a sample into `partitions` ranges of about equal weight. With `within_keys`, a range
    /// may begin among the pairs of one key, and a pair that fills several ranges is shared among
    /// them. All points are sent to all workers, so each is the shortest that leaves every pair of
    /// the sample in its range. O(n log n).
    pub fn from_sample(mut sample: Vec<SampledPair>, partitions: u32, within_keys: bool) -> Self {
        sample.sort_unstable();
        let total: u128 = sample.iter().map(|pair| u128::from(pair.weight)).sum();
        let side = |index: usize| match &sample[index] {
            SampledPair { key, value, .. } if within_keys => (&key[..], &value[..]),
            SampledPair { key, .. } => (&key[..], &[][..]),
        };
        let mut chosen = Vec::new();
        let mut passed = 0;
        for (index, pair) in sample.iter().enumerate() {
            passed += u128::from(pair.weight);
            // The next range begins with the pair at its share of the total weight.
            while (chosen.len() as u128 + 1) * total < passed * u128::from(partitions) {
                chosen.push(side(index));
            }
        }
        chosen.truncate(partitions.saturating_sub(1) as usize);
        if !within_keys {
            chosen.dedup();
        }
        let indices: Vec<_> = (0..sample.len()).collect();
        let point = |nth: usize| {
            let pair = chosen[nth];
            let is_same = |other: Option<&(&[u8], &[u8])>| other == Some(&pair);
            // Pairs equal to several points are shared among their ranges, so such a point is not
            // shortened.
            if nth > 0 && is_same(chosen.get(nth - 1)) || is_same(chosen.get(nth + 1)) {
                return (pair.0.to_vec(), pair.1.to_vec());
            }
            let smaller = indices.partition_point(|index| side(*index) < pair);
            separator(smaller.checked_sub(1).map(side), pair)
        };
        let points: Vec<_> = (0..chosen.len()).map(point).collect();
        Self::new(points)
    }

    /// Keys and values of the points, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.points.iter().map(|point| (&point.key[..], &point.value[..]))
    }

    /// The range of a pair. A pair equal to several points may go to any range next to them;
    /// `salt`, any number, chooses. O(log n).
    #[inline]
    pub(crate) fn range_of(&self, record: RecordRef<'_>, salt: u64) -> u32 {
        let prefix = prefix(record.key);
        let low = if self.prefixes.len() <= FEW_POINTS {
            self.prefixes.iter().map(|point| usize::from(*point < prefix)).sum()
        } else {
            self.prefixes.partition_point(|point| *point < prefix)
        };
        // Few records have the prefix of a point, so whole records are seldom compared.
        match self.prefixes.get(low) {
            Some(point) if *point == prefix => self.range_from(low, record, salt),
            _ => low as u32,
        }
    }

    /// The range of a pair that is not below the point before `low`.
    #[cold]
    fn range_from(&self, mut low: usize, record: RecordRef<'_>, salt: u64) -> u32 {
        low += self.points[low..].partition_point(|point| point.record() < record);
        match self.points.get(low) {
            Some(point) if point.record() == record => match point.repeats {
                0 => low as u32 + 1,
                repeats => low as u32 + shared_out(salt, repeats + 2),
            },
            _ => low as u32,
        }
    }
}

/// The shortest pair that is greater than `smaller` and not greater than `pair`.
fn separator(smaller: Option<(&[u8], &[u8])>, (key, value): (&[u8], &[u8])) -> (Vec<u8>, Vec<u8>) {
    let differ = |a: &[u8], b: &[u8]| a.iter().zip(b).take_while(|(a, b)| a == b).count() + 1;
    match smaller {
        None => (key.to_vec(), value.to_vec()),
        Some((before, _)) if before != key => (key[..differ(before, key)].to_vec(), Vec::new()),
        Some((_, before)) => (key.to_vec(), value[..differ(before, value)].to_vec()),
    }
}

impl Point {
    fn record(&self) -> RecordRef<'_> {
        RecordRef { key: &self.key, value: &self.value }
    }
}

/// A number below `ranges`, evenly distributed for salts of any pattern.
#[cold]
fn shared_out(salt: u64, ranges: u32) -> u32 {
    let mixed = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    ((mixed * u64::from(ranges)) >> 32) as u32
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn record<'a>(key: &'a [u8], value: &'a [u8]) -> RecordRef<'a> {
        RecordRef { key, value }
    }

    proptest! {
        #[test]
        fn ranges_are_in_order(
            sample in vec((vec(0..3_u8, 0..10), vec(0..2_u8, 0..2), 0..9_u64), 0..60),
            mut pairs in vec((vec(0..3_u8, 0..10), vec(0..2_u8, 0..2)), 0..60),
            partitions in 1..9_u32,
            within_keys: bool,
            salt: u64,
        ) {
            let sample = sample.into_iter().map(|(key, value, weight)| SampledPair { key, value, weight });
            let points = SplitPoints::from_sample(sample.collect(), partitions, within_keys);
            prop_assert!(points.iter().len() < partitions as usize);
            pairs.sort();
            let ranges: Vec<_> =
                pairs.iter().map(|(key, value)| points.range_of(record(key, value), salt)).collect();
            let strictly = |pair: &[usize]| {
                let [a, b] = pair else { unreachable!() };
                // Equal pairs may be in any of several ranges; all others are in order.
                pairs[*a] == pairs[*b] || ranges[*a] <= ranges[*b]
            };
            let indices: Vec<_> = (0..pairs.len()).collect();
            prop_assert!(indices.windows(2).all(strictly));
            prop_assert!(ranges.iter().all(|range| *range < partitions));
            if !within_keys {
                for window in indices.windows(2) {
                    let (a, b) = (window[0], window[1]);
                    prop_assert!(pairs[a].0 != pairs[b].0 || ranges[a] == ranges[b]);
                }
            }
        }
    }

    proptest! {
        /// Shortened points leave each pair of the sample in the range that the chosen pairs give
        /// it.
        #[test]
        fn short_points_cut_the_sample_like_whole_pairs(
            pairs in vec((vec(0..3_u8, 0..6), vec(0..2_u8, 0..3)), 1..60),
            partitions in 1..9_u32,
            within_keys: bool,
        ) {
            let sample = pairs.iter().map(|(key, value)| {
                SampledPair { key: key.clone(), value: value.clone(), weight: 1 }
            });
            let points = SplitPoints::from_sample(sample.collect(), partitions, within_keys);
            let mut pairs = pairs;
            pairs.sort();
            for (nth, (key, value)) in points.iter().enumerate() {
                // The right number of pairs is before the point, except for pairs equal to the
                // chosen one.
                let before = pairs.iter().filter(|pair| (&pair.0[..], &pair.1[..]) < (key, value));
                let chosen = pairs.get(before.count());
                prop_assert!(chosen.is_some_and(|pair| (key, value) <= (&pair.0[..], &pair.1[..])));
                if within_keys {
                    let due = (nth + 1) * pairs.len() / partitions as usize;
                    prop_assert!(pairs[due.min(pairs.len() - 1)] >= *chosen.unwrap_or(&pairs[0]));
                }
            }
        }
    }

    #[test]
    fn points_between_random_keys_are_short() {
        let pair = |n: u64| SampledPair {
            key: n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes().repeat(2),
            value: vec![b'v'; 90],
            weight: 1,
        };
        let points = SplitPoints::from_sample((0..100_000).map(pair).collect(), 1_000, true);
        assert_eq!(points.iter().len(), 999);
        let bytes: usize = points.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(bytes < 4 * 999, "{bytes}");
    }

    #[test]
    fn a_very_frequent_pair_is_shared_among_ranges() {
        let sample = vec![SampledPair { key: b"hay".to_vec(), value: vec![], weight: 100 }];
        let points = SplitPoints::from_sample(sample.clone(), 4, true);
        let mut counts = [0_u32; 4];
        for line in 0..10_000_u64 {
            counts[points.range_of(record(b"hay", b""), line * 37) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (2_000..3_000).contains(count)), "{counts:?}");
        assert_eq!(points.range_of(record(b"ha", b""), 1), 0);
        assert_eq!(points.range_of(record(b"hay", b"x"), 1), 3);
        // Pairs that are reduced together stay together.
        let points = SplitPoints::from_sample(sample, 4, false);
        assert_eq!(points.iter().len(), 1);
    }
}
