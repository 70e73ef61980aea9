//! Pauses between attempts to reach the coordinator.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
/// Longest pause of a worker that has nothing to lose.
const LONG: Duration = Duration::from_secs(5);
/// Longest pause of a worker that holds work.
const SHORT: Duration = Duration::from_secs(1);

/// Backoff: doubles from one pause to the next, with jitter, so that the workers of a cluster do
/// not all come back at once.
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The next pause of a worker that holds nothing.
    pub(super) fn long(&mut self) -> Duration {
        self.pause(LONG)
    }

    /// The next pause of a worker whose work is lost unless it reconnects soon.
    pub(super) fn short(&mut self) -> Duration {
        self.pause(SHORT)
    }

    /// The pause is at least half of its nominal length.
    fn pause(&mut self, longest: Duration) -> Duration {
        let nominal = self.next.min(longest);
        self.next = nominal * 2;
        // Each `RandomState` has keys of its own.
        let random = RandomState::new().hash_one(()) % 1_000;
        nominal / 2 + (nominal / 2).mul_f64(random as f64 / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_their_bound() {
        let mut backoff = Backoff::new();
        assert!(backoff.long() <= FIRST);
        let last = (0..20).map(|_| backoff.long()).last().unwrap();
        assert!(last >= LONG / 2 && last <= LONG, "{last:?}");
        let last = backoff.short();
        assert!(last >= SHORT / 2 && last <= SHORT, "{last:?}");
    }
}
