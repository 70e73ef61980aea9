//! Masks of blocks with SSE2.

use std::arch::x86_64::{
    __m128i, _mm_andnot_si128, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8,
    _mm_or_si128, _mm_set1_epi8, _mm_sub_epi8,
};

use super::BLOCK_BYTES;

/// Sixteen bytes.
type Vector = __m128i;

const VECTOR_BYTES: usize = size_of::<Vector>();

/// An instruction on vectors.
macro_rules! sse2 {
    ($call:expr) => {{
        #[allow(unsafe_code)]
        // SAFETY: every x86-64 processor has SSE2, and only the load accesses memory.
        unsafe {
            $call
        }
    }};
}

/// Which bytes are ASCII whitespace: space, tab, line feed, form feed, carriage return.
#[inline(always)]
pub(super) fn whitespace(block: &[u8; BLOCK_BYTES]) -> u64 {
    let (space, tab, vertical_tab) = (splat(b' '), splat(b'\t'), splat(0x0b));
    let width = splat(b'\r' - b'\t');
    mask(block, |bytes| {
        let from_tab = sse2!(_mm_sub_epi8(bytes, tab));
        let controls = equal(sse2!(_mm_min_epu8(from_tab, width)), from_tab);
        let controls = sse2!(_mm_andnot_si128(equal(bytes, vertical_tab), controls));
        either(controls, equal(bytes, space))
    })
}

/// Which bytes are one of `wanted`.
#[inline(always)]
pub(super) fn any_of<const N: usize>(block: &[u8; BLOCK_BYTES], wanted: &[u8; N]) -> u64 {
    mask(block, |bytes| {
        wanted.iter().fold(splat(0), |all, one| either(all, equal(bytes, splat(*one))))
    })
}

/// One bit for each byte for which `is_wanted` sets all bits.
#[inline(always)]
fn mask(block: &[u8; BLOCK_BYTES], is_wanted: impl Fn(Vector) -> Vector) -> u64 {
    let (vectors, _) = block.as_chunks::<VECTOR_BYTES>();
    vectors.iter().rev().fold(0, |mask, vector| {
        let bits = sse2!(_mm_movemask_epi8(is_wanted(load(vector))));
        mask << VECTOR_BYTES | u64::from(bits as u16)
    })
}

#[inline(always)]
fn load(bytes: &[u8; VECTOR_BYTES]) -> Vector {
    // The load reads exactly these bytes, and needs no alignment.
    sse2!(_mm_loadu_si128(bytes.as_ptr().cast()))
}

#[inline(always)]
fn splat(byte: u8) -> Vector {
    sse2!(_mm_set1_epi8(byte as i8))
}

/// All bits of each byte that is equal in both.
#[inline(always)]
fn equal(a: Vector, b: Vector) -> Vector {
    sse2!(_mm_cmpeq_epi8(a, b))
}

#[inline(always)]
fn either(a: Vector, b: Vector) -> Vector {
    sse2!(_mm_or_si128(a, b))
}
