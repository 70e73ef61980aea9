//! Compares masks, words and positions with simple implementations, at all alignments and lengths.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn found_words(bytes: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    words(bytes, |word| {
        found.push(&bytes[word]);
        Ok::<(), ()>(())
    })
    .unwrap();
    found
}

fn plain_words(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect()
}

fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(b'a'), 1 => 8..=14_u8, 1 => Just(b' '), 1 => any::<u8>()]
}

proptest! {
    #[test]
    fn words_are_those_of_the_standard_library(bytes in vec(byte(), 0..300), from in 0..70_usize) {
        let bytes = &bytes[from.min(bytes.len())..];
        prop_assert_eq!(found_words(bytes), plain_words(bytes));
    }

    #[test]
    fn positions_are_those_of_a_plain_search(bytes in vec(0..6_u8, 0..300), from in 0..70_usize) {
        let bytes = &bytes[from.min(bytes.len())..];
        let plain = |wanted: &[u8]| -> Vec<usize> {
            (0..bytes.len()).filter(|&index| wanted.contains(&bytes[index])).collect()
        };
        prop_assert_eq!(positions(bytes, [3]).collect::<Vec<_>>(), plain(&[3]));
        prop_assert_eq!(positions(bytes, [0, 4, 5]).collect::<Vec<_>>(), plain(&[0, 4, 5]));
    }

    #[test]
    fn both_implementations_of_masks_are_right(bytes in vec(byte(), BLOCK_BYTES), wanted: [u8; 2]) {
        let bytes = bytes.first_chunk().unwrap();
        let mask = |is_wanted: fn(&u8) -> bool| {
            bytes.iter().rev().fold(0, |mask, byte| mask << 1 | u64::from(is_wanted(byte)))
        };
        let spaces = mask(u8::is_ascii_whitespace);
        prop_assert_eq!((block::whitespace(bytes), portable::whitespace(bytes)), (spaces, spaces));
        prop_assert_eq!(block::any_of(bytes, &wanted), portable::any_of(bytes, &wanted));
    }
}

#[test]
fn every_byte_is_classified_right() {
    for byte in 0..=u8::MAX {
        for len in [1, 63, 64, 65, 128] {
            let bytes = vec![byte; len];
            assert_eq!(found_words(&bytes), plain_words(&bytes), "{byte}, {len}");
            assert_eq!(positions(&bytes, [byte]).count(), len);
            assert_eq!(positions(&bytes, [byte ^ 1, byte ^ 0x80]).next(), None);
        }
    }
}

#[test]
fn words_stop_at_an_error() {
    let mut seen = 0;
    let stopped = words(b"a b c", |_| {
        seen += 1;
        if seen == 2 { Err("enough") } else { Ok(()) }
    });
    assert_eq!((stopped, seen), (Err("enough"), 2));
}
