//! The log of refused callers: one line a second, and a count of the others, so that refused
//! callers cannot fill a log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The pause between two lines.
const EVERY: Duration = Duration::from_secs(1);

/// Rate limit of log lines. Cheap to clone; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// When the next line may be logged.
    next: Option<Instant>,
    /// Lines suppressed since the last one.
    unsaid: u64,
}

impl Refusals {
    /// Lets `say` log a line, or counts it as suppressed. Must be called on a runtime.
    pub fn say(&self, say: impl FnOnce()) {
        let now = Instant::now();
        let mut state = self.state();
        let Some(next) = state.next.filter(|next| now < *next) else {
            state.next = Some(now + EVERY);
            drop(state);
            return say();
        };
        state.unsaid += 1;
        if state.unsaid == 1 {
            let refusals = self.clone();
            tokio::spawn(async move {
                sleep_until(next).await;
                refusals.say_how_many();
            });
        }
    }

    fn say_how_many(&self) {
        let count = {
            let mut state = self.state();
            state.next = Some(Instant::now() + EVERY);
            std::mem::take(&mut state.unsaid)
        };
        tracing::info!(count, "other callers were refused within a second");
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_refusals_logs_one_line_a_second() {
        let refusals = Refusals::default();
        let (mut lines, mut calls) = (0, 0);
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            refusals.say(|| lines += 1);
            calls += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(calls >= 9_000);
        // Lines with a count of suppressed ones are rate-limited, too.
        assert!(lines <= 10, "{lines}");
        tokio::time::sleep(EVERY).await;
        assert_eq!(refusals.state().unsaid, 0);
    }
}
