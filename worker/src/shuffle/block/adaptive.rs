//! Decides whether a costly step is worth trying again.

/// After so many failures in a row, it is rarely tried.
const PATIENCE: u32 = 4;

/// How rarely: for one block in so many.
const RETRY_BLOCKS: u32 = 16;

/// Remembers the results of recent trials.
#[derive(Debug, Default)]
pub struct Adaptive {
    failures: u32,
    skipped: u32,
}

impl Adaptive {
    /// Whether to try it on the next block.
    pub fn is_due(&mut self) -> bool {
        if self.failures < PATIENCE {
            return true;
        }
        self.skipped = (self.skipped + 1) % RETRY_BLOCKS;
        self.skipped == 0
    }

    /// Records the result of a trial.
    pub fn report(&mut self, has_paid: bool) {
        self.failures = if has_paid { 0 } else { self.failures.saturating_add(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_step_is_rarely_tried_until_it_pays_again() {
        let mut adaptive = Adaptive::default();
        let mut trials = |blocks: usize, pays: bool| {
            let mut trials = 0;
            for _ in 0..blocks {
                if adaptive.is_due() {
                    trials += 1;
                    adaptive.report(pays);
                }
            }
            trials
        };
        assert_eq!(trials(4, false), 4);
        assert_eq!(trials(160, false), 10);
        assert_eq!(trials(116, true), 101, "the 16th pays, and then all are tried");
    }
}
