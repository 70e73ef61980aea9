//! How a task goes about records and groups that user code may not cope with.
//!
//! ```text
//!                      good  ----------------------------> kept
//!   record --> trail --------> user code --> fails ------> left out, where the job may skip it
//!      |                           '-------> process dies: the trail, which does not, says where
//!      '-- known to be deadly ---------------------------> left out, untried
//! ```

use std::fmt;
use std::sync::Arc;

use crate::bad_records::BadRecord;
use crate::error::Result;
use crate::failure::{FailureCause, Place};

/// Where it is noted what user code is about to see, so that it is known when the process is gone.
pub trait Trail: fmt::Debug + Send + Sync {
    /// User code is about to see this record, or group.
    fn enter(&self, place: &Place) -> Result<(), FailureCause>;

    /// It has seen it.
    fn leave(&self) -> Result<(), FailureCause>;
}

/// How to go about records and groups that user code may not cope with; by default without any
/// care.
#[derive(Clone, Debug, Default)]
pub struct Care {
    /// Leave bad ones out, and tell of them.
    pub skips_bad_records: bool,
    /// Told of each one before user code sees it. Then they are tried one by one; there must be one
    /// thread only.
    pub trail: Option<Arc<dyn Trail>>,
    /// Those that are known to kill the process: bad ones, which are not tried.
    pub deadly: Arc<[BadRecord]>,
}

impl Care {
    /// Whether anything is to be done beyond running user code.
    pub fn is_needed(&self) -> bool {
        self.skips_bad_records || self.trail.is_some()
    }

    /// Whether each record, or group, has to be looked at by itself.
    pub(crate) fn is_close(&self) -> bool {
        self.trail.is_some() || !self.deadly.is_empty()
    }

    /// What is known of a deadly one.
    pub(crate) fn deadly_at(&self, place: &Place) -> Option<&BadRecord> {
        self.deadly.iter().find(|bad| bad.place == *place)
    }

    /// Notes `place` in the trail while `code` runs on the record or group there, so that a crash
    /// can be blamed on it.
    pub(crate) fn on_trail<T>(
        &self,
        place: &Place,
        code: impl FnOnce() -> T,
    ) -> Result<T, FailureCause> {
        let Some(trail) = &self.trail else { return Ok(code()) };
        trail.enter(place)?;
        let done = code();
        trail.leave()?;
        Ok(done)
    }
}
