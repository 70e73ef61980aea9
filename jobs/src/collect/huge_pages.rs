//! Asks the operating system for huge pages under large tables: with small pages, a random access
//! takes as long to find the page as to read it. Only a hint, and only on Linux.

use std::mem::MaybeUninit;

/// Memory smaller than this is left as it is.
#[cfg(target_os = "linux")]
const BYTES_MIN: usize = 4 << 20;
#[cfg(target_os = "linux")]
const PAGE_BYTES: usize = 4096;

/// Asks for huge pages under `memory`, best before it is first written.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(super) fn advise<T>(memory: &[T]) {
    use rustix::mm::{Advice, madvise};
    let Some((start, bytes)) = whole_pages(memory) else { return };
    // SAFETY: the advice changes no content, and these pages hold nothing but `memory`. If the
    // system ignores it, access is only slower.
    let _ = unsafe { madvise(start.cast_mut().cast(), bytes, Advice::LinuxHugepage) };
}

/// Frees the pages under `memory`, so that it gets huge pages when it is next written.
pub(super) fn renew(memory: &mut [MaybeUninit<u8>]) {
    release(memory);
    advise(memory);
}

/// Frees the pages under `memory`, which keeps its address. Its content is lost.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
pub(super) fn release<T>(memory: &mut [MaybeUninit<T>]) {
    use rustix::mm::{Advice, madvise};
    let Some((start, bytes)) = whole_pages(memory) else { return };
    // SAFETY: these pages hold nothing but `memory`, whose content the caller does not rely on; it
    // only becomes zeros.
    let _ = unsafe { madvise(start.cast_mut().cast(), bytes, Advice::LinuxDontNeed) };
}

/// The pages entirely within `memory`, if it is large.
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

/// Does nothing on other systems.
#[cfg(not(target_os = "linux"))]
pub(super) fn advise<T>(_memory: &[T]) {}

/// Does nothing on other systems.
#[cfg(not(target_os = "linux"))]
pub(super) fn release<T>(_memory: &mut [MaybeUninit<T>]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_around_renewed_pages_is_unchanged() {
        let mut bytes = vec![7_u8; 6 << 20];
        let len = bytes.len();
        bytes.truncate(100);
        renew(bytes.spare_capacity_mut());
        assert!(bytes.iter().all(|byte| *byte == 7));
        bytes.resize(len, 8);
        assert!(bytes[100..].iter().all(|byte| *byte == 8));
    }
}
