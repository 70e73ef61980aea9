//! How a task handles records and groups on which user code fails.
//!
//! ```text
//!              good ---------------------------------------------> kept
//!   record --> breadcrumb --> user code --> fails ---------------> skipped, if the job may
//!      |                          '-------> process dies: the breadcrumb survives and says where
//!      '-- known poison ------------------------------------------> skipped, untried
//! ```

use std::fmt;
use std::sync::Arc;

use crate::bad_records::BadRecord;
use crate::error::Result;
use crate::failure::{FailureCause, RecordPlace};

/// Most output of one record or group that is held back, so that it can be undone. A record or
/// group with more is assumed good: its output goes on at once, and if it fails later, the attempt
/// fails.
pub(crate) const UNDONE_BYTES_MAX: usize = 8 << 20;

/// Notes the record or group that user code is about to process, where it survives the process.
pub trait Breadcrumb: fmt::Debug + Send + Sync {
    /// User code is about to process this record or group.
    fn enter(&self, place: &RecordPlace) -> Result<(), FailureCause>;

    /// User code has processed it.
    fn leave(&self) -> Result<(), FailureCause>;
}

/// How to handle bad records and groups; by default, the first fails the attempt.
#[derive(Clone, Debug, Default)]
pub struct BadRecordPolicy {
    /// Whether bad records are skipped and reported.
    pub skips_bad_records: bool,
    /// If set, notes each record or group before user code processes it. They are then tried one by
    /// one, and on one thread only.
    pub breadcrumb: Option<Arc<dyn Breadcrumb>>,
    /// Records and groups that are known to kill the process: bad, and not tried again.
    pub poison: Arc<[BadRecord]>,
}

impl BadRecordPolicy {
    /// Whether user code needs anything beyond being run.
    pub fn is_needed(&self) -> bool {
        self.skips_bad_records || self.breadcrumb.is_some()
    }

    /// Whether each record or group is tried by itself.
    pub(crate) fn tries_one_by_one(&self) -> bool {
        self.breadcrumb.is_some() || !self.poison.is_empty()
    }

    /// The known poison at `place`, if any.
    pub(crate) fn poison_at(&self, place: &RecordPlace) -> Option<&BadRecord> {
        self.poison.iter().find(|bad| bad.place == *place)
    }

    /// Notes `place` in the breadcrumb while `code` runs on the record or group there, so that a
    /// crash can be blamed on it.
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
