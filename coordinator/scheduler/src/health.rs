//! Bad workers: whose disk is full or lies, or from whom nobody can fetch.
//!
//! ```text
//!       strikes of two jobs add up            time passes
//!  good ----------------------> quarantined --------------> on probation
//!   ^  ^                             ^                         |     |
//!   |  +------ an attempt succeeds --|-------------------------+     |
//!   |                                +---------- one strike ---------+
//!   +-- an attempt succeeds: strikes are forgotten
//! ```
//!
//! Only failures that speak of the machine count, never those of user code. What a job's process
//! says is user code's word, too, so that strikes of one job are not enough: that job avoids the
//! worker (see `avoidance`), and other jobs go on using it. A quarantine is of a machine and
//! folder, so that a worker that restarts does not escape it. A worker with strikes gets work only
//! when no better one is free. A worker in quarantine gets nothing new, but goes on with what it
//! has, and its outputs count. A worker on probation gets one attempt at a time. Where all workers
//! are in quarantine, the quarantine is lifted: bad workers are better than none.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use windrow_model::{FailureCause, JobId, WorkerId};

use crate::config::Config;
use crate::deadlines::Timer;
use crate::step::Step;

/// What is remembered of a machine and folder that had failures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    /// Failures since the last success.
    pub(crate) strikes: u32,
    /// Whose they were.
    accusers: Accusers,
    /// How it stands.
    pub(crate) standing: Standing,
    /// Quarantines since the last success.
    quarantines: u32,
}

/// How a worker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Standing {
    /// It gets work.
    #[default]
    Good,
    /// It gets nothing new.
    Quarantined,
    /// It gets one attempt at a time.
    Probation,
}

/// The jobs whose attempts have failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Accusers {
    #[default]
    None,
    One(JobId),
    Several,
}

impl Accusers {
    fn and(self, job: JobId) -> Self {
        match self {
            Self::None => Self::One(job),
            Self::One(other) if other == job => self,
            Self::One(_) | Self::Several => Self::Several,
        }
    }
}

impl Health {
    /// Counts strikes; returns how long the quarantine is that begins by them, if one does.
    fn strike(&mut self, strikes: u32, job: JobId, config: &Config) -> Option<Duration> {
        debug_assert!(strikes > 0, "a failure that says nothing accuses nobody");
        self.strikes = self.strikes.saturating_add(strikes);
        self.accusers = self.accusers.and(job);
        let bad = match self.standing {
            Standing::Good => {
                self.accusers == Accusers::Several && self.strikes >= config.strikes_max
            }
            Standing::Quarantined => false,
            Standing::Probation => true,
        };
        if !bad {
            return None;
        }
        debug_assert!(self.strikes > 0, "nobody is put away without a reason");
        debug_assert_ne!(self.standing, Standing::Quarantined, "it gets no work meanwhile");
        self.standing = Standing::Quarantined;
        self.quarantines = self.quarantines.saturating_add(1);
        Some(quarantine(self.quarantines - 1, config))
    }
}

/// How long a quarantine is after so many.
pub(crate) fn quarantine(before: u32, config: &Config) -> Duration {
    config.quarantine_base.saturating_mul(1 << before.min(31)).min(config.quarantine_max)
}

/// How much a failure says against the worker on which it happened.
fn weight(cause: &FailureCause) -> u32 {
    match cause {
        FailureCause::Io { disk_full: true, .. } => 2,
        FailureCause::Io { .. } | FailureCause::Corrupt { .. } => 1,
        _ => 0,
    }
}

/// An attempt of this job failed on this worker.
pub(crate) fn failed(worker: WorkerId, job: JobId, cause: &FailureCause, step: &mut Step<'_>) {
    blame(worker, job, weight(cause), step);
}

/// What this worker holds of this job cannot be read by others.
pub(crate) fn unreadable(worker: WorkerId, job: JobId, step: &mut Step<'_>) {
    blame(worker, job, 1, step);
}

fn blame(worker: WorkerId, job: JobId, strikes: u32, step: &mut Step<'_>) {
    let config = step.config;
    let Some(identity) = step.workers.identity(worker).filter(|_| strikes > 0) else { return };
    let quarantine =
        step.workers.change_health(identity, |health| health.strike(strikes, job, config));
    if let Some(quarantine) = quarantine {
        debug_assert!(
            step.deadlines.get(Timer::Quarantine(identity)).is_none(),
            "who is in quarantine already is not put there again"
        );
        step.deadlines.set(Timer::Quarantine(identity), step.now + quarantine);
    }
}

/// An attempt has succeeded on this worker.
pub(crate) fn succeeded(worker: WorkerId, step: &mut Step<'_>) {
    let Some(identity) = step.workers.identity(worker) else { return };
    if step.workers.has_history(identity) {
        step.deadlines.clear(Timer::Quarantine(identity));
        step.workers.change_health(identity, |health| *health = Health::default());
    }
}

/// A quarantine is over.
pub(crate) fn quarantine_over(identity: u64, step: &mut Step<'_>) {
    step.deadlines.clear(Timer::Quarantine(identity));
    step.workers.change_health(identity, |health| {
        debug_assert_eq!(health.standing, Standing::Quarantined, "only a quarantine ends");
        debug_assert!(health.quarantines > 0, "each is counted: the next one is longer");
        health.standing = Standing::Probation;
    });
}

/// Where nobody else is left, those in quarantine are better than nobody.
pub(crate) fn end_quarantines_if_nobody_is_left(step: &mut Step<'_>) {
    if let Some(all) = step.workers.all_quarantined() {
        for identity in all {
            quarantine_over(identity, step);
        }
    }
}
