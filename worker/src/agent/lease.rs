//! The end of a session's lease, by the worker's own clock. The time is passed in; nothing here
//! reads a clock.
//!
//! The coordinator counts a worker as lost after the length of a lease without a message. So the
//! worker may rely on its session for that long after it *sent* the last acknowledged heartbeat:
//! the coordinator read it later than that. No two clocks are compared, and the clock goes on while
//! the process is stopped.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Most heartbeats that may wait for their acknowledgement. Older heartbeats would renew the lease
/// by little.
const UNACKNOWLEDGED_MAX: usize = 1_024;

/// The lease of one call.
#[derive(Debug)]
pub(super) struct Lease {
    length: Duration,
    ends: Instant,
    last_sequence: u64,
    /// Sequence number and sending time of heartbeats, oldest first.
    unacknowledged: VecDeque<(u64, Instant)>,
}

impl Lease {
    /// A lease that was granted in answer to a message sent at `asked`.
    pub(super) fn granted(asked: Instant, length: Duration) -> Self {
        Self { length, ends: asked + length, last_sequence: 0, unacknowledged: VecDeque::new() }
    }

    /// The sequence number of a heartbeat that is sent now.
    pub(super) fn beat(&mut self, now: Instant) -> u64 {
        self.last_sequence += 1;
        if self.unacknowledged.len() == UNACKNOWLEDGED_MAX {
            self.unacknowledged.pop_front();
        }
        self.unacknowledged.push_back((self.last_sequence, now));
        self.last_sequence
    }

    /// Renews the lease by an acknowledged heartbeat. Acknowledgements may be duplicated, lost, or
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

    /// When the lease ends unless it is renewed.
    pub(super) fn ends(&self) -> Instant {
        self.ends
    }

    /// Whether the lease is valid.
    pub(super) fn lasts(&self, now: Instant) -> bool {
        now < self.ends
    }

    /// The length of the lease.
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
    fn a_lease_lasts_from_the_sending_of_the_acknowledged_heartbeat() {
        let start = Instant::now();
        let mut lease = Lease::granted(start, seconds(10));
        assert!(lease.lasts(start + seconds(9)) && !lease.lasts(start + seconds(10)));
        let first = lease.beat(start + seconds(2));
        let second = lease.beat(start + seconds(4));
        assert!(second > first);
        // The delay of the answer makes no difference.
        lease.acknowledged(first);
        assert_eq!(lease.ends(), start + seconds(12));
        lease.acknowledged(second);
        assert_eq!(lease.ends(), start + seconds(14));
    }

    #[test]
    fn unknown_and_repeated_acknowledgements_renew_nothing() {
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
    fn unanswered_heartbeats_are_dropped_beyond_their_bound() {
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
