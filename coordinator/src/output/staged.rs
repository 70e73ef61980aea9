//! The files of attempts in the staging folder, each under a name of its own, and their visible
//! names.

use serde::{Deserialize, Serialize};
use windrow_jobs::{AttemptId, PartKind};

use super::{BAD_RECORDS, PART, SUCCESS};
use crate::plan::Plan;

/// A file, as its attempt has reported it. Its path follows from its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StagedPart {
    /// The attempt that wrote the file.
    pub(crate) attempt: AttemptId,
    /// The kind of its content.
    pub(crate) kind: PartKind,
    /// Its size.
    pub(crate) bytes: u64,
    /// Its records.
    pub(crate) records: u64,
    /// CRC-64/NVME of its bytes.
    pub(crate) crc64: u64,
}

/// All files of an attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttemptFiles {
    /// The part, in the job's last stage.
    pub(crate) part: Option<StagedPart>,
    /// The bad records, if any were skipped.
    pub(crate) bad_records: Option<StagedPart>,
}

impl StagedPart {
    /// Its name in the staging folder.
    pub(super) fn staged_name(&self) -> String {
        let name = self.kind.staged_name(self.attempt);
        debug_assert!(!name.contains('/'), "the file must lie directly in the staging folder");
        name
    }

    /// The file's visible name, in the output or in its folder of bad records. Parts have the
    /// extension of `plan`.
    pub(super) fn visible_name(&self, plan: &Plan) -> String {
        let task = self.attempt.task;
        let name = match self.kind {
            PartKind::Output => format!("{PART}{:05}{}", task.index, plan.extension),
            PartKind::BadRecords => format!("{}-{:05}.jsonl", task.stage, task.index),
        };
        debug_assert!(!name.contains('/'), "the file must lie directly in its folder");
        debug_assert_ne!(name, SUCCESS, "a part would be taken for the manifest");
        name
    }

    /// The file's path relative to the output folder.
    pub(super) fn listed_name(&self, plan: &Plan) -> String {
        match self.kind {
            PartKind::Output => self.visible_name(plan),
            PartKind::BadRecords => format!("{BAD_RECORDS}/{}", self.visible_name(plan)),
        }
    }
}
