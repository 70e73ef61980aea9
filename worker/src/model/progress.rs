//! The progress of a running attempt.

use std::sync::atomic::{AtomicU64, Ordering};

/// Progress that was counted elsewhere.
#[derive(Debug, Default)]
pub struct Progress {
    records: AtomicU64,
    bytes: AtomicU64,
    steps: AtomicU64,
}

impl Progress {
    pub(crate) fn of(records: u64, bytes: u64, steps: u64) -> Self {
        Self { records: records.into(), bytes: bytes.into(), steps: steps.into() }
    }

    /// Takes over the progress of the same attempt as counted elsewhere.
    pub(crate) fn follow(&self, other: &Self) {
        let (records, bytes) = other.get();
        self.records.store(records, Ordering::Relaxed);
        self.bytes.store(bytes, Ordering::Relaxed);
        self.steps.store(other.steps(), Ordering::Relaxed);
    }

    /// Adds what was read since the last call.
    pub fn add(&self, records: u64, bytes: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A sign of life: a loop of the attempt has made another iteration.
    pub fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Number of iterations of its loops.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Records and bytes read so far.
    pub fn get(&self) -> (u64, u64) {
        (self.records.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
}
