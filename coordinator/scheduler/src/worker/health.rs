//! How a machine stands by the failures that speak of it. When these are counted, see
//! `quarantine`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use windrow_model::JobId;

use crate::config::Config;

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
    pub(crate) quarantines: u32,
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
    pub(crate) fn strike(&mut self, strikes: u32, job: JobId, config: &Config) -> Option<Duration> {
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
