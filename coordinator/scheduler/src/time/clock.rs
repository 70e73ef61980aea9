//! The scheduler's time, which stands still while the journal does not answer.
//!
//! A coordinator whose store hangs cannot know whether it is still in charge. If the store
//! completes nothing for half a lease, the coordinator decides nothing more and acknowledges no
//! worker until the store answers: so the workers' leases end, and they look for the coordinator in
//! charge. Since no time passes for the scheduler meanwhile, it loses no worker that it could not
//! hear. The workers' own clocks go on: their leases end before the scheduler's do.
//!
//! The same applies to a coordinator that was suspended itself, with its machine or by a signal:
//! heartbeats that came meanwhile wait in its sockets, and that time must not count against the
//! leases. It detects the suspension by [looking](Clock::look) later than it meant to.
//!
//! It reads no clock: real time is an argument, counted from the start of the coordinator.

use std::time::Duration;

use crate::time::Time;

/// The store may take 1/`STORE_PER_LEASE` of a lease.
const STORE_PER_LEASE: u32 = 2;

/// Two looks at the clock may lie 1/`LOOK_PER_LEASE` of a lease apart.
const LOOK_PER_LEASE: u32 = 8;
/// A look that is late by 1/`STALL_PER_LEASE` of a lease is a suspension; less may be a busy
/// machine.
const STALL_PER_LEASE: u32 = 16;
const _: () = assert!(
    // 1 / LOOK + 1 / STALL < 1 / STORE
    STORE_PER_LEASE * (LOOK_PER_LEASE + STALL_PER_LEASE) < LOOK_PER_LEASE * STALL_PER_LEASE,
    "a coordinator detects its suspension before its clock lets it decide anything"
);

/// Derives the scheduler's time from real time.
#[derive(Clone, Debug)]
pub struct Clock {
    /// The time at the start.
    base: Time,
    lease: Duration,
    /// When to look at it again at the latest.
    looks_at: Duration,
    /// When the oldest unanswered call was sent to the store.
    asked: Option<Duration>,
    stands_since: Option<Duration>,
    /// How long it has stood still in total.
    stood: Duration,
}

impl Clock {
    /// A clock that shows `base` at the start of a coordinator that grants leases of this length.
    pub fn new(base: Time, lease: Duration) -> Self {
        debug_assert!(!lease.is_zero(), "a lease is positive");
        let looks_at = lease / LOOK_PER_LEASE;
        Self { base, lease, looks_at, asked: None, stands_since: None, stood: Duration::ZERO }
    }

    /// Looks at the clock, as the coordinator must from time to time. If the look is so late that
    /// the coordinator was suspended, time stands still from the moment at which it was due until
    /// [`store_done`](Self::store_done), and the length of the suspension is returned.
    pub fn look(&mut self, real: Duration) -> Option<Duration> {
        let due = std::mem::replace(&mut self.looks_at, real + self.lease / LOOK_PER_LEASE);
        let late = real.saturating_sub(due);
        if self.stands_still() || late <= self.lease / STALL_PER_LEASE {
            return None;
        }
        self.stands_since = Some(due);
        Some(late)
    }

    /// When to look at it again; `None` while it stands still.
    pub fn looks_at(&self) -> Option<Duration> {
        (!self.stands_still()).then_some(self.looks_at)
    }

    /// The time that it shows.
    pub fn time(&self, real: Duration) -> Time {
        let goes_until = self.stands_since.unwrap_or(real);
        debug_assert!(self.stood <= goes_until, "it has not stood still for longer than it exists");
        self.base + goes_until.saturating_sub(self.stood)
    }

    /// When it will show `time`; `None` while it stands still.
    pub fn when(&self, time: Time) -> Option<Duration> {
        (!self.stands_still()).then(|| time.since(self.base).saturating_add(self.stood))
    }

    /// Notes a call to the store, or its repetition.
    pub fn store_asked(&mut self, real: Duration) {
        let asked = *self.asked.get_or_insert(real);
        debug_assert!(asked <= real, "the first call counts: a repetition gives no time");
    }

    /// Notes that the store has completed the call. If time goes on again by that, returns how long
    /// it stood still.
    pub fn store_done(&mut self, real: Duration) -> Option<Duration> {
        self.asked = None;
        let since = self.stands_since.take()?;
        debug_assert!(since <= real, "it stood still since an earlier moment");
        let stood = real.saturating_sub(since);
        self.stood += stood;
        self.looks_at = real + self.lease / LOOK_PER_LEASE;
        Some(stood)
    }

    /// When it will stand still, unless the store completes the call before.
    pub fn stops_at(&self) -> Option<Duration> {
        if self.stands_still() { None } else { Some(self.asked? + self.lease / STORE_PER_LEASE) }
    }

    /// Stops it if it is due. True if it has just stopped.
    pub fn stop_if_due(&mut self, real: Duration) -> bool {
        let is_due = self.stops_at().is_some_and(|at| at <= real);
        if is_due {
            self.stands_since = Some(real);
        }
        is_due
    }

    /// Whether nothing must be decided or acknowledged.
    pub fn stands_still(&self) -> bool {
        self.stands_since.is_some()
    }
}
