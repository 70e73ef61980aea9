//! Pauses between attempts to reach the coordinator.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Doubles from one pause to the next. Each is varied at random, so that a cluster's workers do not come back all at
/// once.
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The next pause: at least half of its nominal length.
    pub(super) fn pause(&mut self) -> Duration {
        let nominal = self.next;
        self.next = (nominal * 2).min(LONGEST);
        // Each `RandomState` has keys of its own.
        let random = RandomState::new().hash_one(()) % 1_000;
        nominal / 2 + (nominal / 2).mul_f64(random as f64 / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_bound() {
        let mut backoff = Backoff::new();
        assert!(backoff.pause() <= FIRST);
        let last = (0..20).map(|_| backoff.pause()).last().unwrap();
        assert!(last >= LONGEST / 2 && last <= LONGEST, "{last:?}");
    }
}
