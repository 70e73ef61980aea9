//! The health of a machine, by failures that point to it. For which ones count, see `quarantine`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use windrow_model::JobId;

use crate::config::Config;

/// The health of an identity (machine and folder).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Health {
    /// Failures since the last success.
    pub(crate) strikes: u32,
    /// The jobs that they came from.
    accusers: Accusers,
    /// Its standing.
    pub(crate) standing: Standing,
    /// Quarantines since the last success.
    pub(crate) quarantines: u32,
}

/// The standing of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Standing {
    /// It gets work.
    #[default]
    Good,
    /// It gets no new tasks.
    Quarantined,
    /// It gets one attempt at a time.
    Probation,
}

/// The jobs that strikes came from, as far as it matters: none, one or several.
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
    /// Counts strikes; returns the length of the quarantine that begins, if one does.
    pub(crate) fn strike(&mut self, strikes: u32, job: JobId, config: &Config) -> Option<Duration> {
        debug_assert!(strikes > 0, "only strikes are counted");
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
        debug_assert!(self.strikes > 0, "a quarantine follows strikes");
        debug_assert_ne!(
            self.standing,
            Standing::Quarantined,
            "a quarantine does not begin within another"
        );
        self.standing = Standing::Quarantined;
        self.quarantines = self.quarantines.saturating_add(1);
        Some(quarantine(self.quarantines - 1, config))
    }
}

/// The length of a quarantine after `before` earlier ones.
pub(crate) fn quarantine(before: u32, config: &Config) -> Duration {
    config.quarantine_base.saturating_mul(1 << before.min(31)).min(config.quarantine_max)
}
