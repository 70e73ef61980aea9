//! Words between whitespace.

use std::ops::Range;

use super::{BLOCK_BYTES, block, block_at};

/// Calls `each` with the range of every word: a maximal run of bytes other than ASCII whitespace,
/// as [`str::split_ascii_whitespace`] defines it. Words of valid UTF-8 are valid UTF-8. Stops at
/// the first error.
///
/// ```
/// use windrow_jobs::scan;
///
/// let text = "  make hay\nwhile";
/// let mut words = Vec::new();
/// scan::words(text.as_bytes(), |word| {
///     words.push(&text[word]);
///     Ok::<(), ()>(())
/// })?;
/// assert_eq!(words, ["make", "hay", "while"]);
/// # Ok::<(), ()>(())
/// ```
#[inline]
pub fn words<E>(
    bytes: &[u8],
    mut each: impl FnMut(Range<usize>) -> Result<(), E>,
) -> Result<(), E> {
    // The start of the current word, or of the next one.
    let mut start = 0;
    let mut after_space = 1;
    for base in (0..bytes.len()).step_by(BLOCK_BYTES) {
        let spaces = block_at(bytes, base, b' ', block::whitespace);
        let before = spaces << 1 | after_space;
        let mut starts = !spaces & before;
        let mut ends = spaces & !before;
        let mut next_start = || {
            let start = base + starts.trailing_zeros() as usize;
            starts &= starts.wrapping_sub(1);
            start
        };
        if after_space != 0 {
            start = next_start();
        }
        while ends != 0 {
            each(start..base + ends.trailing_zeros() as usize)?;
            ends &= ends - 1;
            start = next_start();
        }
        after_space = spaces >> (BLOCK_BYTES - 1);
    }
    // A word that fills its block to the last byte ends here.
    if after_space == 0 { each(start..bytes.len()) } else { Ok(()) }
}
