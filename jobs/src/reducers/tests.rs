//! Tests of each ready reducer and combiner on a group.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::combiner::Combiner;
use crate::reducer::Reducer;
use crate::testing::reduce;
use crate::value::Value;

/// Folds `values` like the engine.
fn combine<V: Value + ?Sized, C: Combiner<V>>(combiner: &C, values: &[V::Owned]) -> V::Owned {
    let (first, rest) = values.split_first().unwrap();
    let mut accumulator = combiner.start(V::view_owned(first)).unwrap();
    for value in rest {
        combiner.add(&mut accumulator, V::view_owned(value)).unwrap();
    }
    V::own(combiner.finish(&accumulator))
}

fn only<K, V>(mut pairs: Vec<(K, V)>) -> V {
    assert_eq!(pairs.len(), 1);
    pairs.remove(0).1
}

/// The output of `reducer` for one key's values.
fn reduced<R>(reducer: &R, values: impl Iterator<Item = i64>) -> i64
where
    R: Reducer<str, i64, OutputKey = str, OutputValue = i64>,
{
    only(reduce::<str, i64, R>(reducer, "k", values).unwrap())
}

proptest! {
    #[test]
    fn combining_first_changes_nothing(values in vec(-1000..1000_i64, 1..40), size in 1..40_usize) {
        let sums = values.chunks(size).map(|part| combine::<i64, _>(&Sum, part));
        prop_assert_eq!(reduced(&Sum, sums), values.iter().sum::<i64>());
        let minima = values.chunks(size).map(|part| combine::<i64, _>(&Min, part));
        prop_assert_eq!(reduced(&Min, minima), *values.iter().min().unwrap());
        let maxima = values.chunks(size).map(|part| combine::<i64, _>(&Max, part));
        prop_assert_eq!(reduced(&Max, maxima), *values.iter().max().unwrap());
    }

    #[test]
    fn top_k_is_the_end_of_the_sorted_list(mut values: Vec<u8>, k in 0..10_usize) {
        let top = reduce::<str, u8, _>(&TopK(k), "k", values.iter().copied()).unwrap();
        let top: Vec<u8> = top.into_iter().map(|(_, value)| value).collect();
        values.sort_unstable_by(|a, b| b.cmp(a));
        values.truncate(k);
        prop_assert_eq!(top, values);
    }
}

#[test]
fn a_sum_that_overflows_is_an_error() {
    let error = reduce::<str, u64, _>(&Sum, "k", [u64::MAX, 1]).unwrap_err();
    assert_eq!(error.message(), "the sum overflows u64: emit a wider type");
    assert!(Combiner::<i8>::add(&Sum, &mut -100, -100).is_err());
}

#[test]
fn sums_of_floats_do_not_depend_on_arrival() {
    let values = [1e300, 1.0, -1e300, 0.1, 3.0];
    let mut reversed = values;
    reversed.reverse();
    let sum = |values: [f64; 5]| only(reduce::<str, f64, _>(&Sum, "k", values).unwrap());
    assert_eq!(sum(values).to_bits(), sum(reversed).to_bits());
}

#[test]
fn strings_and_floats_have_extremes() {
    assert_eq!(only(reduce::<str, str, _>(&Max, "k", ["oat", "rye", "hay"]).unwrap()), "rye");
    assert_eq!(combine::<str, _>(&Min, &["oat".to_string(), "hay".to_string()]), "hay");
    assert_eq!(only(reduce::<str, f64, _>(&Min, "k", [0.5, -2.5]).unwrap()), -2.5);
}

#[test]
fn values_are_counted_kept_or_dropped() {
    assert_eq!(only(reduce::<u8, str, _>(&Count, 1, ["a", "b", "a"]).unwrap()), 3);
    assert_eq!(reduce::<str, str, _>(&Distinct, "k", ["a", "b"]).unwrap(), [("k".to_string(), ())]);
    let kept = reduce::<str, u8, _>(&Identity, "k", [3, 1, 2]).unwrap();
    assert_eq!(kept, [1, 2, 3].map(|n| ("k".to_string(), n)));
}

#[test]
fn extremes_report_their_heap_memory() {
    let held = Combiner::<str>::start(&Max, "twelve bytes").unwrap();
    assert_eq!(Combiner::<str>::heap_bytes(&Max, &held), 12);
    type Pair = (String, Option<Vec<u8>>);
    let held = Combiner::<Pair>::start(&Min, ("four", Some(b"seven77"))).unwrap();
    assert_eq!(Combiner::<Pair>::heap_bytes(&Min, &held), 11);
    assert_eq!(Combiner::<u64>::heap_bytes(&Min, &7), 0);
}
