//! Tests of publications, by theme.

mod aside;
mod death;
mod hostile;
mod parts;
mod stop;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use windrow_jobs::checksum::crc64;
use windrow_jobs::{AttemptId, JobId, PartKind, StageId, TaskId};

use super::super::{Reservation, StageCounts, private_folder};
use super::*;
use crate::output::manifest::OF_ANOTHER_JOB;

fn job() -> ManifestJob {
    let stage = StageCounts {
        tasks: 2,
        attempts: 3,
        backups: 1,
        backups_won: 0,
        input_records: 4,
        input_bytes: 5,
    };
    ManifestJob {
        cluster: "c".into(),
        id: 1,
        identity: "i".into(),
        name: "word-count".into(),
        params: serde_json::from_str("{}").ok(),
        program_version: "0.1.0".into(),
        program_digest: "abc".into(),
        map: stage.clone(),
        reduce: stage,
        split_bytes: 6,
        fan_in: 9,
        submitted_unix_ms: 7,
        nondeterministic_map: None,
        elapsed_ms: 8,
        counters: [("lines".to_string(), 9)].into(),
        inputs: Default::default(),
    }
}

/// Two staged parts; attempt 2 has won the second task.
fn staged(paths: &OutputPaths, overwrite: bool) -> Publication {
    let part = |index, number, text| stage(paths, PartKind::Output, index, number, text);
    part(1, 1, "a loser");
    let parts = vec![part(0, 1, "first\n"), part(1, 2, "second\n")];
    let bad_records = Vec::new();
    Publication { epoch: Epoch(1), job: job(), parts, bad_records, overwrite, durable: true }
}

/// A reserved output, empty or with the old output in it, and a publication with all its parts.
fn prepared(overwrite: bool) -> (TempDir, Reservation, Publication) {
    let dir = tempfile::tempdir().unwrap();
    if overwrite {
        write_old(dir.path());
    }
    let reservation = Reservation::take(dir.path(), overwrite, None).unwrap();
    let publication = staged(reservation.paths(), overwrite);
    (dir, reservation, publication)
}

fn publish(paths: &OutputPaths, publication: &Publication) -> Result<(), FailureCause> {
    let (failpoint, stop) = (Failpoint::default(), Stop::default());
    super::publish(paths, publication, &failpoint, &stop).map_err(|failure| *failure.cause)
}

fn commit_folder(paths: &OutputPaths, epoch: u64) -> PathBuf {
    paths.output().join(TEMPORARY).join(commit_folder::name(paths.unique(), Epoch(epoch)))
}

fn stage(paths: &OutputPaths, kind: PartKind, index: u32, number: u32, text: &str) -> StagedPart {
    let task = TaskId { job: JobId(1), stage: StageId::REDUCE, index };
    let attempt = AttemptId { task, number };
    let crc64 = crc64(text.as_bytes());
    let part = StagedPart { attempt, kind, bytes: text.len() as u64, records: 1, crc64 };
    fs::write(paths.staging().join(part.staged_name()), text).unwrap();
    part
}

/// All files of the output folder but the manifest, with their contents.
fn files(output: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(output)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "_temporary")
        .map(|name| {
            let text = fs::read_to_string(output.join(&name)).unwrap();
            let manifest = name == SUCCESS && text.contains("word-count");
            (name, if manifest { "new".into() } else { text })
        })
        .collect();
    files.sort();
    files
}

fn named(files: &[(&str, &str)]) -> Vec<(String, String)> {
    files.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect()
}

fn published() -> Vec<(String, String)> {
    named(&[("_SUCCESS", "new"), ("part-00000", "first\n"), ("part-00001", "second\n")])
}

/// The old output: one part of the same size as the new one, and one more.
fn old() -> Vec<(String, String)> {
    named(&[
        ("_SUCCESS", OF_ANOTHER_JOB),
        ("part-00000", "FIRST\n"),
        ("part-00001", "2"),
        ("part-00002", "3"),
    ])
}

fn write_old(output: &Path) {
    for (name, text) in old() {
        fs::write(output.join(name), text).unwrap();
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A publication that fails leaves nothing behind.
fn fails_and_leaves_nothing(spoil: impl Fn(&OutputPaths, &mut Publication)) -> FailureCause {
    let (dir, reservation, mut publication) = prepared(false);
    spoil(reservation.paths(), &mut publication);
    let before = files(dir.path());
    let cause = publish(reservation.paths(), &publication).unwrap_err();
    assert_eq!(files(dir.path()), before);
    cause
}

#[tokio::test]
async fn winners_become_visible_with_a_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let reservation = Reservation::take(dir.path(), false, None).unwrap();
    publish(reservation.paths(), &staged(reservation.paths(), false)).unwrap();
    reservation.remove_temporary().await.unwrap();
    assert_eq!(files(dir.path()), published());
    assert!(!dir.path().join("_temporary").exists());

    let text = fs::read(dir.path().join("_SUCCESS")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(manifest["output_bytes"], 13);
    assert_eq!(manifest["job"]["counters"]["lines"], 9);
    assert_eq!(manifest["job"]["params"], serde_json::json!({}));
    let crc64 = format!("{:016x}", crc64(b"second\n"));
    assert_eq!(
        manifest["parts"][1],
        serde_json::json!({"name": "part-00001", "bytes": 7, "records": 1, "crc64": crc64})
    );
}

#[tokio::test]
async fn an_output_is_replaced_as_a_whole() {
    let (dir, reservation, publication) = prepared(true);
    assert_eq!(files(dir.path()), old());
    publish(reservation.paths(), &publication).unwrap();
    reservation.remove_temporary().await.unwrap();
    assert_eq!(files(dir.path()), published());
    assert!(!dir.path().join("_temporary").exists());
}

#[test]
fn a_foreign_file_fails_the_publication_and_stays() {
    for name in ["part-00001", "_SUCCESS"] {
        let cause = fails_and_leaves_nothing(|paths, _| {
            fs::write(paths.output().join(name), "somebody's").unwrap();
        });
        assert!(matches!(cause, FailureCause::Io { path, .. } if path.ends_with(name)));
    }
}

#[tokio::test]
async fn bad_records_are_published_and_taken_back_with_the_parts() {
    let (dir, reservation, mut publication) = prepared(false);
    let skipped = stage(reservation.paths(), PartKind::BadRecords, 7, 3, "{}\n");
    publication.bad_records.push(StagedPart { bytes: 99, ..skipped });
    publish(reservation.paths(), &publication).unwrap_err();
    assert_eq!(files(dir.path()), []);
    publication.bad_records = vec![skipped];
    publish(reservation.paths(), &publication).unwrap();
    let name = "_bad-records/reduce-00007.jsonl";
    assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), "{}\n");
    let text = fs::read(dir.path().join(SUCCESS)).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(manifest["skipped_records"], 1);
    assert_eq!(manifest["bad_records"][0]["name"], name);
}

#[test]
fn many_parts_are_published_and_taken_back() {
    const PARTS: u32 = 1_000;
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out");
    let reservation = Reservation::take(&output, false, None).unwrap();
    let paths = reservation.paths();
    let mut publication = staged(paths, false);
    let part = |index| stage(paths, PartKind::Output, index, 1, &format!("{index}\n"));
    publication.parts = (0..PARTS).map(part).collect();
    let wrong = paths.staging().join(publication.parts[700].staged_name());
    fs::write(&wrong, "longer than reported").unwrap();
    let cause = publish(paths, &publication).unwrap_err().to_string();
    assert!(cause.contains("part-00700"), "{cause}");
    assert_eq!(files(&output), []);
    let folder = commit_folder(paths, 1);
    fs::write(folder.join(publication.parts[700].staged_name()), "700\n").unwrap();
    publish(paths, &publication).unwrap();
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(output.join(SUCCESS)).unwrap()).unwrap();
    assert_eq!(manifest["output_records"], PARTS);
    let names = manifest["parts"].as_array().unwrap().iter().map(|part| part["name"].as_str());
    for (index, name) in names.enumerate() {
        let name = name.unwrap();
        assert_eq!(name, format!("part-{index:05}"));
        assert_eq!(fs::read_to_string(output.join(name)).unwrap(), format!("{index}\n"));
    }
}

#[tokio::test]
async fn transient_faults_are_told_apart_and_the_publication_can_be_repeated() {
    let (dir, reservation, publication) = prepared(false);
    let (failpoint, stop) = (Failpoint::default(), Stop::default());
    let again = || super::publish(reservation.paths(), &publication, &failpoint, &stop);
    // A foreign file in the way stays.
    fs::write(dir.path().join("part-00001"), "foreign").unwrap();
    assert!(!again().unwrap_err().may_pass);
    assert_eq!(fs::read(dir.path().join("part-00001")).unwrap(), b"foreign");
    assert!(!dir.path().join("part-00000").exists(), "nothing of a failed publication is visible");
    fs::remove_file(dir.path().join("part-00001")).unwrap();
    // The parts of the winners are still there.
    again().unwrap();
    reservation.remove_temporary().await.unwrap();
    assert_eq!(files(dir.path()), published());
    let passes = [
        io::ErrorKind::TimedOut,
        io::ErrorKind::StorageFull,
        io::ErrorKind::StaleNetworkFileHandle,
    ];
    for kind in passes {
        assert!(failed_at(dir.path(), &io::Error::from(kind)).may_pass, "{kind}");
    }
}
