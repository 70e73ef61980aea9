//! The first bytes of a key or word of unpredictable length, as a number.
//!
//! A mispredicted branch costs more time than the load. So nothing branches on the length: all
//! cases are computed, each within the bytes, and the right one is selected.

use std::hint::select_unpredictable;

/// The first eight bytes, big endian, padded with zeros: compares like `bytes`, except that it may
/// be equal for different ones.
#[inline]
pub fn prefix(bytes: &[u8]) -> u64 {
    first_eight(bytes).swap_bytes()
}

/// The first eight bytes, little endian, padded with zeros.
#[inline(always)]
pub(crate) fn first_eight(bytes: &[u8]) -> u64 {
    let enough = bytes.len() >= 8;
    let eight = select_unpredictable(enough, bytes, &[0; 8]);
    let eight = eight.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    select_unpredictable(enough, eight, up_to_seven(bytes))
}

/// All bytes if there are at most seven: two halves that may overlap, or three bytes. Otherwise the
/// result is unspecified.
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

/// The byte at `index`, shifted to its place in a word.
#[inline(always)]
fn shifted(bytes: &[u8], index: usize) -> u64 {
    u64::from(bytes[index]).wrapping_shl((index as u32).wrapping_mul(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_the_padded_start() {
        assert_eq!(prefix(b""), 0);
        assert_eq!(prefix(b"ab"), 0x6162_0000_0000_0000);
        assert_eq!(prefix(b"abcdefghi"), 0x6162_6364_6566_6768);
    }

    #[test]
    fn missing_bytes_are_zero() {
        let bytes: Vec<u8> = (1..=40).collect();
        for len in 0..bytes.len() {
            let mut padded = [0; 8];
            padded[..len.min(8)].copy_from_slice(&bytes[..len.min(8)]);
            assert_eq!(first_eight(&bytes[..len]), u64::from_le_bytes(padded), "{len}");
        }
    }

    #[test]
    fn long_slices_do_not_overflow_the_shift() {
        // Zeros that are never touched use no memory.
        let bytes = vec![0_u8; (1 << 29) + 16];
        assert_eq!(first_eight(&bytes), 0);
    }
}
