//! Files that an attempt writes for users: a part of the job's output, or the bad records that it
//! has skipped.

use serde::{Deserialize, Serialize};

use crate::ids::AttemptId;
use crate::location::Location;

/// What a file of an attempt holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PartKind {
    /// Part of the job's output.
    Output,
    /// Bad records that the attempt has skipped.
    BadRecords,
}

impl PartKind {
    /// The name of the file in the staging folder, unique to the attempt. The coordinator accepts
    /// no other name from the attempt.
    pub fn staged_name(self, attempt: AttemptId) -> String {
        let AttemptId { task, number } = attempt;
        debug_assert!(number > 0, "attempts are numbered from 1, and no two have one file");
        match self {
            Self::Output => format!("part-{:05}.{number}", task.index),
            Self::BadRecords => format!("bad-{}-{:05}.{number}", task.stage, task.index),
        }
    }

    /// Where the file of an attempt of a job with this staging location lies, and nowhere else.
    /// `None` in a store that keeps no staged files.
    pub fn location(self, staging: &Location, attempt: AttemptId) -> Option<Location> {
        Location::of_path(&staging.to_local().ok()?.join(self.staged_name(attempt)))
    }
}

/// A complete part that is not visible yet: its attempt reports it, and the coordinator publishes
/// or discards it. The coordinator believes no location but [the attempt's](PartKind::location).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartHandle {
    /// A file in the staging folder, or the key that the object will have.
    pub location: Location,
    /// Size of the part.
    pub bytes: u64,
    /// Number of records in it.
    pub records: u64,
    /// CRC-64/NVME of its bytes.
    pub crc64: u64,
    /// The upload, in a store in which publication completes uploads.
    pub upload: Option<Upload>,
}

/// A multipart upload with all of its bytes that is not completed yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// The store's id of the upload.
    pub id: Box<str>,
    /// The store's names of its pieces, in order.
    pub pieces: Vec<Box<str>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{JobId, StageId, TaskId};

    #[test]
    fn each_file_of_a_job_has_its_own_name() {
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

    #[test]
    fn the_location_follows_from_the_attempt() {
        let task = TaskId { job: JobId(1), stage: StageId::REDUCE, index: 3 };
        let at = |staging: &str| {
            let staging = staging.parse().unwrap();
            PartKind::Output.location(&staging, AttemptId { task, number: 2 })
        };
        for staging in ["/out/_temporary", "/out/_temporary/", "file:///out/_temporary"] {
            assert_eq!(at(staging).unwrap().as_str(), "/out/_temporary/part-00003.2");
        }
        assert_eq!(at("s3://bucket/out"), None);
    }
}
