//! Positions of given bytes.

use super::{BLOCK_BYTES, block, block_at};

/// The positions of all bytes that are one of `wanted`, ascending: for formats structured by a few
/// single bytes, such as delimiter, quote and line feed.
///
/// ```
/// let ends: Vec<usize> = windrow_jobs::scan::positions(b"a,b\nc", *b",\n").collect();
/// assert_eq!(ends, [1, 3]);
/// ```
#[inline]
pub fn positions<const N: usize>(bytes: &[u8], wanted: [u8; N]) -> Positions<'_, N> {
    const { assert!(N > 0) };
    Positions { bytes, wanted, next_block: 0, found: 0 }
}

/// See [`positions`].
#[derive(Clone, Debug)]
pub struct Positions<'a, const N: usize> {
    bytes: &'a [u8],
    wanted: [u8; N],
    next_block: usize,
    /// The remaining matches in the current block.
    found: u64,
}

impl<const N: usize> Iterator for Positions<'_, N> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.found == 0 {
            if self.next_block >= self.bytes.len() {
                return None;
            }
            let mask = |block: &_| block::any_of(block, &self.wanted);
            // The filler may be wanted, so matches beyond the end are masked out.
            let found = block_at(self.bytes, self.next_block, 0, mask);
            let rest = self.bytes.len() - self.next_block;
            self.found = if rest < BLOCK_BYTES { found & ((1 << rest) - 1) } else { found };
            self.next_block += BLOCK_BYTES;
        }
        let position = self.next_block - BLOCK_BYTES + self.found.trailing_zeros() as usize;
        self.found &= self.found - 1;
        Some(position)
    }
}
