//! Counts the bytes on the heap, so that memory of user code is seen as well.
//!
//! Each thread counts for itself and publishes every 64 KiB, so that threads do not contend for one
//! counter; the sum is off by at most that much for each thread. This allocator adds nothing else
//! to the system's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering};

/// Most bytes that a thread leaves unpublished.
const BATCH_BYTES: i64 = 64 << 10;

/// The published sum; always 0 where the allocator is not installed.
static TOLD_BYTES: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static UNTOLD: Untold = const { Untold(Cell::new(0)) };
}

/// Bytes that the thread has allocated since it last published, less those that it has freed.
struct Untold(Cell<i64>);

impl Untold {
    #[inline]
    fn add(&self, bytes: i64) {
        let sum = self.0.get() + bytes;
        if sum.abs() < BATCH_BYTES {
            self.0.set(sum);
        } else {
            self.0.set(0);
            tell(sum);
        }
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        tell(self.0.take());
    }
}

#[cold]
fn tell(bytes: i64) {
    TOLD_BYTES.fetch_add(bytes, Ordering::Relaxed);
}

#[inline]
fn count(bytes: i64) {
    // A thread without a counter is about to end.
    if UNTOLD.try_with(|untold| untold.add(bytes)).is_err() {
        tell(bytes);
    }
}

/// Bytes that are allocated now, by the whole process; 0 where [`CountingAllocator`] is not
/// installed. O(1).
pub fn heap_bytes() -> u64 {
    u64::try_from(TOLD_BYTES.load(Ordering::Relaxed)).unwrap_or(0)
}

/// The system's allocator, with a count of what is allocated. Where a program installs it, a job
/// spills earlier when its own code holds much memory, and so keeps within `--memory`:
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: windrow_worker::CountingAllocator = windrow_worker::CountingAllocator;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAllocator;

// SAFETY: all calls go to the system's allocator unchanged. Counting does not allocate, unwind or
// change a result.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for CountingAllocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller upholds the same contract.
        unsafe { System.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size as i64 - layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.realloc(memory, layout, new_size) }
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// Makes the C library return freed memory, large pieces at once, and keep few pools of small ones:
/// otherwise a process keeps far more than it uses. To be called at the start of a program; does
/// nothing for libraries other than glibc.
pub fn give_back_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const LARGE_BYTES: libc::c_int = 2 << 20;
        const KEPT_BYTES: libc::c_int = 4 << 20;
        const POOLS: libc::c_int = 4;
        let settings = [
            (libc::M_MMAP_THRESHOLD, LARGE_BYTES),
            (libc::M_TRIM_THRESHOLD, KEPT_BYTES),
            (libc::M_ARENA_MAX, POOLS),
        ];
        for (setting, value) in settings {
            // SAFETY: changes no memory that is in use. A refused setting stays as it was.
            #[allow(unsafe_code)]
            let _ = unsafe { libc::mallopt(setting, value) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_leaves_few_bytes_unpublished() {
        let untold = Untold(Cell::new(0));
        untold.add(BATCH_BYTES - 1);
        assert_eq!(untold.0.get(), BATCH_BYTES - 1);
        untold.add(1);
        assert_eq!(untold.0.get(), 0);
        untold.add(-5);
        assert_eq!(untold.0.take(), -5);
    }
}
