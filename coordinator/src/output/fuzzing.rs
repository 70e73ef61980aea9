//! For `fuzz/`: the files of an output folder that are read back.

use std::path::Path;

use windrow_jobs::fuzzing::{HeapBound, Target};
use windrow_jobs::{AttemptId, JobId, PartKind, StageId, TaskId};

use super::lock::Owner;
use super::{ManifestJob, OutputPaths, StageCounts, StagedPart, manifest};

/// The manifest, and the lock.
pub(crate) const FILES: Target =
    Target { name: "output-files", seeds, check: files, heap: HeapBound::SMALL };

/// Always the same paths.
pub(crate) fn paths() -> OutputPaths {
    OutputPaths::named(Path::new("/out"), "1-2-3")
}

fn seeds() -> Vec<Vec<u8>> {
    let task = TaskId { job: JobId(7), stage: StageId::REDUCE, index: 0 };
    let attempt = AttemptId { task, number: 1 };
    let part = StagedPart { attempt, kind: PartKind::Output, bytes: 1, records: 2, crc64: 0 };
    let skipped = StagedPart { kind: PartKind::BadRecords, ..part };
    let mut text = Vec::new();
    let manifest = manifest::write(&job(), &[part], &[skipped], &mut text).map(|()| text);
    let owner = serde_json::to_vec_pretty(&Owner {
        cluster: "cluster".into(),
        state: "/state".into(),
        job: "sort".into(),
        unique: "1-2-3".into(),
        epoch: 1,
    });
    [manifest.ok(), owner.ok()].into_iter().flatten().collect()
}

fn job() -> ManifestJob {
    let counts = StageCounts {
        tasks: 1,
        attempts: 1,
        backups: 0,
        backups_won: 0,
        input_records: 2,
        input_bytes: 3,
    };
    ManifestJob {
        cluster: "cluster".into(),
        id: 7,
        identity: "i".into(),
        name: "sort".into(),
        params: None,
        program_version: "1".into(),
        program_digest: "2".into(),
        map: counts.clone(),
        reduce: counts,
        split_bytes: 4,
        fan_in: 9,
        submitted_unix_ms: 5,
        nondeterministic_map: None,
        elapsed_ms: 6,
        counters: Default::default(),
        inputs: Default::default(),
    }
}

fn files(bytes: &[u8]) {
    // No text belongs to two jobs.
    assert!(
        !(manifest::is_of(bytes, &job())
            && manifest::is_of(bytes, &ManifestJob { identity: "j".into(), ..job() }))
    );
    if let Ok(owner) = serde_json::from_slice::<Owner>(bytes) {
        let again = serde_json::to_vec(&owner).ok();
        let again = again.and_then(|text| serde_json::from_slice::<Owner>(&text).ok());
        assert_eq!(again, Some(owner));
    }
}
