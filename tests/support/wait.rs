//! Waiting for conditions with a deadline: tests never guess how long something takes.

use std::time::{Duration, Instant};

/// Longest wait for a condition, on a slow and busy machine; on a quiet one, the longest takes a
/// few seconds. A hang costs this long.
pub const DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(5);

/// Waits until `condition` holds; panics, and names it, at the deadline.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Waits until `value` returns something.
pub fn wait_for<T>(what: &str, mut value: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = value() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
        // The pause between two looks, not a guess at a duration.
        std::thread::park_timeout(POLL);
    }
}
