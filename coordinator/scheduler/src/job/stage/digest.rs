//! What an attempt has written for the shuffle, or read of it, in a few numbers.

use serde::{Deserialize, Serialize};
use windrow_model::{Audit, Emitted};

use crate::event::AttemptStats;

/// What a map attempt has written for the shuffle, or what a reduce attempt has read of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShuffleDigest {
    audit: Audit,
    emitted: Option<Emitted>,
}

impl ShuffleDigest {
    /// The digest that the attempt reports.
    pub(crate) fn of(stats: &AttemptStats) -> Self {
        Self { audit: stats.audit, emitted: stats.emitted }
    }

    /// The pairs that were written or read.
    pub(crate) fn audit(self) -> Audit {
        self.audit
    }

    /// Whether another attempt at the task has written the same.
    pub(crate) fn means_the_same(self, other: Self) -> bool {
        match (self.emitted, other.emitted) {
            (Some(ours), Some(theirs)) if ours.is_partial || theirs.is_partial => {
                ours.keys == theirs.keys
            }
            _ => self.audit == other.audit,
        }
    }
}
