//! A publication begins when no process of the job is left: one that has kept a part open could go
//! on writing to it, after the part was checked, and while others read it.
//!
//! ```text
//!  publish --Release, ticket--> each worker on which processes of it may run
//!                                  |                  |                   |
//!                     Released, ticket      it is gone for good    RELEASED_WITHIN
//!                                  +--------> it is not awaited <---------+
//!                                                     |
//!                            nobody is awaited: the publication begins
//! ```
//!
//! A worker whose connection has broken is awaited, too, and is told again when it is back: so a
//! coordinator that takes over waits for those that its predecessor had. One that has not answered
//! after a while is cut off, or its kernel does not let a process go; that must not keep a job from
//! its end for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use windrow_jobs::{JobId, WorkerId};
use windrow_scheduler::Time;
use windrow_scheduler::journal::Epoch;

use super::Driver;

/// How long a job waits for the end of its processes. To kill one takes milliseconds.
pub(super) const RELEASED_WITHIN: Duration = Duration::from_secs(5);

/// Jobs that are to be published when their processes have ended.
pub(super) struct Releases {
    jobs: BTreeMap<JobId, Releasing>,
    last_ticket: u64,
}

struct Releasing {
    /// What an answer must name: one to an earlier release of the job counts for nothing.
    ticket: u64,
    awaited: BTreeSet<WorkerId>,
    asked: Time,
}

impl Releasing {
    fn until(&self) -> Time {
        self.asked + RELEASED_WITHIN
    }
}

impl Releases {
    /// Of a coordinator of this epoch. Workers come to it that may still answer others.
    pub(super) fn of(epoch: Epoch) -> Self {
        Self { jobs: BTreeMap::new(), last_ticket: epoch.0 << 32 }
    }

    fn next_ticket(&mut self) -> u64 {
        self.last_ticket += 1;
        self.last_ticket
    }

    /// Whether processes of the job may still run.
    pub(super) fn is_awaited(&self, job: JobId) -> bool {
        self.jobs.contains_key(&job)
    }

    /// Waits no more.
    pub(super) fn forget(&mut self, job: JobId) {
        self.jobs.remove(&job);
    }

    /// When the first job has waited long enough.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.jobs.values().map(Releasing::until).min()
    }

    /// A worker has none of a job's processes any more. True if nobody else is awaited.
    fn note(&mut self, worker: WorkerId, job: JobId) -> bool {
        let Some(releasing) = self.jobs.get_mut(&job) else { return false };
        releasing.awaited.remove(&worker);
        let is_released = releasing.awaited.is_empty();
        if is_released {
            self.jobs.remove(&job);
        }
        is_released
    }

    fn of_worker(&self, worker: WorkerId) -> Vec<(JobId, u64)> {
        let awaiting = self.jobs.iter().filter(|(_, of)| of.awaited.contains(&worker));
        awaiting.map(|(&job, of)| (job, of.ticket)).collect()
    }
}

impl Driver {
    /// Has all processes of a job end that is to be published.
    pub(super) fn release_everywhere(&mut self, job: JobId) {
        self.releases.forget(job);
        let Some(live) = self.jobs.get_mut(job) else { return };
        let ticket = self.releases.next_ticket();
        let catalog = &self.decider.state().catalog;
        let mut awaited = BTreeSet::new();
        // Of one that is gone for good there is nobody to ask.
        live.workers.retain(|worker| catalog.worker(*worker).is_some());
        for &worker in &live.workers {
            if catalog.worker(worker).is_some_and(|profile| profile.says_released) {
                awaited.insert(worker);
            }
            self.sessions.release(worker, job, Some(ticket));
        }
        if !awaited.is_empty() {
            let asked = self.now();
            self.releases.jobs.insert(job, Releasing { ticket, awaited, asked });
        }
    }

    /// A worker says that a job has no process there any more.
    pub(super) fn released(&mut self, worker: WorkerId, job: JobId, ticket: u64) {
        if self.releases.jobs.get(&job).is_none_or(|of| of.ticket != ticket) {
            return;
        }
        // It need not be asked when the job is published once more.
        if let Some(live) = self.jobs.get_mut(job) {
            live.workers.remove(&worker);
        }
        let now = self.now();
        let asked = self.releases.jobs.get(&job).map_or(now, |of| of.asked);
        if self.releases.note(worker, job) {
            tracing::debug!(%job, after = ?now.since(asked), "its processes have ended");
            self.do_what_is_due(job);
        }
    }

    /// A worker is back, or there: what it was told in its last session may not have come.
    pub(super) fn release_again(&mut self, worker: WorkerId) {
        for (job, ticket) in self.releases.of_worker(worker) {
            self.sessions.release(worker, job, Some(ticket));
        }
    }

    /// A worker is gone for good, and its processes with it, or it is cut off.
    pub(super) fn release_nothing(&mut self, worker: WorkerId) {
        for (job, _) in self.releases.of_worker(worker) {
            if self.releases.note(worker, job) {
                self.do_what_is_due(job);
            }
        }
    }

    /// Publishes what has waited long enough.
    pub(super) fn publish_overdue(&mut self) {
        let now = self.now();
        let overdue: Vec<_> =
            self.releases.jobs.extract_if(.., |_, of| of.until() <= now).collect();
        for (job, Releasing { awaited, .. }) in overdue {
            let workers: Vec<_> = awaited.iter().map(ToString::to_string).collect();
            tracing::warn!(
                %job,
                workers = workers.join(", "),
                "publishing, though a worker has not said within {} s that the job's processes have ended there: they may still \
                 write to the parts that they have open",
                RELEASED_WITHIN.as_secs()
            );
            self.do_what_is_due(job);
        }
    }
}
