//! How a task goes about records and groups that user code may not cope with.
//!
//! ```text
//!                      good  ----------------------------> kept
//!   record --> breadcrumb --------> user code --> fails ------> left out, where the job may skip it
//!      |                           '-------> process dies: the breadcrumb, which does not, says where
//!      '-- known to be deadly ---------------------------> left out, untried
//! ```

use std::fmt;
use std::sync::Arc;

use crate::bad_records::BadRecord;
use crate::error::Result;
use crate::failure::{FailureCause, RecordPlace};

/// Where it is noted what user code is about to see, so that it is known when the process is gone.
pub trait Breadcrumb: fmt::Debug + Send + Sync {
    /// User code is about to see this record, or group.
    fn enter(&self, place: &RecordPlace) -> Result<(), FailureCause>;

    /// It has seen it.
    fn leave(&self) -> Result<(), FailureCause>;
}

/// How to go about records and groups that user code may not cope with; by default without any
/// care.
#[derive(Clone, Debug, Default)]
pub struct BadRecordPolicy {
    /// Leave bad ones out, and tell of them.
    pub skips_bad_records: bool,
    /// Told of each one before user code sees it. Then they are tried one by one; there must be one
    /// thread only.
    pub breadcrumb: Option<Arc<dyn Breadcrumb>>,
    /// Those that are known to kill the process: bad ones, which are not tried.
    pub poison: Arc<[BadRecord]>,
}

impl BadRecordPolicy {
    /// Whether anything is to be done beyond running user code.
    pub fn is_needed(&self) -> bool {
        self.skips_bad_records || self.breadcrumb.is_some()
    }

    /// Whether each record, or group, has to be looked at by itself.
    pub(crate) fn tries_one_by_one(&self) -> bool {
        self.breadcrumb.is_some() || !self.poison.is_empty()
    }

    /// What is known of a deadly one.
    pub(crate) fn poison_at(&self, place: &RecordPlace) -> Option<&BadRecord> {
        self.poison.iter().find(|bad| bad.place == *place)
    }

    /// Notes `place` in the breadcrumb while `code` runs on the record or group there, so that a crash
    /// can be blamed on it.
    pub(crate) fn with_breadcrumb<T>(
        &self,
        place: &RecordPlace,
        code: impl FnOnce() -> T,
    ) -> Result<T, FailureCause> {
        let Some(breadcrumb) = &self.breadcrumb else { return Ok(code()) };
        breadcrumb.enter(place)?;
        let done = code();
        breadcrumb.leave()?;
        Ok(done)
    }
}
