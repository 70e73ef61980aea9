//! Until when a session's lease lasts, by the worker's own clock: told the time, it reads none.
//!
//! The coordinator counts a worker as lost that it has not heard of for the length of a lease. So
//! the worker may be sure to be wanted for that long after the *sending* of the last heartbeat that
//! was acknowledged: the coordinator has read it later than that. Clocks are compared with
//! themselves alone, and they run on while the process is stopped.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Most heartbeats that may wait for their acknowledgement. Older ones would renew the lease by
/// little.
const UNACKNOWLEDGED_MAX: usize = 1_024;

/// The lease of one call.
#[derive(Debug)]
pub(super) struct Lease {
    length: Duration,
    ends: Instant,
    last_sequence: u64,
    /// Number and sending of heartbeats, oldest first.
    unacknowledged: VecDeque<(u64, Instant)>,
}

impl Lease {
    /// A lease that was granted in answer to what was sent at `asked`.
    pub(super) fn granted(asked: Instant, length: Duration) -> Self {
        Self { length, ends: asked + length, last_sequence: 0, unacknowledged: VecDeque::new() }
    }

    /// The number of a heartbeat that is sent now.
    pub(super) fn beat(&mut self, now: Instant) -> u64 {
        self.last_sequence += 1;
        if self.unacknowledged.len() == UNACKNOWLEDGED_MAX {
            self.unacknowledged.pop_front();
        }
        self.unacknowledged.push_back((self.last_sequence, now));
        self.last_sequence
    }

    /// Renews the lease by a heartbeat that was heard. Acknowledgements may be doubled, lost, or
    /// out of order.
    pub(super) fn acknowledged(&mut self, sequence: u64) {
        while let Some(&(sent, at)) = self.unacknowledged.front() {
            if sent > sequence {
                break;
            }
            self.unacknowledged.pop_front();
            if sent == sequence {
                self.ends = self.ends.max(at + self.length);
            }
        }
    }

    /// When it ends unless it is renewed.
    pub(super) fn ends(&self) -> Instant {
        self.ends
    }

    /// Whether it lasts.
    pub(super) fn lasts(&self, now: Instant) -> bool {
        now < self.ends
    }

    /// How long it lasts each time.
    pub(super) fn length(&self) -> Duration {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn it_lasts_from_the_sending_of_what_was_acknowledged() {
        let start = Instant::now();
        let mut lease = Lease::granted(start, seconds(10));
        assert!(lease.lasts(start + seconds(9)) && !lease.lasts(start + seconds(10)));
        let first = lease.beat(start + seconds(2));
        let second = lease.beat(start + seconds(4));
        assert!(second > first);
        // However late the answer is read.
        lease.acknowledged(first);
        assert_eq!(lease.ends(), start + seconds(12));
        lease.acknowledged(second);
        assert_eq!(lease.ends(), start + seconds(14));
    }

    #[test]
    fn what_was_not_sent_or_was_heard_before_renews_nothing() {
        let start = Instant::now();
        let mut lease = Lease::granted(start, seconds(10));
        lease.acknowledged(7);
        assert_eq!(lease.ends(), start + seconds(10));
        let (first, second) = (lease.beat(start + seconds(1)), lease.beat(start + seconds(2)));
        lease.acknowledged(second);
        lease.acknowledged(first);
        lease.acknowledged(second);
        assert_eq!(lease.ends(), start + seconds(12));
        lease.acknowledged(second + 1);
        assert_eq!(lease.ends(), start + seconds(12));
    }

    #[test]
    fn heartbeats_that_nobody_answers_are_forgotten() {
        let start = Instant::now();
        let mut lease = Lease::granted(start, seconds(10));
        let first = lease.beat(start + seconds(1));
        for _ in 0..UNACKNOWLEDGED_MAX {
            lease.beat(start + seconds(2));
        }
        assert_eq!(lease.unacknowledged.len(), UNACKNOWLEDGED_MAX);
        lease.acknowledged(first);
        assert_eq!(lease.ends(), start + seconds(10));
    }
}
