//! The files of attempts in the staging folder, each under a name of its own, and their visible
//! names.

use serde::{Deserialize, Serialize};
use windrow_jobs::{AttemptId, Location, PartHandle, PartKind};

use super::{BAD_RECORDS, PART, SUCCESS};
use crate::plan::Plan;

/// The files that an attempt has reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reported {
    /// The part, in the job's last stage.
    pub(crate) part: Option<PartHandle>,
    /// The bad records, if any were skipped.
    pub(crate) bad_records: Option<PartHandle>,
}

/// Why the report of a part is not believed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotBelieved {
    /// The file of another attempt, or any other file.
    #[error("its worker reported the part {reported}, which is not where the attempt writes")]
    Elsewhere {
        /// The location in the report.
        reported: Location,
    },
    /// There is no store whose uploads are completed when a job is published.
    #[error("its worker reported {part} as an upload, which this coordinator cannot complete")]
    Upload {
        /// The part.
        part: Location,
    },
}

/// What is believed of a [`PartHandle`]: all but the location, which was compared with the
/// attempt's, and follows from it again. There may be a million.
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

/// All files of an attempt that are believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttemptFiles {
    /// The part, in the job's last stage.
    pub(crate) part: Option<StagedPart>,
    /// The bad records, if any were skipped.
    pub(crate) bad_records: Option<StagedPart>,
}

impl AttemptFiles {
    /// The files that this attempt, of a job with this staging location, has reported.
    pub(crate) fn believed(
        attempt: AttemptId,
        Reported { part, bad_records }: Reported,
        staging: &Location,
    ) -> Result<Self, NotBelieved> {
        let believed = |kind, handle: Option<PartHandle>| {
            handle.map(|handle| StagedPart::believed(attempt, kind, handle, staging)).transpose()
        };
        let part = believed(PartKind::Output, part)?;
        Ok(Self { part, bad_records: believed(PartKind::BadRecords, bad_records)? })
    }
}

impl StagedPart {
    fn believed(
        attempt: AttemptId,
        kind: PartKind,
        handle: PartHandle,
        staging: &Location,
    ) -> Result<Self, NotBelieved> {
        let PartHandle { location, bytes, records, crc64, upload } = handle;
        if kind.location(staging, attempt).as_ref() != Some(&location) {
            return Err(NotBelieved::Elsewhere { reported: location });
        }
        match upload {
            Some(_) => Err(NotBelieved::Upload { part: location }),
            None => Ok(Self { attempt, kind, bytes, records, crc64 }),
        }
    }

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

#[cfg(test)]
mod tests {
    use windrow_jobs::{JobId, StageId, TaskId, Upload};

    use super::*;

    fn attempt(number: u32) -> AttemptId {
        AttemptId { task: TaskId { job: JobId(1), stage: StageId::MAP, index: 3 }, number }
    }

    fn handle(location: &str) -> Option<PartHandle> {
        let location = location.parse().unwrap();
        Some(PartHandle { location, bytes: 1, records: 2, crc64: 3, upload: None })
    }

    fn believed(part: &str, bad_records: &str) -> Result<AttemptFiles, NotBelieved> {
        let reported = Reported { part: handle(part), bad_records: handle(bad_records) };
        AttemptFiles::believed(attempt(2), reported, &"/out/staging".parse().unwrap())
    }

    const PART: &str = "/out/staging/part-00003.2";
    const BAD: &str = "/out/staging/bad-map-00003.2";

    #[test]
    fn files_of_the_attempt_are_believed() {
        let staged =
            |kind| StagedPart { attempt: attempt(2), kind, bytes: 1, records: 2, crc64: 3 };
        let files = believed(PART, BAD).unwrap();
        assert_eq!(files.part, Some(staged(PartKind::Output)));
        assert_eq!(files.bad_records, Some(staged(PartKind::BadRecords)));
        let none = AttemptFiles::believed(attempt(2), Reported::default(), &"/o".parse().unwrap());
        assert_eq!(none, Ok(AttemptFiles::default()));
    }

    #[test]
    fn no_other_location_is_believed() {
        for elsewhere in [
            "/out/staging/part-00003.1",
            "/out/staging/part-00004.2",
            "/out/staging/../staging/part-00003.2",
            "/out/staging//part-00003.2",
            "/out/staging",
            "/etc/passwd",
            "part-00003.2",
            "s3://bucket/out/part-00003.2",
            BAD,
        ] {
            let reported = elsewhere.parse().unwrap();
            assert_eq!(believed(elsewhere, BAD), Err(NotBelieved::Elsewhere { reported }));
        }
        let reported = PART.parse().unwrap();
        assert_eq!(believed(PART, PART), Err(NotBelieved::Elsewhere { reported }));
    }

    #[test]
    fn an_upload_is_not_believed_where_files_are_published() {
        let upload = Some(Upload { id: "7".into(), pieces: vec!["a".into()] });
        let part = handle(PART).map(|part| PartHandle { upload, ..part });
        let reported = Reported { part, bad_records: None };
        let staging = "/out/staging".parse().unwrap();
        let refused = AttemptFiles::believed(attempt(2), reported, &staging).unwrap_err();
        assert_eq!(refused, NotBelieved::Upload { part: PART.parse().unwrap() });
    }
}
