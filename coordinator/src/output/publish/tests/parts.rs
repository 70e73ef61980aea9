//! Files that are not parts of the job do not become visible.

use std::os::unix::fs::MetadataExt;

use super::death::dies_at;
use super::*;

#[test]
fn a_missing_part_fails_the_publication() {
    let cause = fails_and_leaves_nothing(|paths, _| {
        fs::remove_file(paths.staging().join("part-00001.2")).unwrap();
    });
    assert!(matches!(cause, FailureCause::Io { path, .. } if path.ends_with("part-00001.2")));
}

#[test]
fn a_part_of_another_size_fails_the_publication() {
    let cause = fails_and_leaves_nothing(|_, publication| publication.parts[1].bytes += 1);
    assert!(matches!(cause, FailureCause::Corrupt { .. }), "{cause}");
}

/// A program that would run as the worker's user is refused.
#[test]
fn a_part_with_a_special_bit_is_refused() {
    for bits in [0o4755, 0o2755, 0o1644] {
        let cause = fails_and_leaves_nothing(|paths, _| {
            chmod(&paths.staging().join("part-00001.2"), bits);
        });
        let text = cause.to_string();
        assert!(text.contains("part-00001.2") && text.contains("a setuid"), "{text}");
    }
}

/// Changes the first part between its check and its rename.
fn with_the_first_part(
    act: impl Fn(&Path) + Send + Sync + 'static,
) -> (bool, Vec<(String, String)>) {
    let (dir, reservation, publication) = prepared(false);
    let paths = reservation.paths();
    let first = commit_folder(paths, 1).join("part-00000.1");
    let failpoint = Failpoint::acting(FailpointId::PartChecked, 1, move || act(&first));
    let stop = Stop::default();
    match super::super::publish(paths, &publication, &failpoint, &stop) {
        Ok(()) => {}
        Err(failure) if failure.may_pass => {
            assert_eq!(files(dir.path()), []);
            publish(paths, &publication).unwrap();
        }
        Err(failure) => {
            assert!(failure.cause.to_string().contains("another file was put"), "{failure:?}");
            return (false, files(dir.path()));
        }
    }
    assert_eq!(fs::metadata(dir.path().join("part-00000")).unwrap().nlink(), 1);
    (true, files(dir.path()))
}

/// Some file systems give a file another inode number when it is renamed.
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

/// As a backup by hard links does, before and during the publication.
#[test]
fn a_part_with_another_name_is_copied() {
    let (dir, reservation, publication) = prepared(false);
    let (part, backup) = (reservation.paths().staging().join("part-00000.1"), dir.path().join("b"));
    fs::hard_link(part, &backup).unwrap();
    publish(reservation.paths(), &publication).unwrap();
    fs::write(&backup, "later\n").unwrap();
    fs::remove_file(backup).unwrap();
    assert_eq!(files(dir.path()), published());

    let link = |part: &Path| fs::hard_link(part, part.with_extension("backup")).unwrap();
    assert_eq!(with_the_first_part(link), (true, published()));
}

/// A part that was taken back unread is read before it becomes visible again.
#[test]
fn a_part_that_was_torn_before_it_was_taken_back_is_not_published() {
    for text in ["first\n", "fir\0\0\0"] {
        let (dir, reservation, mut publication) = prepared(false);
        let paths = reservation.paths();
        assert!(dies_at(paths, &publication, FailpointId::PartRenamed, 1));
        fs::write(dir.path().join("part-00000"), text).unwrap();
        publication.epoch = Epoch(2);
        let (failpoint, stop) = (Failpoint::default(), Stop::default());
        Commit::begin(paths, &publication, &failpoint, &stop).unwrap().undo();
        assert_eq!(files(dir.path()), []);
        match publish(paths, &publication) {
            Ok(()) => assert_eq!((text, files(dir.path())), ("first\n", published())),
            Err(cause) => {
                assert!(text != "first\n" && cause.to_string().contains("its bytes"), "{cause}");
                assert_eq!(files(dir.path()), []);
            }
        }
    }
}
