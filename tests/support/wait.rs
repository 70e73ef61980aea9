//! Awaiting conditions, with a deadline: tests never guess how long something takes.

use std::time::{Duration, Instant};

/// Longest that any condition of a test may take, on a slow and busy machine: the longest that is
/// awaited take a few seconds on a quiet one. A hang costs this long.
pub const DEADLINE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(5);

/// Waits until `condition` holds; panics, naming it, when that takes too long.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// Waits for `value` to be there.
pub fn wait_for<T>(what: &str, mut value: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = value() {
            return value;
        }
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} for {what}");
        // Not a guess at a duration: the pause between two looks at the condition.
        std::thread::park_timeout(POLL);
    }
}
