use std::panic::{AssertUnwindSafe, catch_unwind};

use windrow_jobs::{AttemptId, JobId, Stage, TaskId};

use super::super::{Content, Reservation, StageCounts};
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
fn staged(place: &Place, overwrite: bool) -> Publication {
    let part = |index, number, text| stage(place, Content::Output, index, number, text);
    part(1, 1, "a loser");
    let parts = vec![part(0, 1, "first\n"), part(1, 2, "second\n")];
    let quarantines = Vec::new();
    Publication { epoch: Epoch(1), job: job(), parts, quarantines, overwrite, durable: true }
}

fn publish(place: &Place, publication: &Publication) -> Result<(), FailureCause> {
    super::publish(place, publication, &Failpoint::default()).map_err(|failure| *failure.cause)
}

fn stage(place: &Place, content: Content, index: u32, number: u32, text: &str) -> StagedPart {
    let task = TaskId { job: JobId(1), stage: Stage::Reduce, index };
    let attempt = AttemptId { task, number };
    let crc64 = crc_fast::checksum(Crc64Nvme, text.as_bytes());
    let part = StagedPart { attempt, content, bytes: text.len() as u64, records: 1, crc64 };
    fs::write(place.staging().join(part.staged_name()), text).unwrap();
    part
}

/// All files in the output folder with their contents, but the manifest's.
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

/// An older output, with one part of the same size as the new one, and one more.
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

#[tokio::test]
async fn winners_become_visible_with_a_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let reservation = Reservation::take(dir.path(), false, None).unwrap();
    publish(reservation.place(), &staged(reservation.place(), false)).unwrap();
    reservation.remove_temporary().await.unwrap();
    assert_eq!(files(dir.path()), published());
    assert!(!dir.path().join("_temporary").exists());

    let text = fs::read(dir.path().join("_SUCCESS")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(manifest["output_bytes"], 13);
    assert_eq!(manifest["job"]["counters"]["lines"], 9);
    assert_eq!(manifest["job"]["params"], serde_json::json!({}));
    let crc64 = format!("{:016x}", crc_fast::checksum(Crc64Nvme, b"second\n"));
    assert_eq!(
        manifest["parts"][1],
        serde_json::json!({"name": "part-00001", "bytes": 7, "records": 1, "crc64": crc64})
    );
}

#[tokio::test]
async fn an_output_is_replaced_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    write_old(dir.path());
    let reservation = Reservation::take(dir.path(), true, None).unwrap();
    let publication = staged(reservation.place(), true);
    assert_eq!(files(dir.path()), old());
    publish(reservation.place(), &publication).unwrap();
    reservation.remove_temporary().await.unwrap();
    assert_eq!(files(dir.path()), published());
    assert!(!dir.path().join("_temporary").exists());
}

/// Dies at the n-th of a step; false when it does not come to that.
#[tokio::test]
async fn what_somebody_has_put_beside_a_result_meanwhile_stays() {
    let dir = tempfile::tempdir().unwrap();
    write_old(dir.path());
    let reservation = Reservation::take(dir.path(), true, None).unwrap();
    fs::write(dir.path().join("notes.txt"), "mine").unwrap();
    let place = reservation.place();
    publish(place, &staged(place, true)).unwrap();
    reservation.remove_temporary().await.unwrap();
    let mut expected = published();
    expected.insert(1, ("notes.txt".to_string(), "mine".to_string()));
    assert_eq!(files(dir.path()), expected);
}

fn dies_at(place: &Place, publication: &Publication, step: Step, times: u64) -> bool {
    let failpoint = Failpoint::panicking(step, times);
    catch_unwind(AssertUnwindSafe(|| super::publish(place, publication, &failpoint))).is_err()
}

/// Every step of a publication, and how often it comes.
const STEPS: [(Step, u64); 5] = [
    (Step::MovedAside, 4),
    (Step::AllAside, 1),
    (Step::PartRenamed, 2),
    (Step::BeforeManifest, 1),
    (Step::AfterManifest, 1),
];

fn each_death(mut check: impl FnMut(&Path, Reservation, &mut Publication)) {
    for overwrite in [false, true] {
        for (step, count) in STEPS {
            for times in 1..=count {
                let dir = tempfile::tempdir().unwrap();
                if overwrite {
                    write_old(dir.path());
                }
                let reservation = Reservation::take(dir.path(), overwrite, None).unwrap();
                let mut publication = staged(reservation.place(), overwrite);
                if dies_at(reservation.place(), &publication, step, times) {
                    check(dir.path(), reservation, &mut publication);
                } else {
                    assert!(!overwrite, "{step:?} {times}");
                }
            }
        }
    }
}

#[test]
fn it_goes_on_wherever_it_stopped() {
    each_death(|output, reservation, publication| {
        publication.epoch = Epoch(2);
        publish(reservation.place(), publication).unwrap();
        assert_eq!(files(output), published());
        // And once more, as when nobody has heard that it was done.
        publication.epoch = Epoch(3);
        publish(reservation.place(), publication).unwrap();
        assert_eq!(files(output), published());
    });
}

#[test]
fn one_that_was_replaced_in_its_sleep_changes_nothing() {
    each_death(|output, reservation, publication| {
        let place = reservation.place();
        let asleep = place.commit_folder(Epoch(1));
        publication.epoch = Epoch(2);
        publish(place, publication).unwrap();
        let failpoint = &Failpoint::default();
        let commit = Commit { output, folder: &asleep, publication, failpoint };
        let _ = commit.run().inspect_err(|_| commit.undo());
        assert_eq!(files(output), published());
        publication.epoch = Epoch(1);
        assert!(publish(place, publication).is_err());
        assert!(place.commit_folder(Epoch(2)).exists());
        assert_eq!(files(output), published());
    });
}

#[test]
fn a_failure_after_a_crash_puts_everything_back() {
    each_death(|output, reservation, publication| {
        let missing = reservation.place().commit_folder(Epoch(1)).join("part-00001.2");
        if fs::remove_file(missing).is_ok() {
            publication.epoch = Epoch(2);
            publish(reservation.place(), publication).unwrap_err();
            assert_eq!(files(output), if publication.overwrite { old() } else { Vec::new() });
        }
    });
}

#[test]
fn the_next_job_finds_the_old_output_or_the_new_one() {
    let mut outputs = Vec::new();
    each_death(|output, reservation, publication| {
        drop(reservation);
        if publication.overwrite {
            let next = Reservation::take(output, true, None).unwrap();
            outputs.push(files(output));
            drop(next);
        }
    });
    assert!(outputs.iter().all(|files| *files == old() || *files == published()), "{outputs:?}");
    assert_eq!(outputs.iter().filter(|files| **files == published()).count(), 1);
}

/// Whatever stops a publication, nothing of it may stay.
fn fails_and_leaves_nothing(spoil: impl Fn(&Place, &mut Publication)) -> FailureCause {
    let dir = tempfile::tempdir().unwrap();
    let reservation = Reservation::take(dir.path(), false, None).unwrap();
    let mut publication = staged(reservation.place(), false);
    spoil(reservation.place(), &mut publication);
    let before = files(dir.path());
    let cause = publish(reservation.place(), &publication).unwrap_err();
    assert_eq!(files(dir.path()), before);
    cause
}

#[test]
fn a_part_that_is_missing_stops_it() {
    let cause = fails_and_leaves_nothing(|place, _| {
        fs::remove_file(place.staging().join("part-00001.2")).unwrap();
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
        let cause = fails_and_leaves_nothing(|place, _| {
            fs::write(place.output().join(name), "somebody's").unwrap();
        });
        assert!(matches!(cause, FailureCause::Io { path, .. } if path.ends_with(name)));
    }
}

#[test]
fn a_failure_puts_the_old_output_back() {
    let dir = tempfile::tempdir().unwrap();
    write_old(dir.path());
    let reservation = Reservation::take(dir.path(), true, None).unwrap();
    let mut publication = staged(reservation.place(), true);
    publication.parts[1].bytes += 1;
    publish(reservation.place(), &publication).unwrap_err();
    assert_eq!(files(dir.path()), old());
}

#[tokio::test]
async fn what_was_skipped_comes_and_goes_with_the_parts() {
    let dir = tempfile::tempdir().unwrap();
    let reservation = Reservation::take(dir.path(), false, None).unwrap();
    let mut publication = staged(reservation.place(), false);
    let skipped = stage(reservation.place(), Content::BadRecords, 7, 3, "{}\n");
    publication.quarantines.push(StagedPart { bytes: 99, ..skipped });
    publish(reservation.place(), &publication).unwrap_err();
    assert_eq!(files(dir.path()), []);
    publication.quarantines = vec![skipped];
    publish(reservation.place(), &publication).unwrap();
    let name = "_bad-records/reduce-00007.jsonl";
    assert_eq!(fs::read_to_string(dir.path().join(name)).unwrap(), "{}\n");
    let text = fs::read(dir.path().join(SUCCESS)).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(manifest["skipped_records"], 1);
    assert_eq!(manifest["bad_records"][0]["name"], name);
}

#[test]
fn many_parts_are_placed_side_by_side_and_taken_back_all_the_same() {
    const PARTS: u32 = 1_000;
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out");
    let reservation = Reservation::take(&output, false, None).unwrap();
    let place = reservation.place();
    let mut publication = staged(place, false);
    let part = |index| stage(place, Content::Output, index, 1, &format!("{index}\n"));
    publication.parts = (0..PARTS).map(part).collect();
    let wrong = place.staging().join(publication.parts[700].staged_name());
    fs::write(&wrong, "longer than was said").unwrap();
    let cause = publish(place, &publication).unwrap_err().to_string();
    assert!(cause.contains("part-00700"), "{cause}");
    assert_eq!(files(&output), []);
    let folder = place.commit_folder(Epoch(1));
    fs::write(folder.join(publication.parts[700].staged_name()), "700\n").unwrap();
    publish(place, &publication).unwrap();
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
async fn what_may_pass_is_told_from_what_stays_and_all_can_be_done_once_more() {
    let dir = tempfile::tempdir().unwrap();
    let reservation = Reservation::take(dir.path(), false, None).unwrap();
    let publication = staged(reservation.place(), false);
    let again = || super::publish(reservation.place(), &publication, &Failpoint::default());
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
