//! What attempts write to the staging folder, each under a name of its own, and the names that it
//! has once it is visible.

use serde::{Deserialize, Serialize};
use windrow_jobs::{AttemptId, PartKind};

use super::{BAD_RECORDS, PART, SUCCESS};
use crate::plan::Plan;

/// A file as its attempt has reported it. Where it lies follows from its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StagedPart {
    /// Who wrote it.
    pub(crate) attempt: AttemptId,
    /// What is in it.
    pub(crate) kind: PartKind,
    /// Its size.
    pub(crate) bytes: u64,
    /// Its records.
    pub(crate) records: u64,
    /// CRC-64/NVME of its bytes.
    pub(crate) crc64: u64,
}

/// All that an attempt has written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttemptFiles {
    /// In the job's last stage.
    pub(crate) part: Option<StagedPart>,
    /// Where it has skipped any records.
    pub(crate) bad_records: Option<StagedPart>,
}

impl StagedPart {
    /// Its name in the staging folder.
    pub(super) fn staged_name(&self) -> String {
        let name = self.kind.staged_name(self.attempt);
        debug_assert!(!name.contains('/'), "it lies in the staging folder, and not below it");
        name
    }

    /// Its name in the folder where it is visible: the output, or that of the bad records in it.
    /// Parts of `plan` have its extension.
    pub(super) fn visible_name(&self, plan: &Plan) -> String {
        let task = self.attempt.task;
        let name = match self.kind {
            PartKind::Output => format!("{PART}{:05}{}", task.index, plan.extension),
            PartKind::BadRecords => format!("{}-{:05}.jsonl", task.stage, task.index),
        };
        debug_assert!(!name.contains('/'), "it lies in the folder, and not below it");
        debug_assert_ne!(name, SUCCESS, "a part would say that the output is whole");
        name
    }

    /// Its name, as seen from the output folder.
    pub(super) fn listed_name(&self, plan: &Plan) -> String {
        match self.kind {
            PartKind::Output => self.visible_name(plan),
            PartKind::BadRecords => format!("{BAD_RECORDS}/{}", self.visible_name(plan)),
        }
    }
}
