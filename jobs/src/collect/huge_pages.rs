//! Asks the operating system for large pages under large tables: random access to small ones costs
//! as much in finding the page as in reading it. A hint, on Linux only.

use std::mem::MaybeUninit;

/// Smaller memory than this is left alone.
#[cfg(target_os = "linux")]
const BYTES_MIN: usize = 4 << 20;
#[cfg(target_os = "linux")]
const PAGE_BYTES: usize = 4096;

/// Asks for large pages under `memory`, best before it is written for the first time.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(super) fn advise<T>(memory: &[T]) {
    use rustix::mm::{Advice, madvise};
    let Some((start, bytes)) = whole_pages(memory) else { return };
    // SAFETY: the advice changes no content, and these pages hold nothing but `memory`.
    // Where it is not heeded, everything works as well, only slower.
    let _ = unsafe { madvise(start.cast_mut().cast(), bytes, Advice::LinuxHugepage) };
}

/// Gives the pages under `memory` back, so that it gets large ones when it is next written.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(super) fn renew(memory: &mut [MaybeUninit<u8>]) {
    use rustix::mm::{Advice, madvise};
    let Some((start, bytes)) = whole_pages(memory) else { return };
    // SAFETY: these pages hold nothing but `memory`, whose bytes nobody relies on. All that happens
    // to them is that they become zeros.
    let _ = unsafe { madvise(start.cast_mut().cast(), bytes, Advice::LinuxDontNeed) };
    advise(memory);
}

/// The pages that lie in `memory` from their first to their last byte, if that is large.
#[cfg(target_os = "linux")]
fn whole_pages<T>(memory: &[T]) -> Option<(*const T, usize)> {
    let bytes = size_of_val(memory);
    if bytes < BYTES_MIN || cfg!(miri) {
        return None;
    }
    let skipped = memory.as_ptr().addr().next_multiple_of(PAGE_BYTES) - memory.as_ptr().addr();
    let start = memory.as_ptr().wrapping_byte_add(skipped);
    Some((start, (bytes - skipped) / PAGE_BYTES * PAGE_BYTES))
}

/// Asks for nothing.
#[cfg(not(target_os = "linux"))]
pub(super) fn advise<T>(_memory: &[T]) {}

/// Does nothing.
#[cfg(not(target_os = "linux"))]
pub(super) fn renew(_memory: &mut [MaybeUninit<u8>]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_surrounds_renewed_memory_stays() {
        let mut bytes = vec![7_u8; 6 << 20];
        let len = bytes.len();
        bytes.truncate(100);
        renew(bytes.spare_capacity_mut());
        assert!(bytes.iter().all(|byte| *byte == 7));
        bytes.resize(len, 8);
        assert!(bytes[100..].iter().all(|byte| *byte == 8));
    }
}
