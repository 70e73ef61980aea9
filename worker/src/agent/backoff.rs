//! Pauses between attempts to reach the coordinator.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
/// While there is nothing to lose.
const LONG: Duration = Duration::from_secs(5);
/// While there is.
const SHORT: Duration = Duration::from_secs(1);

/// Doubles from one pause to the next. Each is varied at random, so that a cluster's workers do not
/// come back all at once.
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: FIRST }
    }

    /// The next pause of a worker that has nothing.
    pub(super) fn long(&mut self) -> Duration {
        self.pause(LONG)
    }

    /// The next pause of a worker whose work is lost if it does not return soon.
    pub(super) fn short(&mut self) -> Duration {
        self.pause(SHORT)
    }

    /// At least half of its nominal length.
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
    fn pauses_grow_to_their_bound() {
        let mut backoff = Backoff::new();
        assert!(backoff.long() <= FIRST);
        let last = (0..20).map(|_| backoff.long()).last().unwrap();
        assert!(last >= LONG / 2 && last <= LONG, "{last:?}");
        let last = backoff.short();
        assert!(last >= SHORT / 2 && last <= SHORT, "{last:?}");
    }
}
