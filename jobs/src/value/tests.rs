//! Properties of every value type: round trip, and no panic on foreign bytes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Decimal, OrderedValue, Serde, Value};

fn encoded<V: Value>(owned: &V::Owned) -> Vec<u8> {
    let mut bytes = Vec::new();
    V::encode(V::view_owned(owned), &mut bytes).unwrap();
    bytes
}

fn text<V: Value>(owned: &V::Owned) -> String {
    let mut out = Vec::new();
    V::write_text(V::view_owned(owned), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn check<V: Value>(value: &V::Owned, foreign: &[u8])
where
    V::Owned: PartialEq,
{
    let bytes = encoded::<V>(value);
    assert_eq!(V::encoded(V::view_owned(value), &mut vec![1]).unwrap(), bytes);
    let decoded = V::decode(&bytes).unwrap();
    assert_eq!(V::own(V::view(&decoded)), *value);
    // Foreign bytes that decode keep their meaning.
    if let Ok(decoded) = V::decode(foreign) {
        let owned = V::own(V::view(&decoded));
        let again = encoded::<V>(&owned);
        assert_eq!(encoded::<V>(&V::own(V::view(&V::decode(&again).unwrap()))), again);
    }
}

macro_rules! value_properties {
    ($($name:ident: $value:ty = $strategy:expr;)+) => {$(
        proptest! {
            #[test]
            fn $name(value in $strategy, foreign in proptest::collection::vec(any::<u8>(), 0..12)) {
                check::<$value>(&value, &foreign);
            }
        }
    )+};
}

type Tree = (BTreeMap<String, Vec<i64>>, Option<char>);

value_properties! {
    u8_values: u8 = any::<u8>();
    u64_values: u64 = (any::<u64>(), 0..64_u32).prop_map(|(n, shift)| n >> shift);
    u128_values: u128 = any::<u128>();
    i16_values: i16 = any::<i16>();
    i64_values: i64 = (any::<i64>(), 0..64_u32).prop_map(|(n, shift)| n >> shift);
    i128_values: i128 = any::<i128>();
    f32_values: f32 = any::<f32>();
    f64_values: f64 = any::<f64>();
    bool_values: bool = any::<bool>();
    char_values: char = any::<char>();
    unit_values: () = Just(());
    string_values: String = any::<String>();
    bytes_values: Vec<u8> = any::<Vec<u8>>();
    option_values: Option<Option<String>> = any::<Option<Option<String>>>();
    pairs: (String, i32) = any::<(String, i32)>();
    long_parts: (Vec<u8>, String) = (proptest::collection::vec(any::<u8>(), 0..20_000), any::<String>());
    nested: ((u8, String), Option<Vec<u8>>, u64, bool) = any::<((u8, String), Option<Vec<u8>>, u64, bool)>();
    serde_values: Serde<Tree> = any::<Tree>();
    serde_parts: (Serde<Tree>, u8) = any::<(Tree, u8)>();
}

#[test]
fn small_integers_are_short() {
    assert!(encoded::<u64>(&0).is_empty());
    assert_eq!(encoded::<u64>(&1), [1]);
    assert_eq!(encoded::<i64>(&-1), [1]);
    assert_eq!(encoded::<i64>(&i64::MIN).len(), 8);
    assert_eq!(encoded::<u64>(&0x1_00), [0, 1]);
}

#[test]
fn plain_values_are_copies() {
    let plain = [u64::IS_COPY, f32::IS_COPY, Decimal::IS_COPY, <()>::IS_COPY];
    let nested = <(char, Option<bool>)>::IS_COPY;
    assert_eq!((plain, nested), ([true; 4], true));
    let owning = [str::IS_COPY, <Serde<u8>>::IS_COPY, <(u8, String)>::IS_COPY];
    assert_eq!(owning, [false; 3]);
}

#[test]
fn foreign_bytes_are_errors() {
    let error = u32::decode(&[1; 5]).unwrap_err();
    assert_eq!(error.message(), "malformed value: not the encoding of a u32");
    assert!(u32::decode(&[1, 0]).is_err(), "not the shortest form");
    assert!(bool::decode(&[2]).is_err());
    assert!(f64::decode(&[0; 7]).is_err());
    assert!(<Option<u8>>::decode(&[7]).is_err());
    assert!(<(String, u8)>::decode(&[9, b'a']).is_err(), "part longer than the value");
    assert!(<Serde<u8>>::decode(&[1, 2]).is_err(), "trailing bytes");
}

#[test]
fn values_are_written_as_text_for_people() {
    assert_eq!(text::<i64>(&-5), "-5");
    assert_eq!(text::<f64>(&3.25), "3.25");
    assert_eq!(text::<(String, Option<u8>, u8)>(&("a".into(), None, 2)), "a\t\t2");
    assert_eq!(text::<Serde<(u8, String)>>(&(1, "a\nb".into())), "[1,\"a\\nb\"]");
}

#[test]
fn values_compare_as_their_types_do() {
    assert!(f64::compare(-0.5, f64::NAN).is_lt());
    assert!(<(String, i8)>::compare(("a", 1), ("a", -1)).is_gt());
    assert!(<Option<u8>>::compare(None, Some(0)).is_lt());
}
