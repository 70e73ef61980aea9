//! The part of the scheduler that a transition may touch besides its job.

use crate::config::Config;
use crate::effect::Effect;
use crate::time::{Deadlines, Time};
use crate::worker::Workers;

/// One call of the scheduler, as a job sees it.
pub(crate) struct Transition<'a> {
    /// The moment of the call.
    pub(crate) now: Time,
    /// The limits.
    pub(crate) config: &'a Config,
    /// The workers with a session.
    pub(crate) workers: &'a mut Workers,
    /// All deadlines.
    pub(crate) deadlines: &'a mut Deadlines,
    /// The effects so far.
    pub(crate) effects: &'a mut Vec<Effect>,
}
