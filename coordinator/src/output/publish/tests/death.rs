//! A publication is repeated or undone, wherever its process died.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

/// Dies at the n-th occurrence of a step; false if there are fewer.
pub(super) fn dies_at(
    paths: &OutputPaths,
    publication: &Publication,
    step: FailpointId,
    times: u64,
) -> bool {
    let failpoint = Failpoint::panicking(step, times);
    let publish = || super::super::publish(paths, publication, &failpoint, &Stop::default());
    catch_unwind(AssertUnwindSafe(publish)).is_err()
}

/// Every step of a publication, and how often it occurs.
const STEPS: [(FailpointId, u64); 5] = [
    (FailpointId::MovedAside, 4),
    (FailpointId::AllAside, 1),
    (FailpointId::PartRenamed, 2),
    (FailpointId::BeforeManifest, 1),
    (FailpointId::AfterManifest, 1),
];

fn each_death(mut check: impl FnMut(&Path, Reservation, &mut Publication)) {
    for overwrite in [false, true] {
        for (step, count) in STEPS {
            for times in 1..=count {
                let (dir, reservation, mut publication) = prepared(overwrite);
                if dies_at(reservation.paths(), &publication, step, times) {
                    check(dir.path(), reservation, &mut publication);
                } else {
                    assert!(!overwrite, "{step:?} {times}");
                }
            }
        }
    }
}

#[test]
fn a_publication_resumes_wherever_it_stopped() {
    each_death(|output, reservation, publication| {
        publication.epoch = Epoch(2);
        publish(reservation.paths(), publication).unwrap();
        assert_eq!(files(output), published());
        // And once more, as if its success had not been recorded.
        publication.epoch = Epoch(3);
        publish(reservation.paths(), publication).unwrap();
        assert_eq!(files(output), published());
    });
}

/// A publication that is suspended with all its folders open.
fn asleep<'a>(
    paths: &OutputPaths,
    publication: &'a Publication,
    failpoint: &'a Failpoint,
    stop: &'a Stop,
) -> Commit<'a> {
    let output = Folder::open(paths.output()).unwrap();
    let temporary = output.folder(TEMPORARY).unwrap();
    let folder = temporary.folder(commit_folder::name(paths.unique(), Epoch(1))).unwrap();
    let name = private_folder::named(&temporary, None).unwrap().remove(0).name;
    let own = PrivateFolder { folder: temporary.folder(&name).unwrap(), name };
    let staged = Staged { folder, is_new: true };
    Commit::new([output, temporary], (staged, own), (publication, failpoint, stop))
}

#[test]
fn a_fenced_publication_changes_nothing() {
    each_death(|output, reservation, publication| {
        let paths = reservation.paths();
        let (failpoint, stop) = (Failpoint::default(), Stop::default());
        let former = Publication { epoch: Epoch(1), ..staged_before(publication) };
        let zombie = asleep(paths, &former, &failpoint, &stop);
        publication.epoch = Epoch(2);
        publish(paths, publication).unwrap();
        let _ = zombie.run().inspect_err(|_| _ = zombie.undo());
        // Even without the check whether another coordinator has taken over.
        zombie.take_back().unwrap_err();
        assert!(zombie.replaced().move_aside(&failpoint, &stop).is_err() || !former.overwrite);
        let _ = zombie.replaced().restore();
        assert_eq!(files(output), published());
        publication.epoch = Epoch(1);
        assert!(publish(paths, publication).is_err());
        assert!(commit_folder(paths, 2).exists());
        assert_eq!(files(output), published());
    });
}

/// The same publication.
fn staged_before(publication: &Publication) -> Publication {
    let Publication { epoch, overwrite, durable, .. } = *publication;
    let (parts, bad_records) = (publication.parts.clone(), publication.bad_records.clone());
    Publication { epoch, job: job(), parts, bad_records, overwrite, durable }
}

#[test]
fn a_failure_after_a_crash_puts_everything_back() {
    each_death(|output, reservation, publication| {
        let missing = commit_folder(reservation.paths(), 1).join("part-00001.2");
        if fs::remove_file(missing).is_ok() {
            publication.epoch = Epoch(2);
            publish(reservation.paths(), publication).unwrap_err();
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
