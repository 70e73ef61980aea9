//! The scheduler's time, which stands still while the journal does not answer.
//!
//! A coordinator whose store hangs cannot know whether it is still in charge. If nothing was done
//! for half a lease, it decides nothing more and acknowledges no worker, as if it were asleep,
//! until the store has done what it was asked for: so workers find their leases at an end, and look
//! for whoever is in charge. Since no time passes for the scheduler meanwhile, it gives nobody up
//! whom it could not hear. Workers' own clocks go on: their leases end before it believes so.
//!
//! The same goes for a coordinator that was stopped itself, with its machine or by a signal: the
//! heartbeats that have come meanwhile wait in its sockets, and no lease is judged by the time in
//! which nobody read them. It finds that out by [looking](Clock::look) later than it meant to.
//!
//! It reads no clock: real time is told to it, as what has passed since the coordinator started.

use std::time::Duration;

use crate::time::Time;

/// What part of a lease the store may take.
const STORE_PER_LEASE: u32 = 2;

/// What part of a lease may pass between two looks at the clock.
const LOOK_PER_LEASE: u32 = 8;
/// By what part of a lease a look must be late to be a stall, and not a busy machine.
const STALL_PER_LEASE: u32 = 16;
const _: () = assert!(
    // 1 / LOOK + 1 / STALL < 1 / STORE
    STORE_PER_LEASE * (LOOK_PER_LEASE + STALL_PER_LEASE) < LOOK_PER_LEASE * STALL_PER_LEASE,
    "a coordinator that was stopped finds it out before it may decide anything by its clock"
);

/// Tells the scheduler's time from real time.
#[derive(Clone, Debug)]
pub struct Clock {
    /// What it showed at the start.
    base: Time,
    lease: Duration,
    /// When it is to be looked at again, whatever happens.
    looks_at: Duration,
    /// When the store was asked for what it has not done.
    asked: Option<Duration>,
    stands_since: Option<Duration>,
    /// How long it stood still before.
    stood: Duration,
}

impl Clock {
    /// A clock that shows `base` at the start of a coordinator that grants leases of this length.
    pub fn new(base: Time, lease: Duration) -> Self {
        debug_assert!(!lease.is_zero(), "it would stand still whenever the store is asked");
        let looks_at = lease / LOOK_PER_LEASE;
        Self { base, lease, looks_at, asked: None, stands_since: None, stood: Duration::ZERO }
    }

    /// The coordinator looks at the clock, as it must from time to time. If it comes so late that
    /// it must have been stopped, time stands still since it should have come, until
    /// [`store_done`](Self::store_done), and it is returned for how long it was stopped.
    pub fn look(&mut self, real: Duration) -> Option<Duration> {
        let due = std::mem::replace(&mut self.looks_at, real + self.lease / LOOK_PER_LEASE);
        let late = real.saturating_sub(due);
        if self.stands_still() || late <= self.lease / STALL_PER_LEASE {
            return None;
        }
        self.stands_since = Some(due);
        Some(late)
    }

    /// When it must be looked at again; at any time while it stands still.
    pub fn looks_at(&self) -> Option<Duration> {
        (!self.stands_still()).then_some(self.looks_at)
    }

    /// What it shows.
    pub fn time(&self, real: Duration) -> Time {
        let goes_until = self.stands_since.unwrap_or(real);
        debug_assert!(self.stood <= goes_until, "it has not stood for longer than it was there");
        self.base + goes_until.saturating_sub(self.stood)
    }

    /// When it shows `time`; never while it stands still.
    pub fn when(&self, time: Time) -> Option<Duration> {
        (!self.stands_still()).then(|| time.since(self.base).saturating_add(self.stood))
    }

    /// The store is asked for something, or once more for what it has not done.
    pub fn store_asked(&mut self, real: Duration) {
        let asked = *self.asked.get_or_insert(real);
        debug_assert!(asked <= real, "the first request counts: asking again gives no time");
    }

    /// The store has done what it was asked for. If time stood still, and now goes on, that took as
    /// long as is returned.
    pub fn store_done(&mut self, real: Duration) -> Option<Duration> {
        self.asked = None;
        let since = self.stands_since.take()?;
        debug_assert!(since <= real, "it went on before it stood still");
        let stood = real.saturating_sub(since);
        self.stood += stood;
        self.looks_at = real + self.lease / LOOK_PER_LEASE;
        Some(stood)
    }

    /// When it will stand still, if the store has not done what it was asked for by then.
    pub fn stops_at(&self) -> Option<Duration> {
        if self.stands_still() { None } else { Some(self.asked? + self.lease / STORE_PER_LEASE) }
    }

    /// Lets it stand still if it is time. True if it has just stopped.
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
