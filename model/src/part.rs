//! What an attempt writes for people, and does not send on: a part of its job's output, or a file
//! of the records that it has skipped.

use serde::{Deserialize, Serialize};

use crate::ids::AttemptId;
use crate::location::Location;

/// What is in a file that an attempt writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartKind {
    /// Part of the job's output.
    Output,
    /// Records that it has skipped.
    BadRecords,
}

impl PartKind {
    /// The name under which an attempt writes it: no other attempt has the same. Who knows the
    /// attempt believes no other name.
    pub fn staged_name(self, attempt: AttemptId) -> String {
        let AttemptId { task, number } = attempt;
        debug_assert!(number > 0, "attempts are numbered from 1, and no two have one file");
        match self {
            Self::Output => format!("part-{:05}.{number}", task.index),
            Self::BadRecords => format!("bad-{}-{:05}.{number}", task.stage, task.index),
        }
    }
}

/// A part that is complete, and not visible yet: what its attempt reports, and what is published or
/// discarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartHandle {
    /// Where it lies: a file in the staging folder, or the key that it will have.
    pub location: Location,
    /// Its size.
    pub bytes: u64,
    /// Its records.
    pub records: u64,
    /// CRC-64/NVME of its bytes.
    pub crc64: u64,
    /// In a store whose uploads are completed by whoever publishes them.
    pub upload: Option<Upload>,
}

/// An upload that has all of its bytes, and is not completed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// What the store calls it.
    pub id: Box<str>,
    /// What the store calls each of its pieces, in their order.
    pub pieces: Vec<Box<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{JobId, StageId, TaskId};

    #[test]
    fn no_two_files_of_a_job_have_one_name() {
        let attempt = |stage, index, number| AttemptId {
            task: TaskId { job: JobId(1), stage, index },
            number,
        };
        let mut names = Vec::new();
        for (stage, index, number) in [
            (StageId::MAP, 3, 1),
            (StageId::MAP, 3, 2),
            (StageId::MAP, 31, 1),
            (StageId::REDUCE, 3, 1),
        ] {
            names.push(PartKind::BadRecords.staged_name(attempt(stage, index, number)));
        }
        names.push(PartKind::Output.staged_name(attempt(StageId::REDUCE, 3, 1)));
        assert_eq!(names[4], "part-00003.1");
        assert_eq!(names[0], "bad-map-00003.1");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 5);
    }
}
