//! Finds bytes in text, 64 at a time: each byte of a block becomes a bit of a mask, and only set
//! bits cost time.
//!
//! Uses SSE2, which every x86-64 processor has, or 64-bit arithmetic elsewhere; nothing is detected
//! at run time. It handles only bytes: no UTF-8, no quotes.

#[cfg(any(test, not(target_arch = "x86_64")))]
mod portable;
mod positions;
#[cfg(target_arch = "x86_64")]
mod sse2;
mod words;

#[cfg(not(target_arch = "x86_64"))]
use portable as block;
#[cfg(target_arch = "x86_64")]
use sse2 as block;

pub use positions::{Positions, positions};
pub use words::words;

/// Size of a block.
const BLOCK_BYTES: usize = u64::BITS as usize;

/// The mask of the block at `start`, padded with `filler`.
#[inline]
fn block_at(
    bytes: &[u8],
    start: usize,
    filler: u8,
    mask: impl FnOnce(&[u8; BLOCK_BYTES]) -> u64,
) -> u64 {
    let rest = &bytes[start..];
    if let Some(block) = rest.first_chunk() {
        return mask(block);
    }
    let mut block = [filler; BLOCK_BYTES];
    block[..rest.len()].copy_from_slice(rest);
    mask(&block)
}

#[cfg(test)]
mod tests;
