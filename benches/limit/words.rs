//! Finds the words of a text, 64 bytes at a time.

/// Calls `found(start, end)` for each run of bytes other than ASCII whitespace.
#[inline(always)]
pub fn for_each_word(bytes: &[u8], mut found: impl FnMut(usize, usize)) {
    let (blocks, rest) = bytes.as_chunks::<64>();
    let mut last = [b' '; 64];
    last[..rest.len()].copy_from_slice(rest);
    let mut start = 0;
    // Bit 0: whether the byte before the block is blank.
    let mut before = 1;
    for (n, block) in blocks.iter().chain(std::iter::once(&last)).enumerate() {
        let blank = blanks(block);
        // Each byte that differs from the byte before: words begin and end there.
        let mut edges = blank ^ (blank << 1 | before);
        before = blank >> 63;
        while edges != 0 {
            let bit = edges.trailing_zeros() as usize;
            edges &= edges - 1;
            let at = n * 64 + bit;
            if blank >> bit & 1 == 0 { start = at } else { found(start, at) }
        }
    }
    if before == 0 {
        found(start, bytes.len());
    }
}

/// A bit for each blank byte.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn blanks(block: &[u8; 64]) -> u64 {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8, _mm_sub_epi8,
    };
    let mut mask = 0;
    for (n, sixteen) in block.as_chunks::<16>().0.iter().enumerate() {
        // SAFETY: 16 bytes are readable there, and SSE2 is part of x86-64.
        #[allow(unsafe_code)]
        let bits = unsafe {
            let bytes = _mm_loadu_si128(sixteen.as_ptr().cast::<__m128i>());
            let space = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(b' ' as i8));
            // Tab to carriage return are 9 to 13; vertical tab, 11, does not count as blank.
            let from_tab = _mm_sub_epi8(bytes, _mm_set1_epi8(9));
            let control = _mm_cmpeq_epi8(_mm_min_epu8(from_tab, _mm_set1_epi8(4)), from_tab);
            let vertical = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(11));
            let control = std::arch::x86_64::_mm_andnot_si128(vertical, control);
            _mm_movemask_epi8(_mm_or_si128(space, control))
        };
        mask |= u64::from(bits as u16) << (n * 16);
    }
    mask
}

/// A bit for each blank byte.
#[cfg(not(target_arch = "x86_64"))]
fn blanks(block: &[u8; 64]) -> u64 {
    let bits = block.iter().enumerate().map(|(n, byte)| u64::from(byte.is_ascii_whitespace()) << n);
    bits.fold(0, |mask, bit| mask | bit)
}
