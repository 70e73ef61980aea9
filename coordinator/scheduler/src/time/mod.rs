//! Time as the scheduler sees it: an argument.

pub(crate) mod backoff;
mod clock;
mod deadlines;

use std::ops::Add;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use clock::Clock;
pub(crate) use deadlines::Deadlines;
pub use deadlines::Timer;

/// A moment on the coordinator's monotonic clock. After a takeover it continues from its last
/// value; the time in between does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Time(pub Duration);

impl Time {
    /// Time that has passed since `earlier`; zero if that lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}
