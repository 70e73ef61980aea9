//! Loads bytes whose number nobody can predict, such as those of a word of text.
//!
//! A processor that guesses wrong loses more time than the load takes. So there are no branches on
//! the length: all ways are taken, each on bytes that are there, and the right one is chosen.

use std::hint::select_unpredictable;

/// The first eight bytes, little endian, with zeros in place of those that are not there.
#[inline(always)]
pub(super) fn first_eight(bytes: &[u8]) -> u64 {
    let enough = bytes.len() >= 8;
    let eight = select_unpredictable(enough, bytes, &[0; 8]);
    let eight = eight.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    select_unpredictable(enough, eight, up_to_seven(bytes))
}

/// All bytes if there are at most seven: two halves that may overlap, or three bytes. Else
/// something.
#[inline(always)]
fn up_to_seven(bytes: &[u8]) -> u64 {
    let enough = bytes.len() >= 4;
    let four = select_unpredictable(enough, bytes, &[0; 4]);
    let first = four.first_chunk().map_or(0, |half| u64::from(u32::from_le_bytes(*half)));
    let last = four.last_chunk().map_or(0, |half| u64::from(u32::from_le_bytes(*half)));
    let halves = first | last.wrapping_shl(((four.len() - 4) as u32).wrapping_mul(8));
    let some = select_unpredictable(bytes.is_empty(), &[0][..], bytes);
    let (middle, last) = (some.len() / 2, some.len() - 1);
    let three = shifted(some, 0) | shifted(some, middle) | shifted(some, last);
    select_unpredictable(enough, halves, three)
}

/// The byte at `index`, at its place in a word.
#[inline(always)]
fn shifted(bytes: &[u8], index: usize) -> u64 {
    u64::from(bytes[index]).wrapping_shl((index as u32).wrapping_mul(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_zero() {
        let bytes: Vec<u8> = (1..=40).collect();
        for len in 0..bytes.len() {
            let mut padded = [0; 8];
            padded[..len.min(8)].copy_from_slice(&bytes[..len.min(8)]);
            assert_eq!(first_eight(&bytes[..len]), u64::from_le_bytes(padded), "{len}");
        }
    }

    #[test]
    fn bytes_may_be_more_than_a_shift_can_count() {
        // Zeros that are never touched take up no memory.
        let bytes = vec![0_u8; (1 << 29) + 16];
        assert_eq!(first_eight(&bytes), 0);
    }
}
