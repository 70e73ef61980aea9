//! Asks the operating system for large pages under large tables: random access to small ones costs as much in finding
//! the page as in reading it. A hint, on Linux only.

/// Smaller memory than this is left alone.
pub(super) const BYTES_MIN: usize = 4 << 20;
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
