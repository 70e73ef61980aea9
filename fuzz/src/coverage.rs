//! Which code a try has run.
//!
//! A build by `fuzz/run` has a counter of eight bits in each branch of Windrow's own crates, which LLVM puts there and
//! tells us of before `main`. Any other build has none; then nothing is ever new, and inputs are changed blindly.

use std::sync::Mutex;
use std::sync::PoisonError;

/// Counters of all modules. One fuzzer at a time uses them.
static REGIONS: Mutex<Vec<&'static mut [u8]>> = Mutex::new(Vec::new());

/// Called by each instrumented module before `main`, with where its counters begin and end.
///
/// # Safety
/// The two must enclose counters that exist for as long as the process.
#[allow(unsafe_code)] // The name is what LLVM calls.
#[unsafe(no_mangle)]
unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, end: *mut u8) {
    let mut regions = REGIONS.lock().unwrap_or_else(PoisonError::into_inner);
    // Modules that were linked together share one region, and each tells of it.
    if start < end && regions.iter().all(|known| known.as_ptr() != start) {
        // SAFETY: by the caller's promise. Instrumented code counts in them from one thread at a time, that of the fuzzer;
        // what other threads do there at the same time makes a count wrong, and is not read as anything else.
        regions.push(unsafe {
            std::slice::from_raw_parts_mut(start, end.offset_from_unsigned(start))
        });
    }
}

/// What has been seen so far: for each counter, the orders of magnitude that it has had.
#[derive(Default)]
pub(crate) struct Coverage {
    seen: Vec<u8>,
    branches: usize,
}

impl Coverage {
    /// Begins a try.
    pub(crate) fn reset() {
        let mut regions = REGIONS.lock().unwrap_or_else(PoisonError::into_inner);
        regions.iter_mut().for_each(|counters| counters.fill(0));
    }

    /// Whether the try has done what none has done before.
    pub(crate) fn is_new(&mut self) -> bool {
        let regions = REGIONS.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_new = false;
        let mut start = 0;
        for counters in regions.iter() {
            is_new |= self.take_in(start, counters);
            start += counters.len();
        }
        is_new
    }

    /// Branches that have been taken at least once.
    pub(crate) fn branches(&self) -> usize {
        self.branches
    }

    /// Takes in counters of which the first has number `start`. Nearly all of them are zero.
    fn take_in(&mut self, start: usize, counters: &[u8]) -> bool {
        let mut is_new = false;
        self.seen.resize(self.seen.len().max(start + counters.len()), 0);
        let seen = self.seen[start..].chunks_mut(64);
        for (counts, seen) in
            counters.chunks(64).zip(seen).filter(|(counts, _)| counts.iter().any(|n| *n != 0))
        {
            for (count, seen) in counts.iter().zip(seen).filter(|(count, _)| **count > 0) {
                // The number of its bits: 1, 2 to 3, 4 to 7 and so on.
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
