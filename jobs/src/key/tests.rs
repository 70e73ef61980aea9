//! Properties of every key type: order, round trip, and no panic on foreign bytes.

use std::cmp::Reverse;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Key, KeyPart};

fn encoded<K: Key>(owned: &K::Owned) -> Vec<u8> {
    let mut bytes = Vec::new();
    K::encode(K::view_owned(owned), &mut bytes);
    bytes
}

fn check<K: Key>(a: &K::Owned, b: &K::Owned, foreign: &[u8])
where
    K::Owned: Ord,
{
    let (a_bytes, b_bytes) = (encoded::<K>(a), encoded::<K>(b));
    assert_eq!(a_bytes.cmp(&b_bytes), a.cmp(b), "{a:?} and {b:?} as {a_bytes:x?} and {b_bytes:x?}");
    let decoded = K::decode(&a_bytes).unwrap();
    assert_eq!(K::own(K::view(&decoded)), *a);
    assert_eq!(K::encoded(K::view_owned(a), &mut vec![1, 2, 3]), a_bytes);
    check_foreign::<K>(foreign);
}

/// Bytes that decode are exactly the encoding of the decoded key.
fn check_foreign<K: Key>(bytes: &[u8]) {
    if let Ok(decoded) = K::decode(bytes) {
        assert_eq!(encoded::<K>(&K::own(K::view(&decoded))), bytes);
    }
}

/// Strings with common prefixes that contain the bytes that are escaped.
fn string() -> impl Strategy<Value = String> {
    vec(prop_oneof![Just('\0'), Just('\u{1}'), Just('a'), any::<char>()], 0..4)
        .prop_map(String::from_iter)
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![Just(0), Just(1), Just(0xff), any::<u8>()], 0..5)
}

macro_rules! key_properties {
    ($($name:ident: $key:ty = $strategy:expr;)+) => {$(
        proptest! {
            #[test]
            fn $name(a in $strategy, b in $strategy, foreign in bytes()) {
                check::<$key>(&a, &b, &foreign);
                check::<$key>(&a, &a, &foreign);
            }
        }
    )+};
}

key_properties! {
    u8_keys: u8 = any::<u8>();
    u64_keys: u64 = any::<u64>();
    u128_keys: u128 = any::<u128>();
    i8_keys: i8 = any::<i8>();
    i16_keys: i16 = any::<i16>();
    i64_keys: i64 = any::<i64>();
    i128_keys: i128 = any::<i128>();
    bool_keys: bool = any::<bool>();
    char_keys: char = any::<char>();
    unit_keys: () = Just(());
    string_keys: String = string();
    bytes_keys: Vec<u8> = bytes();
    option_keys: Option<String> = proptest::option::of(string());
    reverse_keys: Reverse<String> = string().prop_map(Reverse);
    reverse_numbers: Reverse<i32> = any::<i32>().prop_map(Reverse);
    pairs: (String, u64) = (string(), any::<u64>());
    triples: (Vec<u8>, Option<i16>, String) = (bytes(), any::<Option<i16>>(), string());
    fours: (String, Reverse<String>, bool, Vec<u8>) =
        (string(), string().prop_map(Reverse), any::<bool>(), bytes());
    nested: ((String, Option<String>), Reverse<(Vec<u8>, i8)>, String) = (
        (string(), proptest::option::of(string())),
        (bytes(), any::<i8>()).prop_map(Reverse),
        string(),
    );
    option_of_pair: Option<(String, ())> = proptest::option::of((string(), Just(())));
}

proptest! {
    #[test]
    fn unsized_keys_are_their_own_bytes(text in string(), bytes in bytes()) {
        let mut out = Vec::new();
        str::encode(&text, &mut out);
        <[u8]>::encode(&bytes, &mut out);
        prop_assert_eq!(&out[..text.len()], text.as_bytes());
        prop_assert_eq!(&out[text.len()..], &bytes[..]);
        prop_assert_eq!(<str as Key>::decode(text.as_bytes()).unwrap(), &text[..]);
    }
}

#[test]
fn extremes_keep_their_order() {
    check::<i64>(&i64::MIN, &-1, &[]);
    check::<i64>(&-1, &0, &[]);
    check::<i64>(&0, &i64::MAX, &[]);
    check::<u64>(&0, &u64::MAX, &[]);
}

#[test]
fn trailing_bytes_after_a_key_are_an_error() {
    let error = u32::decode(&[0, 0, 0, 1, 9]).unwrap_err();
    assert_eq!(error.message(), "malformed key: not the encoding of a u32");
    assert!(bool::decode(&[2]).is_err());
    assert!(<()>::decode(&[0]).is_err());
    assert!(<Option<u8>>::decode(&[0, 0]).is_err());
    assert!(char::decode(&0xd800_u32.to_be_bytes()).is_err());
    assert!(<str as Key>::decode(&[0xff]).is_err());
    assert!(String::decode_part(&mut &b"not ended"[..]).is_err());
    assert!(String::decode_part(&mut &b"bad mark\0\x02"[..]).is_err());
}

#[test]
fn a_part_without_escapes_is_borrowed() {
    let bytes = encoded::<(String, u8)>(&("word".to_string(), 1));
    let (word, _) = <(String, u8)>::decode(&bytes).unwrap();
    assert!(matches!(word, std::borrow::Cow::Borrowed("word")));
}
