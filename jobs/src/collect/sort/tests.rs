//! Sorting entries sorts records of any bytes.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::pairs::prefix;

type Pair = (Vec<u8>, Vec<u8>);

/// Sorts through entries, and checks that they hold their prefixes afterwards.
fn sorted(pairs: &[Pair]) -> Vec<Pair> {
    let mut arena = Arena::default();
    let entry = |(key, value): &Pair| {
        let at = arena.push_record(RecordRef { key, value });
        Entry::new(prefix(key), at)
    };
    let mut entries: Vec<Entry> = pairs.iter().map(entry).collect();
    sort(&mut entries, &arena);
    let pair = |entry: &Entry| {
        let record = arena.record(entry.at());
        assert_eq!(entry.word(), prefix(record.key));
        (record.key.to_vec(), record.value.to_vec())
    };
    entries.iter().map(pair).collect()
}

fn check(mut pairs: Vec<Pair>) {
    let found = sorted(&pairs);
    pairs.sort();
    assert!(found == pairs, "{} pairs are not in order", pairs.len());
}

/// Keys with long common prefixes, of all lengths, some with zeros at the end.
fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(0..2_u8, 0..30),
        vec(any::<u8>(), 0..12),
        (0..60_usize, vec(0..3_u8, 0..4)).prop_map(|(zeros, end)| [vec![0; zeros], end].concat()),
        (0..3_usize, vec(0..2_u8, 0..10)).prop_map(|(n, end)| [vec![b'x'; 50 * n], end].concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn entries_sort_like_records(pairs in vec((key(), key()), 0..400)) {
        check(pairs);
    }

    #[test]
    fn sorts_the_values_of_few_keys(pairs in vec((vec(0..2_u8, 0..3), key()), 0..600)) {
        check(pairs);
    }
}

/// Different numbers that look random.
fn scrambled(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[test]
fn large_slices_are_cut_in_place() {
    let count = 3 * SCRATCH_ENTRIES as u64;
    check(scrambled(count).map(|n| (n.to_be_bytes().to_vec(), Vec::new())).collect());
    // Half of the records have the same first eight bytes.
    let key = |n: u64| if n.is_multiple_of(2) { format!("the same{n}") } else { format!("{n}") };
    check(scrambled(count).map(|n| (key(n).into_bytes(), vec![n as u8])).collect());
}

#[test]
fn sorted_and_identical_records_stay() {
    let pairs: Vec<Pair> = (0..5000_u32).map(|n| (n.to_be_bytes().to_vec(), vec![])).collect();
    check(pairs.iter().rev().cloned().collect());
    check(pairs);
    check(vec![(b"the same, and longer than a word".to_vec(), b"so is this".to_vec()); 5000]);
}

#[test]
fn keys_that_are_prefixes_of_each_other_need_no_deep_stack() {
    check((0..3000).rev().map(|len| (vec![b'a'; len], Vec::new())).collect());
}
