//! Deadlines: at most one for each timer.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use windrow_model::{AttemptId, JobId, TaskId, WorkerId};

use crate::time::Time;

/// What a deadline is for. The order breaks ties between deadlines at the same moment: leases
/// first, so that an attempt is not blamed for the silence of its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Timer {
    /// The worker's lease runs out.
    Lease(WorkerId),
    /// The attempt has made no progress for too long.
    Stalled(AttemptId),
    /// The failed task may be tried again.
    Retry(TaskId),
    /// The quarantine of this worker identity is over.
    Quarantine(u64),
    /// The job has waited for workers for too long.
    NoWorkers(JobId),
    /// The job may be published again.
    Publish(JobId),
    /// The job has avoided the worker for long enough.
    Avoided(JobId, WorkerId),
}

/// All deadlines, by timer and by time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deadlines {
    times: BTreeMap<Timer, Time>,
    order: BTreeSet<(Time, Timer)>,
}

impl Deadlines {
    /// Sets the timer, or moves it.
    pub(crate) fn set(&mut self, timer: Timer, at: Time) {
        if let Some(former) = self.times.insert(timer, at) {
            self.order.remove(&(former, timer));
        }
        let added = self.order.insert((at, timer));
        debug_assert!(added, "a timer runs once");
        debug_assert_eq!(self.times.len(), self.order.len(), "both indices agree");
    }

    /// Stops the timer, if it runs.
    pub(crate) fn clear(&mut self, timer: Timer) {
        if let Some(at) = self.times.remove(&timer) {
            let removed = self.order.remove(&(at, timer));
            debug_assert!(removed, "both indices agree");
        }
        debug_assert_eq!(self.get(timer), None, "the timer is stopped");
    }

    /// When the timer fires.
    pub(crate) fn get(&self, timer: Timer) -> Option<Time> {
        self.times.get(&timer).copied()
    }

    /// When the first timer fires.
    pub(crate) fn next(&self) -> Option<Time> {
        self.order.first().map(|&(at, _)| at)
    }

    /// The timers that fire at or before `now`, in order.
    pub(crate) fn due(&self, now: Time) -> impl Iterator<Item = Timer> {
        self.order.iter().take_while(move |(at, _)| *at <= now).map(|(_, timer)| *timer)
    }

    /// Stops the timer and returns whether it was due at `now`.
    pub(crate) fn take(&mut self, timer: Timer, now: Time) -> bool {
        let due = self.get(timer).is_some_and(|at| at <= now);
        debug_assert!(
            !due || self.next().is_some_and(|next| next <= now),
            "a timer that is due is not after the first deadline"
        );
        if due {
            self.clear(timer);
        }
        due
    }

    /// How many timers run.
    pub(crate) fn len(&self) -> usize {
        debug_assert_eq!(self.times.len(), self.order.len(), "a timer has one time");
        self.times.len()
    }
}
