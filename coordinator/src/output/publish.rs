//! Makes a finished job's output visible: renames the winners' parts, and writes the manifest last.
//!
//! Nothing is flushed to the disk here: what is promised holds when processes die, not when the machine loses power
//! within seconds of the end. The manifest's sizes and checksums tell a part that such an event has torn.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use windrow_jobs::{AttemptId, FailureCause};

use super::manifest::{self, ManifestJob, ManifestPart};
use super::rename::rename_new;
use super::{Reservation, SUCCESS, part_name, staged_name};

/// What there is to publish.
#[derive(Debug)]
pub(crate) struct Publication {
    /// What the manifest says of the job.
    pub(crate) job: ManifestJob,
    /// The winners, in the order of their tasks.
    pub(crate) parts: Vec<StagedPart>,
}

/// A part as its attempt has reported it. Where it lies follows from its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StagedPart {
    /// Who wrote it.
    pub(crate) attempt: AttemptId,
    /// Its size.
    pub(crate) bytes: u64,
    /// Its records.
    pub(crate) records: u64,
    /// CRC-64/NVME of its bytes.
    pub(crate) crc64: u64,
}

/// Publishes into the reserved folder. On an error, nothing stays visible. Blocks on the file system.
pub(crate) fn publish(
    reservation: &Reservation,
    publication: &Publication,
) -> Result<(), FailureCause> {
    let mut visible = Vec::with_capacity(publication.parts.len());
    let result = publish_parts(reservation, &publication.parts, &mut visible)
        .and_then(|parts| write_manifest(reservation, &publication.job, &parts));
    if result.is_err() {
        for path in visible {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot take back a part of a failed job");
            }
        }
    }
    result
}

fn publish_parts(
    reservation: &Reservation,
    parts: &[StagedPart],
    visible: &mut Vec<PathBuf>,
) -> Result<Vec<ManifestPart>, FailureCause> {
    let mut published = Vec::with_capacity(parts.len());
    for part in parts {
        let name = part_name(part.attempt.task.index);
        let from = reservation.staging().join(staged_name(part.attempt));
        let to = reservation.output().join(&name);
        check_size(&from, part.bytes)?;
        rename_new(&from, &to).map_err(|error| FailureCause::io(&to, &error))?;
        visible.push(to);
        published.push(ManifestPart {
            name,
            bytes: part.bytes,
            records: part.records,
            crc64: format!("{:016x}", part.crc64),
        });
    }
    Ok(published)
}

fn check_size(path: &Path, expected_bytes: u64) -> Result<(), FailureCause> {
    let metadata = fs::metadata(path).map_err(|error| FailureCause::io(path, &error))?;
    if metadata.len() == expected_bytes {
        return Ok(());
    }
    Err(FailureCause::Corrupt {
        file: path.display().to_string(),
        offset: metadata.len().min(expected_bytes),
        message: format!("it has {} bytes, but its task wrote {expected_bytes}", metadata.len()),
    })
}

/// Written aside and renamed, so that a manifest is never seen in part.
fn write_manifest(
    reservation: &Reservation,
    job: &ManifestJob,
    parts: &[ManifestPart],
) -> Result<(), FailureCause> {
    let to = reservation.output().join(SUCCESS);
    let aside = reservation.staging().join(SUCCESS);
    let write = || -> io::Result<()> {
        fs::write(&aside, manifest::render(job, parts)?)?;
        rename_new(&aside, &to)
    };
    write().map_err(|error| FailureCause::io(&to, &error))
}

#[cfg(test)]
mod tests {
    use windrow_jobs::{JobId, Stage, TaskId};

    use super::super::StageCounts;
    use super::*;

    fn job() -> ManifestJob {
        let stage = StageCounts { tasks: 2, attempts: 3, input_records: 4, input_bytes: 5 };
        ManifestJob {
            id: 1,
            name: "word-count".into(),
            params: serde_json::from_str("{}").ok(),
            program_version: "0.1.0".into(),
            program_digest: "abc".into(),
            map: stage.clone(),
            reduce: stage,
            split_bytes: 6,
            submitted_unix_ms: 7,
            elapsed_ms: 8,
            counters: [("lines".to_string(), 9)].into(),
            inputs: Vec::new(),
        }
    }

    /// Two staged parts; attempt 2 has won the second task.
    fn staged(reservation: &Reservation) -> Publication {
        let part = |index, number, text: &str| {
            let task = TaskId { job: JobId(1), stage: Stage::Reduce, index };
            let attempt = AttemptId { task, number };
            fs::write(reservation.staging().join(staged_name(attempt)), text).unwrap();
            StagedPart { attempt, bytes: text.len() as u64, records: 1, crc64: 0xab }
        };
        part(1, 1, "a loser");
        Publication { job: job(), parts: vec![part(0, 1, "first\n"), part(1, 2, "second\n")] }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn winners_become_visible_with_a_manifest() {
        let dir = tempfile::tempdir().unwrap();
        let reservation = Reservation::take(dir.path()).unwrap();
        let publication = staged(&reservation);
        publish(&reservation, &publication).unwrap();
        reservation.remove_temporary().await.unwrap();
        assert_eq!(names(dir.path()), ["_SUCCESS", "part-00000", "part-00001"]);
        assert_eq!(fs::read_to_string(dir.path().join("part-00001")).unwrap(), "second\n");

        let text = fs::read(dir.path().join("_SUCCESS")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(manifest["output_bytes"], 13);
        assert_eq!(manifest["job"]["counters"]["lines"], 9);
        assert_eq!(manifest["job"]["params"], serde_json::json!({}));
        assert_eq!(
            manifest["parts"][1],
            serde_json::json!({"name": "part-00001", "bytes": 7, "records": 1, "crc64": "00000000000000ab"})
        );
    }

    /// Whatever stops a publication, nothing of it may stay.
    fn fails_and_leaves_nothing(
        spoil: impl FnOnce(&Reservation, &mut Publication),
    ) -> FailureCause {
        let dir = tempfile::tempdir().unwrap();
        let reservation = Reservation::take(dir.path()).unwrap();
        let mut publication = staged(&reservation);
        spoil(&reservation, &mut publication);
        let before: Vec<_> = names(dir.path());
        let cause = publish(&reservation, &publication).unwrap_err();
        assert_eq!(names(dir.path()), before);
        cause
    }

    #[test]
    fn a_part_that_is_missing_stops_it() {
        let cause = fails_and_leaves_nothing(|reservation, _| {
            fs::remove_file(reservation.staging().join("part-00001.2")).unwrap();
        });
        assert!(matches!(cause, FailureCause::Io { path, .. } if path.ends_with("part-00001.2")));
    }

    #[test]
    fn a_part_of_another_size_stops_it() {
        let cause = fails_and_leaves_nothing(|_, publication| publication.parts[1].bytes += 1);
        assert!(matches!(cause, FailureCause::Corrupt { .. }), "{cause}");
    }

    #[test]
    fn a_file_in_the_way_stops_it_and_stays() {
        for name in ["part-00001", "_SUCCESS"] {
            let cause = fails_and_leaves_nothing(|reservation, _| {
                fs::write(reservation.output().join(name), "somebody's").unwrap();
            });
            assert!(matches!(cause, FailureCause::Io { path, .. } if path.ends_with(name)));
        }
    }
}
