use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crc_fast::CrcAlgorithm::Crc64Nvme;
use windrow_jobs::{AttemptId, JobId, Stage, TaskId};

use super::super::{Content, Reservation, StageCounts, own};
use super::*;
use crate::output::manifest::OF_ANOTHER_JOB;

pub(super) fn job() -> ManifestJob {
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
    let (failpoint, stop) = (Failpoint::default(), Stop::default());
    super::publish(place, publication, &failpoint, &stop).map_err(|failure| *failure.cause)
}

fn commit_folder(place: &Place, epoch: u64) -> PathBuf {
    place.output().join(TEMPORARY).join(commit_folder::name(place.unique(), Epoch(epoch)))
}

pub(super) fn stage(
    place: &Place,
    content: Content,
    index: u32,
    number: u32,
    text: &str,
) -> StagedPart {
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

/// Dies at the n-th of a step; false when it does not come to that.
fn dies_at(place: &Place, publication: &Publication, step: Step, times: u64) -> bool {
    let failpoint = Failpoint::panicking(step, times);
    let publish = || super::publish(place, publication, &failpoint, &Stop::default());
    catch_unwind(AssertUnwindSafe(publish)).is_err()
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

/// A publication that fell asleep with all its folders open.
fn asleep<'a>(
    place: &Place,
    publication: &'a Publication,
    failpoint: &'a Failpoint,
    stop: &'a Stop,
) -> Commit<'a> {
    let output = Folder::open(place.output()).unwrap();
    let temporary = output.folder(TEMPORARY).unwrap();
    let folder = temporary.folder(commit_folder::name(place.unique(), Epoch(1))).unwrap();
    let name = own::named(&temporary, None).unwrap().remove(0).name;
    let own = Own { folder: temporary.folder(&name).unwrap(), name };
    let placed = Placed::new(publication);
    let staged = Staged { folder, is_new: true };
    let (parts, bad_records) = (OnceLock::new(), OnceLock::new());
    Commit {
        output,
        temporary,
        staged,
        own,
        parts,
        bad_records,
        placed,
        publication,
        failpoint,
        stop,
    }
}

#[test]
fn one_that_was_replaced_in_its_sleep_changes_nothing() {
    each_death(|output, reservation, publication| {
        let place = reservation.place();
        let (failpoint, stop) = (Failpoint::default(), Stop::default());
        let former = Publication { epoch: Epoch(1), ..staged_before(publication) };
        let zombie = asleep(place, &former, &failpoint, &stop);
        publication.epoch = Epoch(2);
        publish(place, publication).unwrap();
        let _ = zombie.run().inspect_err(|_| _ = zombie.undo());
        // Even one that does not ask whether anybody has taken over.
        zombie.take_back().unwrap_err();
        assert!(zombie.replaced().move_aside(&failpoint, &stop).is_err() || !former.overwrite);
        let _ = zombie.replaced().restore();
        assert_eq!(files(output), published());
        publication.epoch = Epoch(1);
        assert!(publish(place, publication).is_err());
        assert!(commit_folder(place, 2).exists());
        assert_eq!(files(output), published());
    });
}

/// The same publication.
fn staged_before(publication: &Publication) -> Publication {
    let Publication { epoch, overwrite, durable, .. } = *publication;
    let (parts, quarantines) = (publication.parts.clone(), publication.quarantines.clone());
    Publication { epoch, job: job(), parts, quarantines, overwrite, durable }
}

#[test]
fn a_failure_after_a_crash_puts_everything_back() {
    each_death(|output, reservation, publication| {
        let missing = commit_folder(reservation.place(), 1).join("part-00001.2");
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

/// Stopped at each of its files, nothing of it stays, and it could be done once more; stopped
/// later, it is too late.
#[test]
fn one_that_is_stopped_takes_back_what_it_did() {
    let steps = [(Step::MovedAside, 1), (Step::PartRenamed, 1), (Step::PartRenamed, 2)];
    let late = [(Step::AfterManifest, 1)];
    for (step, times) in steps.into_iter().chain(late) {
        let dir = tempfile::tempdir().unwrap();
        write_old(dir.path());
        let reservation = Reservation::take(dir.path(), true, None).unwrap();
        let place = reservation.place();
        let mut publication = staged(place, true);
        let (stop, stopped) = (Stop::default(), std::sync::Arc::new(OnceLock::new()));
        let failpoint = {
            let (stop, stopped) = (stop.clone(), std::sync::Arc::clone(&stopped));
            Failpoint::acting(step, times, move || _ = stopped.set(stop.stop()))
        };
        let result = super::publish(place, &publication, &failpoint, &stop);
        let is_late = step == Step::AfterManifest;
        assert_eq!(stopped.get(), Some(&!is_late), "{step:?}");
        if is_late {
            result.unwrap();
        } else {
            let failure = result.unwrap_err();
            assert!(failure.may_pass && *failure.cause == FailureCause::Cancelled, "{failure:?}");
            assert_eq!(files(dir.path()), old(), "{step:?}");
            publication.epoch = Epoch(2);
            publish(place, &publication).unwrap();
        }
        assert_eq!(files(dir.path()), published());
    }
}

#[test]
fn one_that_was_stopped_before_it_began_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let reservation = Reservation::take(dir.path(), false, None).unwrap();
    let publication = staged(reservation.place(), false);
    let stop = Stop::default();
    assert!(stop.stop());
    let failpoint = Failpoint::default();
    super::publish(reservation.place(), &publication, &failpoint, &stop).unwrap_err();
    assert_eq!(files(dir.path()), []);
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
    let folder = commit_folder(place, 1);
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
    let (failpoint, stop) = (Failpoint::default(), Stop::default());
    let again = || super::publish(reservation.place(), &publication, &failpoint, &stop);
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

fn own_folder(output: &Path) -> PathBuf {
    let mut found = own::named(&Folder::open(output).unwrap().folder(TEMPORARY).unwrap(), None);
    output.join(TEMPORARY).join(found.as_mut().unwrap().remove(0).name)
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Dies in the midst of replacing an output, and the folder of the publication shows this mode.
fn dead_with_mode(mode: u32) -> (tempfile::TempDir, Reservation, Publication, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    write_old(dir.path());
    let reservation = Reservation::take(dir.path(), true, None).unwrap();
    let mut publication = staged(reservation.place(), true);
    assert!(dies_at(reservation.place(), &publication, Step::PartRenamed, 1));
    publication.epoch = Epoch(2);
    let own = own_folder(dir.path());
    chmod(&own, mode);
    (dir, reservation, publication, own)
}

/// Who may only look into a folder has put nothing there.
#[test]
fn what_is_aside_is_put_back_though_others_may_see_it() {
    let (dir, reservation, publication, _) = dead_with_mode(0o755);
    publish(reservation.place(), &publication).unwrap();
    assert_eq!(files(dir.path()), published());

    let (dir, reservation, ..) = dead_with_mode(0o755);
    drop(reservation);
    Reservation::take(dir.path(), true, None).unwrap();
    assert_eq!(files(dir.path()), old());
}

#[test]
fn what_is_aside_and_not_believed_stays_and_is_named() {
    let (dir, reservation, publication, own) = dead_with_mode(0o777);
    let (failpoint, stop) = (Failpoint::default(), Stop::default());
    let failure = super::publish(reservation.place(), &publication, &failpoint, &stop).unwrap_err();
    let text = failure.cause.to_string();
    for part in [&*own.display().to_string(), "others may write to it", "the only copy"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(failure.may_pass, "whoever owns it can mend it");
    chmod(&own, 0o700);
    publish(reservation.place(), &publication).unwrap();
    assert_eq!(files(dir.path()), published());

    let (dir, reservation, _, own) = dead_with_mode(0o777);
    drop(reservation);
    for overwrite in [true, false] {
        let refused = Reservation::take(dir.path(), overwrite, None).unwrap_err().to_string();
        let replaced = own.join("replaced").display().to_string();
        for part in [&*replaced, "the only copy", "others may write to it (mode 0777)"] {
            assert!(refused.contains(part), "{refused}");
        }
        assert!(!refused.contains("remove it"), "{refused}");
    }
    assert_eq!(files(&own.join("replaced")), old());
}

/// Somebody has put something where the old output was.
#[test]
fn what_is_aside_and_cannot_be_put_back_stays_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    write_old(dir.path());
    let reservation = Reservation::take(dir.path(), true, None).unwrap();
    let publication = staged(reservation.place(), true);
    assert!(dies_at(reservation.place(), &publication, Step::MovedAside, 1));
    drop(reservation);
    fs::write(dir.path().join(SUCCESS), "mine").unwrap();
    let refused = Reservation::take(dir.path(), true, None).unwrap_err().to_string();
    let replaced = own_folder(dir.path()).join("replaced");
    for part in [&*replaced.display().to_string(), "the only copy", "exists"] {
        assert!(refused.contains(part), "{refused}");
    }
    assert_eq!(fs::read(replaced.join(SUCCESS)).unwrap(), OF_ANOTHER_JOB.as_bytes());
    assert_eq!(fs::read(dir.path().join(SUCCESS)).unwrap(), b"mine");
}

/// While a new one is published, somebody takes the place of the old one.
#[test]
fn a_failure_says_where_the_old_output_stays() {
    let dir = tempfile::tempdir().unwrap();
    write_old(dir.path());
    let reservation = Reservation::take(dir.path(), true, None).unwrap();
    let mut publication = staged(reservation.place(), true);
    publication.parts[1].bytes += 1;
    let taken = dir.path().join("part-00002");
    let failpoint =
        Failpoint::acting(Step::AllAside, 1, move || fs::write(&taken, "mine").unwrap());
    let stop = Stop::default();
    let failure = super::publish(reservation.place(), &publication, &failpoint, &stop).unwrap_err();
    let replaced = own_folder(dir.path()).join("replaced");
    let text = failure.cause.to_string();
    assert!(text.contains(&format!("is in {}", replaced.display())), "{text}");
    assert_eq!(fs::read(replaced.join("part-00002")).unwrap(), b"3");
    assert_eq!(fs::read(dir.path().join("part-00002")).unwrap(), b"mine");
}

/// A program that runs as the worker's user is no part.
#[test]
fn a_part_with_a_special_bit_is_refused() {
    for bits in [0o4755, 0o2755, 0o1644] {
        let cause = fails_and_leaves_nothing(|place, _| {
            chmod(&place.staging().join("part-00001.2"), bits);
        });
        let text = cause.to_string();
        assert!(text.contains("part-00001.2") && text.contains("a setuid"), "{text}");
    }
}

/// Whatever happens to the first part between the look at it and the rename.
fn with_the_first_part(
    act: impl Fn(&Path) + Send + Sync + 'static,
) -> (bool, Vec<(String, String)>) {
    let dir = tempfile::tempdir().unwrap();
    let reservation = Reservation::take(dir.path(), false, None).unwrap();
    let place = reservation.place();
    let publication = staged(place, false);
    let first = commit_folder(place, 1).join("part-00000.1");
    let failpoint = Failpoint::acting(Step::PartChecked, 1, move || act(&first));
    let stop = Stop::default();
    match super::publish(place, &publication, &failpoint, &stop) {
        Ok(()) => {}
        Err(failure) if failure.may_pass => {
            assert_eq!(files(dir.path()), []);
            publish(place, &publication).unwrap();
        }
        Err(failure) => {
            assert!(failure.cause.to_string().contains("another file was put"), "{failure:?}");
            return (false, files(dir.path()));
        }
    }
    assert_eq!(fs::metadata(dir.path().join("part-00000")).unwrap().nlink(), 1);
    (true, files(dir.path()))
}

/// Some file systems give a file another number when it is renamed.
#[test]
fn a_part_with_another_number_is_known_by_its_bytes() {
    let exchange = |text: &'static str| {
        move |part: &Path| {
            fs::write(part.with_extension("new"), text).unwrap();
            fs::rename(part.with_extension("new"), part).unwrap();
        }
    };
    assert_eq!(with_the_first_part(exchange("first\n")), (true, published()));
    assert_eq!(with_the_first_part(exchange("FIRST\n")), (false, Vec::new()));
}

/// As a backup by links does, before and while it is published.
#[test]
fn a_part_with_another_name_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let reservation = Reservation::take(dir.path(), false, None).unwrap();
    let publication = staged(reservation.place(), false);
    let (part, backup) = (reservation.place().staging().join("part-00000.1"), dir.path().join("b"));
    fs::hard_link(part, &backup).unwrap();
    publish(reservation.place(), &publication).unwrap();
    fs::write(&backup, "later\n").unwrap();
    fs::remove_file(backup).unwrap();
    assert_eq!(files(dir.path()), published());

    let link = |part: &Path| fs::hard_link(part, part.with_extension("backup")).unwrap();
    assert_eq!(with_the_first_part(link), (true, published()));
}

/// Of a thread that must end, whatever it could read.
fn ends(act: impl FnOnce() + Send + 'static) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        act();
        sender.send(())
    });
    match receiver.recv_timeout(std::time::Duration::from_secs(60)) {
        Ok(()) => {}
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("it reads for ever"),
        Err(_) => panic!("{:?}", thread.join().err()),
    }
}

/// What a former try has placed may be of any size by now.
#[test]
fn what_is_undone_is_not_read_to_its_end() {
    const BYTES: u64 = 1 << 42;
    for (overwrite, decoy, is_stopped) in
        [(false, false, false), (false, true, true), (false, true, false), (true, true, false)]
    {
        ends(move || {
            let dir = tempfile::tempdir().unwrap();
            let reservation = Reservation::take(dir.path(), overwrite, None).unwrap();
            let mut publication = staged(reservation.place(), overwrite);
            assert!(dies_at(reservation.place(), &publication, Step::PartRenamed, 1));
            publication.epoch = Epoch(2);
            publication.parts[0].bytes = BYTES;
            let visible = dir.path().join("part-00000");
            fs::OpenOptions::new().write(true).open(&visible).unwrap().set_len(BYTES).unwrap();
            if decoy {
                let left = commit_folder(reservation.place(), 1).join("part-00000.1");
                fs::write(left, "another").unwrap();
            }
            let (failpoint, stop) = (Failpoint::default(), Stop::default());
            let commit =
                Commit::begin(reservation.place(), &publication, &failpoint, &stop).unwrap();
            if is_stopped {
                stop.stop();
            }
            commit.undo();
            let may_stay = decoy && !overwrite;
            assert!(may_stay || !visible.exists(), "{overwrite} {decoy} {is_stopped}");
        });
    }
}

/// What was taken back unread is read before it is visible again.
#[test]
fn a_part_that_was_torn_before_it_was_taken_back_is_not_published() {
    for text in ["first\n", "fir\0\0\0"] {
        let dir = tempfile::tempdir().unwrap();
        let reservation = Reservation::take(dir.path(), false, None).unwrap();
        let place = reservation.place();
        let mut publication = staged(place, false);
        assert!(dies_at(place, &publication, Step::PartRenamed, 1));
        fs::write(dir.path().join("part-00000"), text).unwrap();
        publication.epoch = Epoch(2);
        let (failpoint, stop) = (Failpoint::default(), Stop::default());
        Commit::begin(place, &publication, &failpoint, &stop).unwrap().undo();
        assert_eq!(files(dir.path()), []);
        match publish(place, &publication) {
            Ok(()) => assert_eq!((text, files(dir.path())), ("first\n", published())),
            Err(cause) => {
                assert!(text != "first\n" && cause.to_string().contains("its bytes"), "{cause}");
                assert_eq!(files(dir.path()), []);
            }
        }
    }
}

/// A part that its job has spoiled since it was placed is taken back all the same.
#[test]
fn what_this_try_has_placed_is_taken_back_whatever_it_is_by_now() {
    let dir = tempfile::tempdir().unwrap();
    let reservation = Reservation::take(dir.path(), false, None).unwrap();
    let publication = staged(reservation.place(), false);
    let visible = dir.path().join("part-00000");
    let failpoint = Failpoint::acting(Step::PartRenamed, 1, move || chmod(&visible, 0o4755));
    fs::remove_file(reservation.place().staging().join("part-00001.2")).unwrap();
    let stop = Stop::default();
    super::publish(reservation.place(), &publication, &failpoint, &stop).unwrap_err();
    assert_eq!(files(dir.path()), []);
}

#[test]
fn what_is_stopped_moves_nothing_aside() {
    let dir = tempfile::tempdir().unwrap();
    write_old(dir.path());
    let reservation = Reservation::take(dir.path(), true, None).unwrap();
    let publication = staged(reservation.place(), true);
    let (failpoint, stop) = (Failpoint::default(), Stop::default());
    let commit = Commit::begin(reservation.place(), &publication, &failpoint, &stop).unwrap();
    assert!(stop.stop());
    commit.replaced().move_aside(&failpoint, &stop).unwrap_err();
    assert_eq!(files(dir.path()), old());
}

/// A job may leave any number of files and folders.
#[tokio::test]
async fn what_a_job_leaves_is_removed_however_much_and_deep_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let output = dir.path().join("out");
    let reservation = Reservation::take(&output, false, None).unwrap();
    let staging = reservation.place().staging();
    for (folder, files) in [("", 5_000), ("a", 5_000), ("b/c/d", 10)] {
        fs::create_dir_all(staging.join(folder)).unwrap();
        (0..files).for_each(|n| fs::write(staging.join(folder).join(n.to_string()), "").unwrap());
    }
    (0..300).fold(staging, |above, _| {
        let folder = above.join("removed.1");
        fs::create_dir(&folder).unwrap();
        folder
    });
    reservation.discard().await.unwrap();
    assert!(!output.exists());
}

/// Beside what it cost to do the same by paths, without looking at what is there.
#[test]
#[ignore = "measures; run it alone, with --nocapture"]
#[allow(clippy::disallowed_methods, reason = "how fast it is, is a question of real time")]
fn ten_thousand_parts_by_descriptors_and_by_paths() {
    use std::time::Instant;

    use rustix::fs::{CWD, RenameFlags, renameat_with};

    const PARTS: u32 = 10_000;
    let (mut by_descriptors, mut by_paths) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        let dir = tempfile::tempdir().unwrap();
        let reservation = Reservation::take(&dir.path().join("out"), false, None).unwrap();
        let place = reservation.place();
        let mut publication = staged(place, false);
        publication.durable = false;
        publication.parts =
            (0..PARTS).map(|index| stage(place, Content::Output, index, 1, "x\n")).collect();
        let started = Instant::now();
        publish(place, &publication).unwrap();
        by_descriptors.push(started.elapsed());

        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(&from).unwrap();
        fs::create_dir_all(&to).unwrap();
        for part in &publication.parts {
            fs::write(from.join(part.staged_name()), "x\n").unwrap();
        }
        let started = Instant::now();
        try_for_each(&publication.parts, |part| {
            let (from, to) = (from.join(part.staged_name()), to.join(part.visible_name()));
            assert_eq!(fs::metadata(&from).map_err(|_| ())?.len(), part.bytes);
            renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE).map_err(|_| ())
        })
        .unwrap();
        let file = fs::File::create(to.join(SUCCESS)).unwrap();
        let manifest = BufWriter::new(file);
        manifest::write(&publication.job, &publication.parts, &[], manifest).unwrap();
        by_paths.push(started.elapsed());
    }
    by_descriptors.sort();
    by_paths.sort();
    let (new, old) = (by_descriptors[3], by_paths[3]);
    println!(
        "by descriptors {new:?}, by paths {old:?}: {:.2}",
        new.as_secs_f64() / old.as_secs_f64()
    );
}
