//! A publication begins when no process of the job is left: a process that has kept a part open
//! could go on writing to it after the part was checked, and while it is being read.
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
//! A worker whose connection has broken is awaited, too, and is told again when it returns; so a
//! coordinator that takes over waits for its predecessor's workers. A worker that does not answer
//! in time is cut off, or its kernel cannot kill a process; neither may delay a job's end for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use windrow_jobs::{JobId, WorkerId};
use windrow_scheduler::Time;
use windrow_scheduler::journal::Epoch;

use super::Driver;

/// How long a job waits for the end of its processes. Killing one takes milliseconds.
pub(super) const RELEASED_WITHIN: Duration = Duration::from_secs(5);

/// Jobs that are published once their processes have ended.
pub(super) struct Releases {
    jobs: BTreeMap<JobId, Releasing>,
    last_ticket: u64,
}

struct Releasing {
    /// The ticket that an answer must carry: answers to earlier releases are ignored.
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
    /// The releases of a coordinator of this epoch. Workers may still answer former coordinators,
    /// so tickets differ by epoch.
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

    /// Stops waiting for the job's processes.
    pub(super) fn forget(&mut self, job: JobId) {
        self.jobs.remove(&job);
    }

    /// The earliest deadline of a waiting job.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.jobs.values().map(Releasing::until).min()
    }

    /// Notes that a worker has no process of a job any more. True if no other worker is awaited.
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
    /// Ends all processes of a job that is to be published.
    pub(super) fn release_everywhere(&mut self, job: JobId) {
        self.releases.forget(job);
        let Some(live) = self.jobs.get_mut(job) else { return };
        let ticket = self.releases.next_ticket();
        let catalog = &self.decider.state().catalog;
        let mut awaited = BTreeSet::new();
        // Workers that are gone for good cannot answer.
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

    /// A worker reports that it has no process of a job any more.
    pub(super) fn released(&mut self, worker: WorkerId, job: JobId, ticket: u64) {
        if self.releases.jobs.get(&job).is_none_or(|of| of.ticket != ticket) {
            return;
        }
        // The worker need not be asked again if the publication is retried.
        if let Some(live) = self.jobs.get_mut(job) {
            live.workers.remove(&worker);
        }
        let now = self.now();
        let asked = self.releases.jobs.get(&job).map_or(now, |of| of.asked);
        if self.releases.note(worker, job) {
            tracing::debug!(%job, after = ?now.since(asked), "the job's processes have ended");
            self.do_what_is_due(job);
        }
    }

    /// A worker has joined or returned: the orders of its last session may be lost.
    pub(super) fn release_again(&mut self, worker: WorkerId) {
        for (job, ticket) in self.releases.of_worker(worker) {
            self.sessions.release(worker, job, Some(ticket));
        }
    }

    /// A worker is gone for good, with its processes, or is cut off.
    pub(super) fn release_nothing(&mut self, worker: WorkerId) {
        for (job, _) in self.releases.of_worker(worker) {
            if self.releases.note(worker, job) {
                self.do_what_is_due(job);
            }
        }
    }

    /// Publishes the jobs whose wait is over.
    pub(super) fn publish_overdue(&mut self) {
        let now = self.now();
        let overdue: Vec<_> =
            self.releases.jobs.extract_if(.., |_, of| of.until() <= now).collect();
        for (job, Releasing { awaited, .. }) in overdue {
            let workers: Vec<_> = awaited.iter().map(ToString::to_string).collect();
            tracing::warn!(
                %job,
                workers = workers.join(", "),
                "publishing, though a worker has not confirmed within {} s that the job's processes have ended there: they may still \
                 write to the parts that they have open",
                RELEASED_WITHIN.as_secs()
            );
            self.do_what_is_due(job);
        }
    }
}
