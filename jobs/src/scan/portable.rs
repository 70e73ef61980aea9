//! Masks of blocks in 64-bit arithmetic, eight bytes at a time.

use super::BLOCK_BYTES;

const ONES: u64 = u64::from_ne_bytes([1; 8]);
const LOW_BITS: u64 = ONES * 0x7f;

/// Which bytes are ASCII whitespace: space, tab, line feed, form feed, carriage return.
pub(super) fn whitespace(block: &[u8; BLOCK_BYTES]) -> u64 {
    any_of(block, b" \t\n\x0c\r")
}

/// Which bytes are one of `wanted`.
pub(super) fn any_of<const N: usize>(block: &[u8; BLOCK_BYTES], wanted: &[u8; N]) -> u64 {
    let (words, _) = block.as_chunks::<8>();
    words.iter().rev().fold(0, |mask, word| {
        let word = u64::from_le_bytes(*word);
        let found =
            wanted.iter().fold(0, |all, byte| all | zeros(word ^ (ONES * u64::from(*byte))));
        mask << 8 | gathered(found)
    })
}

/// The high bit of each byte that is zero, and no other bit. No sum carries into the next byte.
fn zeros(word: u64) -> u64 {
    !(((word & LOW_BITS) + LOW_BITS) | word | LOW_BITS)
}

/// The high bits of eight bytes, adjacent. The multiplication moves the bit of byte `i` to bit `56
/// + i`; no two bits collide.
fn gathered(high_bits: u64) -> u64 {
    (high_bits >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}
