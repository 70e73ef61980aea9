//! The code that an input runs.
//!
//! In a build by `fuzz/run`, LLVM puts an 8-bit counter into each branch of Windrow's own crates,
//! except this one, and registers the counters before `main`. Other builds have none: then no input
//! is ever new, and mutation is blind.

use std::sync::{Mutex, PoisonError};

/// The counters of all modules, used by one fuzzer at a time.
static REGIONS: Mutex<Vec<Region>> = Mutex::new(Vec::new());

/// Counters that were linked together.
struct Region {
    start: *mut u8,
    bytes: usize,
}

// SAFETY: the pointer is to memory that belongs to no thread.
#[allow(unsafe_code)]
unsafe impl Send for Region {}

impl Region {
    /// The counters, while no fuzzed code runs.
    #[allow(unsafe_code)]
    fn counters(&mut self) -> &mut [u8] {
        // SAFETY: the counters live as long as the process, as their registration promises. Only
        // fuzzed code changes them; it runs on this thread, which is here now, and this crate has
        // no counters.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.bytes) }
    }
}

/// Called by each instrumented module before `main`, with the bounds of its counters.
///
/// # Safety
/// The bounds must enclose counters that live as long as the process.
#[allow(unsafe_code)] // The name is what LLVM calls.
#[unsafe(no_mangle)]
unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, end: *mut u8) {
    let mut regions = REGIONS.lock().unwrap_or_else(PoisonError::into_inner);
    // Modules that were linked together share one region, and each registers it.
    if start < end && regions.iter().all(|known| known.start != start) {
        regions.push(Region { start, bytes: end.addr() - start.addr() });
    }
}

/// What has been seen so far: for each counter, its orders of magnitude.
#[derive(Default)]
pub(crate) struct Coverage {
    seen: Vec<u8>,
    branches: usize,
}

impl Coverage {
    /// Resets the counters before an input.
    pub(crate) fn reset() {
        let mut regions = REGIONS.lock().unwrap_or_else(PoisonError::into_inner);
        regions.iter_mut().for_each(|region| region.counters().fill(0));
    }

    /// Whether the input did something new.
    pub(crate) fn is_new(&mut self) -> bool {
        let mut regions = REGIONS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_new = false;
        let mut start = 0;
        for counters in regions.iter_mut().map(Region::counters) {
            is_new |= self.take_in(start, counters);
            start += counters.len();
        }
        is_new
    }

    /// Branches that have been taken at least once.
    pub(crate) fn branches(&self) -> usize {
        self.branches
    }

    /// Adds the counters from number `start` on. Nearly all are zero.
    fn take_in(&mut self, start: usize, counters: &[u8]) -> bool {
        let mut is_new = false;
        self.seen.resize(self.seen.len().max(start + counters.len()), 0);
        let seen = self.seen[start..].chunks_mut(64);
        for (counts, seen) in
            counters.chunks(64).zip(seen).filter(|(counts, _)| counts.iter().any(|n| *n != 0))
        {
            for (count, seen) in counts.iter().zip(seen).filter(|(count, _)| **count > 0) {
                // The bit for its order of magnitude: 1, 2 to 3, 4 to 7 and so on.
                let magnitude = 1 << (7 - count.leading_zeros());
                self.branches += usize::from(*seen == 0);
                is_new |= *seen & magnitude == 0;
                *seen |= magnitude;
            }
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_read_and_reset_where_it_lies() {
        let mut counters = [0, 3, 0];
        let mut region = Region { start: counters.as_mut_ptr(), bytes: 2 };
        assert_eq!(region.counters(), [0, 3]);
        region.counters().fill(1);
        assert_eq!(counters, [1, 1, 0]);
    }

    #[test]
    fn branches_and_orders_of_magnitude_are_new_once() {
        let mut coverage = Coverage::default();
        let mut try_counts = |counts: &[u8]| coverage.take_in(100, counts);
        assert!(!try_counts(&[0, 0]));
        assert!(try_counts(&[0, 1]));
        assert!(!try_counts(&[0, 1]));
        assert!(try_counts(&[0, 4]));
        assert!(!try_counts(&[0, 7]));
        assert!(try_counts(&[255, 0, 0]));
        assert_eq!(coverage.branches(), 2);
    }
}
